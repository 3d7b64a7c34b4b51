/* An 8-bit device behind a wider access: one byte cycle per port, lowest first, as an ISA bridge makes them. */
#pragma once
#include <tf/dev.h>

typedef uint8_t (*dev_in_fn)(void *dev, uint64_t port);
typedef void (*dev_out_fn)(void *dev, uint64_t port, uint8_t value);

void dev_access_wide(void *dev, struct dev_access *a, dev_in_fn in, dev_out_fn out);
static inline void dev_access_bytes(void *dev, struct dev_access *a, dev_in_fn in, dev_out_fn out)
{
	if (unlikely(a->size != 1))
		dev_access_wide(dev, a, in, out);
	else if (a->write)
		out(dev, a->offset, (uint8_t)a->value);
	else
		a->value = in(dev, a->offset);
}
