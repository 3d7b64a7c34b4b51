/* What the boot loader said, checked and in our own words. */
#pragma once
#include <tf/types.h>

enum mem_type { MEM_RAM = 1, MEM_RESERVED = 2, MEM_ACPI = 3, MEM_NVS = 4, MEM_BAD = 5 };
struct mem_range { uint64_t base, len; enum mem_type type; };

#define BOOT_MAX_RANGES  256
#define BOOT_MAX_MODULES 64
#define BOOT_STRING      512

struct boot_module {
	hpa_t start;
	uint64_t size;
	char name[BOOT_STRING]; /* the module's string: by our convention the file's name, then arguments */
};

struct boot_info {
	struct mem_range ranges[BOOT_MAX_RANGES]; /* as the loader gave them, in its order; overlaps are possible */
	uint32_t nranges;
	struct boot_module modules[BOOT_MAX_MODULES];
	uint32_t nmodules;
	char cmdline[BOOT_STRING];
	char loader[64];
	bool has_rsdp;
	uint8_t rsdp[36]; /* the loader's copy of the RSDP, zero-padded; verified by drivers/acpi.c, not here */
	hpa_t load_base;  /* where the image really is (multiboot2 "image load base physical address") */
};
