/*
 * A reader of 4-level tables as the CPU reads them, for an audit: it knows nothing of the code that made them. The tables
 * of 4-level paging and of EPT differ in what their bits mean; `struct table_format` says that. Pure.
 */
#pragma once
#include <tf/types.h>

#define TABLE_ENTRIES 512
#define TABLE_LEVELS  4 /* level 0 has the 4 KiB pages, level 3 is the root */
#define TABLE_LARGE   BIT(7)
#define TABLE_ADDR    0x000ffffffffff000ull

struct table_format {
	uint64_t present;  /* any of these bits: the entry counts */
	uint64_t rights;   /* bits that hold if they do on all levels... */
	uint64_t inverted; /* ...and of these the ones where 0 grants and 1 denies */
	/* What is wrong with a present entry by the CPU's rules; NULL: nothing. */
	const char *(*wrong)(uint64_t entry, unsigned level, bool leaf, unsigned phys_bits);
};

struct table_leaf {
	uint64_t addr;   /* where it is: the bits that index the tables, not sign-extended */
	uint64_t frame, size;
	uint64_t entry;
	uint64_t rights; /* `rights` of the format as all levels grant them, 1 for granted */
};

struct table_walk {
	const struct table_format *format;
	unsigned phys_bits;
	void *ctx;
	/* The table in this frame. NULL: it is none that may be read, and the walk goes on behind it. */
	const uint64_t *(*table)(void *ctx, uint64_t frame, uint64_t addr);
	void (*leaf)(void *ctx, const struct table_leaf *leaf);
	void (*wrong)(void *ctx, uint64_t addr, uint64_t entry, const char *what);
};

/* Calls `table` for each table, the root first, and `leaf` for each page, in order of address. */
void table_walk(const struct table_walk *w, uint64_t root);
static inline uint64_t table_level_size(unsigned level) { return BIT(PAGE_SHIFT + 9 * level); }
