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
#define ZONE_MAX       GiB(4096) /* its frames have 32-bit numbers */
/* Each module, the first MiB, the image, and the zones' state may cut one span in two. */
#define MAX_SPANS      (BOOT_MAX_RANGES + BOOT_MAX_MODULES + 2 + MAX_ZONES)

/* One contiguous stretch of GiBs that have RAM in them, so that a large hole costs no state. */
static struct zone { struct buddy buddy; uint64_t start, end; struct mem_span state; } zones[MAX_ZONES];
static unsigned nzones;
static struct spinlock lock = SPINLOCK_INIT(RANK_FRAMES); /* the zones */

static struct mem_span ram_spans[BOOT_MAX_RANGES];
static struct mem_spans ram = { ram_spans, 0, BOOT_MAX_RANGES };

static void must(bool ok)
{
	if (!ok)
		panic("the memory map has too many pieces");
}

uint64_t frames_early_limit(void)
{
	return cpuid(CPUID_EXTENDED, 0).edx & CPUID_EXT_EDX_PAGE1GB ? EARLY_LIMIT_1G : EARLY_LIMIT_2M;
}

static void unused(uint64_t start, uint64_t end)
{
	log_warn("frames", "event=ram-unused base=0x%lx size=0x%lx", (unsigned long)start, (unsigned long)(end - start));
}

bool frames_find_ram(const struct boot_info *bi)
{
	return memmap_ram(bi->ranges, bi->nranges, paging_physical_limit(), &ram);
}

/* RAM that nothing is in. Asked for on the way up only: on the first stack there is room for so many spans. */
static void find_usable(const struct boot_info *bi, struct mem_spans *usable)
{
	for (size_t i = 0; i < ram.n; i++)
		must(spans_add(usable, ram.span[i].start, ram.span[i].end));
	for (uint32_t i = 0; i < bi->nmodules; i++) {
		uint64_t start = bi->modules[i].start.v;

		must(spans_remove(usable, start, ALIGN_UP(start + bi->modules[i].size, PAGE_SIZE)));
	}
	for (unsigned i = 0; i < nzones; i++)
		must(spans_remove(usable, zones[i].state.start, zones[i].state.end));
	must(spans_remove(usable, 0, LOW_RESERVED));
	must(spans_remove(usable, image_phys.v, image_phys.v + (uint64_t)(image_end - image_start)));
}

static void warn_out_of_reach(const struct boot_info *bi)
{
	uint64_t limit = paging_physical_limit();

	for (uint32_t i = 0; i < bi->nranges; i++) {
		const struct mem_range *r = &bi->ranges[i];

		if (r->type == MEM_RAM && r->base + r->len > limit)
			unused(MAX(r->base, limit), r->base + r->len);
	}
}

/* Half of the RAM that can be written now may go into the zones' own state; from the rest come the page tables. */
static uint64_t state_budget(const struct mem_spans *usable)
{
	uint64_t total = 0;

	for (size_t i = 0; i < usable->n && usable->span[i].start < frames_early_limit(); i++)
		total += MIN(usable->span[i].end, frames_early_limit()) - usable->span[i].start;
	return total / 2;
}

/* Room for a zone's own state, in the largest piece of such RAM; false if none is large enough. */
static bool take_storage(struct mem_spans *usable, uint64_t *budget, uint64_t nframes, struct mem_span *out)
{
	uint64_t best = 0, bytes = ALIGN_UP(buddy_storage(nframes), PAGE_SIZE), early_limit = frames_early_limit();

	if (bytes > *budget)
		return false;
	for (size_t i = 0; i < usable->n; i++) {
		uint64_t start = usable->span[i].start, end = MIN(usable->span[i].end, early_limit);

		if (end > start && end - start >= bytes && end - start > best) {
			best = end - start;
			/* From the top: low memory is what picky devices need. */
			*out = (struct mem_span){ end - bytes, end };
		}
	}
	if (!best)
		return false;
	must(spans_remove(usable, out->start, out->end));
	*budget -= bytes;
	return true;
}

/* start is a multiple of ZONE_SIZE. RAM for which there is no room to manage it remains unused. */
static void add_zone(struct mem_spans *usable, uint64_t *budget, uint64_t start, uint64_t end)
{
	while (start < end && nzones < MAX_ZONES) {
		struct zone *z = &zones[nzones];
		uint64_t to = MIN(end, start + ZONE_MAX);
		bool ok = take_storage(usable, budget, (to - start) / PAGE_SIZE, &z->state);

		/* A part of it, then: the lower half, a quarter... */
		while (!ok && to - start > ZONE_SIZE) {
			to = start + ALIGN_UP((to - start) / 2, ZONE_SIZE);
			ok = take_storage(usable, budget, (to - start) / PAGE_SIZE, &z->state);
		}
		if (!ok)
			break;
		z->start = start;
		z->end = to;
		buddy_init(&z->buddy, start / PAGE_SIZE, (to - start) / PAGE_SIZE, phys_to_virt(HPA(z->state.start)));
		nzones++;
		start = to;
	}
	if (start < end)
		unused(start, end);
}

static void make_zones(struct mem_spans *usable)
{
	uint64_t start = 0, end = 0, budget = state_budget(usable);

	for (size_t i = 0; i < ram.n; i++) {
		uint64_t s = ALIGN_DOWN(ram.span[i].start, ZONE_SIZE), e = ram.span[i].end;

		if (end && s > ALIGN_UP(end, ZONE_SIZE)) {
			add_zone(usable, &budget, start, end);
			end = 0;
		}
		if (!end)
			start = s;
		end = e;
	}
	if (end)
		add_zone(usable, &budget, start, end);
}

static struct zone *zone_of(uint64_t pa)
{
	for (unsigned i = 0; i < nzones; i++)
		if (pa >= zones[i].start && pa < zones[i].end)
			return &zones[i];
	return NULL;
}

static void give(uint64_t start, uint64_t end)
{
	while (start < end) {
		struct zone *z = zone_of(start);
		uint64_t to = z ? MIN(end, z->end) : end;

		if (z)
			buddy_add(&z->buddy, start / PAGE_SIZE, (to - start) / PAGE_SIZE);
		start = to;
	}
}

static void give_usable(const struct mem_spans *usable, uint64_t from, uint64_t to)
{
	for (size_t i = 0; i < usable->n; i++)
		give(MAX(usable->span[i].start, from), MIN(usable->span[i].end, to));
}

void frames_init(const struct boot_info *bi)
{
	struct mem_span storage[MAX_SPANS];
	struct mem_spans usable = { storage, 0, MAX_SPANS };

	warn_out_of_reach(bi);
	find_usable(bi, &usable);
	make_zones(&usable);
	give_usable(&usable, 0, frames_early_limit());
	if (!frames_free_bytes())
		panic("the memory map has no usable RAM");
}

void frames_init_high(const struct boot_info *bi)
{
	struct mem_span storage[MAX_SPANS];
	struct mem_spans usable = { storage, 0, MAX_SPANS };

	find_usable(bi, &usable);
	spin_lock(&lock);
	give_usable(&usable, frames_early_limit(), UINT64_MAX);
	spin_unlock(&lock);
	log_info("frames", "event=memory total-kib=%lu free-kib=%lu zones=%u", (unsigned long)(frames_total_bytes() >> 10),
	         (unsigned long)(frames_free_bytes() >> 10), nzones);
}

const struct mem_spans *frames_ram(void) { return &ram; }

enum tf_err frame_alloc(unsigned order, hpa_t *out)
{
	enum tf_err e = TF_ENOMEM;
	uint64_t pfn;

#ifdef TF_TEST_HOOKS
	if (test_hook_frame_refused())
		return e;
#endif
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

struct each { frames_fn fn; void *ctx; };

static void each_free(void *ctx, uint64_t pfn, unsigned order)
{
	const struct each *each = ctx;

	each->fn(each->ctx, "free", pfn * PAGE_SIZE, (pfn + BIT(order)) * PAGE_SIZE);
}

void frames_each(frames_fn fn, void *ctx)
{
	struct each each = { fn, ctx };

	spin_lock(&lock);
	for (unsigned i = 0; i < nzones; i++) {
		fn(ctx, "allocator", zones[i].state.start, zones[i].state.end);
		buddy_each_free(&zones[i].buddy, each_free, &each);
	}
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
