/* The boot information's screen: what the loader describes, and what nobody could draw on. */
#include "multiboot2_builder.h"

#define FB_BASE 0xfd00000000ull

/* "Framebuffer info", up to the colours; the reserved field has the 16 bits of the specification's header file. */
static uint32_t screen_body(uint8_t *body, uint64_t base, uint32_t pitch, uint32_t width, uint32_t height, uint8_t bpp, uint8_t type)
{
	memcpy(body, &base, 8);
	memcpy(body + 8, &pitch, 4);
	memcpy(body + 12, &width, 4);
	memcpy(body + 16, &height, 4);
	body[20] = bpp;
	body[21] = type;
	body[22] = body[23] = 0;
	return 24;
}

static enum boot_screen_kind parse_screen(const uint8_t *body, uint32_t n)
{
	begin();
	tag(8, body, n);
	tag_mmap(&one_range, 1, 24);
	end();
	assert_int_equal(parse(), TF_OK);
	return out.screen.kind;
}

static void rgb_screens(void **state)
{
	static const struct { uint8_t bpp, bytes, colours[6]; } formats[] = {
		{ 32, 4, { 16, 8, 8, 8, 0, 8 } },  { 32, 4, { 0, 8, 8, 8, 16, 8 } }, { 32, 4, { 20, 10, 10, 10, 0, 10 } },
		{ 24, 3, { 16, 8, 8, 8, 0, 8 } },  { 16, 2, { 11, 5, 5, 6, 0, 5 } }, { 15, 2, { 10, 5, 5, 5, 0, 5 } },
	};
	uint8_t body[32];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		uint32_t n = screen_body(body, FB_BASE, 1030 * formats[i].bytes, 1024, 768, formats[i].bpp, 1);
		const struct boot_screen *s = &out.screen;

		memcpy(body + n, formats[i].colours, 6);
		assert_int_equal(parse_screen(body, n + 6), BOOT_SCREEN_RGB);
		assert_int_equal(s->base.v, FB_BASE);
		assert_int_equal(s->pitch, 1030 * formats[i].bytes);
		assert_int_equal(s->width, 1024);
		assert_int_equal(s->height, 768);
		assert_int_equal(s->bpp, formats[i].bpp);
		const uint8_t got[6] = { s->red.shift, s->red.bits, s->green.shift, s->green.bits, s->blue.shift, s->blue.bits };
		assert_memory_equal(got, formats[i].colours, 6);
		/* Cut short; a field beyond the pixel; a field without bits. */
		assert_int_equal(parse_screen(body, n + 5), BOOT_SCREEN_NONE);
		body[n] = (uint8_t)(formats[i].bpp - 1);
		assert_int_equal(parse_screen(body, n + 6), BOOT_SCREEN_NONE);
		body[n] = 0;
		body[n + 1] = 0;
		assert_int_equal(parse_screen(body, n + 6), BOOT_SCREEN_NONE);
	}
}

static void impossible_screens(void **state)
{
	static const struct { uint64_t base; uint32_t pitch, width, height; uint8_t bpp, type; } bad[] = {
		{ 0, 4096, 1024, 768, 32, 1 },        { FB_BASE, 4095, 1024, 768, 32, 1 },
		{ FB_BASE, 4096, 0, 768, 32, 1 },     { FB_BASE, 4096, 1024, 0, 32, 1 },
		{ FB_BASE, 4096, 1024, 768, 0, 1 },   { FB_BASE, 4096, 1024, 768, 8, 1 },
		{ FB_BASE, 4096, 1024, 768, 33, 1 },  { FB_BASE, 4096, 1024, 768, 255, 1 },
		{ FB_BASE, 4096, 1024, 768, 32, 3 },  { FB_BASE, 3000, 0x40000001, 768, 32, 1 },
		{ FB_BASE, 80, 80, 25, 16, 2 },       { 0xffffffffffff0000, 4096, 1024, 768, 32, 1 },
		{ 0xffffffffffff0000, 0xffffffff, 1024, 0xffffffff, 32, 1 },
	};
	static const uint8_t colours[6] = { 16, 8, 8, 8, 0, 8 };
	uint8_t body[32];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		uint32_t n = screen_body(body, bad[i].base, bad[i].pitch, bad[i].width, bad[i].height, bad[i].bpp, bad[i].type);

		memcpy(body + n, colours, sizeof(colours));
		if (parse_screen(body, n + sizeof(colours)) != BOOT_SCREEN_NONE)
			fail_msg("screen %zu is accepted", i);
	}
	for (uint32_t n = 0; n < 24; n++)
		assert_int_equal(parse_screen(body, n), BOOT_SCREEN_NONE);
}

static void indexed_screens(void **state)
{
	static const uint8_t palette[] = { 10, 10, 10, 0, 0, 255, 0, 0, 5, 250, 250, 250, 255, 0, 0 };
	uint8_t body[64];
	uint32_t n = screen_body(body, 0xa0000, 640, 640, 480, 8, 0);

	(void)state;
	body[n] = 5;
	body[n + 1] = 0;
	memcpy(body + n + 2, palette, sizeof(palette));
	assert_int_equal(parse_screen(body, n + 2 + sizeof(palette)), BOOT_SCREEN_INDEXED);
	assert_int_equal(out.screen.black, 2);
	assert_int_equal(out.screen.white, 3);
	assert_int_equal(parse_screen(body, n + 1 + sizeof(palette)), BOOT_SCREEN_NONE);
	assert_int_equal(parse_screen(body, n), BOOT_SCREEN_NONE);
	memset(body + n + 2, 7, sizeof(palette)); /* nothing could be read on it */
	assert_int_equal(parse_screen(body, n + 2 + sizeof(palette)), BOOT_SCREEN_NONE);
	body[n + 1] = 2; /* 517 entries */
	assert_int_equal(parse_screen(body, sizeof(body)), BOOT_SCREEN_NONE);
}

static void text_screens(void **state)
{
	uint8_t body[32];
	uint32_t n = screen_body(body, 0xb8000, 264, 132, 50, 0, 2);

	(void)state;
	assert_int_equal(parse_screen(body, n), BOOT_SCREEN_TEXT);
	assert_int_equal(out.screen.width, 132);
	assert_int_equal(out.screen.height, 50);
	assert_int_equal(out.screen.pitch, 264);
	assert_int_equal(out.screen.bpp, 16);

	/* A BIOS starts in text mode, also where the loader does not speak of it. */
	begin();
	tag_mmap(&one_range, 1, 24);
	end();
	assert_int_equal(parse(), TF_OK);
	assert_int_equal(out.screen.kind, BOOT_SCREEN_TEXT);
	assert_int_equal(out.screen.base.v, 0xb8000);
	assert_int_equal(out.screen.width, 80);
	assert_int_equal(out.screen.height, 25);
	assert_int_equal(out.screen.pitch, 160);
}

/* On it the refusal is shown: it is found, whatever the tags before it are like. */
static void screen_of_bad_information(void **state)
{
	uint8_t body[32];
	uint32_t n = screen_body(body, 0xb8000, 160, 80, 25, 16, 2);

	(void)state;
	begin();
	tag(3, "1234567", 7);
	tag(8, body, n);
	end();
	refused_for("too short");
	assert_int_equal(out.screen.kind, BOOT_SCREEN_TEXT);
	assert_int_equal(out.screen.height, 25);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rgb_screens), cmocka_unit_test(impossible_screens),
		cmocka_unit_test(indexed_screens), cmocka_unit_test(text_screens),
		cmocka_unit_test(screen_of_bad_information),
	};

	return cmocka_run_group_tests_name("multiboot2 screen", tests, NULL, NULL);
}
