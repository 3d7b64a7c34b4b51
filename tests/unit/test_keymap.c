/*
 * The keyboard: scan codes of set 1 (IBM PS/2 Technical Reference, "Keyboard/Auxiliary Device Controller") to what the
 * Linux console sends for the same keys (console_codes(4), and the kernel's default keymap).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/keymap.h"

static struct keymap k;
static uint8_t typed[256];
static size_t ntyped;

static int fresh(void **state)
{
	(void)state;
	memset(&k, 0, sizeof(k));
	ntyped = 0;
	return 0;
}

static void feed(const uint8_t *codes, size_t n)
{
	uint8_t out[KEYMAP_MAX];

	for (size_t i = 0; i < n; i++) {
		size_t m = keymap_feed(&k, codes[i], out);

		assert_in_range(m, 0, KEYMAP_MAX);
		assert_true(ntyped + m <= sizeof(typed));
		memcpy(typed + ntyped, out, m);
		ntyped += m;
	}
}
#define FEED(...) feed((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static void expect_bytes(const char *s, size_t n)
{
	assert_int_equal(ntyped, n);
	assert_memory_equal(typed, s, n);
	ntyped = 0;
}
#define EXPECT(s) expect_bytes(s, sizeof(s) - 1)

static void letters_and_digits(void **state)
{
	(void)state;
	for (uint8_t code = 0x02; code <= 0x35; code++)
		FEED(code, code | 0x80);
	/* 1DH, 2AH are modifiers; they are released again at once. */
	EXPECT("1234567890-=\x7f\tqwertyuiop[]\rasdfghjkl;'`\\zxcvbnm,./");
	FEED(0x39, 0x01, 0x37, 0x4a, 0x4e, 0x56);
	EXPECT(" \033*-+<");
}

static void shift(void **state)
{
	(void)state;
	FEED(0x2a);
	for (uint8_t code = 0x02; code <= 0x0d; code++)
		FEED(code, code | 0x80);
	EXPECT("!@#$%^&*()_+");
	FEED(0x1e, 0x1a, 0x27, 0x28, 0x29, 0x2b, 0x33, 0x34, 0x35, 0x56);
	EXPECT("A{:\"~|<>?>");
	FEED(0x36, 0xaa, 0x1e); /* the other is still down */
	EXPECT("A");
	FEED(0xb6, 0x1e);
	EXPECT("a");
}

static void caps_lock_is_for_letters(void **state)
{
	(void)state;
	FEED(0x3a, 0xba, 0x1e, 0x02, 0x1a);
	EXPECT("A1[");
	FEED(0x2a, 0x1e, 0x02, 0xaa);
	EXPECT("a!");
	FEED(0x3a, 0xba, 0x1e);
	EXPECT("a");
}

static void control(void **state)
{
	(void)state;
	FEED(0x1d, 0x1e, 0x2e, 0x1b, 0x2b, 0x1a); /* a c ] \ [ */
	EXPECT("\x01\x03\x1d\x1c\x1b");
	FEED(0x03, 0x06, 0x07, 0x08, 0x0c, 0x39, 0x0e); /* 2 5 6 7 - space backspace */
	EXPECT("\x00\x1d\x1e\x1f\x1f\x00\x08");
	FEED(0x2a, 0x1e, 0x0c, 0xaa); /* with shift, too */
	EXPECT("\x01\x1f");
	FEED(0x9d, 0x2e, 0xe0, 0x1d, 0x2e, 0xe0, 0x9d, 0x2e); /* and the right one */
	EXPECT("c\x03"
	       "c");
}

static void alt_puts_escape_before(void **state)
{
	(void)state;
	FEED(0x38, 0x30, 0xb8, 0x30);
	EXPECT("\033bb");
	FEED(0xe0, 0x38, 0x1d, 0x1e, 0x9d, 0xe0, 0xb8, 0x1e);
	EXPECT("\033\x01"
	       "a");
}

static void cursor_keys(void **state)
{
	(void)state;
	FEED(0xe0, 0x48, 0xe0, 0x50, 0xe0, 0x4d, 0xe0, 0x4b);
	EXPECT("\033[A\033[B\033[C\033[D");
	FEED(0xe0, 0x47, 0xe0, 0x52, 0xe0, 0x53, 0xe0, 0x4f, 0xe0, 0x49, 0xe0, 0x51);
	EXPECT("\033[1~\033[2~\033[3~\033[4~\033[5~\033[6~");
	FEED(0xe0, 0xc8, 0xe0, 0xd3);
	EXPECT("");
	FEED(0xe0, 0x2a, 0xe0, 0x48, 0xe0, 0xc8, 0xe0, 0xaa); /* as with Num Lock on: a shift that is not one */
	EXPECT("\033[A");
	FEED(0x2a, 0xe0, 0xaa, 0xe0, 0x48, 0xe0, 0xc8, 0xe0, 0x2a, 0x1e, 0xaa); /* with shift: taken off and put on again */
	EXPECT("\033[AA");
	FEED(0x2a, 0x0f, 0xaa, 0x0f);
	EXPECT("\033[Z\t");
}

static void function_keys(void **state)
{
	(void)state;
	FEED(0x3b, 0x3c, 0x3d, 0x3e, 0x3f);
	EXPECT("\033[[A\033[[B\033[[C\033[[D\033[[E");
	FEED(0x40, 0x41, 0x42, 0x43, 0x44, 0x57, 0x58);
	EXPECT("\033[17~\033[18~\033[19~\033[20~\033[21~\033[23~\033[24~");
}

static void keypad(void **state)
{
	(void)state;
	FEED(0x48, 0x4c, 0x53, 0xe0, 0x1c, 0xe0, 0x35);
	EXPECT("\033[A\033[3~\r/");
	FEED(0x45, 0xc5); /* Num Lock */
	for (uint8_t code = 0x47; code <= 0x53; code++)
		FEED(code, code | 0x80);
	EXPECT("789-456+1230.");
	FEED(0x2a, 0x48, 0xaa);
	EXPECT("\033[A");
	FEED(0xe0, 0x48);
	EXPECT("\033[A");
	FEED(0x45, 0xc5, 0x48);
	EXPECT("\033[A");
}

static void ctrl_alt_del_is_for_nobody(void **state)
{
	(void)state;
	FEED(0x1d, 0x38, 0xe0, 0x53, 0xe0, 0xd3, 0x53, 0xd3, 0xb8, 0x9d);
	EXPECT("");
	FEED(0x1e);
	EXPECT("a");
}

static void what_is_no_key(void **state)
{
	(void)state;
	FEED(0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5, 0x48); /* Pause: neither Ctrl nor Num Lock */
	EXPECT("\033[A");
	FEED(0xe0, 0x46, 0xe0, 0xc6, 0xe0, 0x37, 0xe0, 0xb7, 0xe0, 0x5b, 0x46, 0x59, 0x7f); /* Break, Print, Windows, Scroll */
	EXPECT("");
	FEED(0xfa, 0xfe, 0xe0, 0xfa, 0x1e); /* answers to commands */
	EXPECT("a");
	FEED(0x1d, 0x2a, 0x38, 0xff, 0x1e); /* an overrun: releases may be lost */
	EXPECT("a");
	FEED(0x2a, 0x00, 0x1e);
	EXPECT("a");
}

static void any_codes(void **state)
{
	uint32_t x = 12345;

	(void)state;
	for (unsigned i = 0; i < 1000000; i++) {
		uint8_t out[KEYMAP_MAX];

		x = x * 1664525 + 1013904223;
		assert_in_range(keymap_feed(&k, (uint8_t)(x >> 24), out), 0, KEYMAP_MAX);
	}
}

#define TEST(f) cmocka_unit_test_setup(f, fresh)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(letters_and_digits), TEST(shift), TEST(caps_lock_is_for_letters), TEST(control),
		TEST(alt_puts_escape_before), TEST(cursor_keys), TEST(function_keys), TEST(keypad),
		TEST(ctrl_alt_del_is_for_nobody), TEST(what_is_no_key), TEST(any_codes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
