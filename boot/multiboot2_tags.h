/* The form of the boot information (Multiboot2 Specification 2.0, "Boot information format"). */
#pragma once
#include <tf/types.h>

enum mb2_tag_type {
	TAG_END = 0,
	TAG_CMDLINE = 1,
	TAG_LOADER_NAME = 2,
	TAG_MODULE = 3,
	TAG_MMAP = 6,
	TAG_FRAMEBUFFER = 8,
	TAG_EFI32 = 11,
	TAG_EFI64 = 12,
	TAG_ACPI_OLD = 14,
	TAG_ACPI_NEW = 15,
	TAG_EFI_MMAP = 17,
	TAG_EFI_BOOT_SERVICES = 18,
	TAG_LOAD_BASE = 21,
};

#define TAG_ALIGN 8 /* of each tag; its size does not count the padding */

struct mb2_header { uint32_t total_size, reserved; };
struct mb2_tag { uint32_t type, size; };
struct mb2_module { uint32_t start, end; }; /* then the string */
struct mb2_mmap { uint32_t entry_size, entry_version; }; /* then the entries; so too in "EFI memory map" */
struct mb2_mmap_entry { uint64_t base, len; uint32_t type, reserved; };
struct mb2_load_base { uint32_t address; };

_Static_assert(sizeof(struct mb2_mmap_entry) == 24, "as in the specification");
