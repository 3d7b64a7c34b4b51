/* KVM's clock: what a guest computes, against exact arithmetic. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "guest/kvm_clock.h"

static const uint64_t frequencies[] = {
	1, 1000, 999999, 33000000, 500000000, 999999999, 1000000000, 1000000001, 1193182000, 1999999999, 2000000000, 2000000001,
	2100000000, 2399998734, 3599999999, 4000000000, 4000000001, 5800000000, 7999999999, 8000000001, 12345678901,
	1000000000000,
};

static uint64_t exact_ns(uint64_t ticks, uint64_t hz) { return (uint64_t)((unsigned __int128)ticks * 1000000000 / hz); }

/* Slow by less than one part in 2^31 and what the shift drops of the last tick; never fast. */
static void follows_the_tsc(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(frequencies); i++) {
		uint64_t hz = frequencies[i];
		struct kvm_scale s = kvm_scale_of(hz);

		assert_true(s.mul >= 1u << 31);
		for (unsigned bit = 0; bit < 62; bit++) {
			uint64_t ticks = (1ull << bit) + bit * 12345, exact = exact_ns(ticks, hz), ns;

			if (ticks / hz > 100ull * 365 * 86400) /* years */
				break;
			ns = kvm_scale_ns(s, ticks);
			assert_true(ns <= exact);
			assert_true(exact - ns <= (exact >> 31) + 2);
		}
	}
}

static void never_goes_back(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(frequencies); i++) {
		struct kvm_scale s = kvm_scale_of(frequencies[i]);
		uint64_t before = 0;

		for (uint64_t t = frequencies[i] * 86400; t < frequencies[i] * 86400 + 5000; t++) {
			uint64_t ns = kvm_scale_ns(s, t);

			assert_true(ns >= before);
			before = ns;
		}
	}
}

static void versions_are_even_and_new(void **state)
{
	struct kvm_time time;
	uint32_t version = 0, first;

	(void)state;
	memset(&time, 0xff, sizeof(time));
	kvm_time_write(&time, &version, kvm_scale_of(2400000000), 77, KVM_TIME_STABLE);
	first = time.version;
	assert_int_equal(first & 1, 0);
	assert_true(time.tsc_timestamp == 77 && time.system_time == 0 && time.reserved == 0);
	assert_int_equal(time.flags, KVM_TIME_STABLE);
	assert_int_equal(time.shift, -1);
	time.version = 0xdeadbeef; /* the guest's memory */
	kvm_time_write(&time, &version, kvm_scale_of(2400000000), 78, 0);
	assert_int_equal(time.version, first + 2);
	assert_int_equal(time.flags, 0);
	version = UINT32_MAX - 1;
	kvm_time_write(&time, &version, kvm_scale_of(2400000000), 78, 0);
	assert_int_equal(time.version, 0);
}

static void the_wall_clock(void **state)
{
	static const uint32_t found[] = { 0, 1, 2, 0x7fffffff, UINT32_MAX - 1, UINT32_MAX };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(found); i++) {
		struct kvm_wall wall = { .version = found[i], .nsec = 5 };

		kvm_wall_write(&wall, 1700000000);
		assert_int_equal(wall.sec, 1700000000);
		assert_int_equal(wall.nsec, 0);
		assert_int_equal(wall.version & 1, 0);
		assert_true(wall.version != found[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(follows_the_tsc),
		cmocka_unit_test(never_goes_back),
		cmocka_unit_test(versions_are_even_and_new),
		cmocka_unit_test(the_wall_clock),
	};

	return cmocka_run_group_tests_name("kvm_clock", tests, NULL, NULL);
}
