/* Pixels of every format, and not one byte beside them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/framebuffer.h"
#include "lib/font.h"

#define UNTOUCHED 0x5a
#define BASE      0xe0000000ull

static struct boot_screen rgb(uint32_t width, uint32_t height, uint32_t pitch, uint8_t bpp)
{
	struct boot_screen s = { .kind = BOOT_SCREEN_RGB, .base = HPA(BASE), .pitch = pitch, .width = width, .height = height, .bpp = bpp };

	switch (bpp) {
	case 15:
		s.red = (struct boot_colour){ 10, 5 };
		s.green = (struct boot_colour){ 5, 5 };
		s.blue = (struct boot_colour){ 0, 5 };
		break;
	case 16:
		s.red = (struct boot_colour){ 11, 5 };
		s.green = (struct boot_colour){ 5, 6 };
		s.blue = (struct boot_colour){ 0, 5 };
		break;
	default:
		s.red = (struct boot_colour){ 16, 8 };
		s.green = (struct boot_colour){ 8, 8 };
		s.blue = (struct boot_colour){ 0, 8 };
	}
	return s;
}

static uint32_t pixel(const struct framebuffer *fb, const uint8_t *mem, uint32_t x, uint32_t y)
{
	uint32_t v = 0;

	for (uint32_t i = 0; i < fb->bytes; i++)
		v |= (uint32_t)mem[y * fb->pitch + x * fb->bytes + i] << 8 * i;
	return v;
}

/* Paints a cell, and looks at every byte of the memory, which is larger than the screen on both sides. */
static void check_cell(const struct boot_screen *s, uint32_t col, uint32_t row, cell_t cell, unsigned misalign)
{
	struct framebuffer fb;

	assert_true(framebuffer_init(&fb, s));
	size_t size = framebuffer_size(&fb);
	uint8_t *all = malloc(size + misalign), *mem = all + misalign;

	memset(all, UNTOUCHED, size + misalign);
	framebuffer_paint(&fb, mem, col, row, cell);
	const uint8_t *glyph = font_glyphs[cell_glyph(cell)];
	uint32_t cw = FONT_WIDTH * fb.scale, ch = FONT_HEIGHT * fb.scale;
	for (uint32_t y = 0; y < fb.height; y++) {
		for (uint32_t x = 0; x < fb.width; x++) {
			uint32_t want = 0;

			memset(&want, UNTOUCHED, fb.bytes);
			if (x / cw == col && y / ch == row)
				want = glyph[y % ch / fb.scale] & 0x80 >> x % cw / fb.scale ? fb.fg[cell_fg(cell)] : fb.bg[cell_bg(cell)];
			if (pixel(&fb, mem, x, y) != want)
				fail_msg("pixel %u,%u of %u bpp", x, y, s->bpp);
		}
		for (uint32_t i = fb.width * fb.bytes; i < fb.pitch; i++)
			assert_int_equal(mem[y * fb.pitch + i], UNTOUCHED);
	}
	for (unsigned i = 0; i < misalign; i++)
		assert_int_equal(all[i], UNTOUCHED);
	free(all);
}

static void test_formats(void **state)
{
	static const uint8_t depths[] = { 15, 16, 24, 32 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(depths); i++) {
		uint32_t bytes = (depths[i] + 7u) / 8;

		for (uint32_t extra = 0; extra < 8; extra += 7) { /* also a pitch that no pixel size divides */
			struct boot_screen s = rgb(171, 53, 171 * bytes + extra, depths[i]);

			check_cell(&s, 0, 0, cell_make('A', CELL_WHITE, CELL_BLACK), 0);
			check_cell(&s, 20, 2, cell_make('g', CELL_RED | CELL_BRIGHT, CELL_BLUE), 3); /* the last one */
		}
	}
	struct boot_screen indexed = { .kind = BOOT_SCREEN_INDEXED, .base = HPA(BASE), .pitch = 171, .width = 171, .height = 53, .bpp = 8,
				       .black = 7, .white = 200 };
	check_cell(&indexed, 20, 2, cell_make('#', CELL_GREEN, CELL_BLACK), 1);
}

static void test_doubled(void **state)
{
	(void)state;
	for (unsigned bpp = 16; bpp <= 32; bpp += 8) {
		struct boot_screen s = rgb(2560, 64, 2560 * bpp / 8, (uint8_t)bpp);

		check_cell(&s, 159, 1, cell_make('W', CELL_YELLOW, CELL_BLACK), 0);
	}
	struct boot_screen s = rgb(2559, 64, 2559 * 4, 32);
	struct framebuffer fb;
	assert_true(framebuffer_init(&fb, &s));
	assert_int_equal(fb.cols, 319);
	s = rgb(3840, 2160, 3840 * 4, 32);
	assert_true(framebuffer_init(&fb, &s));
	assert_int_equal(fb.cols, 240);
	assert_int_equal(fb.rows, 67);
}

/* White is all ones in each field, whatever its place and width; other colours keep their shade. */
static void test_colours(void **state)
{
	struct framebuffer fb, reversed, deep;

	(void)state;
	struct boot_screen s = rgb(640, 480, 640 * 2, 16);
	assert_true(framebuffer_init(&fb, &s));
	assert_int_equal(fb.fg[CELL_WHITE | CELL_BRIGHT], 0xffff);
	s = rgb(640, 480, 640 * 2, 15);
	assert_true(framebuffer_init(&fb, &s));
	assert_int_equal(fb.fg[CELL_WHITE | CELL_BRIGHT], 0x7fff);
	s = rgb(640, 480, 640 * 4, 32);
	assert_true(framebuffer_init(&fb, &s));
	assert_int_equal(fb.fg[CELL_WHITE | CELL_BRIGHT], 0xffffff);
	struct boot_screen other = s;
	other.red = s.blue;
	other.blue = s.red;
	assert_true(framebuffer_init(&reversed, &other));
	struct boot_screen ten = s;
	ten.red = (struct boot_colour){ 20, 10 };
	ten.green = (struct boot_colour){ 10, 10 };
	ten.blue = (struct boot_colour){ 0, 10 };
	assert_true(framebuffer_init(&deep, &ten));
	assert_int_equal(deep.fg[CELL_WHITE | CELL_BRIGHT], 0x3fffffff);
	for (unsigned i = 0; i < CELL_FOREGROUNDS; i++) {
		uint32_t p = fb.fg[i];

		assert_int_equal(reversed.fg[i], (p & 0xff) << 16 | (p & 0xff00) | p >> 16);
		assert_int_equal(deep.fg[i] >> 22 & 0xff, p >> 16 & 0xff);
		assert_int_equal(deep.fg[i] >> 2 & 0xff, p & 0xff);
		for (unsigned j = 0; j < i; j++)
			assert_int_not_equal(fb.fg[j], p);
	}
	/* The levels of the log: red has the most red, yellow red and green. */
	assert_true((fb.fg[CELL_RED | CELL_BRIGHT] >> 16 & 0xff) > (fb.fg[CELL_RED | CELL_BRIGHT] >> 8 & 0xff));
	assert_true((fb.fg[CELL_YELLOW | CELL_BRIGHT] >> 8 & 0xff) > (fb.fg[CELL_YELLOW | CELL_BRIGHT] & 0xff));
}

static void test_clear(void **state)
{
	(void)state;
	for (unsigned bpp = 16; bpp <= 32; bpp += 8) {
		uint32_t width = 173, height = 37, pitch = width * bpp / 8 + 5;
		struct boot_screen s = rgb(width, height, pitch, (uint8_t)bpp);
		struct framebuffer fb;

		assert_true(framebuffer_init(&fb, &s));
		uint8_t *mem = malloc(framebuffer_size(&fb));
		memset(mem, UNTOUCHED, framebuffer_size(&fb));
		framebuffer_clear(&fb, mem);
		for (uint32_t y = 0; y < height; y++) {
			for (uint32_t x = 0; x < width; x++)
				assert_int_equal(pixel(&fb, mem, x, y), fb.bg[CELL_BLACK]);
			for (uint32_t i = width * fb.bytes; i < pitch; i++)
				assert_int_equal(mem[y * pitch + i], UNTOUCHED);
		}
		free(mem);
	}
}

static bool accepts(struct boot_screen s)
{
	struct framebuffer fb;

	return framebuffer_init(&fb, &s);
}

#define WITH(field, value) ({ struct boot_screen s_ = good; s_.field = (value); s_; })
#define COLOUR(s, b) ((struct boot_colour){ (s), (b) })

static void test_wrong_descriptions(void **state)
{
	const struct boot_screen good = rgb(640, 480, 2560, 32);

	(void)state;
	assert_true(accepts(good));
	assert_false(accepts(WITH(width, 0)));
	assert_false(accepts(WITH(height, 0)));
	assert_false(accepts(WITH(pitch, 0)));
	assert_false(accepts(WITH(pitch, 2559)));
	assert_false(accepts(WITH(width, 641)));
	assert_false(accepts(WITH(width, 0x40000000))); /* 4 times that is 0 in 32 bits */
	assert_false(accepts(WITH(width, 159)));        /* not 20 columns */
	assert_false(accepts(WITH(height, 31)));
	assert_false(accepts(WITH(height, 0xffffffff)));
	assert_false(accepts(WITH(kind, BOOT_SCREEN_NONE)));
	assert_false(accepts(WITH(kind, BOOT_SCREEN_TEXT)));
	assert_false(accepts(WITH(kind, BOOT_SCREEN_INDEXED)));
	for (unsigned bpp = 0; bpp < 256; bpp++)
		if (bpp != 32 && bpp != 24)
			assert_false(accepts(WITH(bpp, (uint8_t)bpp)));
	assert_false(accepts(WITH(red, COLOUR(25, 8))));
	assert_false(accepts(WITH(red, COLOUR(255, 8))));
	assert_false(accepts(WITH(red, COLOUR(0, 0))));
	assert_false(accepts(WITH(red, COLOUR(0, 255))));
	assert_false(accepts(WITH(red, COLOUR(0, 33))));
	assert_false(accepts(WITH(red, COLOUR(8, 8)))); /* green's */
	assert_false(accepts(WITH(red, COLOUR(0, 32))));
	assert_false(accepts(WITH(base, HPA(0))));
	assert_false(accepts(WITH(base, HPA(UINT64_MAX - 4096))));
	assert_false(accepts(WITH(base, HPA(BIT(52) - 4096))));
	assert_true(accepts(WITH(base, HPA(BIT(52) - 2560 * 480))));
	/* A pitch that is far too large is only memory that is not written. */
	assert_true(accepts(WITH(pitch, 0xffffffff)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_formats), cmocka_unit_test(test_doubled), cmocka_unit_test(test_colours),
		cmocka_unit_test(test_clear), cmocka_unit_test(test_wrong_descriptions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
