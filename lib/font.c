#include "lib/font.h"
#include <tf/types.h>

struct code { uint16_t code, glyph; };

/* font_glyphs; codes: those of ASCII aside, sorted; vga_similar: from glyph 256 on; GLYPH_REPLACEMENT */
#include "font.inc"

#define VGA_GLYPHS 256

const uint32_t font_count = ARRAY_SIZE(font_glyphs);
_Static_assert(ARRAY_SIZE(font_glyphs) <= FONT_MAX, "a cell's glyph number has 9 bits");
_Static_assert(ARRAY_SIZE(font_glyphs) == VGA_GLYPHS + ARRAY_SIZE(vga_similar), "each further glyph has a similar one");

unsigned font_glyph(uint32_t code)
{
	size_t low = 0, high = ARRAY_SIZE(codes);

	if (code >= ' ' && code < 0x7f)
		return code;
	while (low < high) {
		size_t middle = (low + high) / 2;

		if (codes[middle].code == code)
			return codes[middle].glyph;
		if (codes[middle].code < code)
			low = middle + 1;
		else
			high = middle;
	}
	return GLYPH_REPLACEMENT;
}

uint8_t font_vga(unsigned glyph)
{
	if (glyph < VGA_GLYPHS)
		return (uint8_t)glyph;
	return glyph < font_count ? vga_similar[glyph - VGA_GLYPHS] : '?';
}
