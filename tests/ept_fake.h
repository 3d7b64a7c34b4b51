/*
 * For the tests of ept/: frames that live in an array, an allocator that can be told to fail, and a walker that reads
 * the raw tables as a CPU would (SDM 3C, "EPT Translation Mechanism"), knowing nothing of the implementation.
 */
#pragma once
#include <string.h>
#include <tf/assert.h>
#include "ept/ept.h"

#define FAKE_FRAMES 4096
#define FAKE_BASE   0x7654321000000ull /* frames are high in the 52 bits, so that a lost address bit shows */

struct fake_memory {
	uint64_t frame[FAKE_FRAMES][512];
	bool used[FAKE_FRAMES];
	unsigned next, nused;
	unsigned budget; /* allocations until one fails */
};

static inline enum tf_err fake_alloc(void *ctx, hpa_t *frame)
{
	struct fake_memory *m = ctx;

	if (m->budget == 0 || m->nused == FAKE_FRAMES)
		return TF_ENOMEM;
	m->budget--;
	while (m->used[m->next])
		m->next = (m->next + 1) % FAKE_FRAMES;
	m->used[m->next] = true;
	m->nused++;
	memset(m->frame[m->next], 0, PAGE_SIZE);
	*frame = HPA(FAKE_BASE + m->next * PAGE_SIZE);
	m->next = (m->next + 1) % FAKE_FRAMES;
	return TF_OK;
}

static inline unsigned fake_index(const struct fake_memory *m, uint64_t frame)
{
	uint64_t index = (frame - FAKE_BASE) / PAGE_SIZE;

	ASSERT(frame >= FAKE_BASE && frame % PAGE_SIZE == 0 && index < FAKE_FRAMES && m->used[index]);
	return (unsigned)index;
}

static inline void fake_free(void *ctx, hpa_t frame)
{
	struct fake_memory *m = ctx;
	unsigned index = fake_index(m, frame.v);

	m->used[index] = false;
	m->nused--;
	memset(m->frame[index], 0xa5, PAGE_SIZE); /* a stale use is a wild one */
}

static inline void *fake_virt(void *ctx, hpa_t frame)
{
	struct fake_memory *m = ctx;

	return m->frame[fake_index(m, frame.v)];
}

static inline struct ept_host fake_host(struct fake_memory *m)
{
	return (struct ept_host){ .ctx = m, .alloc = fake_alloc, .free = fake_free, .virt = fake_virt };
}

/* The CPU's view of one address. Stops the test at what would be an EPT misconfiguration. */
static inline bool fake_translate(const struct fake_memory *m, uint64_t eptp, uint64_t gpa, struct ept_leaf *out)
{
	uint64_t table = eptp & 0x000ffffffffff000ull;

	for (unsigned shift = 39;; shift -= 9) {
		uint64_t entry = m->frame[fake_index(m, table)][gpa >> shift & 511];
		uint64_t offset_mask = (1ull << shift) - 1;
		bool leaf = shift == 12 || (shift < 39 && (entry & 0x80));

		if (!(entry & 7))
			return false;
		ASSERT((entry & 7) != 2 && (entry & 7) != 6); /* write without read */
		ASSERT(!(entry >> 53)); /* 52 is ours: the CPU ignores it */
		if (!leaf) {
			ASSERT(!(entry & 0xf8)); /* reserved in an entry that refers to a table */
			ASSERT(!(entry >> 52));
			ASSERT((entry & 7) == 7);
			table = entry & 0x000ffffffffff000ull;
			continue;
		}
		uint64_t type = entry >> 3 & 7;
		ASSERT(type != 2 && type != 3 && type != 7);
		ASSERT(!(entry & 0x40)); /* the guest's PAT takes part */
		ASSERT(shift > 12 || !(entry & 0x80)); /* ignored there, and a relic */
		ASSERT(!(entry & 0x000ffffffffff000ull & offset_mask));
		out->hpa = HPA((entry & 0x000ffffffffff000ull) + (gpa & offset_mask));
		out->size = offset_mask + 1;
		out->prot = entry & 7;
		out->type = (enum x86_memtype)type;
		return true;
	}
}

/* Counts the tables below (and with) one, none of which may be empty. */
static inline unsigned fake_count_tables(const struct fake_memory *m, uint64_t table, unsigned shift)
{
	const uint64_t *entries = m->frame[fake_index(m, table)];
	unsigned n = 1, present = 0;

	for (unsigned i = 0; i < 512; i++) {
		if (!entries[i])
			continue;
		present++;
		if (shift > 12 && (shift == 39 || !(entries[i] & 0x80)))
			n += fake_count_tables(m, entries[i] & 0x000ffffffffff000ull, shift - 9);
	}
	ASSERT(present || shift == 39);
	return n;
}

static inline void fake_check_tables(const struct fake_memory *m, const struct ept *e)
{
	ASSERT(e->tables == m->nused);
	ASSERT(fake_count_tables(m, e->root.v, 39) == m->nused);
}
