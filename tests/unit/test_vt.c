/* The terminal against ECMA-48 and the VT100's behaviour, seen through its cells. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/vt.h"
#include "lib/font.h"

#define COLS 10
#define ROWS 4
#define GUARD 0xa5a5

static cell_t cells[1 + COLS * ROWS + 1];
static struct vt vt;

static int setup(void **state)
{
	(void)state;
	cells[0] = cells[1 + COLS * ROWS] = GUARD;
	vt_init(&vt, cells + 1, COLS, ROWS);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	assert_int_equal(cells[0], GUARD);
	assert_int_equal(cells[1 + COLS * ROWS], GUARD);
	return 0;
}

static void put(const char *s) { vt_write(&vt, (const uint8_t *)s, strlen(s)); }

/* A row as text; trailing blanks are left out. */
static const char *row(uint32_t y)
{
	static char text[COLS + 1];
	size_t n = 0;

	for (uint32_t x = 0; x < COLS; x++) {
		unsigned glyph = cell_glyph(vt_row(&vt, y)[x]);

		text[x] = glyph >= ' ' && glyph < 0x7f ? (char)glyph : '#';
		if (text[x] != ' ')
			n = x + 1;
	}
	text[n] = 0;
	return text;
}

static cell_t cell(uint32_t x, uint32_t y) { return vt_row(&vt, y)[x]; }

#define assert_row(y, text) assert_string_equal(row(y), text)
#define assert_cursor(x_, y_) do { assert_int_equal(vt.x, x_); assert_int_equal(vt.y, y_); } while (0)
#define assert_colours(c, fg, bg) do { assert_int_equal(cell_fg(c), fg); assert_int_equal(cell_bg(c), bg); } while (0)

static void test_text(void **state)
{
	(void)state;
	put("ab\r\ncd\n*\b+\r!");
	assert_row(0, "ab");
	assert_row(1, "cd");
	assert_row(2, "! +");
	assert_cursor(1, 2);
	put("\tT\t\tU");
	assert_row(2, "! +     TU"); /* a tab ends in the last column */
}

static void test_last_column(void **state)
{
	(void)state;
	put("0123456789");
	assert_cursor(9, 0); /* the next line begins with the next character only */
	put("\rA");
	assert_row(0, "A123456789");
	put("\r0123456789a\b\b\b");
	assert_row(1, "a");
	assert_cursor(0, 1);
	put("\x1b[?7l\x1b[1;9Hxyz");
	assert_row(0, "01234567xz");
}

static void test_scroll(void **state)
{
	(void)state;
	put("1\r\n2\r\n3\r\n4\r\n5\r\n6");
	assert_row(0, "3");
	assert_row(3, "6");
	put("\x1b[H\x1bM0");
	assert_row(0, "0");
	assert_row(1, "3");
	assert_row(3, "5");
	put("\x1b[2S");
	assert_row(0, "4");
	assert_row(1, "5");
	assert_row(2, "");
	put("\x1b[T");
	assert_row(0, "");
	assert_row(1, "4");
	put("\x1b[9999S");
	for (uint32_t y = 0; y < ROWS; y++)
		assert_row(y, "");
}

static void test_region(void **state)
{
	(void)state;
	put("1\r\n2\r\n3\r\n4\x1b[2;3r");
	assert_cursor(0, 0);
	put("\x1b[3;1Ha\r\nb");
	assert_row(0, "1");
	assert_row(1, "a");
	assert_row(2, "b");
	assert_row(3, "4");
	put("\x1b[2H\x1bMc");
	assert_row(1, "c");
	assert_row(2, "a");
	assert_row(3, "4");
	put("\x1b[4;1H\n\n5"); /* below the region nothing scrolls */
	assert_row(3, "5");
	assert_row(2, "a");
	put("\x1b[?6h\x1b[1;1HX\x1b[99;1HY\x1b[?6l");
	assert_row(1, "X");
	assert_row(2, "Y");
	put("\x1b[3;2r\x1b[0;1r\x1b[99r"); /* not regions */
	assert_int_equal(vt.top, 1);
	assert_int_equal(vt.bottom, 3);
	put("\x1b[r");
	assert_int_equal(vt.top, 0);
	assert_int_equal(vt.bottom, ROWS);
}

static void test_moves(void **state)
{
	(void)state;
	put("\x1b[3;4H");
	assert_cursor(3, 2);
	put("\x1b[A\x1b[2C");
	assert_cursor(5, 1);
	put("\x1b[B\x1b[3D");
	assert_cursor(2, 2);
	put("\x1b[E");
	assert_cursor(0, 3);
	put("\x1b[5G\x1b[2F");
	assert_cursor(0, 1);
	put("\x1b[3d\x1b[7`");
	assert_cursor(6, 2);
	put("\x1b[99A\x1b[99D");
	assert_cursor(0, 0);
	put("\x1b[99;99H");
	assert_cursor(COLS - 1, ROWS - 1);
	put("\x1b[2;3H\x1b[1m\x1b" "7\x1b[m\x1b[Hx\x1b" "8y");
	assert_int_equal(cell_glyph(cell(2, 1)), 'y');
	assert_colours(cell(2, 1), CELL_WHITE | CELL_BRIGHT, CELL_BLACK);
	put("\x1b[H\x1b[I\x1b[Z");
	assert_cursor(0, 0);
	put("\x1b[10G\x1b[Z");
	assert_cursor(8, 0);
}

static void test_erase(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++)
		put("0123456789");
	put("\x1b[1;4H\x1b[K");
	assert_row(0, "012");
	put("\x1b[2;4H\x1b[1K");
	assert_row(1, "    456789");
	put("\x1b[2X");
	assert_row(1, "     56789");
	put("\x1b[2;7H\x1b[J");
	assert_row(0, "012");
	assert_row(1, "     5");
	assert_row(2, "");
	put("\x1b[1J");
	assert_row(0, "");
	assert_row(1, "");
	put("x\x1b[44m\x1b[2J");
	assert_row(1, "");
	assert_colours(cell(9, 3), CELL_WHITE, CELL_BLUE); /* in the background colour */
	put("\x1b[9999X\x1b[7J\x1b[9K");
}

static void test_insert_and_delete(void **state)
{
	(void)state;
	put("0123456789\x1b[1;3H\x1b[2@");
	assert_row(0, "01  234567");
	put("\x1b[3P");
	assert_row(0, "0134567");
	put("\x1b[4hAB\x1b[4lC");
	assert_row(0, "01ABC4567");
	put("\x1b[99P");
	assert_row(0, "01ABC");
	put("\r\x1b[99@");
	assert_row(0, "");
	put("1\r\n2\r\n3\r\n4\x1b[2;5H\x1b[L");
	assert_row(1, "");
	assert_row(2, "2");
	assert_row(3, "3");
	assert_cursor(0, 1);
	put("\x1b[2M");
	assert_row(0, "1");
	assert_row(1, "3");
	assert_row(2, "");
	put("\x1b[99L\x1b[99M");
	put("\x1b[Hz\x1b[3b\x1b[99b");
	assert_row(0, "zzzzzzzzzz");
}

static void test_colours(void **state)
{
	(void)state;
	put("a\x1b[31mb\x1b[1mc\x1b[42md\x1b[7me\x1b[27;22;39mf\x1b[mg");
	assert_colours(cell(0, 0), CELL_WHITE, CELL_BLACK);
	assert_colours(cell(1, 0), CELL_RED, CELL_BLACK);
	assert_colours(cell(2, 0), CELL_RED | CELL_BRIGHT, CELL_BLACK);
	assert_colours(cell(3, 0), CELL_RED | CELL_BRIGHT, CELL_GREEN);
	assert_colours(cell(4, 0), CELL_GREEN, CELL_RED);
	assert_colours(cell(5, 0), CELL_WHITE, CELL_GREEN);
	assert_colours(cell(6, 0), CELL_WHITE, CELL_BLACK);
	put("\r\n\x1b[94;103mh\x1b[38;5;9;48;2;0;0;200mi\x1b[38;2;250;250;0;4mj\x1b[0;38mk\x1b[38;5ml");
	assert_colours(cell(0, 1), CELL_BLUE | CELL_BRIGHT, CELL_YELLOW);
	assert_colours(cell(1, 1), CELL_RED | CELL_BRIGHT, CELL_BLUE);
	assert_colours(cell(2, 1), CELL_YELLOW | CELL_BRIGHT, CELL_BLUE);
	assert_colours(cell(3, 1), CELL_WHITE, CELL_BLACK); /* cut short, and without effect */
	assert_colours(cell(4, 1), CELL_WHITE, CELL_BLACK);
	put("\r\n\x1b[30mm\x1b[0;7mn\x1b[0;8mo\x1b[0;2mp\x1b[0;2;7mq");
	assert_true(cell_fg(cell(0, 2)) != cell_bg(cell(0, 2))); /* black on black can be read */
	assert_colours(cell(1, 2), CELL_BLACK, CELL_WHITE);
	assert_int_equal(cell_fg(cell(2, 2)), cell_bg(cell(2, 2))); /* unless that is meant */
	assert_colours(cell(3, 2), CELL_BLACK | CELL_BRIGHT, CELL_BLACK);
	assert_colours(cell(4, 2), CELL_BLACK, CELL_WHITE);
}

static void test_utf8(void **state)
{
	unsigned unknown = font_glyph(0xfffd);

	(void)state;
	put("\xc3\xa9\xe2\x94\x80\xe2\x82\xac");
	assert_int_equal(cell_glyph(cell(0, 0)), font_glyph(0xe9));
	assert_int_equal(cell_glyph(cell(1, 0)), font_glyph(0x2500));
	assert_int_equal(cell_glyph(cell(2, 0)), font_glyph(0x20ac));
	assert_cursor(3, 0);
	assert_int_not_equal(font_glyph(0xe9), unknown);
	assert_int_not_equal(font_glyph(0x2500), unknown);
	/* a byte of no character; overlong; a surrogate; too large; cut short by text */
	static const char *const bad[] = { "\xff", "\x80", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc3" };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		put("\r\x1b[K");
		put(bad[i]);
		put("x");
		assert_int_equal(cell_glyph(cell(0, 0)), unknown);
		assert_int_equal(cell_glyph(cell(vt.x - 1, 0)), 'x');
	}
	put("\r\x1b[K\xe2\x94\r\nx\x1b[A"); /* cut short by the line's end: the next line is whole */
	assert_int_equal(cell_glyph(cell(0, 0)), unknown);
	assert_int_equal(cell_glyph(cell(0, 1)), 'x');
	put("\r\x1b[Ke\xcc\x81!\xe4\xb8\xad!"); /* a combining accent takes no place, an ideograph two */
	assert_row(0, "e!##!");
	put("\r\x1b[K\xe2\x1b[1mz"); /* cut short by a sequence */
	assert_row(0, "z");
}

static void test_line_drawing(void **state)
{
	(void)state;
	put("\x1b(0lqk\x1b(Bq\x1b)0\x0ex\x0fx");
	assert_int_equal(cell_glyph(cell(0, 0)), font_glyph(0x250c));
	assert_int_equal(cell_glyph(cell(1, 0)), font_glyph(0x2500));
	assert_int_equal(cell_glyph(cell(2, 0)), font_glyph(0x2510));
	assert_int_equal(cell_glyph(cell(3, 0)), 'q');
	assert_int_equal(cell_glyph(cell(4, 0)), font_glyph(0x2502));
	assert_int_equal(cell_glyph(cell(5, 0)), 'x');
}

static void test_left_out(void **state)
{
	static const char *const silent[] = {
		"\x1b]0;title\x07", "\x1b]0;title\x1b\\", "\x1bPq#0\x1b\\", "\x1b_x\x1b\\", "\x1b^x\x1b\\", "\x1bXx\x1b\\", "\x1b#8",
		"\x1b%G", "\x1b[6n", "\x1b[c", "\x1b[>0c", "\x1b[!p", "\x1b[?2004h", "\x1b[?1;2$p", "\x1b=", "\x1b>", "\x1b[1;2;3;4;5t",
		"\x1b[1\x18", "\x1b[\x1a", "\x1b[4:3m\x1b[m", "\x1b[>31m", "\x07", "\x7f", "\x1b*0", "\x1b[1;?2h",
		"\x1b[1;2;3;4;5;6;7;8;9;10;11;12;13;14;15;16;17;18;19m",
		"\x1b[99999999999999999999m",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(silent); i++) {
		put("\x1b" "c");
		put("a");
		put(silent[i]);
		put("b");
		assert_row(0, "ab");
		assert_colours(cell(1, 0), CELL_WHITE, CELL_BLACK);
		assert_cursor(2, 0);
	}
}

/* xterm's "Alternate Screen Buffer": found empty, left as if it had not been there, with the cursor where it was. */
static void test_other_screen(void **state)
{
	(void)state;
	put("ab\x1b[?1049h");
	assert_row(0, "");
	put("\x1b[3;4Hfull\x1b[?1049l");
	assert_row(2, "");
	assert_cursor(2, 0);
}

static void test_controls_inside(void **state)
{
	(void)state;
	put("ab\x1b[\r1C*");
	assert_row(0, "a*");
	put("\r\n\x1bP a string without its end\r\nx");
	assert_row(2, "x");
	put("\x1b[35m\x1b] its end\x1b\n\r[my"); /* core/plain.h reads it so, too */
	assert_row(3, "y");
	assert_colours(cell(0, 3), CELL_WHITE, CELL_BLACK);
}

static void test_log_levels(void **state)
{
	static cell_t wide[80 * 2];

	(void)state;
	vt_init(&vt, wide, 80, 2);
	put("[    1.000001] cpu0 error core: e\r\n[ 1290.345678] cpu12 warn core: w");
	assert_colours(vt_row(&vt, 0)[0], CELL_WHITE, CELL_BLACK);
	assert_colours(vt_row(&vt, 0)[20], CELL_RED | CELL_BRIGHT, CELL_BLACK);
	assert_colours(vt_row(&vt, 0)[32], CELL_RED | CELL_BRIGHT, CELL_BLACK);
	assert_colours(vt_row(&vt, 1)[21], CELL_YELLOW | CELL_BRIGHT, CELL_BLACK);
	put("\r\n[   99.999999] cpu9 error core: n");
	assert_colours(vt_row(&vt, 1)[20], CELL_RED | CELL_BRIGHT, CELL_BLACK);
	put("\r\n[    1.000001] cpu0 info core: i\r\n[    1.000001] cpux error");
	assert_colours(vt_row(&vt, 0)[20], CELL_WHITE, CELL_BLACK);
	assert_colours(vt_row(&vt, 1)[21], CELL_WHITE, CELL_BLACK);
	put("\r\n[    1.000001] cpu0 error \x1b[32mx\x1b[my\r\nz");
	assert_colours(vt_row(&vt, 0)[26], CELL_GREEN, CELL_BLACK);
	assert_colours(vt_row(&vt, 0)[27], CELL_RED | CELL_BRIGHT, CELL_BLACK);
	assert_colours(vt_row(&vt, 1)[0], CELL_WHITE, CELL_BLACK);
	vt_init(&vt, cells + 1, COLS, ROWS);
}

/* A reader that paints only dirty rows must end up with the whole picture, after anything. */
static void test_dirty(void **state)
{
	static const char *const pieces[] = { "ab", "\r\n", "\n\n\n\n", "\x1b[2;3H", "\x1b[L", "\x1b[2M", "\x1b[J", "\x1b[2;3r", "\x1b[r",
					      "\x1bM", "x\x1b[3b", "\x1b[?1049h", "\x1b[?1049l", "\x1b[P", "\x1b[@", ("\x1b" "c"), "0123456789012" };
	static cell_t seen[COLS * ROWS];
	uint32_t seed = 1;

	(void)state;
	for (int i = 0; i < 5000; i++) {
		seed = seed * 1664525 + 1013904223;
		uint32_t was = vt.y;
		put(pieces[(seed >> 16) % ARRAY_SIZE(pieces)]);
		assert_true(vt.dirty_from <= was && was < vt.dirty_to);     /* the cursor goes... */
		assert_true(vt.dirty_from <= vt.y && vt.y < vt.dirty_to);   /* ...and comes */
		for (uint32_t y = vt.dirty_from; y < vt.dirty_to; y++)
			memcpy(seen + y * COLS, vt_row(&vt, y), COLS * sizeof(cell_t));
		vt.dirty_from = vt.dirty_to = 0;
		for (uint32_t y = 0; y < ROWS; y++)
			assert_memory_equal(seen + y * COLS, vt_row(&vt, y), COLS * sizeof(cell_t));
	}
}

static void test_grow(void **state)
{
	static cell_t more[COLS * 6];

	(void)state;
	put("1\r\n2\r\n3\r\n4\r\n5");
	vt_grow(&vt, more, 6);
	assert_row(0, "2");
	assert_row(3, "5");
	assert_row(5, "");
	put("\n\n6\n7");
	assert_row(4, " 6");
	assert_row(5, "  7");
	assert_row(0, "3");
	vt_init(&vt, cells + 1, COLS, ROWS);
}

static void test_font(void **state)
{
	static const char blank[FONT_HEIGHT] = { 0 };

	(void)state;
	for (unsigned c = '!'; c < 0x7f; c++) {
		assert_int_equal(font_glyph(c), c);
		assert_memory_not_equal(font_glyphs[c], blank, FONT_HEIGHT);
		for (unsigned d = '!'; d < c; d++)
			assert_memory_not_equal(font_glyphs[c], font_glyphs[d], FONT_HEIGHT);
	}
	assert_memory_equal(font_glyphs[' '], blank, FONT_HEIGHT);
	/* Latin-1 and single lines are there; each glyph has something that a VGA shows. */
	for (unsigned c = 0xa1; c < 0x100; c++)
		assert_int_not_equal(font_glyph(c), font_glyph(0xfffd));
	for (unsigned c = 0x2550; c < 0x256d; c++)
		assert_int_not_equal(font_glyph(c), font_glyph(0xfffd));
	assert_int_equal(font_glyph(0x10ffff), font_glyph(0xfffd));
	assert_int_equal(font_vga(font_glyph(0xc0)), 'A');
	assert_int_equal(font_vga(font_glyph(0xfffd)), '?');
	assert_int_equal(font_vga(font_glyph(0x2502)), 0xb3);
	assert_int_equal(font_vga(FONT_MAX), '?');
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_text), TEST(test_last_column), TEST(test_scroll), TEST(test_region), TEST(test_moves), TEST(test_erase),
		TEST(test_insert_and_delete), TEST(test_colours), TEST(test_utf8), TEST(test_line_drawing), TEST(test_left_out),
		TEST(test_other_screen), TEST(test_controls_inside), TEST(test_log_levels), TEST(test_dirty), TEST(test_grow), TEST(test_font),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
