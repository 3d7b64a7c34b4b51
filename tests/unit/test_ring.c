/* The byte ring against a queue that is too simple to be wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/ring.h"

#define SIZE 16

static void starts_empty(void **state)
{
	uint8_t buf[SIZE], byte;
	struct ring r;

	(void)state;
	ring_init(&r, buf, SIZE);
	assert_true(ring_empty(&r));
	assert_int_equal(ring_used(&r), 0);
	assert_int_equal(ring_free(&r), SIZE);
	assert_int_equal(ring_get(&r, &byte, 1), 0);
	assert_int_equal(ring_peek(&r, 0, &byte, 1), 0);
}

static void takes_what_fits(void **state)
{
	uint8_t buf[SIZE], out[SIZE + 4];
	struct ring r;

	(void)state;
	ring_init(&r, buf, SIZE);
	assert_int_equal(ring_put(&r, "0123456789abcdefXYZ", 19), SIZE);
	assert_int_equal(ring_put(&r, "!", 1), 0);
	assert_int_equal(ring_free(&r), 0);
	assert_int_equal(ring_get(&r, out, sizeof(out)), SIZE);
	assert_memory_equal(out, "0123456789abcdef", SIZE);
	assert_true(ring_empty(&r));
}

static void overwriting_keeps_the_newest(void **state)
{
	uint8_t buf[SIZE], out[SIZE];
	struct ring r;

	(void)state;
	ring_init(&r, buf, SIZE);
	assert_int_equal(ring_put_over(&r, "0123456789", 10), 0);
	assert_int_equal(ring_put_over(&r, "abcdefgh", 8), 2);
	assert_int_equal(ring_get(&r, out, 4), 4);
	assert_memory_equal(out, "2345", 4);
	/* More than the whole ring: only the ring's own bytes count as lost. */
	assert_int_equal(ring_put_over(&r, "ABCDEFGHIJKLMNOPQRSTUVWXYZ", 26), 12);
	assert_int_equal(ring_get(&r, out, SIZE), SIZE);
	assert_memory_equal(out, "KLMNOPQRSTUVWXYZ", SIZE);
}

static void peeking_takes_nothing(void **state)
{
	uint8_t buf[SIZE], out[SIZE];
	struct ring r;

	(void)state;
	ring_init(&r, buf, SIZE);
	ring_put(&r, "abcdef", 6);
	assert_int_equal(ring_peek(&r, 2, out, 3), 3);
	assert_memory_equal(out, "cde", 3);
	assert_int_equal(ring_peek(&r, 4, out, SIZE), 2);
	assert_int_equal(ring_peek(&r, 6, out, SIZE), 0);
	assert_int_equal(ring_peek(&r, UINT32_MAX, out, SIZE), 0);
	assert_int_equal(ring_used(&r), 6);
}

static uint32_t rng_state = 1;

static uint32_t rng(void)
{
	rng_state = rng_state * 1664525u + 1013904223u;
	return rng_state >> 8;
}

/* The counters start shortly before they wrap. */
static void like_a_queue(void **state)
{
	uint8_t buf[SIZE], in[2 * SIZE], out[2 * SIZE], model[SIZE];
	size_t used = 0, n, want, lost;
	uint8_t next = 0;
	struct ring r;

	(void)state;
	ring_init(&r, buf, SIZE);
	r.head = r.tail = UINT32_MAX - 1000;
	for (int round = 0; round < 100000; round++) {
		n = rng() % (SIZE + 6);
		for (size_t i = 0; i < n; i++)
			in[i] = next++;
		switch (rng() % 4) {
		case 0:
			want = MIN(n, SIZE - used);
			assert_int_equal(ring_put(&r, in, n), want);
			memcpy(model + used, in, want);
			used += want;
			break;
		case 1:
			want = MIN(n, (size_t)SIZE);
			lost = used + want > SIZE ? used + want - SIZE : 0;
			assert_int_equal(ring_put_over(&r, in, n), lost);
			memmove(model, model + lost, used - lost);
			memcpy(model + used - lost, in + n - want, want);
			used += want - lost;
			break;
		case 2:
			want = MIN(n, used);
			assert_int_equal(ring_get(&r, out, n), want);
			assert_memory_equal(out, model, want);
			memmove(model, model + want, used - want);
			used -= want;
			break;
		default:
			want = used > n ? MIN((size_t)5, used - n) : 0;
			assert_int_equal(ring_peek(&r, (uint32_t)n, out, 5), want);
			assert_memory_equal(out, model + MIN(n, used), want);
			break;
		}
		assert_int_equal(ring_used(&r), used);
		assert_int_equal(ring_free(&r), SIZE - used);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(starts_empty), cmocka_unit_test(takes_what_fits),
		cmocka_unit_test(overwriting_keeps_the_newest), cmocka_unit_test(peeking_takes_nothing),
		cmocka_unit_test(like_a_queue),
	};

	return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
