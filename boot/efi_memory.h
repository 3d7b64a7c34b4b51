/* One entry of the UEFI memory map (UEFI Specification, "EFI_BOOT_SERVICES.GetMemoryMap()"). */
#pragma once
#include <tf/bootinfo.h>

enum efi_memory_type {
	EFI_LOADER_CODE = 1,
	EFI_LOADER_DATA = 2,
	EFI_BOOT_SERVICES_CODE = 3,
	EFI_BOOT_SERVICES_DATA = 4,
	EFI_CONVENTIONAL = 7,
	EFI_UNUSABLE = 8,
	EFI_ACPI_RECLAIM = 9,
	EFI_ACPI_NVS = 10,
};

#define EFI_ATTRIBUTE_WB BIT(3)
#define EFI_ATTRIBUTE_SP BIT(18) /* kept for a specific purpose */

struct efi_descriptor { uint32_t type, padding; uint64_t start, virtual_start, pages, attributes; };

_Static_assert(sizeof(struct efi_descriptor) == 40, "as in the UEFI Specification");

/* ACPI Specification 6.5, "UEFI Memory Types and mapping to ACPI address range types", after ExitBootServices(). */
static inline enum mem_type efi_mem_type(const struct efi_descriptor *d)
{
	switch (d->type) {
	case EFI_LOADER_CODE:
	case EFI_LOADER_DATA:
	case EFI_BOOT_SERVICES_CODE:
	case EFI_BOOT_SERVICES_DATA:
	case EFI_CONVENTIONAL:
		/* Memory that cannot be cached write-back is no RAM to work with. */
		return (d->attributes & (EFI_ATTRIBUTE_WB | EFI_ATTRIBUTE_SP)) == EFI_ATTRIBUTE_WB ? MEM_RAM : MEM_RESERVED;
	case EFI_UNUSABLE:
		return MEM_BAD;
	case EFI_ACPI_RECLAIM:
		return MEM_ACPI;
	case EFI_ACPI_NVS:
		return MEM_NVS;
	default:
		return MEM_RESERVED;
	}
}
