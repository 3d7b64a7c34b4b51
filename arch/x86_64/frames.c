#include "arch/x86_64/frames.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/lock.h"
#include "arch/x86_64/paging.h"
#include "lib/buddy.h"
#include <tf/log.h>
#include <tf/panic.h>
#include <tf/string.h>

#define ZONE_SIZE      GiB(1)  /* zones begin and end at multiples; the buddy allocator's largest block */
#define MAX_ZONES      32
#define LOW_RESERVED   MiB(1)  /* firmware data, and the start-up code of further CPUs */
#define EARLY_LIMIT_1G GiB(512) /* what boot/entry.asm maps with and without 1 GiB pages */
#define EARLY_LIMIT_2M GiB(4)
#define MAX_SPANS      (BOOT_MAX_RANGES + BOOT_MAX_MODULES + 8)

/* One contiguous stretch of GiBs that have RAM in them, so that a large hole costs no state. */
static struct zone { struct buddy buddy; uint64_t start, end; } zones[MAX_ZONES];
static unsigned nzones;
static struct spinlock lock = SPINLOCK_INIT; /* the zones */

static struct mem_span ram_spans[MAX_SPANS], usable_spans[MAX_SPANS];
static struct mem_spans ram = { ram_spans, 0, MAX_SPANS };
static struct mem_spans usable = { usable_spans, 0, MAX_SPANS }; /* at start-up: not yet in a zone */
static uint64_t early_limit;

static void must(bool ok)
{
	if (!ok)
		panic("the memory map has too many pieces");
}

static void find_ram(const struct boot_info *bi)
{
	must(memmap_ram(bi->ranges, bi->nranges, DEVICE_BASE - PHYSMAP_BASE, &ram));
	for (size_t i = 0; i < ram.n; i++)
		must(spans_add(&usable, ram.span[i].start, ram.span[i].end));
	for (uint32_t i = 0; i < bi->nmodules; i++) {
		uint64_t start = bi->modules[i].start.v;

		must(spans_remove(&usable, start, ALIGN_UP(start + bi->modules[i].size, PAGE_SIZE)));
	}
	must(spans_remove(&usable, 0, LOW_RESERVED));
	must(spans_remove(&usable, image_phys.v, image_phys.v + (uint64_t)(image_end - image_start)));
}

/* The zone's own state, from the largest piece of free RAM that can be written now; NULL if none is large enough. */
static void *take_storage(size_t bytes)
{
	uint64_t best = 0, at = 0;

	bytes = ALIGN_UP(bytes, PAGE_SIZE);
	for (size_t i = 0; i < usable.n; i++) {
		uint64_t start = usable.span[i].start, end = MIN(usable.span[i].end, early_limit);

		if (end > start && end - start >= bytes && end - start > best) {
			best = end - start;
			at = end - bytes; /* from the top: low memory is what picky devices need */
		}
	}
	if (!best)
		return NULL;
	must(spans_remove(&usable, at, at + bytes));
	return phys_to_virt(HPA(at));
}

static void add_zone(uint64_t start, uint64_t end)
{
	struct zone *z = &zones[nzones];
	uint64_t nframes = (end - start) / PAGE_SIZE;
	void *storage = nzones < MAX_ZONES ? take_storage(buddy_storage(nframes)) : NULL;

	if (!storage) {
		log_warn("frames", "event=ram-unused base=0x%lx size=0x%lx", (unsigned long)start, (unsigned long)(end - start));
		must(spans_remove(&usable, start, end));
		return;
	}
	z->start = start;
	z->end = end;
	buddy_init(&z->buddy, start / PAGE_SIZE, nframes, storage);
	nzones++;
}

static void make_zones(void)
{
	uint64_t start = 0, end = 0;

	for (size_t i = 0; i < ram.n; i++) {
		uint64_t s = ALIGN_DOWN(ram.span[i].start, ZONE_SIZE), e = ram.span[i].end;

		if (end && s > ALIGN_UP(end, ZONE_SIZE)) {
			add_zone(start, end);
			end = 0;
		}
		if (!end)
			start = s;
		end = e;
	}
	if (end)
		add_zone(start, end);
}

static struct zone *zone_of(uint64_t pa)
{
	for (unsigned i = 0; i < nzones; i++)
		if (pa >= zones[i].start && pa < zones[i].end)
			return &zones[i];
	return NULL;
}

/* [start, end) lies in RAM that is contiguous, and so within one zone. */
static void give(uint64_t start, uint64_t end)
{
	struct zone *z = zone_of(start);

	if (z && start < end)
		buddy_add(&z->buddy, start / PAGE_SIZE, (end - start) / PAGE_SIZE);
}

static void give_usable(uint64_t from, uint64_t to)
{
	for (size_t i = 0; i < usable.n; i++)
		give(MAX(usable.span[i].start, from), MIN(usable.span[i].end, to));
}

void frames_init(const struct boot_info *bi)
{
	early_limit = cpuid(CPUID_EXTENDED, 0).edx & CPUID_EXT_EDX_PAGE1GB ? EARLY_LIMIT_1G : EARLY_LIMIT_2M;
	find_ram(bi);
	make_zones();
	give_usable(0, early_limit);
	if (!frames_free_bytes())
		panic("the memory map has no usable RAM");
}

void frames_init_high(void)
{
	spin_lock(&lock);
	give_usable(early_limit, UINT64_MAX);
	spin_unlock(&lock);
	log_info("frames", "event=memory total-kib=%lu free-kib=%lu zones=%u", (unsigned long)(frames_total_bytes() >> 10),
	         (unsigned long)(frames_free_bytes() >> 10), nzones);
}

const struct mem_spans *frames_ram(void) { return &ram; }

enum tf_err frame_alloc(unsigned order, hpa_t *out)
{
	enum tf_err e = TF_ENOMEM;
	uint64_t pfn;

	spin_lock(&lock);
	for (unsigned i = 0; i < nzones && e != TF_OK; i++)
		e = buddy_alloc(&zones[i].buddy, order, &pfn);
	spin_unlock(&lock);
	if (e == TF_OK)
		*out = HPA(pfn * PAGE_SIZE);
	return e;
}

enum tf_err frame_alloc_zero(hpa_t *out)
{
	enum tf_err e = frame_alloc(0, out);

	if (e == TF_OK)
		memset(phys_to_virt(*out), 0, PAGE_SIZE);
	return e;
}

void frame_free(hpa_t p, unsigned order)
{
	struct zone *z = zone_of(p.v);

	ASSERT(z && IS_ALIGNED(p.v, PAGE_SIZE));
	spin_lock(&lock);
	buddy_free(&z->buddy, p.v / PAGE_SIZE, order);
	spin_unlock(&lock);
}

uint64_t frames_free_bytes(void)
{
	uint64_t frames = 0;

	for (unsigned i = 0; i < nzones; i++)
		frames += __atomic_load_n(&zones[i].buddy.free_frames, __ATOMIC_RELAXED);
	return frames * PAGE_SIZE;
}

uint64_t frames_total_bytes(void) { return spans_total(&ram); }
