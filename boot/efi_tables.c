#include "boot/efi_tables.h"
#include <tf/string.h>

#define SYSTEM_TABLE_SIGNATURE 0x5453595320494249ull /* "IBI SYST" */
#define MAX_TABLES             1024

struct efi_system_table {
	uint64_t signature;
	uint32_t revision, header_size, crc32, reserved;
	uint64_t vendor;
	uint32_t firmware_revision, pad;
	uint64_t consoles[6], runtime_services, boot_services, ntables, tables;
};
struct efi_guid { uint8_t byte[16]; };
struct efi_configuration_table { struct efi_guid guid; uint64_t table; };

_Static_assert(sizeof(struct efi_system_table) == 120 && sizeof(struct efi_configuration_table) == 24,
	       "as in the specification");

/* UEFI Specification, "EFI Configuration Table & Properties Table": SMBIOS3_TABLE_GUID, SMBIOS_TABLE_GUID */
static const struct efi_guid smbios3 = { { 0x44, 0x15, 0xfd, 0xf2, 0x94, 0x97, 0x2c, 0x4a,
					   0x99, 0x2e, 0xe5, 0xbb, 0xcf, 0x20, 0xe3, 0x94 } };
static const struct efi_guid smbios = { { 0x31, 0x2d, 0x9d, 0xeb, 0x88, 0x2d, 0xd3, 0x11,
					  0x9a, 0x16, 0x00, 0x90, 0x27, 0x3f, 0xc1, 0x4d } };

hpa_t efi_find_smbios(hpa_t system_table, efi_map_fn map, void *ctx)
{
	const uint8_t *at = map(ctx, system_table, sizeof(struct efi_system_table));
	struct efi_configuration_table entry;
	struct efi_system_table st;
	uint64_t found = 0;

	if (!at)
		return HPA(0);
	memcpy(&st, at, sizeof(st));
	if (st.signature != SYSTEM_TABLE_SIGNATURE || !st.ntables || st.ntables > MAX_TABLES)
		return HPA(0);
	at = map(ctx, HPA(st.tables), st.ntables * sizeof(entry));
	for (uint64_t i = 0; at && i < st.ntables; i++) {
		memcpy(&entry, at + i * sizeof(entry), sizeof(entry));
		if (!memcmp(&entry.guid, &smbios3, sizeof(smbios3)))
			return HPA(entry.table);
		if (!memcmp(&entry.guid, &smbios, sizeof(smbios)))
			found = entry.table;
	}
	return HPA(found);
}
