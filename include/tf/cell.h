/* One character place of a screen: what a terminal keeps, and a framebuffer or a text page shows. */
#pragma once
#include <tf/types.h>

/* Glyph of lib/font.h in bits 0 to 8, foreground in 9 to 12, background in 13 to 15. */
typedef uint16_t cell_t;

/* The order of ECMA-48; with CELL_BRIGHT the bright ones. */
enum cell_colour { CELL_BLACK, CELL_RED, CELL_GREEN, CELL_YELLOW, CELL_BLUE, CELL_MAGENTA, CELL_CYAN, CELL_WHITE,
		   CELL_BRIGHT };
#define CELL_FOREGROUNDS 16
#define CELL_BACKGROUNDS 8

static inline cell_t cell_make(unsigned glyph, unsigned fg, unsigned bg)
{
	return (cell_t)((glyph & 0x1ff) | (fg & 15) << 9 | (bg & 7) << 13);
}
static inline unsigned cell_glyph(cell_t c) { return c & 0x1ff; }
static inline unsigned cell_fg(cell_t c) { return c >> 9 & 15; }
static inline unsigned cell_bg(cell_t c) { return c >> 13; }

/* Colours exchanged. A background is never bright: dark grey on black becomes black on white, to stay readable. */
static inline cell_t cell_reverse(cell_t c)
{
	unsigned fg = cell_fg(c) == (CELL_BLACK | CELL_BRIGHT) ? CELL_WHITE : cell_fg(c) & 7u;

	return cell_make(cell_glyph(c), fg == cell_bg(c) ? fg ^ CELL_WHITE : cell_bg(c), fg);
}

#define CELL_BLANK cell_make(' ', CELL_WHITE, CELL_BLACK)
