/* Ranges of ports or guest-physical addresses and the devices behind them. */
#pragma once
#include <tf/dev.h>
#include <tf/err.h>

#define BUS_MAX_RANGES 32

struct bus_range {
	uint64_t base, len;
	dev_access_fn fn;
	void *dev;
	uint8_t width; /* the widest access that the device takes at once; wider ones arrive in pieces */
};

struct bus {
	struct bus_range ranges[BUS_MAX_RANGES]; /* sorted, not overlapping */
	uint32_t n, last;
	uint64_t absent; /* accesses that no device answered */
};

__must_check enum tf_err bus_add(struct bus *b, uint64_t base, uint64_t len, dev_access_fn fn, void *dev, uint8_t width);
/* The range that holds addr, or NULL. */
struct bus_range *bus_find(struct bus *b, uint64_t addr);
/* One access of 1 to 8 bytes at an absolute address (in a->offset). Where nothing answers, a read gives ones. */
void bus_access(struct bus *b, struct dev_access *a);
