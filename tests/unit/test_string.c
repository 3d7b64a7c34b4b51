/* lib/string.c against libc, over lengths and alignments around the 8-byte units, and lib/err.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/host_names.h"
#include <tf/string.h>

#define AREA 96

static uint8_t seed_byte(size_t i) { return (uint8_t)(i * 37 + 11); }

static void fill(uint8_t *p)
{
	for (size_t i = 0; i < AREA; i++)
		p[i] = seed_byte(i);
}

static void copies_touch_their_bytes_only(void **state)
{
	uint8_t src[AREA], got[AREA], want[AREA];

	(void)state;
	fill(src);
	for (size_t n = 0; n <= 40; n++) {
		for (size_t d = 0; d < 9; d++) {
			for (size_t s = 0; s < 9; s++) {
				memset(got, 0xee, AREA);
				memset(want, 0xee, AREA);
				assert_ptr_equal(tf_host_memcpy(got + d, src + s, n), got + d);
				memcpy(want + d, src + s, n);
				assert_memory_equal(got, want, AREA);
			}
		}
	}
}

static void moves_may_overlap(void **state)
{
	uint8_t got[AREA], want[AREA];

	(void)state;
	for (size_t n = 0; n <= 40; n++) {
		for (size_t d = 0; d < 48; d++) {
			for (size_t s = 0; s < 48; s += 1 + (d > 20)) {
				fill(got);
				fill(want);
				assert_ptr_equal(tf_host_memmove(got + d, got + s, n), got + d);
				memmove(want + d, want + s, n);
				assert_memory_equal(got, want, AREA);
			}
		}
	}
}

static void set_takes_the_low_byte(void **state)
{
	uint8_t got[AREA], want[AREA];

	(void)state;
	for (size_t n = 0; n <= 40; n++) {
		for (size_t d = 0; d < 9; d++) {
			fill(got);
			fill(want);
			assert_ptr_equal(tf_host_memset(got + d, 0x1a5, n), got + d);
			memset(want + d, 0xa5, n);
			assert_memory_equal(got, want, AREA);
		}
	}
}

static int sign(int v) { return (v > 0) - (v < 0); }

static void comparisons_are_unsigned(void **state)
{
	static const char *const words[] = { "", "a", "b", "ab", "abc", "abd", "a\x80", "a\x7f", "\xff", "abcdefghij" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(words); j++) {
			const char *a = words[i], *b = words[j];
			size_t shorter = MIN(strlen(a), strlen(b));

			assert_int_equal(sign(tf_host_strcmp(a, b)), sign(strcmp(a, b)));
			assert_int_equal(sign(tf_host_memcmp(a, b, shorter)), sign(memcmp(a, b, shorter)));
			for (size_t n = 0; n < 6; n++)
				assert_int_equal(sign(tf_host_strncmp(a, b, n)), sign(strncmp(a, b, n)));
		}
	}
	assert_int_equal(tf_host_memcmp("a\0b", "a\0b", 3), 0);
	assert_true(tf_host_memcmp("a\0b", "a\0c", 3) < 0);
}

static void searches(void **state)
{
	const char *s = "hello\xff";

	(void)state;
	assert_ptr_equal(tf_host_strchr(s, 'l'), s + 2);
	assert_ptr_equal(tf_host_strchr(s, 0xff), s + 5);
	assert_ptr_equal(tf_host_strchr(s, 0), s + 6);
	assert_null(tf_host_strchr(s, 'z'));
	assert_ptr_equal(tf_host_memchr(s, 'o', 6), s + 4);
	assert_ptr_equal(tf_host_memchr(s, 0x1ff, 6), s + 5);
	assert_null(tf_host_memchr(s, 'o', 4));
	assert_int_equal(tf_host_strlen(s), 6);
	assert_int_equal(tf_host_strlen(""), 0);
	assert_int_equal(tf_host_strnlen(s, 3), 3);
	assert_int_equal(tf_host_strnlen(s, 100), 6);
	assert_int_equal(tf_host_strnlen(s, 0), 0);
}

static void bounded_copies_terminate_and_tell(void **state)
{
	char buf[5];

	(void)state;
	assert_true(tf_strcpy(buf, "four", sizeof(buf)));
	assert_string_equal(buf, "four");
	assert_false(tf_strcpy(buf, "fives", sizeof(buf)));
	assert_string_equal(buf, "five");
	assert_false(tf_strcpy(buf, "x", 1));
	assert_string_equal(buf, "");
	assert_true(tf_strcpy(buf, "", 1));

	assert_true(tf_strncpy(buf, "abcdef", 4, sizeof(buf)));
	assert_string_equal(buf, "abcd");
	assert_false(tf_strncpy(buf, "abcdef", 5, sizeof(buf)));
	assert_string_equal(buf, "abcd");
	assert_true(tf_strncpy(buf, "ab\0cdef", 7, sizeof(buf)));
	assert_string_equal(buf, "ab");
	assert_true(tf_strncpy(buf, "abc", 0, sizeof(buf)));
	assert_string_equal(buf, "");
}

static void every_error_has_its_own_name(void **state)
{
	(void)state;
	for (int i = TF_OK; i <= TF_EAGAIN; i++) {
		assert_string_not_equal(tf_strerror((enum tf_err)i), "unknown");
		for (int j = TF_OK; j < i; j++)
			assert_string_not_equal(tf_strerror((enum tf_err)i), tf_strerror((enum tf_err)j));
	}
	assert_string_equal(tf_strerror((enum tf_err)(TF_EAGAIN + 1)), "unknown");
	assert_string_equal(tf_strerror((enum tf_err)-1), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(copies_touch_their_bytes_only), cmocka_unit_test(moves_may_overlap),
		cmocka_unit_test(set_takes_the_low_byte), cmocka_unit_test(comparisons_are_unsigned),
		cmocka_unit_test(searches), cmocka_unit_test(bounded_copies_terminate_and_tell),
		cmocka_unit_test(every_error_has_its_own_name),
	};

	return cmocka_run_group_tests_name("string", tests, NULL, NULL);
}
