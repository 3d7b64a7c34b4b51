/* Shared by the files that read the host's ACPI tables; nobody else includes it. */
#pragma once
#include "drivers/acpi.h"
#include <tf/string.h>

struct acpi_header {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem_id[6], oem_table_id[8];
	uint32_t oem_revision, creator_id, creator_revision;
} __packed;

struct gas { /* Generic Address Structure */
	uint8_t space, bit_width, bit_offset, access_size;
	uint64_t address;
} __packed;

_Static_assert(sizeof(struct acpi_header) == 36, "ACPI 6.5");

struct acpi_parser {
	acpi_map_fn map;
	void *ctx;
	struct acpi_info *out;
	const char *why; /* the first thing that was wrong */
	uint32_t have;   /* which tables: bits by number in acpi.c's list */
};

struct acpi_table { const uint8_t *p; size_t len; };

static inline void acpi_complain(struct acpi_parser *a, const char *why)
{
	if (!a->why)
		a->why = why;
}

/* Reads the fixed part of a table. Older revisions are shorter: what is not there reads as 0. */
static inline void acpi_read_fixed(const struct acpi_table *t, void *out, size_t size)
{
	size_t have = MIN(size, t->len);

	memcpy(out, t->p, have);
	memset((uint8_t *)out + have, 0, size - have);
}

/* Takes CPUs, I/O APICs and interrupt overrides from a MADT whose length and checksum are right. */
void acpi_parse_madt(struct acpi_parser *a, const struct acpi_table *t);
/* Take the serial lines that Trefoil can drive from an SPCR and a DBG2. */
void acpi_parse_spcr(struct acpi_parser *a, const struct acpi_table *t);
void acpi_parse_dbg2(struct acpi_parser *a, const struct acpi_table *t);
