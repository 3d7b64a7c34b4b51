/* An 8-bit device behind a wider access: one byte cycle per port, lowest first, as an ISA bridge makes them. */
#pragma once
#include <tf/dev.h>

static inline void dev_access_bytes(void *dev, struct dev_access *a, uint8_t (*in)(void *dev, uint64_t port),
				    void (*out)(void *dev, uint64_t port, uint8_t value))
{
	uint64_t value = 0;

	for (unsigned i = 0; i < a->size; i++) {
		if (a->write)
			out(dev, a->offset + i, (uint8_t)(a->value >> (8 * i)));
		else
			value |= (uint64_t)in(dev, a->offset + i) << (8 * i);
	}
	if (!a->write)
		a->value = value;
}
