/* A bus of any ranges under any accesses, against a table with one entry for each address. */
#include "fuzz_dev.h"
#include "guest/bus.h"

#define SPACE 256u

struct device { uint8_t byte; unsigned reached; uint64_t len; uint8_t width; };

static void device_access(void *dev, struct dev_access *a)
{
	struct device *d = dev;

	ASSERT(a->offset < d->len && a->size <= d->len - a->offset && (a->size == 1 || a->size <= d->width));
	d->reached += a->size;
	if (!a->write)
		a->value = 0;
	for (unsigned i = 0; i < a->size && !a->write; i++)
		a->value |= (uint64_t)(uint8_t)(d->byte + a->offset + i) << 8 * i;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct device devices[BUS_MAX_RANGES + 1];
	struct device *at[SPACE + 8] = { 0 };
	uint8_t from[SPACE + 8];
	struct fuzz_input in = { data, size };
	struct bus bus = { 0 };
	unsigned n = 0;

	while (in.size) {
		uint8_t op = (uint8_t)fuzz_take(&in, 1), where = (uint8_t)fuzz_take(&in, 1);

		if (op & 1 && n < ARRAY_SIZE(devices)) {
			uint64_t len = 1 + (op >> 4), taken = 0;
			struct device *d = &devices[n];

			len = MIN(len, SPACE - where);
			*d = (struct device){ .byte = (uint8_t)fuzz_take(&in, 1), .len = len, .width = (uint8_t)(1u << (op >> 1 & 3)) };
			for (uint64_t i = 0; i < len; i++)
				taken += at[where + i] != NULL;
			enum tf_err e = bus_add(&bus, where, len, device_access, d, d->width);
			ASSERT(e == (n == BUS_MAX_RANGES ? TF_ENOMEM : taken ? TF_EEXIST : TF_OK));
			for (uint64_t i = 0; !e && i < len; i++)
				at[where + i] = d, from[where + i] = where;
			n += !e;
			continue;
		}
		struct dev_access a = { .offset = where, .size = (uint8_t)(1u << (op >> 1 & 3)), .write = op & 8, .value = fuzz_take(&in, 1) };
		struct dev_access asked = a;
		uint64_t want = 0, absent = bus.absent;
		bool any = false;

		for (unsigned i = 0; i < a.size; i++) {
			const struct device *d = at[where + i];

			any |= d != NULL;
			want |= (uint64_t)(d ? (uint8_t)(d->byte + where + i - from[where + i]) : 0xff) << 8 * i;
		}
		bus_access(&bus, &a);
		ASSERT(asked.write || (a.value & dev_ones(asked.size)) == want);
		ASSERT(bus.absent == absent + !any);
	}
	return 0;
}
