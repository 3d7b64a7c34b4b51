/* The buddy allocator against a map of frames, and its assertions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/buddy.h"
#include "tests/unit/asserts.h"
#include "tests/unit/rng.h"

#define BASE   (3ull << BUDDY_MAX_ORDER)
#define FRAMES 3000u /* not a power of two */

static void *make(struct buddy *b, uint64_t base, uint64_t frames)
{
	void *storage = malloc(buddy_storage(frames));

	assert_non_null(storage);
	buddy_init(b, base, frames, storage);
	return storage;
}

static void empty_until_added(void **state)
{
	struct buddy b;
	void *storage = make(&b, 0, FRAMES);
	uint64_t pfn;

	(void)state;
	assert_true(buddy_storage(FRAMES) <= 9 * FRAMES);
	assert_int_equal(b.free_frames, 0);
	assert_int_equal(buddy_alloc(&b, 0, &pfn), TF_ENOMEM);
	buddy_add(&b, 0, 1);
	assert_int_equal(b.free_frames, 1);
	assert_int_equal(buddy_alloc(&b, 1, &pfn), TF_ENOMEM);
	assert_int_equal(buddy_alloc(&b, 0, &pfn), TF_OK);
	assert_int_equal(pfn, 0);
	assert_int_equal(buddy_alloc(&b, BUDDY_MAX_ORDER + 1, &pfn), TF_ENOMEM);
	free(storage);
}

static void note_free(void *ctx, uint64_t pfn, unsigned order)
{
	uint8_t *free_frame = ctx;

	for (uint64_t i = 0; i < BIT(order); i++) {
		assert_in_range(pfn + i, BASE, BASE + FRAMES - 1);
		assert_int_equal(free_frame[pfn + i - BASE]++, 0);
	}
}

static void every_free_frame_is_enumerated_once(void **state)
{
	uint8_t is_free[FRAMES] = { 0 };
	struct buddy b;
	void *storage = make(&b, BASE, FRAMES);
	uint64_t pfn;

	(void)state;
	buddy_each_free(&b, note_free, is_free);
	assert_null(memchr(is_free, 1, FRAMES));
	buddy_add(&b, BASE + 5, 11);
	buddy_add(&b, BASE + 64, FRAMES - 64);
	assert_int_equal(buddy_alloc(&b, 3, &pfn), TF_OK);
	buddy_each_free(&b, note_free, is_free);
	for (unsigned i = 0; i < FRAMES; i++)
		assert_int_equal(is_free[i], ((i >= 5 && i < 16) || i >= 64) && (i < pfn - BASE || i >= pfn - BASE + 8));
	free(storage);
}

static void lowest_of_the_smallest(void **state)
{
	struct buddy b;
	void *storage = make(&b, BASE, FRAMES);
	uint64_t pfn;

	(void)state;
	/* Blocks 5 (1), 6-7 (2), 8-15 (8), 64-127 (64), 300 (1). */
	buddy_add(&b, BASE + 64, 64);
	buddy_add(&b, BASE + 300, 1);
	buddy_add(&b, BASE + 5, 11);
	assert_int_equal(buddy_alloc(&b, 0, &pfn), TF_OK);
	assert_int_equal(pfn, BASE + 5);
	assert_int_equal(buddy_alloc(&b, 0, &pfn), TF_OK);
	assert_int_equal(pfn, BASE + 300);
	assert_int_equal(buddy_alloc(&b, 0, &pfn), TF_OK);
	assert_int_equal(pfn, BASE + 6);
	assert_int_equal(buddy_alloc(&b, 2, &pfn), TF_OK);
	assert_int_equal(pfn, BASE + 8);
	assert_int_equal(buddy_alloc(&b, 5, &pfn), TF_OK);
	assert_int_equal(pfn, BASE + 64);
	assert_int_equal(b.free_frames, 1 + 4 + 32);
	free(storage);
}

static void whole_gibibytes_merge_again(void **state)
{
	struct buddy b;
	uint64_t n = 2 * BIT(BUDDY_MAX_ORDER), pfn, second;
	void *storage = make(&b, BASE, n);

	(void)state;
	for (uint64_t i = 0; i < n; i += 512)
		buddy_add(&b, BASE + (i * 7) % n, 512);
	assert_int_equal(b.free_frames, n);
	assert_int_equal(buddy_alloc(&b, BUDDY_MAX_ORDER, &pfn), TF_OK);
	assert_int_equal(buddy_alloc(&b, BUDDY_MAX_ORDER, &second), TF_OK);
	assert_int_equal(pfn, BASE);
	assert_int_equal(second, BASE + n / 2);
	assert_int_equal(buddy_alloc(&b, 0, &pfn), TF_ENOMEM);
	free(storage);
}

struct block { uint64_t pfn; unsigned order; };

/* The largest free aligned block that the map has, or -1. */
static int model_largest(const bool *is_free)
{
	int largest = -1;

	for (unsigned order = 0; BIT(order) <= FRAMES; order++) {
		for (uint64_t at = 0; at + BIT(order) <= FRAMES; at += BIT(order)) {
			uint64_t i = 0;

			while (i < BIT(order) && is_free[at + i])
				i++;
			if (i == BIT(order)) {
				largest = (int)order;
				break;
			}
		}
	}
	return largest;
}

static void like_a_map_of_frames(void **state)
{
	static bool is_free[FRAMES];
	static struct block held[FRAMES];
	size_t nheld = 0, nfree = 0;
	struct buddy b;
	void *storage = make(&b, BASE, FRAMES);

	(void)state;
	memset(is_free, 0, sizeof(is_free));
	/* With holes that are never given. */
	for (uint64_t at = 0; at < FRAMES;) {
		uint64_t n = MIN(1 + rng() % 700, FRAMES - at);

		buddy_add(&b, BASE + at, n);
		memset(is_free + at, true, n);
		nfree += n;
		at += n + rng() % 3;
	}
	for (int round = 0; round < 20000; round++) {
		unsigned order = (unsigned)(rng() % 11 * (rng() % 2));
		uint64_t pfn = 0;

		assert_int_equal(b.free_frames, nfree);
		if (rng() % 100 < 52 || !nheld) {
			enum tf_err e = buddy_alloc(&b, order, &pfn);

			if (e != TF_OK) {
				assert_int_equal(e, TF_ENOMEM);
				assert_true(model_largest(is_free) < (int)order);
				continue;
			}
			assert_true(pfn >= BASE && IS_ALIGNED(pfn, BIT(order)) && pfn - BASE + BIT(order) <= FRAMES);
			for (uint64_t i = 0; i < BIT(order); i++) {
				assert_true(is_free[pfn - BASE + i]);
				is_free[pfn - BASE + i] = false;
			}
			nfree -= BIT(order);
			held[nheld++] = (struct block){ pfn, order };
		} else {
			size_t which = rng() % nheld;
			struct block k = held[which];

			held[which] = held[--nheld];
			buddy_free(&b, k.pfn, k.order);
			memset(is_free + (k.pfn - BASE), true, BIT(k.order));
			nfree += BIT(k.order);
		}
	}
	while (nheld--)
		buddy_free(&b, held[nheld].pfn, held[nheld].order);
	free(storage);
}

static void misuse_is_caught(void **state)
{
	struct buddy b;
	void *storage = make(&b, BASE, FRAMES);
	uint64_t pfn;

	(void)state;
	buddy_add(&b, BASE + 1024, 1024);
	assert_true(ASSERTS(buddy_free(&b, BASE + 1024, 10)));          /* free already */
	assert_true(ASSERTS(buddy_free(&b, BASE + 1024 + 17, 0)));      /* inside a free block */
	assert_true(ASSERTS(buddy_free(&b, BASE + 1024 + 700, 1)));
	assert_true(ASSERTS(buddy_free(&b, BASE, 11)));                 /* a free block inside */
	assert_true(ASSERTS(buddy_add(&b, BASE + 1000, 100)));          /* partly free */
	assert_true(ASSERTS(buddy_free(&b, BASE + 2, 2)));              /* not aligned */
	assert_true(ASSERTS(buddy_free(&b, BASE + 2048, 10)));          /* beyond the end */
	assert_true(ASSERTS(buddy_free(&b, BASE + FRAMES, 0)));
	assert_true(ASSERTS(buddy_free(&b, BASE - 1, 0)));
	assert_true(ASSERTS(buddy_free(&b, BASE, BUDDY_MAX_ORDER + 1)));
	assert_true(ASSERTS(buddy_add(&b, BASE, FRAMES + 1)));
	assert_true(ASSERTS(buddy_add(&b, BASE - 1, 2)));
	assert_true(ASSERTS(buddy_init(&b, BASE + 1, FRAMES, storage)));

	buddy_init(&b, BASE, FRAMES, storage);
	buddy_add(&b, BASE, 8);
	assert_int_equal(buddy_alloc(&b, 1, &pfn), TF_OK);
	buddy_free(&b, pfn, 1);
	assert_true(ASSERTS(buddy_free(&b, pfn, 1)));                   /* twice, merged in between */
	free(storage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_until_added), cmocka_unit_test(lowest_of_the_smallest),
		cmocka_unit_test(every_free_frame_is_enumerated_once),
		cmocka_unit_test(whole_gibibytes_merge_again), cmocka_unit_test(like_a_map_of_frames),
		cmocka_unit_test(misuse_is_caught),
	};

	return cmocka_run_group_tests_name("buddy", tests, NULL, NULL);
}
