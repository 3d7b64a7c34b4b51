/* Statistics of exits: where the buckets begin, what the rare path does, what is said of many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "core/stats_table.h"

#define KINDS 6
#define HZ    1000000000 /* a tick is a nanosecond */

static struct exit_stat stats[KINDS];

static int setup(void **state)
{
	(void)state;
	memset(stats, 0, sizeof(stats));
	return 0;
}

/* By the words of guest/stats.h, not by its bits. */
static unsigned bucket_of(uint32_t ticks)
{
	uint64_t below = 128;
	unsigned i = 0;

	for (; ticks >= below && i < STAT_BUCKETS - 1; below *= 2)
		i++;
	return i;
}

static void test_bounds(void **state)
{
	(void)state;
	/* Once while it is the longest so far, which is rare, and once more: both ways count alike. */
	for (unsigned bit = 0; bit < 32; bit++)
		for (int off = -1; off <= 1; off++) {
			uint32_t ticks = (1u << bit) + (uint32_t)off;

			memset(stats, 0, sizeof(stats));
			stats_count(&stats[3], ticks);
			stats_count(&stats[3], ticks);
			assert_int_equal(stats[3].count[bucket_of(ticks)], 2);
			assert_int_equal(stats_exits(&stats[3]), 2);
			assert_int_equal(stats[3].max, ticks);
			assert_int_equal(stats[3].ticks, 2ull * ticks);
			assert_int_equal(stats_exits(&stats[2]) + stats_exits(&stats[4]), 0);
		}
}

static void test_against_a_list(void **state)
{
	uint64_t count[STAT_BUCKETS] = { 0 }, sum = 0;
	uint32_t max = 0;

	(void)state;
	srand(1);
	for (unsigned i = 0; i < 100000; i++) {
		uint32_t ticks = (uint32_t)rand() * 2 >> rand() % 32;

		stats_count(&stats[0], ticks);
		count[bucket_of(ticks)]++;
		sum += ticks;
		max = MAX(max, ticks);
		assert_int_equal(stats[0].max, max);
	}
	assert_memory_equal(stats[0].count, count, sizeof(count));
	assert_int_equal(stats[0].ticks, sum);
	assert_int_equal(stats_exits(&stats[0]), 100000);
}

static void test_add(void **state)
{
	(void)state;
	stats_count(&stats[0], 100);
	stats_count(&stats[0], 70000000);
	stats_count(&stats[1], 1000);
	stats_count(&stats[1], 70000001);
	stats_add(&stats[0], &stats[1]);
	assert_int_equal(stats[0].ticks, 140001101);
	assert_int_equal(stats[0].max, 70000001);
	assert_int_equal(stats[0].count[0], 1);
	assert_int_equal(stats[0].count[bucket_of(1000)], 1);
	assert_int_equal(stats[0].count[STAT_BUCKETS - 1], 2);
	stats_add(&stats[2], &stats[1]); /* to nothing */
	assert_memory_equal(&stats[2].count, &stats[1].count, sizeof(stats[1].count));
}

static void test_percentiles(void **state)
{
	(void)state;
	assert_int_equal(stats_percentile(&stats[0], 99), 0);
	for (unsigned i = 0; i < 99; i++)
		stats_count(&stats[0], 200);
	assert_int_equal(stats_percentile(&stats[0], 50), 200); /* not above the longest */
	stats_count(&stats[0], 5000);
	assert_int_equal(stats_percentile(&stats[0], 50), 255);
	assert_int_equal(stats_percentile(&stats[0], 99), 255);
	assert_int_equal(stats_percentile(&stats[0], 100), 5000);
	stats_count(&stats[0], 4000000000u);
	assert_int_equal(stats_percentile(&stats[0], 99), 8191);
	assert_int_equal(stats_percentile(&stats[0], 100), 4000000000u);
}

static void get(const void *ctx, uint32_t kind, struct exit_stat *out) { *out = ((const struct exit_stat *)ctx)[kind]; }

static const char *name(uint32_t kind)
{
	return (const char *[]){ "cpuid", "hlt", "never", "a-name-that-is-much-too-long", "rdmsr", "wrmsr" }[kind];
}

static const struct stats_source source = { .ctx = stats, .get = get, .name = name, .kinds = KINDS, .tsc_hz = HZ, .ran = 40000 };

static void test_table(void **state)
{
	char text[1024];

	(void)state;
	for (unsigned i = 0; i < 10; i++)
		stats_count(&stats[0], 100);
	stats_count(&stats[1], 3000);
	stats_count(&stats[3], 20000);
	stats_count(&stats[4], 500);
	stats_count(&stats[5], 500);
	size_t n = stats_table(text, sizeof(text), "web", &source, 3);
	assert_string_equal(text,
		"web                                   14  62.5%  1785ns   127ns    20us    20us\n"
		"  a-name-that-is-much-too-lon          1  80.0%    20us    20us    20us    20us\n"
		"  hlt                                  1  12.0%  3000ns  3000ns  3000ns  3000ns\n"
		"  cpuid                               10   4.0%   100ns   100ns   100ns   100ns\n"
		"  others                               2   4.0%   500ns   500ns   500ns   500ns\n");
	assert_int_equal(n, strlen(text));
	assert_int_equal(strlen(STATS_HEAD), strcspn(text, "\n") + 1);
	/* All of them. */
	stats_table(text, sizeof(text), "web", &source, 5);
	assert_null(strstr(text, "others"));
	assert_null(strstr(text, "never"));
	/* Where there is no room for more. */
	memset(text, 'x', sizeof(text));
	assert_int_equal(stats_table(text, 100, "web", &source, 5), 99);
	assert_int_equal(text[99], 0);
	assert_int_equal(text[100], 'x');
}

static void test_table_of_nothing(void **state)
{
	char text[256];

	(void)state;
	stats_table(text, sizeof(text), "idle", &source, 8);
	assert_string_equal(text, "idle                                   0   0.0%     0ns     0ns     0ns     0ns\n");
	struct stats_source none = source;
	none.ran = 0;
	stats_count(&stats[0], 5000);
	stats_table(text, sizeof(text), "idle", &none, 0);
	assert_non_null(strstr(text, "  others                               1 100.0%"));
}

static void test_units(void **state)
{
	const struct { uint64_t ticks; const char *text; } cases[] = {
		{ 9999, " 9999ns" }, { 10000, "   10us" }, { 9999999, " 9999us" }, { 10000000, "   10ms" }, { 4000000000, " 4000ms" },
	};
	char text[256];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		memset(stats, 0, sizeof(stats));
		stats_count(&stats[0], (uint32_t)cases[i].ticks);
		stats_table(text, sizeof(text), "t", &source, 0);
		assert_non_null(strstr(text, cases[i].text));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_bounds, setup),
		cmocka_unit_test_setup(test_against_a_list, setup),
		cmocka_unit_test_setup(test_add, setup),
		cmocka_unit_test_setup(test_percentiles, setup),
		cmocka_unit_test_setup(test_table, setup),
		cmocka_unit_test_setup(test_table_of_nothing, setup),
		cmocka_unit_test_setup(test_units, setup),
	};

	return cmocka_run_group_tests_name("stats", tests, NULL, NULL);
}
