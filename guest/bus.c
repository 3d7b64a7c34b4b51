#include "guest/bus.h"

/* The first range that ends behind addr; its number is b->n if there is none. */
static uint32_t first_behind(const struct bus *b, uint64_t addr)
{
	uint32_t lo = 0, hi = b->n;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;
		const struct bus_range *r = &b->ranges[mid];

		if (addr < r->base || addr - r->base < r->len)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

const struct bus_range *bus_find(const struct bus *b, uint64_t addr)
{
	const struct bus_range *r = &b->ranges[first_behind(b, addr)];

	return r < &b->ranges[b->n] && addr >= r->base ? r : NULL;
}

/* Each byte to whatever is there: what a bridge does with an access that is wider than the device. */
static void access_bytes(void *bus, struct dev_access *a)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < a->size; i++) {
		const struct bus_range *r = bus_find(bus, a->offset + i);
		struct dev_access one = { .size = 1, .write = a->write, .value = a->value >> (8 * i) & 0xff };

		one.offset = r ? a->offset + i - r->base : 0;
		if (r)
			r->fn(r->dev, &one);
		else
			one.value = 0xff;
		value |= (one.value & 0xff) << (8 * i);
	}
	if (!a->write)
		a->value = value;
}

enum tf_err bus_add(struct bus *b, uint64_t base, uint64_t len, dev_access_fn fn, void *dev, uint8_t width)
{
	uint32_t i = b->n;

	if (b->n == BUS_MAX_RANGES)
		return TF_ENOMEM;
	while (i > 0 && b->ranges[i - 1].base > base)
		i--;
	if ((i > 0 && base - b->ranges[i - 1].base < b->ranges[i - 1].len) ||
	    (i < b->n && b->ranges[i].base - base < len))
		return TF_EEXIST;
	for (uint32_t j = b->n; j > i; j--)
		b->ranges[j] = b->ranges[j - 1];
	b->ranges[i] = (struct bus_range){ base, len, fn, dev, width };
	b->apart = (struct bus_range){ .fn = access_bytes, .dev = b };
	b->n++;
	return TF_OK;
}

/* What takes an access of 1 to 8 bytes; NULL if nothing answers. */
static const struct bus_range *taker(const struct bus *b, uint64_t addr, unsigned size)
{
	const struct bus_range *r = &b->ranges[first_behind(b, addr)];

	if (r == &b->ranges[b->n] || (addr < r->base && r->base - addr >= size))
		return NULL;
	return addr < r->base || size > r->width || addr - r->base + size > r->len ? &b->apart : r;
}

const struct bus_range *bus_search(const struct bus *b, struct bus_hints *h, uint64_t addr, unsigned size)
{
	const struct bus_range *r = taker(b, addr, size);

	h->at[addr % BUS_HINTS].key = BUS_KEY(addr, size);
	h->at[addr % BUS_HINTS].range = r;
	return r;
}

void bus_access(struct bus *b, struct dev_access *a)
{
	const struct bus_range *r = taker(b, a->offset, a->size);

	if (!r) {
		bus_absent(b, a);
		return;
	}
	a->offset -= r->base;
	r->fn(r->dev, a);
}
