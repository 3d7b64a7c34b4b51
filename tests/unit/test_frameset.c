/* A set of frames against a naive one of bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "lib/frameset.h"
#include "tests/unit/rng.h"

#define FRAMES 1024 /* of the address space of the tests */
#define NONE   UINT64_MAX

static struct mem_span spans_storage[] = { { 0x1000, 0x9f000 }, { 0x100000, 0x101000 }, { 0x180000, 0x3ff000 } };
static const struct mem_spans spans = { spans_storage, ARRAY_SIZE(spans_storage), ARRAY_SIZE(spans_storage) };
static struct frameset set;

static int setup(void **state)
{
	/* Exactly as large as it says, for the sanitizer. */
	*state = malloc(frameset_storage(&spans));
	memset(*state, 0xff, frameset_storage(&spans));
	frameset_init(&set, &spans, *state);
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static void storage_is_a_bit_for_each_frame(void **state)
{
	struct mem_span one = { 0, 64 * PAGE_SIZE };
	struct mem_spans s = { &one, 1, 1 };

	(void)state;
	assert_int_equal(frameset_storage(&s), 8);
	one.end += PAGE_SIZE;
	assert_int_equal(frameset_storage(&s), 16);
	one.end = GiB(1);
	assert_int_equal(frameset_storage(&s), KiB(32));
	s.n = 0;
	assert_int_equal(frameset_storage(&s), 0);
}

static void the_first_that_was_there_is_named(void **state)
{
	(void)state;
	assert_int_equal(frameset_add(&set, 0x5000, 0x7000), NONE);
	assert_int_equal(frameset_add(&set, 0x4000, 0x5000), NONE);
	assert_int_equal(frameset_add(&set, 0x7000, 0x7000), NONE); /* nothing */
	assert_int_equal(frameset_add(&set, 0x3000, 0x8000), 0x4000);
	assert_int_equal(frameset_add(&set, 0x6000, 0x90000), 0x6000);
	assert_int_equal(frameset_add(&set, 0x200000, 0x201000), NONE);
	assert_int_equal(frameset_add(&set, 0x100000, 0x300000), 0x200000); /* all else was added */
	assert_int_equal(frameset_add(&set, 0x2ff000, 0x300000), 0x2ff000);
	assert_int_equal(frameset_add(&set, 0x100000, 0x101000), 0x100000);
}

static void what_is_in_no_span_is_left_out(void **state)
{
	(void)state;
	assert_int_equal(frameset_add(&set, 0x9f000, 0x100000), NONE);
	assert_int_equal(frameset_add(&set, 0x9f000, 0x100000), NONE);
	assert_int_equal(frameset_add(&set, 0x3ff000, GiB(64)), NONE);
	assert_int_equal(frameset_add(&set, 0, GiB(64)), NONE);
	assert_int_equal(frameset_add(&set, 0, GiB(64)), 0x1000);
}

static void as_a_naive_set(void **state)
{
	static uint8_t in[FRAMES];

	(void)state;
	for (unsigned round = 0; round < 20000; round++) {
		uint64_t from = rng() % FRAMES, n = rng() % (round % 2 ? 4 : 200), to = MIN(from + n, (uint64_t)FRAMES);
		uint64_t first = NONE;

		if (round % 100 == 0) {
			memset(in, 0, sizeof(in));
			frameset_init(&set, &spans, set.bits);
		}
		for (uint64_t f = from; f < to; f++) {
			if (!spans_contain(&spans, f * PAGE_SIZE, (f + 1) * PAGE_SIZE))
				continue;
			if (in[f] && first == NONE)
				first = f * PAGE_SIZE;
			in[f] = 1;
		}
		assert_int_equal(frameset_add(&set, from * PAGE_SIZE, to * PAGE_SIZE), first);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(storage_is_a_bit_for_each_frame),
		cmocka_unit_test_setup_teardown(the_first_that_was_there_is_named, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_in_no_span_is_left_out, setup, teardown),
		cmocka_unit_test_setup_teardown(as_a_naive_set, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
