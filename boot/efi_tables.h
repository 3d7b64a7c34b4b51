/* What 64-bit UEFI leaves behind for an operating system (UEFI Specification, "EFI System Table"). Untrusted. Pure. */
#pragma once
#include <tf/types.h>

/* Maps [addr, addr + len) for reading; NULL if that is not readable memory. */
typedef const void *(*efi_map_fn)(void *ctx, hpa_t addr, size_t len);

/* The SMBIOS entry point, the 64-bit one if there are both; 0 if there is none, or the tables are not what they should be. */
hpa_t efi_find_smbios(hpa_t system_table, efi_map_fn map, void *ctx);
