/* The UEFI memory map (UEFI Specification, "EFI_BOOT_SERVICES.GetMemoryMap()"), without the EFI headers. Pure. */
#pragma once
#include <tf/bootinfo.h>

struct efi_map {
	const uint8_t *descriptors; /* as the firmware wrote them */
	size_t size;                /* of all, in bytes */
	size_t descriptor_size;     /* from one to the next: larger than the structure that is known today */
};

/*
 * What is left for an operating system once boot services have ended (ACPI Specification 6.5, "UEFI Memory Types and
 * mapping to ACPI address range types"): sorted, neighbours of one kind merged. Returns the number of ranges; ranges for
 * which there is no room are left out, and *cut is set.
 */
uint32_t efi_map_convert(const struct efi_map *map, struct mem_range *out, uint32_t max, bool *cut);

/*
 * A free place (EfiConventionalMemory) of `size` bytes at a multiple of `align`, a power of two, inside
 * [lowest, highest]: the lowest one, or the highest. False if there is none.
 */
__must_check bool efi_map_find(const struct efi_map *map, uint64_t size, uint64_t align, uint64_t lowest, uint64_t highest,
			       bool prefer_high, uint64_t *at);
