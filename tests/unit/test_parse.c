/* tf_parse_u64. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <tf/string.h>

#define UNTOUCHED 0x5555aaaa5555aaaaull

static void expect(const char *s, bool suffix, enum tf_err err, uint64_t value)
{
	uint64_t out = UNTOUCHED;

	assert_int_equal(tf_parse_u64(s, suffix, &out), err);
	assert_int_equal(out, err == TF_OK ? value : UNTOUCHED);
}

static void decimal_and_hexadecimal(void **state)
{
	(void)state;
	expect("0", false, TF_OK, 0);
	expect("007", false, TF_OK, 7);
	expect("18446744073709551615", false, TF_OK, UINT64_MAX);
	expect("0xffffffffffffffff", false, TF_OK, UINT64_MAX);
	expect("0XaBcDeF", false, TF_OK, 0xabcdef);
	expect("0x0", false, TF_OK, 0);
}

static void not_a_number(void **state)
{
	static const char *const bad[] = { "",   " ",   " 1", "1 ",  "-1",  "+1", "0x", "x1",
					   "1x", "0xg", "1a", "1.5", "1e3", "M",  "0xM" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		expect(bad[i], false, TF_EINVAL, 0);
		expect(bad[i], true, TF_EINVAL, 0);
	}
}

static void beyond_64_bits(void **state)
{
	(void)state;
	expect("18446744073709551616", false, TF_ERANGE, 0);
	expect("0x10000000000000000", false, TF_ERANGE, 0);
	expect("99999999999999999999999999", false, TF_ERANGE, 0);
	/* The product overflows to something small that the addition would not notice. */
	expect("36893488147419103232", false, TF_ERANGE, 0);
	expect("99999999999999999999999999x", false, TF_EINVAL, 0);
}

static void suffixes(void **state)
{
	(void)state;
	expect("1K", true, TF_OK, 1024);
	expect("3k", true, TF_OK, 3072);
	expect("256M", true, TF_OK, 256ull << 20);
	expect("0x10G", true, TF_OK, 16ull << 30);
	expect("0g", true, TF_OK, 0);
	expect("17179869183G", true, TF_OK, 17179869183ull << 30);
	expect("17179869184G", true, TF_ERANGE, 0);
	expect("1K", false, TF_EINVAL, 0);
	expect("1KB", true, TF_EINVAL, 0);
	expect("1KK", true, TF_EINVAL, 0);
	expect("1T", true, TF_EINVAL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decimal_and_hexadecimal), cmocka_unit_test(not_a_number),
		cmocka_unit_test(beyond_64_bits), cmocka_unit_test(suffixes),
	};

	return cmocka_run_group_tests_name("parse", tests, NULL, NULL);
}
