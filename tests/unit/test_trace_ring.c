/* The trace ring: the newest are kept, in their order, and all of the room is used but not more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "lib/trace_ring.h"

#define ROOM 4096

static struct trace_record record(uint64_t n)
{
	return (struct trace_record){ .tsc = 1000 + n, .kind = TRACE_EXIT, .who = TRACE_WHO(3, 5), .a = (uint32_t)n, .b = ~n, .c = n * n };
}

static void test_empty(void **state)
{
	void *room = malloc(ROOM); /* the sanitizer watches its end */
	struct trace_ring *r = trace_ring_init(room, ROOM);

	(void)state;
	assert_int_equal(trace_ring_used(r), 0);
	free(room);
}

static void test_the_newest_are_kept(void **state)
{
	void *room = malloc(ROOM);
	struct trace_ring *r = trace_ring_init(room, ROOM);
	uint32_t size = r->size;

	(void)state;
	assert_true((size + 1) * sizeof(struct trace_record) + sizeof(struct trace_ring) > ROOM);
	for (uint64_t n = 0; n < 3 * size + 7; n++) {
		struct trace_record t = record(n);

		trace_ring_put(r, &t);
		assert_int_equal(trace_ring_used(r), MIN(n + 1, (uint64_t)size));
		uint64_t oldest = n < size ? 0 : n - size + 1;
		for (uint32_t i = 0; i < trace_ring_used(r); i++) {
			t = record(oldest + i);
			assert_memory_equal(trace_ring_get(r, i), &t, sizeof(t));
		}
	}
	trace_ring_clear(r);
	assert_int_equal(trace_ring_used(r), 0);
	free(room);
}

static void test_who(void **state)
{
	(void)state;
	assert_int_equal(TRACE_WHO(3, 5), 0x305);
	assert_true(TRACE_WHO(63, 63) != TRACE_NOBODY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_the_newest_are_kept),
		cmocka_unit_test(test_who),
	};

	return cmocka_run_group_tests_name("trace ring", tests, NULL, NULL);
}
