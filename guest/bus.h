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
	struct bus_range ranges[BUS_MAX_RANGES]; /* sorted, not overlapping; none is added once the guest runs */
	uint32_t n;
	struct bus_range apart; /* what takes accesses that no range takes as a whole: byte by byte */
	uint64_t absent; /* accesses that no device answered; atomic */
};

/* Where accesses lead to: what somebody who makes them has found out lately. To be filled with ones at first. */
#define BUS_HINTS 32
#define BUS_KEY(addr, size) ((addr) << 3 | ((size) - 1))
struct bus_hints { struct { uint64_t key; const struct bus_range *range; } at[BUS_HINTS]; };

__must_check enum tf_err bus_add(struct bus *b, uint64_t base, uint64_t len, dev_access_fn fn, void *dev, uint8_t width);
/* The range that holds addr, or NULL. */
const struct bus_range *bus_find(const struct bus *b, uint64_t addr);
/* What takes an access of 1 to 8 bytes at `addr`, its offset counted from the base; NULL if nothing answers. Needs no lock. */
const struct bus_range *bus_search(const struct bus *b, struct bus_hints *h, uint64_t addr, unsigned size);
static inline const struct bus_range *bus_look(const struct bus *b, struct bus_hints *h, uint64_t addr, unsigned size)
{
	unsigned i = addr % BUS_HINTS;

	return likely(h->at[i].key == BUS_KEY(addr, size)) ? h->at[i].range : bus_search(b, h, addr, size);
}
/* One access of 1 to 8 bytes at an absolute address (in a->offset). Where nothing answers, a read gives ones. */
void bus_access(struct bus *b, struct dev_access *a);
/* An access that nothing answers. */
static inline void bus_count_absent(struct bus *b) { __atomic_fetch_add(&b->absent, 1, __ATOMIC_RELAXED); }
static inline void bus_absent(struct bus *b, struct dev_access *a)
{
	bus_count_absent(b);
	a->value = dev_ones(a->size);
}
