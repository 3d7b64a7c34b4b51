/* tf_snprintf against libc's snprintf, over random formats and arguments. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include "tests/unit/rng.h"

#include <tf/string.h>

#define ROUNDS 200000
#define TEXT   400

/* The formats are made at run time: that is the test. */
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"
#pragma GCC diagnostic ignored "-Wformat"

/* Values of every magnitude, and the ends. */
static uint64_t value(void)
{
	uint64_t v = rng() >> (rng() % 64);

	switch (rng() % 8) {
	case 0: return 0;
	case 1: return ~v;
	case 2: return (uint64_t)INT64_MIN >> (rng() % 2 * 32);
	default: return v;
	}
}

static char *add(char *p, const char *s)
{
	return stpcpy(p, s);
}

#define BOTH(...) do { \
	want_len = snprintf(want, size, __VA_ARGS__); \
	got_len = tf_snprintf(got, size, __VA_ARGS__); \
} while (0)

static void one_round(void)
{
	static const char *const flags[] = { "", "-", "0", "-0", "#", "#0" };
	static const char *const sizes[] = { "hh", "h", "", "l", "ll", "z", "j" };
	static const char convs[] = "diuxXcsp%";
	static const char *const strings[] = { "", "x", "trefoil", "a longer text with blanks" };
	char fmt[64], got[TEXT], want[TEXT], *p = add(fmt, "<%"), conv = convs[rng() % (sizeof(convs) - 1)];
	int width = (int)(rng() % 40) - 10, prec = (int)(rng() % 30) - 5, got_len, want_len;
	bool star_width = rng() % 4 == 0, star_prec = rng() % 4 == 0;
	size_t size = rng() % 4 ? TEXT : rng() % 30;
	unsigned bytes_index = (unsigned)(rng() % ARRAY_SIZE(sizes));
	bool is_int = strchr("diuxX", conv);

	memset(got, 'G', sizeof(got));
	memset(want, 'G', sizeof(want));
	if (conv == '%') {
		add(p, "%>");
		BOTH(fmt);
		goto compare;
	}
	/* C leaves '#' with d and u, and '0' with c, s and p, undefined: only what is defined is compared. */
	if (is_int)
		p = add(p, flags[rng() % (conv == 'x' || conv == 'X' ? 6 : 4)]);
	else
		p = add(p, rng() % 2 ? "-" : "");
	if (star_width)
		p = add(p, "*");
	else if (width > 0)
		p += sprintf(p, "%d", width);
	if (conv == 'c' || conv == 'p') {
		star_prec = false;
	} else if (star_prec) {
		p = add(p, ".*");
	} else if (prec >= 0) {
		p = add(p, ".");
		if (prec)
			p += sprintf(p, "%d", prec);
	}
	if (is_int)
		p = add(p, sizes[bytes_index]);
	*p++ = conv;
	add(p, ">");

#define WITH_STARS(arg) do { \
	if (star_width && star_prec) BOTH(fmt, width, prec, arg); \
	else if (star_width)         BOTH(fmt, width, arg); \
	else if (star_prec)          BOTH(fmt, prec, arg); \
	else                         BOTH(fmt, arg); \
} while (0)

	if (conv == 'c') {
		int c = 'a' + (int)(rng() % 26);

		WITH_STARS(c);
	} else if (conv == 's') {
		const char *s = strings[rng() % ARRAY_SIZE(strings)];

		WITH_STARS(s);
	} else if (conv == 'p') {
		void *v = (void *)(uintptr_t)(value() | 1);

		WITH_STARS(v);
	} else if (bytes_index < 3) {
		unsigned v = (unsigned)value();

		WITH_STARS(v);
	} else {
		uint64_t v = value();

		WITH_STARS(v);
	}
compare:
	if (got_len != want_len || memcmp(got, want, sizeof(got)))
		fail_msg("%s size %zu: got %d \"%.*s\", want %d \"%.*s\"", fmt, size, got_len, (int)size, got, want_len,
			 (int)size, want);
}

static void same_as_libc(void **state)
{
	(void)state;
	for (int i = 0; i < ROUNDS; i++)
		one_round();
}

static void several_arguments_in_order(void **state)
{
	char got[TEXT], want[TEXT];

	(void)state;
	tf_snprintf(got, sizeof(got), "[%5lu.%06u] cpu%d %-5s %s: vm=%s a=%#lx b=%016llx %c%%", 12ul, 345678u, 3,
		    "info", "vmx", "web", 0xfee00000ul, 0x1234ull, '!');
	snprintf(want, sizeof(want), "[%5lu.%06u] cpu%d %-5s %s: vm=%s a=%#lx b=%016llx %c%%", 12ul, 345678u, 3, "info",
		 "vmx", "web", 0xfee00000ul, 0x1234ull, '!');
	assert_string_equal(got, want);
}

static void size_zero_touches_nothing(void **state)
{
	char byte = 'G';

	(void)state;
	assert_int_equal(tf_snprintf(&byte, 0, "hello %d", 12), 8);
	assert_int_equal(byte, 'G');
	assert_int_equal(tf_snprintf(NULL, 0, "%300s", "x"), 300);
	assert_int_equal(tf_snprintf(&byte, 1, "hello"), 5);
	assert_int_equal(byte, '\0');
}

static void huge_widths_cost_nothing(void **state)
{
	char got[16];

	(void)state;
	assert_int_equal(tf_snprintf(got, sizeof(got), "%2000000000d|", 7), 2000000001);
	assert_string_equal(got, "               ");
	assert_int_equal(tf_snprintf(got, sizeof(got), "%.2000000000d|", 7), 2000000001);
	assert_string_equal(got, "000000000000000");
}

static void strings_with_a_precision_need_no_terminator(void **state)
{
	char got[16], text[3] = { 'a', 'b', 'c' };

	(void)state;
	tf_snprintf(got, sizeof(got), "%.3s", text);
	assert_string_equal(got, "abc");
	tf_snprintf(got, sizeof(got), "%.*s", 2, text);
	assert_string_equal(got, "ab");
}

static void mistakes_are_shown(void **state)
{
	char got[32];

	(void)state;
	tf_snprintf(got, sizeof(got), "%s", (char *)NULL);
	assert_string_equal(got, "(null)");
	tf_snprintf(got, sizeof(got), "%q");
	assert_string_equal(got, "%q");
	tf_snprintf(got, sizeof(got), "50%");
	assert_string_equal(got, "50%");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_as_libc), cmocka_unit_test(several_arguments_in_order),
		cmocka_unit_test(size_zero_touches_nothing), cmocka_unit_test(huge_widths_cost_nothing),
		cmocka_unit_test(strings_with_a_precision_need_no_terminator), cmocka_unit_test(mistakes_are_shown),
	};

	return cmocka_run_group_tests_name("printf", tests, NULL, NULL);
}
