/*
 * What the firmware calls the machine and itself (DSP0134, "System Management BIOS Reference Specification"), for one
 * line of the log. Untrusted bytes. Pure: the caller maps the memory.
 */
#pragma once
#include <tf/err.h>

#define SMBIOS_ENTRY_MAX 32 /* bytes of an entry point that matter */
#define SMBIOS_TABLE_MAX 0x40000u
#define SMBIOS_STRING    41

struct smbios_entry {
	hpa_t table;
	uint32_t len; /* at most SMBIOS_TABLE_MAX */
	uint8_t major, minor;
};

/* Printable ASCII without quotes and backslashes; empty where the firmware says nothing. */
struct smbios_info {
	char vendor[SMBIOS_STRING], product[SMBIOS_STRING], board[SMBIOS_STRING], bios[SMBIOS_STRING], date[SMBIOS_STRING];
};

/* Reads the entry point structure at the start of buf, 32-bit or 64-bit. TF_ENOENT: there is none; TF_ECSUM, TF_EINVAL. */
__must_check enum tf_err smbios_read_entry(const uint8_t *buf, size_t len, struct smbios_entry *out);
/* Searches one in the BIOS area buf[0..len) (physical F0000h up) at 16-byte steps; a 64-bit one is preferred. */
__must_check enum tf_err smbios_find(const uint8_t *buf, size_t len, struct smbios_entry *out);
/* Takes what there is, up to the first structure that is cut off. */
void smbios_parse(const uint8_t *table, size_t len, struct smbios_info *out);
