/* guest/bus.c against a map that names each address's device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>
#include "guest/bus.h"
#include "tests/unit/rng.h"

#define SPACE 256 /* addresses of the model */
#define CALLS 8

/* What reached a device. */
struct call { unsigned dev; uint64_t offset, value; uint8_t size; bool write; };
static struct call calls[CALLS];
static unsigned ncalls;

static uint8_t content(unsigned dev, uint64_t offset) { return (uint8_t)(dev * 37 + offset * 11 + 1); }

static void device(void *ctx, struct dev_access *a)
{
	unsigned dev = (unsigned)(uintptr_t)ctx;

	assert_true(ncalls < CALLS);
	calls[ncalls++] = (struct call){ dev, a->offset, a->value, a->size, a->write };
	if (a->write)
		return;
	a->value = 0xabcdef0123456789ull << 8; /* bits above the size are the device's to leave wild */
	for (unsigned i = 0; i < a->size; i++) {
		a->value &= ~(0xffull << (8 * i));
		a->value |= (uint64_t)content(dev, a->offset + i) << (8 * i);
	}
}

static uint64_t mask(unsigned size) { return size == 8 ? ~0ull : (1ull << (8 * size)) - 1; }

static struct dev_access access(struct bus *b, uint64_t addr, uint8_t size, bool write, uint64_t value)
{
	struct dev_access a = { .offset = addr, .size = size, .write = write, .value = value };

	ncalls = 0;
	bus_access(b, &a);
	return a;
}

static void nothing_there(void **state)
{
	struct bus b = { .n = 0 };

	(void)state;
	assert_null(bus_find(&b, 0));
	for (uint8_t size = 1; size <= 8; size *= 2) {
		assert_int_equal(access(&b, 0x80, size, false, 0).value & mask(size), mask(size));
		access(&b, 0x80, size, true, 0);
		assert_int_equal(access(&b, UINT64_MAX - 1, size, false, 0).value & mask(size), mask(size));
		assert_int_equal(ncalls, 0);
	}
	assert_int_equal(b.absent, 12);
}

static void overlaps_are_refused(void **state)
{
	struct bus b = { .n = 0 };

	(void)state;
	assert_int_equal(bus_add(&b, 0x60, 8, device, (void *)1, 1), TF_OK);
	assert_int_equal(bus_add(&b, 0x60, 8, device, (void *)2, 1), TF_EEXIST);
	assert_int_equal(bus_add(&b, 0x67, 1, device, (void *)2, 1), TF_EEXIST);
	assert_int_equal(bus_add(&b, 0x5f, 2, device, (void *)2, 1), TF_EEXIST);
	assert_int_equal(bus_add(&b, 0x50, 0x100, device, (void *)2, 1), TF_EEXIST);
	assert_int_equal(bus_add(&b, 0x62, 2, device, (void *)2, 1), TF_EEXIST);
	assert_int_equal(bus_add(&b, 0x68, 1, device, (void *)2, 1), TF_OK);
	assert_int_equal(bus_add(&b, 0x5f, 1, device, (void *)3, 1), TF_OK);
	assert_int_equal(b.n, 3);
	assert_ptr_equal(bus_find(&b, 0x67)->dev, (void *)1);
	assert_ptr_equal(bus_find(&b, 0x68)->dev, (void *)2);
	assert_ptr_equal(bus_find(&b, 0x5f)->dev, (void *)3);
	assert_null(bus_find(&b, 0x5e));
	assert_null(bus_find(&b, 0x69));
}

static void full(void **state)
{
	struct bus b = { .n = 0 };

	(void)state;
	for (uintptr_t i = 0; i < BUS_MAX_RANGES; i++)
		assert_int_equal(bus_add(&b, 4 * (BUS_MAX_RANGES - i), 4, device, (void *)i, 4), TF_OK);
	assert_int_equal(bus_add(&b, 0x1000, 1, device, NULL, 1), TF_ENOMEM);
	for (uintptr_t i = 0; i < BUS_MAX_RANGES; i++)
		assert_ptr_equal(bus_find(&b, 4 * (BUS_MAX_RANGES - i) + 3)->dev, (void *)i);
}

/* A whole access where the device takes it, bytes to whatever is there where not (as a bridge splits it). */
static void widths_and_edges(void **state)
{
	struct bus b = { .n = 0 };
	struct dev_access a;

	(void)state;
	assert_int_equal(bus_add(&b, 0x10, 4, device, (void *)1, 2), TF_OK);
	assert_int_equal(bus_add(&b, 0x14, 4, device, (void *)2, 4), TF_OK);
	a = access(&b, 0x12, 2, false, 0);
	assert_int_equal(ncalls, 1);
	assert_int_equal(calls[0].offset, 2);
	assert_int_equal(calls[0].size, 2);
	assert_int_equal(a.value & 0xffff, content(1, 2) | content(1, 3) << 8);
	access(&b, 0x10, 4, true, 0x44332211); /* too wide */
	assert_int_equal(ncalls, 4);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(calls[i].offset, i);
		assert_int_equal(calls[i].size, 1);
		assert_int_equal(calls[i].value, 0x11 * (i + 1));
	}
	a = access(&b, 0x12, 4, false, 0); /* two devices */
	assert_int_equal(a.value, content(1, 2) | content(1, 3) << 8 | content(2, 0) << 16 | (uint64_t)content(2, 1) << 24);
	assert_int_equal(b.absent, 0);
	a = access(&b, 0x16, 4, false, 0); /* half of it is nowhere */
	assert_int_equal(a.value, content(2, 2) | content(2, 3) << 8 | 0xffff0000ull);
}

static void against_a_map(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 300; round++) {
		struct { unsigned dev; uint64_t base, len; uint8_t width; } owner[SPACE] = { 0 };
		struct bus b = { .n = 0 };
		struct bus_hints hints;
		unsigned n = 0;

		memset(&hints, 0xff, sizeof(hints));
		for (unsigned i = 1; i <= 24; i++) {
			uint64_t base = rng() % SPACE, len = 1 + rng() % (rng() % 4 ? 8 : 40);
			uint8_t width = (uint8_t)(1u << (rng() % 4));
			bool clash = false;

			len = MIN(len, SPACE - base);
			for (uint64_t k = base; k < base + len; k++)
				clash |= owner[k].dev != 0;
			assert_int_equal(bus_add(&b, base, len, device, (void *)(uintptr_t)i, width), clash ? TF_EEXIST : TF_OK);
			for (uint64_t k = base; !clash && k < base + len; k++) {
				owner[k].dev = i;
				owner[k].base = base;
				owner[k].len = len;
				owner[k].width = width;
			}
			n += !clash;
		}
		assert_int_equal(b.n, n);
		for (unsigned step = 0; step < 300; step++) {
			uint8_t size = (uint8_t)(1u << (rng() % 4));
			uint64_t addr = rng() % (SPACE - 8), value = rng(), want = 0, absent = b.absent;
			bool write = rng() % 2, any = false;
			struct dev_access a = access(&b, addr, size, write, value);
			bool whole = owner[addr].dev && size <= owner[addr].width &&
				     addr + size <= owner[addr].base + owner[addr].len;
			unsigned call = 0;

			for (unsigned i = 0; i < size; i++) {
				unsigned dev = owner[addr + i].dev;
				uint64_t offset = addr + i - owner[addr + i].base;

				want |= (uint64_t)(dev ? content(dev, offset) : 0xff) << (8 * i);
				any |= dev != 0;
				if (!dev || (whole && i > 0))
					continue;
				assert_true(call < ncalls);
				assert_int_equal(calls[call].dev, dev);
				assert_int_equal(calls[call].offset, offset);
				assert_int_equal(calls[call].size, whole ? size : 1);
				assert_int_equal(calls[call].write, write);
				if (write)
					assert_int_equal(calls[call].value & mask(calls[call].size),
							 value >> (8 * i) & mask(calls[call].size));
				call++;
			}
			assert_int_equal(ncalls, call);
			assert_int_equal(b.absent - absent, !any);
			if (!write)
				assert_int_equal(a.value & mask(size), want);
			const struct bus_range *r = bus_find(&b, addr);
			assert_int_equal(r ? (unsigned)(uintptr_t)r->dev : 0, owner[addr].dev);
			/* the first time, and when it is remembered */
			for (unsigned i = 0; i < 2; i++)
				assert_ptr_equal(bus_look(&b, &hints, addr, size), !any ? NULL : whole ? r : &b.apart);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_there), cmocka_unit_test(overlaps_are_refused), cmocka_unit_test(full),
		cmocka_unit_test(widths_and_edges), cmocka_unit_test(against_a_map),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
