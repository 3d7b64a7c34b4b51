#include "guest/mem.h"
#include "arch/x86_64/frames.h"
#include "arch/x86_64/paging.h"
#include "guest/dev/vioapic.h"
#include "lib/buddy.h"
#include <tf/math.h>
#include <tf/string.h>
#include <tf/x86.h>

#define LOW_END    0xa0000ull     /* 640 KiB */
#define EBDA_BASE  0x9fc00ull
#define BIOS_BASE  0xe0000ull
#define HIGH_BASE  MiB(1)
#define HOLE_BASE  GiB(3)
#define HOLE_END   GiB(4)

static enum tf_err add_slot(struct guest_mem *m, uint64_t gpa, unsigned order)
{
	struct mem_slot *s = &m->slots[m->nslots];

	if (m->nslots == MEM_MAX_SLOTS)
		return TF_ENOMEM;
	enum tf_err e = frame_alloc(order, &s->hpa);
	if (e)
		return e;
	s->gpa = gpa;
	s->order = (uint8_t)order;
	s->len = PAGE_SIZE << order;
	m->nslots++;
	return TF_OK;
}

/* Maps a block. The one at 0 holds the PC's hole: only what is RAM is mapped of it. */
static enum tf_err map_slot(const struct mem_slot *s, struct ept *ept)
{
	if (s->gpa)
		return ept_map(ept, GPA(s->gpa), s->hpa, s->len, EPT_RWX, MT_WB);
	enum tf_err e = ept_map(ept, GPA(0), s->hpa, LOW_END, EPT_RWX, MT_WB);
	if (e)
		return e;
	return ept_map(ept, GPA(BIOS_BASE), HPA(s->hpa.v + BIOS_BASE), s->len - BIOS_BASE, EPT_RWX, MT_WB);
}

/* The largest blocks that the allocator still has, the alignment of gpa permits and `end` leaves room for. */
static enum tf_err fill(struct guest_mem *m, struct ept *ept, uint64_t gpa, uint64_t end)
{
	unsigned max = BUDDY_MAX_ORDER, min = gpa ? 0 : bit_highest(HIGH_BASE) - PAGE_SHIFT;

	while (gpa < end) {
		unsigned order = MIN(max, bit_highest(end - gpa) - PAGE_SHIFT);

		if (gpa)
			order = MIN(order, bit_lowest(gpa) - PAGE_SHIFT);
		enum tf_err e = add_slot(m, gpa, order);
		if (e == TF_ENOMEM && order > min && m->nslots < MEM_MAX_SLOTS) {
			max = order - 1;
			continue;
		}
		if (e || (e = map_slot(&m->slots[m->nslots - 1], ept)))
			return e;
		gpa += m->slots[m->nslots - 1].len;
		min = 0;
	}
	return TF_OK;
}

static void add_e820(struct guest_mem *m, uint64_t base, uint64_t end, enum mem_type type)
{
	if (end > base)
		m->e820[m->ne820++] = (struct mem_range){ base, end - base, type };
}

enum tf_err mem_create(struct guest_mem *m, struct ept *ept, uint64_t bytes)
{
	uint64_t low_end = MIN(bytes, HOLE_BASE), high = bytes - low_end;
	enum tf_err e;

	memset(m, 0, sizeof(*m));
	if (bytes < HIGH_BASE || !IS_ALIGNED(bytes, PAGE_SIZE))
		return TF_EINVAL;
	m->bytes = bytes;
	if ((e = fill(m, ept, 0, low_end)) || (e = fill(m, ept, HOLE_END, HOLE_END + high))) {
		mem_destroy(m);
		return e;
	}
	add_e820(m, 0, EBDA_BASE, MEM_RAM);
	add_e820(m, EBDA_BASE, LOW_END, MEM_RESERVED);
	add_e820(m, BIOS_BASE, HIGH_BASE, MEM_RESERVED);
	add_e820(m, HIGH_BASE, low_end, MEM_RAM);
	add_e820(m, VIOAPIC_BASE, VIOAPIC_BASE + VIOAPIC_LEN, MEM_RESERVED);
	add_e820(m, APIC_DEFAULT_BASE, APIC_DEFAULT_BASE + PAGE_SIZE, MEM_RESERVED);
	add_e820(m, HOLE_END, HOLE_END + high, MEM_RAM);
	return TF_OK;
}

void mem_destroy(struct guest_mem *m)
{
	for (uint32_t i = 0; i < m->nslots; i++)
		frame_free(m->slots[i].hpa, m->slots[i].order);
	memset(m, 0, sizeof(*m));
}

uint64_t mem_clear(struct guest_mem *m, uint64_t done, uint64_t n)
{
	for (uint32_t i = 0; i < m->nslots; i++) {
		struct mem_slot *s = &m->slots[i];

		if (done >= s->len) {
			done -= s->len;
			continue;
		}
		n = MIN(n, s->len - done);
		memset((uint8_t *)phys_to_virt(s->hpa) + done, 0, n);
		return n;
	}
	return 0;
}

static bool slot_holds(const struct mem_slot *s, uint64_t gpa)
{
	return gpa - s->gpa < s->len && !(gpa >= LOW_END && gpa < BIOS_BASE);
}

static struct mem_slot *find(struct guest_mem *m, uint64_t gpa)
{
	struct mem_slot *s = &m->slots[__atomic_load_n(&m->last, __ATOMIC_RELAXED)]; /* another vCPU may change it */

	if (slot_holds(s, gpa))
		return s;
	uint32_t lo = 0, hi = m->nslots;
	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (gpa < m->slots[mid].gpa)
			hi = mid;
		else if (gpa - m->slots[mid].gpa >= m->slots[mid].len)
			lo = mid + 1;
		else {
			__atomic_store_n(&m->last, mid, __ATOMIC_RELAXED);
			return slot_holds(&m->slots[mid], gpa) ? &m->slots[mid] : NULL;
		}
	}
	return NULL;
}

/* How many bytes from gpa on are RAM in slot s. */
static uint64_t run_length(const struct mem_slot *s, uint64_t gpa)
{
	return (gpa < LOW_END ? LOW_END : s->gpa + s->len) - gpa;
}

void *mem_at(struct guest_mem *m, gpa_t gpa, uint64_t len)
{
	struct mem_slot *s = find(m, gpa.v);

	if (!s || len > run_length(s, gpa.v))
		return NULL;
	return (uint8_t *)phys_to_virt(s->hpa) + (gpa.v - s->gpa);
}

static enum tf_err copy(struct guest_mem *m, uint64_t gpa, uint8_t *buf, uint64_t len, bool write)
{
	while (len) {
		struct mem_slot *s = find(m, gpa);

		if (!s)
			return TF_EFAULT;
		uint64_t n = MIN(len, run_length(s, gpa));
		uint8_t *p = (uint8_t *)phys_to_virt(s->hpa) + (gpa - s->gpa);
		if (write)
			memcpy(p, buf, n);
		else
			memcpy(buf, p, n);
		gpa += n;
		buf += n;
		len -= n;
	}
	return TF_OK;
}

enum tf_err mem_read(struct guest_mem *m, gpa_t gpa, void *buf, uint64_t len)
{
	return copy(m, gpa.v, buf, len, false);
}

enum tf_err mem_write(struct guest_mem *m, gpa_t gpa, const void *buf, uint64_t len)
{
	return copy(m, gpa.v, (uint8_t *)buf, len, true);
}
