/* What ept.c and ept_split.c share: the layout of an entry and the ways to reach one. Not for others. */
#pragma once
#include <tf/assert.h>
#include "ept/ept.h"

/* The layout of an entry: SDM 3C, "Format of an EPT Page-Table Entry that Maps a 4-KByte Page" and its siblings. */
#define EPTE_MEMTYPE_SHIFT 3
#define EPTE_MEMTYPE       (7ull << EPTE_MEMTYPE_SHIFT)
#define EPTE_LARGE         BIT(7)
#define EPTE_ACCESSED      BIT(8)
#define EPTE_SMALL_EXEC    BIT(52) /* ignored by the CPU: executable, once it is split into 4 KiB pages */
#define EPTE_ADDR          0x000ffffffffff000ull

#define ENTRIES     512
#define INDEX_BITS  9
#define ROOT_LEVEL  3 /* PML4; 2 is the PDPT, 1 the PD, 0 the PT */
#define GPA_LIMIT   BIT(48)
#define HPA_LIMIT   BIT(52)

static inline uint64_t level_size(unsigned level)
{
	return BIT(PAGE_SHIFT + INDEX_BITS * level);
}

static inline uint64_t *table_of(const struct ept *e, hpa_t frame)
{
	uint64_t *table = e->host.virt(e->host.ctx, frame);

	ASSERT(table);
	return table;
}

static inline uint64_t *entry_of(uint64_t *table, uint64_t gpa, unsigned level)
{
	return &table[gpa / level_size(level) % ENTRIES];
}

static inline bool is_present(uint64_t entry)
{
	return entry & EPT_RWX;
}

static inline bool is_leaf(uint64_t entry, unsigned level)
{
	return level == 0 || (entry & EPTE_LARGE);
}

static inline hpa_t entry_frame(uint64_t entry)
{
	return HPA(entry & EPTE_ADDR);
}

/* The bits of an entry that maps a page of this level with these permissions. */
static inline uint64_t leaf_bits(const struct ept *e, unsigned level, uint64_t prot)
{
	if (!level || !e->small_exec || !(prot & EPT_X))
		return prot | (level ? EPTE_LARGE : 0);
	return (prot & ~EPT_X) | EPTE_LARGE | EPTE_SMALL_EXEC;
}

/* The permissions that a page was mapped with, whether or not it must be split for them. */
static inline uint64_t leaf_prot(uint64_t entry)
{
	return (entry & EPT_RWX) | (entry & EPTE_SMALL_EXEC ? EPT_X : 0);
}

/* Another CPU may be walking: it must see a table's contents before the entry that links the table. */
static inline void entry_set(uint64_t *entry, uint64_t value)
{
	__atomic_store_n(entry, value, __ATOMIC_RELEASE);
}

__must_check enum tf_err ept_table_alloc(struct ept *e, hpa_t *frame);
void ept_table_free(struct ept *e, hpa_t frame);
/* The entry that maps `gpa` and its level, or NULL. */
uint64_t *ept_leaf_find(const struct ept *e, uint64_t gpa, unsigned *level);
/* Makes both ends of the range edges of pages. TF_ENOMEM, and then nothing has changed. */
__must_check enum tf_err ept_split_edges(struct ept *e, uint64_t start, uint64_t end);
