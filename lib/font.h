/*
 * The screen's font: 8x16, the first 256 glyphs in the order of the VGA's own font (code page 437), so that a text page
 * and a framebuffer show the same cells; then the rest of Latin-1 and what Linux programs like to print. The bitmaps are
 * Spleen's (docs/screen.md), made into tables by tools/font.py.
 */
#pragma once
#include <tf/types.h>

#define FONT_WIDTH   8
#define FONT_HEIGHT  16
#define FONT_MAX     512 /* what a cell has room for (tf/cell.h) */

/* By glyph; bit 7 is the leftmost pixel. */
extern const uint8_t font_glyphs[][FONT_HEIGHT];
extern const uint32_t font_count;

/* The glyph of a Unicode character; the replacement glyph if there is none. */
unsigned font_glyph(uint32_t code);
/* The most similar of the VGA's glyphs. */
uint8_t font_vga(unsigned glyph);
