#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "lib/memmap.h"

#define LIMIT BIT(46)
#define RAM(b, e) { (b), (e) - (b), MEM_RAM }
#define RSV(b, e) { (b), (e) - (b), MEM_RESERVED }

static void check(const struct mem_range *map, size_t n, const struct mem_span *want, size_t nwant)
{
	struct mem_span storage[8];
	struct mem_spans s = { storage, 0, ARRAY_SIZE(storage) };

	assert_true(memmap_ram(map, n, LIMIT, &s));
	assert_int_equal(s.n, nwant);
	for (size_t i = 0; i < nwant; i++) {
		assert_int_equal(s.span[i].start, want[i].start);
		assert_int_equal(s.span[i].end, want[i].end);
	}
}
#define CHECK(map, ...) do { \
	const struct mem_span want[] = { __VA_ARGS__ }; \
	check(map, ARRAY_SIZE(map), want, ARRAY_SIZE(want)); } while (0)

static void a_pc(void **state)
{
	(void)state;
	const struct mem_range map[] = { RAM(0, 0x9fc00), RSV(0x9fc00, 0xa0000), RSV(0xf0000, 0x100000),
		RAM(0x100000, 0x1fff0000), { 0x1fff0000, 0x10000, MEM_ACPI }, RSV(0xfffc0000, 0x100000000),
		RAM(0x100000000, 0x180000000) };
	CHECK(map, { 0, 0x9f000 }, { 0x100000, 0x1fff0000 }, { 0x100000000, 0x180000000 });
}

static void unsorted_and_touching(void **state)
{
	(void)state;
	const struct mem_range map[] = { RAM(0x5000, 0x9000), RAM(0x1000, 0x3000), RAM(0x3000, 0x4000), RAM(0x2000, 0x2800) };
	CHECK(map, { 0x1000, 0x4000 }, { 0x5000, 0x9000 });
}

static void reserved_wins_in_any_order(void **state)
{
	(void)state;
	const struct mem_range before[] = { RSV(0x3000, 0x4000), RAM(0x1000, 0x8000) };
	const struct mem_range after[] = { RAM(0x1000, 0x8000), { 0x3000, 0x1000, MEM_BAD } };
	const struct mem_range all[] = { RAM(0x1000, 0x8000), { 0, 0x9000, MEM_NVS } };
	const struct mem_range type[] = { { 0x1000, 0x1000, (enum mem_type)77 }, RAM(0x1000, 0x3000) };
	CHECK(before, { 0x1000, 0x3000 }, { 0x4000, 0x8000 });
	CHECK(after, { 0x1000, 0x3000 }, { 0x4000, 0x8000 });
	check(all, ARRAY_SIZE(all), NULL, 0);
	CHECK(type, { 0x2000, 0x3000 });
}

static void whole_pages_only(void **state)
{
	(void)state;
	const struct mem_range map[] = { RAM(0x1001, 0x2fff), RAM(0x3001, 0x5fff), RSV(0x8800, 0x8801), RAM(0x8000, 0xa000) };
	const struct mem_range halves[] = { RAM(0x1000, 0x1800), RAM(0x1800, 0x2000) };
	CHECK(map, { 0x4000, 0x5000 }, { 0x9000, 0xa000 });
	CHECK(halves, { 0x1000, 0x2000 });
}

static void wrapping_and_out_of_reach(void **state)
{
	(void)state;
	const struct mem_range map[] = { { 0xfffffffffffff000, 0x5000, MEM_RAM }, { LIMIT - 0x1000, UINT64_MAX, MEM_RAM } };
	const struct mem_range wrap[] = { RAM(0x1000, 0x5000), { 0x3000, UINT64_MAX, MEM_RESERVED } };
	const struct mem_range empty[] = { { 0x1000, 0, MEM_RAM }, { 0x2800, 0, MEM_RESERVED }, RAM(0x2000, 0x3000) };
	CHECK(map, { LIMIT - 0x1000, LIMIT });
	CHECK(wrap, { 0x1000, 0x3000 });
	CHECK(empty, { 0x2000, 0x3000 });
}

static void full_set_is_refused_and_unchanged(void **state)
{
	(void)state;
	struct mem_span storage[3] = { { 0, 0 }, { 0, 0 }, { 0xdead, 0xdead } };
	struct mem_spans s = { storage, 0, 2 };

	assert_true(spans_add(&s, 0x1000, 0x2000));
	assert_true(spans_add(&s, 0x5000, 0x9000));
	assert_false(spans_add(&s, 0x3000, 0x4000));
	assert_false(spans_remove(&s, 0x6000, 0x7000));
	assert_int_equal(s.n, 2);
	assert_int_equal(s.span[1].end, 0x9000);
	assert_true(spans_add(&s, 0x2000, 0x5000)); /* joins the two */
	assert_int_equal(s.n, 1);
	assert_true(spans_contain(&s, 0x1000, 0x9000));
	assert_false(spans_contain(&s, 0xfff, 0x9000));
	assert_false(spans_contain(&s, 0x1000, 0x9001));
	assert_int_equal(spans_total(&s), 0x8000);
	assert_int_equal(storage[2].start, 0xdead);
}

/* Random operations against one bit per unit of address space. */
static void random_against_bits(void **state)
{
	(void)state;
	enum { UNITS = 64, ROUNDS = 20000 };
	struct mem_span storage[UNITS];
	struct mem_spans s = { storage, 0, UNITS };
	uint64_t model = 0, seed = 1;

	for (unsigned i = 0; i < ROUNDS; i++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		unsigned a = seed >> 40 & 63, n = (seed >> 50 & 7), b = MIN(a + n, 64u);
		uint64_t bits = 0;

		for (unsigned u = a; u < b; u++)
			bits |= BIT(u);
		if (seed >> 60 & 1) {
			assert_true(spans_add(&s, a, b));
			model |= bits;
		} else {
			assert_true(spans_remove(&s, a, b));
			model &= ~bits;
		}
		uint64_t now = 0;
		for (size_t k = 0; k < s.n; k++) {
			assert_true(s.span[k].start < s.span[k].end);
			assert_true(k == 0 || s.span[k - 1].end < s.span[k].start);
			for (uint64_t u = s.span[k].start; u < s.span[k].end; u++)
				now |= BIT(u);
		}
		assert_int_equal(now, model);
		assert_int_equal(spans_overlap(&s, a, b), !!(model & bits));
		assert_int_equal(spans_contain(&s, a, b), !(bits & ~model));
		assert_int_equal(spans_total(&s), __builtin_popcountll(model));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pc),
		cmocka_unit_test(unsorted_and_touching),
		cmocka_unit_test(reserved_wins_in_any_order),
		cmocka_unit_test(whole_pages_only),
		cmocka_unit_test(wrapping_and_out_of_reach),
		cmocka_unit_test(full_set_is_refused_and_unchanged),
		cmocka_unit_test(random_against_bits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
