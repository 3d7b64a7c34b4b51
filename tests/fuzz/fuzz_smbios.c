/* The input is taken as a table, and, with its checksums made right, as a BIOS area to search. */
#include "drivers/smbios.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_string(const char *s)
{
	size_t n = strnlen(s, SMBIOS_STRING);

	if (n == SMBIOS_STRING || (n && (s[0] == ' ' || s[n - 1] == ' ')))
		abort();
	for (size_t i = 0; i < n; i++)
		if (s[i] < ' ' || s[i] > '~' || s[i] == '"' || s[i] == '\\')
			abort();
}

/* Without help no input would get past the checksum. */
static void fix(uint8_t *p, size_t size)
{
	for (size_t at = 0; at + 32 <= size; at += 16) {
		size_t length = !memcmp(p + at, "_SM3_", 5) ? p[at + 6] : !memcmp(p + at, "_SM_", 4) ? p[at + 5] : 0;
		size_t checksum = p[at + 3] == '3' ? 5 : 4;
		uint8_t sum = 0;

		if (length < checksum || length > size - at)
			continue;
		for (size_t i = 0; i < length; i++)
			sum += p[at + i];
		p[at + checksum] -= sum;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);
	struct smbios_entry e;
	struct smbios_info i;

	if (!copy)
		return 0;
	if (size)
		memcpy(copy, data, size);
	smbios_parse(copy, size, &i);
	check_string(i.vendor);
	check_string(i.product);
	check_string(i.board);
	check_string(i.bios);
	check_string(i.date);
	fix(copy, size);
	if (smbios_find(copy, size, &e) == TF_OK && (!e.table.v || !e.len || e.len > SMBIOS_TABLE_MAX))
		abort();
	free(copy);
	return 0;
}
