/* Multiboot2 Specification 2.0, "Framebuffer info" */
#include "drivers/framebuffer.h"
#include "lib/font.h"
#include <tf/assert.h>
#include <tf/string.h>

#define DOUBLED_WIDTH 2560       /* from here on a pixel is too small for a pixel of the font */
#define WIDTH_MAX     32768
#define HEIGHT_MAX    32768
#define COLS_MIN      20
#define COLS_MAX      512
#define ROWS_MIN      2
#define ROWS_MAX      512
#define ADDRESS_BITS  52
#define COLOUR_BITS   8          /* of one colour in the palette below */
#define PIXEL_MAX     4          /* bytes */
#define SCALE_MAX     2
#define LINE_WORDS    (FONT_WIDTH * SCALE_MAX * PIXEL_MAX / sizeof(uint64_t))
#define FILL_PERIOD   24         /* bytes after which whole pixels of any size begin at a 64-bit word again */

/* RRGGBB. Backgrounds are darker than foregrounds, so that text is readable on all of them. */
static const uint32_t foregrounds[CELL_FOREGROUNDS] = {
	0x14171c, 0xe0716a, 0x8fbf6f, 0xdcb45c, 0x6f9fe0, 0xbb8ad6, 0x62b8b8, 0xc8ccd2,
	0x7b828c, 0xff8f86, 0xb4e08c, 0xf5d98a, 0x97c2ff, 0xdcb0f5, 0x8ee0e0, 0xffffff,
};
static const uint32_t backgrounds[CELL_BACKGROUNDS] = {
	0x14171c, 0x8f3a36, 0x3f7442, 0x7f6424, 0x33588f, 0x6e4786, 0x2f7272, 0xc8ccd2,
};

static bool colour_fits(const struct boot_colour *c, uint32_t bpp, uint32_t *taken)
{
	if (!c->bits || c->bits > bpp || c->shift > bpp - c->bits)
		return false;
	uint32_t mask = (uint32_t)(BIT(c->bits) - 1) << c->shift;
	bool free = !(*taken & mask);

	*taken |= mask;
	return free;
}

static uint32_t colour_field(const struct boot_colour *c, uint32_t value)
{
	value &= BIT(COLOUR_BITS) - 1;
	/* Repeated rather than shifted where the field is wider, so that white stays white. */
	uint64_t wide = (uint64_t)value * 0x01010101;

	return (uint32_t)(wide >> (4 * COLOUR_BITS - c->bits)) << c->shift;
}

static uint32_t pixel_of(const struct boot_screen *s, uint32_t rgb)
{
	return colour_field(&s->red, rgb >> 16) | colour_field(&s->green, rgb >> 8) | colour_field(&s->blue, rgb);
}

static void set_colours(struct framebuffer *fb, const struct boot_screen *s)
{
	bool rgb = s->kind == BOOT_SCREEN_RGB;

	for (unsigned i = 0; i < CELL_FOREGROUNDS; i++)
		fb->fg[i] = rgb ? pixel_of(s, foregrounds[i]) : i == CELL_BLACK ? s->black : s->white;
	for (unsigned i = 0; i < CELL_BACKGROUNDS; i++)
		fb->bg[i] = rgb ? pixel_of(s, backgrounds[i]) : i == CELL_WHITE ? s->white : s->black;
}

bool framebuffer_init(struct framebuffer *fb, const struct boot_screen *s)
{
	uint32_t taken = 0;

	if (!s->width || !s->height || s->width > WIDTH_MAX || s->height > HEIGHT_MAX)
		return false;
	if (s->kind == BOOT_SCREEN_RGB) {
		if ((s->bpp != 15 && s->bpp != 16 && s->bpp != 24 && s->bpp != 32) || !colour_fits(&s->red, s->bpp, &taken) ||
		    !colour_fits(&s->green, s->bpp, &taken) || !colour_fits(&s->blue, s->bpp, &taken))
			return false;
	} else if (s->kind != BOOT_SCREEN_INDEXED || s->bpp != 8) {
		return false;
	}
	fb->pitch = s->pitch;
	fb->width = s->width;
	fb->height = s->height;
	fb->bytes = (s->bpp + 7u) / 8;
	if (s->pitch / fb->bytes < s->width || !s->base.v || s->base.v >= BIT(ADDRESS_BITS) ||
	    framebuffer_size(fb) > BIT(ADDRESS_BITS) - s->base.v)
		return false;
	fb->scale = s->width >= DOUBLED_WIDTH ? SCALE_MAX : 1;
	fb->cols = MIN(s->width / (FONT_WIDTH * fb->scale), (uint32_t)COLS_MAX);
	fb->rows = MIN(s->height / (FONT_HEIGHT * fb->scale), (uint32_t)ROWS_MAX);
	set_colours(fb, s);
	return fb->cols >= COLS_MIN && fb->rows >= ROWS_MIN;
}

/* To memory of any alignment: a framebuffer is slow enough to make each store as wide as possible. */
static inline void store64(uint8_t *p, uint64_t v) { __builtin_memcpy(p, &v, sizeof(v)); } /* inline, though freestanding */

void framebuffer_clear(const struct framebuffer *fb, uint8_t *mem)
{
	uint32_t line = fb->width * fb->bytes;
	uint64_t fill[FILL_PERIOD / sizeof(uint64_t)];

	for (uint32_t i = 0; i < FILL_PERIOD; i += fb->bytes)
		memcpy((uint8_t *)fill + i, &fb->bg[CELL_BLACK], fb->bytes);
	for (uint32_t y = 0; y < fb->height; y++, mem += fb->pitch) {
		uint32_t x = 0;

		for (; line - x >= FILL_PERIOD; x += FILL_PERIOD)
			for (uint32_t i = 0; i < ARRAY_SIZE(fill); i++)
				store64(mem + x + i * sizeof(uint64_t), fill[i]);
		memcpy(mem + x, fill, line - x);
	}
}

/* The path that matters: nearly every framebuffer has 32 bits per pixel. */
static void paint_32bpp(uint8_t *mem, uint32_t pitch, const uint8_t *glyph, uint64_t fg, uint64_t bg)
{
	const uint64_t pair[4] = { bg << 32 | bg, fg << 32 | bg, bg << 32 | fg, fg << 32 | fg };

	for (unsigned y = 0; y < FONT_HEIGHT; y++, mem += pitch) {
		store64(mem, pair[glyph[y] >> 6]);
		store64(mem + 8, pair[glyph[y] >> 4 & 3]);
		store64(mem + 16, pair[glyph[y] >> 2 & 3]);
		store64(mem + 24, pair[glyph[y] & 3]);
	}
}

static void paint_any(const struct framebuffer *fb, uint8_t *mem, const uint8_t *glyph, uint32_t fg, uint32_t bg)
{
	uint32_t words = FONT_WIDTH * fb->scale * fb->bytes / (uint32_t)sizeof(uint64_t);
	uint64_t line[LINE_WORDS];

	for (unsigned y = 0; y < FONT_HEIGHT; y++) {
		uint8_t *p = (uint8_t *)line;

		for (unsigned x = 0; x < FONT_WIDTH; x++) {
			uint32_t pixel = glyph[y] & 0x80 >> x ? fg : bg;

			for (uint32_t i = 0; i < fb->scale; i++)
				for (uint32_t b = 0; b < fb->bytes; b++)
					*p++ = (uint8_t)(pixel >> 8 * b);
		}
		for (uint32_t i = 0; i < fb->scale; i++, mem += fb->pitch)
			for (uint32_t w = 0; w < words; w++)
				store64(mem + w * sizeof(uint64_t), line[w]);
	}
}

void framebuffer_paint(const struct framebuffer *fb, uint8_t *mem, uint32_t col, uint32_t row, cell_t cell)
{
	ASSERT(col < fb->cols && row < fb->rows);
	const uint8_t *glyph = font_glyphs[MIN(cell_glyph(cell), font_count - 1)];
	uint32_t fg = fb->fg[cell_fg(cell)], bg = fb->bg[cell_bg(cell)];

	mem += (uint64_t)row * FONT_HEIGHT * fb->scale * fb->pitch + (uint64_t)col * FONT_WIDTH * fb->scale * fb->bytes;
	if (fb->bytes == 4 && fb->scale == 1)
		paint_32bpp(mem, fb->pitch, glyph, fg, bg);
	else
		paint_any(fb, mem, glyph, fg, bg);
}
