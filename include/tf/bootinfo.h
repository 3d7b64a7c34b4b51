/* What the boot loader said, checked and in our own words. */
#pragma once
#include <tf/types.h>

enum mem_type { MEM_RAM = 1, MEM_RESERVED = 2, MEM_ACPI = 3, MEM_NVS = 4, MEM_BAD = 5 };
struct mem_range { uint64_t base, len; enum mem_type type; };

#define BOOT_MAX_RANGES  512
#define BOOT_MAX_MODULES 64
#define BOOT_STRING      512
#define BOOT_NAME        256

struct boot_module {
	hpa_t start;
	uint64_t size;
	char name[BOOT_NAME]; /* the first word of the module's string: by our convention the file's name */
};

/* The screen that the loader left on (multiboot2 "Framebuffer info"). */
enum boot_screen_kind { BOOT_SCREEN_NONE, BOOT_SCREEN_RGB, BOOT_SCREEN_INDEXED, BOOT_SCREEN_TEXT };
struct boot_colour { uint8_t shift, bits; }; /* of a direct colour field in a pixel */

struct boot_screen {
	enum boot_screen_kind kind;
	hpa_t base;
	uint32_t pitch;         /* bytes from one line to the next */
	uint32_t width, height; /* pixels; characters where the kind is TEXT */
	uint8_t bpp;            /* bits per pixel: 8, 15, 16, 24 or 32; 16 where the kind is TEXT */
	struct boot_colour red, green, blue; /* RGB only */
	uint8_t black, white;   /* INDEXED only: the palette's darkest and lightest entry */
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
	struct boot_screen screen;
	bool efi;         /* started by UEFI: no BIOS area to search */
	hpa_t efi_system_table; /* 64-bit UEFI's; 0 if the loader gave none */
	hpa_t smbios;     /* the entry point structure, from UEFI's configuration table; 0: none, or started by a BIOS */
	hpa_t load_base;  /* where the image really is (multiboot2 "image load base physical address") */
};
