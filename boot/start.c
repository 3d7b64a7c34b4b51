/* The first C: from whatever the boot loader left to core_main(). */
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/frames.h"
#include "arch/x86_64/gdt.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/percpu.h"
#include "arch/x86_64/tsc.h"
#include "boot/efi_tables.h"
#include "boot/multiboot2.h"
#include "core/main.h"
#include "core/screen.h"
#include "core/stop.h"
#include "lib/memmap.h"
#include <tf/string.h>

#define MBI_SIZE_FIELD sizeof(uint32_t)
#define REFUSAL_MAX    128
#define EARLY_LIMIT    GiB(4) /* mapped by boot/entry.asm on any CPU */

static struct boot_info info;

/* Called by boot/entry.asm in long mode, on the early page tables and the boot stack. */
__noreturn void boot_start(uint32_t magic, uint64_t mbi_phys);

static __noreturn void refuse(const char *why)
{
	char missing[REFUSAL_MAX];

	tf_snprintf(missing, sizeof(missing), "usable boot information: %s", why);
	core_refuse(missing, "start Trefoil with GRUB 2 (`multiboot2`) or with its own EFI loader, see README.md");
}

/* What boot/entry.asm knows as numbers. */
_Static_assert((PHYSMAP_BASE >> 39 & 511) == 273 && (IMAGE_BASE >> 39 & 511) == 511 && (IMAGE_BASE >> 30 & 511) == 510,
               "entries of the early page tables");
_Static_assert(SEL_CODE64 == 0x08 && SEL_DATA == 0x10, "selectors of the first GDT");

/* The modules are about to be kept out of the allocator and read: they must be RAM, and apart from all else. */
static const char *check_modules(void)
{
	uint64_t image = image_phys.v, image_after = image + (uint64_t)(image_end - image_start);

	for (uint32_t i = 0; i < info.nmodules; i++) {
		uint64_t start = info.modules[i].start.v, end = start + info.modules[i].size;

		if (!IS_ALIGNED(start, PAGE_SIZE))
			return "a module does not begin on a page, as the header asks";
		if (end < start || !spans_contain(frames_ram(), start, end) || (start < image_after && image < end))
			return "a module is not in RAM, or over the image";
		for (uint32_t j = 0; j < i; j++)
			if (start < info.modules[j].start.v + info.modules[j].size && info.modules[j].start.v < end)
				return "two modules overlap";
	}
	return NULL;
}

/* Whoever draws on it must not draw into RAM. */
static bool screen_in_ram(const struct boot_screen *s)
{
	return spans_overlap(frames_ram(), s->base.v, s->base.v + (uint64_t)s->pitch * s->height);
}

/* For what firmware left in memory, on the early page tables. */
static const void *map_early(void *ctx, hpa_t addr, size_t len)
{
	(void)ctx;
	for (uint32_t i = 0; i < info.nranges; i++) {
		const struct mem_range *r = &info.ranges[i];
		uint64_t end = MIN(r->base + r->len, frames_early_limit());

		if (r->type != MEM_BAD && addr.v >= r->base && addr.v < end && len <= end - addr.v)
			return phys_to_virt(addr);
	}
	return NULL;
}

void boot_start(uint32_t magic, uint64_t mbi_phys)
{
	const char *why = "its address is wrong";
	uint32_t size;

	tsc_boot = rdtsc();
	percpu_init_boot();
	if (magic != MULTIBOOT2_BOOTLOADER_MAGIC)
		refuse("it is not from a multiboot2 loader");
	if (!mbi_phys || mbi_phys > EARLY_LIMIT - MBI_SIZE_FIELD)
		refuse(why);
	const uint8_t *mbi = phys_to_virt(HPA(mbi_phys));
	memcpy(&size, mbi, sizeof(size));
	enum tf_err e = multiboot2_parse(mbi, MIN((uint64_t)size, EARLY_LIMIT - mbi_phys), &info, &why);
	info.load_base = image_phys; /* what is, rather than what was said */
	if (e == TF_OK && !frames_find_ram(&info))
		why = "the memory map has too many pieces";
	if (screen_in_ram(&info.screen))
		info.screen.kind = BOOT_SCREEN_NONE;
	screen_init(&info.screen); /* first of all, so that a refusal can be read there */
	if (!why)
		why = check_modules();
	if (why)
		refuse(why);
	if (info.efi_system_table.v)
		info.smbios = efi_find_smbios(info.efi_system_table, map_early, NULL);
	core_main(&info);
}
