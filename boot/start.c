/* The first C: from whatever the boot loader left to core_main(). */
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/gdt.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/percpu.h"
#include "arch/x86_64/tsc.h"
#include "boot/multiboot2.h"
#include "core/main.h"
#include "lib/memmap.h"
#include <tf/log.h>
#include <tf/string.h>

#define MBI_SIZE_FIELD sizeof(uint32_t)
#define EARLY_LIMIT    GiB(4) /* mapped by boot/entry.asm on any CPU */

static struct boot_info info;

/* Called by boot/entry.asm in long mode, on the early page tables and the boot stack. */
__noreturn void boot_start(uint32_t magic, uint64_t mbi_phys);

static __noreturn void refuse(const char *why)
{
	log_error("boot", "event=refused missing=usable boot information: %s", why);
	for (;;)
		__asm__ volatile("cli; hlt" : : : "memory");
}

/* What boot/entry.asm knows as numbers. */
_Static_assert((PHYSMAP_BASE >> 39 & 511) == 273 && (IMAGE_BASE >> 39 & 511) == 511 && (IMAGE_BASE >> 30 & 511) == 510,
               "entries of the early page tables");
_Static_assert(SEL_CODE64 == 0x08 && SEL_DATA == 0x10, "selectors of the first GDT");

/* The modules are about to be kept out of the allocator and read: they must be RAM, and apart from all else. */
static const char *check_modules(void)
{
	static struct mem_span storage[BOOT_MAX_RANGES + 2];
	struct mem_spans ram = { storage, 0, ARRAY_SIZE(storage) };
	uint64_t image = info.load_base.v;

	if (!memmap_ram(info.ranges, info.nranges, DEVICE_BASE - PHYSMAP_BASE, &ram) ||
	    !spans_remove(&ram, image, image + (uint64_t)(image_end - image_start)))
		return "the memory map has too many pieces";
	for (uint32_t i = 0; i < info.nmodules; i++) {
		uint64_t start = info.modules[i].start.v, end = start + info.modules[i].size;

		if (!IS_ALIGNED(start, PAGE_SIZE))
			return "a module does not begin on a page, as the header asks";
		if (end < start || !spans_contain(&ram, start, end))
			return "a module is not in RAM, or over the image";
		for (uint32_t j = 0; j < i; j++)
			if (start < info.modules[j].start.v + info.modules[j].size && info.modules[j].start.v < end)
				return "two modules overlap";
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
	if (multiboot2_parse(mbi, MIN((uint64_t)size, EARLY_LIMIT - mbi_phys), &info, &why) != TF_OK)
		refuse(why);
	info.load_base = image_phys; /* what is, rather than what was said */
	why = check_modules();
	if (why)
		refuse(why);
	core_main(&info);
}
