#include "guest/bus.h"

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
	b->n++;
	return TF_OK;
}

struct bus_range *bus_find(struct bus *b, uint64_t addr)
{
	struct bus_range *r = &b->ranges[b->last];

	if (likely(addr - r->base < r->len))
		return r;
	uint32_t lo = 0, hi = b->n;
	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		r = &b->ranges[mid];
		if (addr < r->base)
			hi = mid;
		else if (addr - r->base >= r->len)
			lo = mid + 1;
		else {
			b->last = mid;
			return r;
		}
	}
	return NULL;
}

/* Byte by byte, each to whatever is there: what a bridge does with an access that is wider than the device. */
static void access_bytes(struct bus *b, struct dev_access *a)
{
	uint64_t value = 0;
	bool answered = false;

	for (unsigned i = 0; i < a->size; i++) {
		struct bus_range *r = bus_find(b, a->offset + i);
		struct dev_access one = { .size = 1, .write = a->write, .value = a->value >> (8 * i) & 0xff };

		if (r) {
			one.offset = a->offset + i - r->base;
			r->fn(r->dev, &one);
			answered = true;
		} else {
			one.value = 0xff;
		}
		value |= (one.value & 0xff) << (8 * i);
	}
	if (!answered)
		b->absent++;
	if (!a->write)
		a->value = value;
}

void bus_access(struct bus *b, struct dev_access *a)
{
	struct bus_range *r = bus_find(b, a->offset);

	if (likely(r && a->size <= r->width && a->offset - r->base + a->size <= r->len)) {
		a->offset -= r->base;
		r->fn(r->dev, a);
	} else if (a->size == 1) {
		b->absent++;
		a->value = dev_ones(1);
	} else {
		access_bytes(b, a);
	}
}
