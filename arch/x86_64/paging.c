/* SDM 3A, "4-Level Paging and 5-Level Paging" */
#include "arch/x86_64/paging.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/frames.h"
#include "arch/x86_64/gdt.h"
#include "arch/x86_64/lock.h"
#include "arch/x86_64/pte.h"
#include <tf/log.h>
#include <tf/panic.h>
#include <tf/string.h>

/* By PAGING_PAT neither PCD nor PWT is WB, PWT alone WC, and both together UC, whatever the MTRRs say of the last two. */
#define MAP_DEVICE (PTE_P | PTE_W | PTE_PCD | PTE_PWT | PTE_G | PTE_NX)
#define MAP_SCREEN (PTE_P | PTE_W | PTE_PWT | PTE_G | PTE_NX)
#define MAP_DATA   (PTE_P | PTE_W | PTE_G | PTE_NX)
#define MAP_RODATA (PTE_P | PTE_G | PTE_NX)
#define MAP_TEXT   (PTE_P | PTE_G)

#define LEVELS      4 /* 1 is the page table, 4 the PML4 */
#define DEVICE_SIZE GiB(64)
#define SCREEN_MAX  MiB(256)
#define CPUID_ADDRESS_SIZES 0x80000008u
#define FIRMWARE_MAX_LEN  MiB(16)
#define FIRMWARE_MAX_MAPS 256 /* a server has a hundred ACPI tables, each in pages of its own */

static struct spinlock lock = SPINLOCK_INIT(RANK_PAGING); /* the tables, next_va, firmware */
static uint64_t *root;                       /* NULL: still on the early tables */
static bool has_1g;
static uint64_t next_va = DEVICE_BASE;
static const struct boot_info *boot;
static struct { uint64_t phys, len, va; } firmware[FIRMWARE_MAX_MAPS];
static unsigned nfirmware;
hpa_t image_phys;

uint64_t paging_physical_limit(void)
{
	return MIN(BIT(cpuid(CPUID_ADDRESS_SIZES, 0).eax & 0xff), DEVICE_BASE - PHYSMAP_BASE);
}

static unsigned level_shift(unsigned level) { return PAGE_SHIFT + 9 * (level - 1); }

static uint64_t *new_table(void)
{
	hpa_t p;

	if (frame_alloc_zero(&p) != TF_OK)
		panic("no memory for the hypervisor's page tables");
	return phys_to_virt(p);
}

/* The entry for `va` at `level`, with what is missing above it made if `create`; NULL if it is missing. */
static uint64_t *entry_of(uint64_t va, unsigned level, bool create)
{
	uint64_t *table = root;

	for (unsigned l = LEVELS;; l--) {
		uint64_t *e = &table[va >> level_shift(l) & 511];

		if (l == level)
			return e;
		if (!(*e & PTE_P)) {
			if (!create)
				return NULL;
			*e = virt_to_phys(new_table()).v | PTE_P | PTE_W;
		} else if (*e & PTE_PS) {
			ASSERT(!create);
			return NULL;
		}
		table = phys_to_virt(HPA(*e & PTE_ADDR));
	}
}

/* Maps in the largest pages that fit. Nothing may be mapped there yet. */
static void map(uint64_t va, uint64_t pa, uint64_t len, uint64_t flags)
{
	ASSERT(IS_ALIGNED(va | pa | len, PAGE_SIZE));
	while (len) {
		unsigned level = has_1g ? 3 : 2;

		while (level > 1 && (!IS_ALIGNED(va | pa, BIT(level_shift(level))) || len < BIT(level_shift(level))))
			level--;
		uint64_t *e = entry_of(va, level, true), size = BIT(level_shift(level));
		ASSERT(!*e);
		*e = pa | flags | (level > 1 ? PTE_PS : 0);
		va += size;
		pa += size;
		len -= size;
	}
}

static void map_image(const char *start, const char *end, uint64_t flags)
{
	for (const char *p = start; p < end; p += PAGE_SIZE)
		*entry_of((uint64_t)p, 1, true) = virt_to_phys(p).v | flags;
}

static void map_image_stack(const void *guard, const void *end)
{
	const char *bottom = (const char *)guard + PAGE_SIZE;

	*entry_of((uint64_t)guard, 1, true) = PTE_GUARD;
	map_image(bottom, end, MAP_DATA | PTE_STACK);
}

static void map_physmap(const struct mem_spans *ram)
{
	uint64_t image = image_phys.v, after = image + (uint64_t)(image_end - image_start);

	/* Less the image, whose text must not be writable by another name. */
	for (size_t i = 0; i < ram->n; i++) {
		uint64_t start = ram->span[i].start, end = ram->span[i].end;

		if (start < MIN(end, image))
			map(PHYSMAP_BASE + start, start, MIN(end, image) - start, MAP_DATA);
		if (MAX(start, after) < end)
			map(PHYSMAP_BASE + MAX(start, after), MAX(start, after), end - MAX(start, after), MAP_DATA);
	}
}

void paging_init(const struct boot_info *bi)
{
	boot = bi;
	has_1g = cpuid(CPUID_EXTENDED, 0).edx & CPUID_EXT_EDX_PAGE1GB;
	root = new_table();
	map_image(text_start, text_end, MAP_TEXT);
	map_image(rodata_start, rodata_end, MAP_RODATA);
	map_image(data_start, image_end, MAP_DATA);
	map_image_stack(boot_stack_guard, boot_stack_top);
	for (unsigned i = 0; i < IST_COUNT; i++)
		map_image_stack(boot_ist_stacks[i], boot_ist_stacks[i] + sizeof(boot_ist_stacks[i]));
	map_physmap(frames_ram());
	write_cr3(virt_to_phys(root).v);
	frames_init_high(bi);
}

hpa_t virt_to_phys(const void *v)
{
	uint64_t va = (uint64_t)v;

	if (va >= IMAGE_BASE) {
		ASSERT(va < (uint64_t)image_end);
		return HPA(va - IMAGE_BASE + image_phys.v);
	}
	ASSERT(va >= PHYSMAP_BASE && va < DEVICE_BASE);
	return HPA(va - PHYSMAP_BASE);
}

/* Takes address space for good; 0 if there is none left. */
static uint64_t take_va(uint64_t len)
{
	uint64_t va = next_va;

	if (len > DEVICE_BASE + DEVICE_SIZE - va)
		return 0;
	next_va += len;
	return va;
}

/*
 * Outside RAM, as nowhere may one byte have two memory types; NULL if that is not so, or out of reach. 4 KiB pages: large
 * ones would need the same memory type all over (MTRRs).
 */
static void *map_pages(uint64_t base, uint64_t len, uint64_t flags)
{
	uint64_t start = ALIGN_DOWN(base, PAGE_SIZE), limit = paging_physical_limit();

	ASSERT(root);
	if (base >= limit || len > limit - base || spans_overlap(frames_ram(), base, base + len))
		return NULL;
	uint64_t size = ALIGN_UP(base + len, PAGE_SIZE) - start;
	spin_lock(&lock);
	uint64_t va = take_va(size);
	for (uint64_t o = 0; va && o < size; o += PAGE_SIZE)
		map(va + o, start + o, PAGE_SIZE, flags);
	spin_unlock(&lock);
	return va ? (void *)(va + (base - start)) : NULL;
}

void *paging_map_device(hpa_t base, size_t len)
{
	void *p = map_pages(base.v, len, MAP_DEVICE);

	if (!p)
		log_warn("paging", "event=device-unreachable address=0x%lx size=0x%lx", base.v, len);
	return p;
}

void *paging_map_framebuffer(hpa_t base, size_t len)
{
	return len > SCREEN_MAX ? NULL : map_pages(base.v, len, MAP_SCREEN);
}

/* Does the memory map say that something is there? Below 1 MiB there is the BIOS, which some maps leave out. */
static bool readable(uint64_t start, uint64_t end)
{
	if (end <= MiB(1))
		return true;
	for (uint32_t i = 0; i < boot->nranges; i++) {
		const struct mem_range *r = &boot->ranges[i];

		if (r->type != MEM_BAD && start >= r->base && start - r->base < r->len && end - start <= r->len - (start - r->base))
			return true;
	}
	return false;
}

const void *paging_map_firmware(hpa_t base, size_t len)
{
	uint64_t start = ALIGN_DOWN(base.v, PAGE_SIZE), va = 0;

	ASSERT(root);
	if (!len || len > FIRMWARE_MAX_LEN || base.v > paging_physical_limit() - FIRMWARE_MAX_LEN ||
	    !readable(base.v, base.v + len))
		return NULL;
	if (spans_contain(frames_ram(), base.v, base.v + len) &&
	    (base.v + len <= image_phys.v || base.v >= image_phys.v + (uint64_t)(image_end - image_start)))
		return phys_to_virt(base);

	uint64_t size = ALIGN_UP(base.v + len, PAGE_SIZE) - start;
	spin_lock(&lock);
	for (unsigned i = 0; i < nfirmware && !va; i++)
		if (start >= firmware[i].phys && start - firmware[i].phys <= firmware[i].len &&
		    size <= firmware[i].len - (start - firmware[i].phys))
			va = firmware[i].va + (start - firmware[i].phys);
	if (!va && nfirmware < FIRMWARE_MAX_MAPS && (va = take_va(size))) {
		for (uint64_t o = 0; o < size; o += PAGE_SIZE)
			map(va + o, start + o, PAGE_SIZE, MAP_RODATA);
		firmware[nfirmware].phys = start;
		firmware[nfirmware].len = size;
		firmware[nfirmware++].va = va;
	}
	spin_unlock(&lock);
	return va ? (const void *)(va + (base.v - start)) : NULL;
}

enum tf_err stack_alloc(unsigned pages, uint64_t *top)
{
	hpa_t p;

	ASSERT(root);
	spin_lock(&lock);
	uint64_t guard = take_va((pages + 1) * PAGE_SIZE), first = guard + PAGE_SIZE, done = 0;
	while (guard && done < pages && frame_alloc(0, &p) == TF_OK)
		map(first + done++ * PAGE_SIZE, p.v, PAGE_SIZE, MAP_DATA | PTE_STACK);
	if (guard && done == pages) {
		*entry_of(guard, 1, true) = PTE_GUARD;
	} else {
		while (done) {
			uint64_t va = first + --done * PAGE_SIZE, *e = entry_of(va, 1, false);

			frame_free(HPA(*e & PTE_ADDR), 0);
			*e = 0;
			invlpg((void *)va);
		}
		guard = 0;
	}
	spin_unlock(&lock);
	*top = first + pages * PAGE_SIZE;
	return guard ? TF_OK : TF_ENOMEM;
}

/* Is `va` canonical and in the upper half, so that it has an entry at all? */
static uint64_t leaf_entry(uint64_t va)
{
	uint64_t *e = root && va >> 47 == 0x1ffff ? entry_of(va, 1, false) : NULL;

	return e ? *e : 0;
}

bool stack_guard_hit(uint64_t va)
{
	uint64_t e = leaf_entry(va);

	return !(e & PTE_P) && (e & PTE_GUARD);
}

bool stack_contains(uint64_t va)
{
	uint64_t e = leaf_entry(va);

	if (!root) {
		uint64_t ist = (uint64_t)boot_ist_stacks;

		return (va >= (uint64_t)boot_stack && va < (uint64_t)boot_stack_top) ||
		       (va >= ist && va < ist + sizeof(boot_ist_stacks));
	}
	return (e & PTE_P) && (e & PTE_STACK);
}
