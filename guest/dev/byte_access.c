#include "guest/dev/byte_access.h"

void dev_access_wide(void *dev, struct dev_access *a, dev_in_fn in, dev_out_fn out)
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
