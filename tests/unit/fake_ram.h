/*
 * Guest RAM for the loaders' tests: 636 KiB, a hole, then `high` bytes from 1 MiB. Exactly sized, so that ASan sees a
 * step outside. The loaders get it a page at a time: guest RAM promises no more than that to be in one piece.
 */
#pragma once
#include "guest/load.h"
#include <stdlib.h>

#define FAKE_LOW      0x9f000ull
#define FAKE_ACPI     0xe0000ull
#define FAKE_ACPI_LEN 0x20000ull

struct fake_ram {
	uint8_t *low, *high, *acpi;
	uint64_t high_len;
	struct mem_range map[3];
	struct load_mem mem;
};

static inline void *fake_piece(uint8_t *p, uint64_t base, uint64_t size, uint64_t gpa, uint64_t len)
{
	return gpa >= base && gpa - base <= size && len <= size - (gpa - base) ? p + (gpa - base) : NULL;
}

static inline void *fake_at(void *ctx, gpa_t gpa, uint64_t len)
{
	struct fake_ram *r = ctx;
	void *p = fake_piece(r->low, 0, FAKE_LOW, gpa.v, len);

	if (!p)
		p = fake_piece(r->acpi, FAKE_ACPI, FAKE_ACPI_LEN, gpa.v, len);
	return p ? p : fake_piece(r->high, MiB(1), r->high_len, gpa.v, len);
}

/* The loaders' view: nothing that crosses a page. */
static inline void *fake_window(void *ctx, gpa_t gpa, uint64_t len)
{
	return (gpa.v & (PAGE_SIZE - 1)) + len <= PAGE_SIZE ? fake_at(ctx, gpa, len) : NULL;
}

static inline void fake_ram_init(struct fake_ram *r, uint64_t high)
{
	r->low = calloc(1, FAKE_LOW);
	r->acpi = calloc(1, FAKE_ACPI_LEN);
	r->high = calloc(1, high);
	r->high_len = high;
	r->map[0] = (struct mem_range){ 0, FAKE_LOW, MEM_RAM };
	r->map[1] = (struct mem_range){ FAKE_ACPI, FAKE_ACPI_LEN, MEM_RESERVED };
	r->map[2] = (struct mem_range){ MiB(1), high, MEM_RAM };
	r->mem = (struct load_mem){ .ctx = r, .at = fake_window, .map = r->map, .nmap = 3, .rsdp = GPA(FAKE_ACPI) };
}

static inline void fake_ram_free(struct fake_ram *r)
{
	free(r->low);
	free(r->acpi);
	free(r->high);
}
