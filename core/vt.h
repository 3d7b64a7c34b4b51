/*
 * A terminal: bytes in, cells out. It understands UTF-8 and of ECMA-48 what shells, kernels and full-screen programs send
 * to a "linux" or "vt100" terminal; everything else is left out without a trace. Pure, and it trusts no byte: guests
 * write to it. It answers no query, as it has no way back.
 */
#pragma once
#include <tf/cell.h>

#define VT_PARAMS   16
#define VT_COLS_MIN 2
#define VT_COLS_MAX 512
#define VT_ROWS_MAX 512

struct vt_pen {
	uint8_t fg, bg;   /* enum cell_colour, perhaps bright; meaningless while the colour is the default one */
	bool fg_set, bg_set, bold, dim, reverse, hidden;
};

enum vt_state { VT_TEXT, VT_ESCAPE, VT_ESCAPE_OTHER, VT_CHARSET, VT_CSI, VT_CSI_IGNORE, VT_STRING, VT_STRING_ESCAPE };

struct vt {
	cell_t *cells;       /* cols * rows; the rows are a ring, so that scrolling moves nothing */
	uint32_t cols, rows;
	uint32_t first;      /* the row of `cells` that is on top */
	uint32_t x, y;
	bool wrap;           /* a character was put in the last column: the next one begins a new line */
	uint32_t top, bottom; /* the scrolling region: rows from `top` to before `bottom` */
	uint32_t dirty_from, dirty_to; /* rows that may have changed since the reader emptied this; none if equal */
	struct vt_pen pen;
	struct { uint32_t x, y; struct vt_pen pen; bool graphics[2], shifted; } saved;
	bool graphics[2], shifted;           /* line drawing characters are in G0, G1; G1 is in use */
	bool autowrap, insert, origin, cursor; /* modes; `cursor`: it is visible */
	enum vt_state state;
	uint8_t charset;     /* VT_CHARSET: which is being designated */
	uint8_t marker;      /* VT_CSI: `?`, `>`..., or 0 */
	uint32_t nparams;
	uint32_t params[VT_PARAMS];
	uint32_t code, code_min, code_more; /* UTF-8: the character so far, the least that needs its length, bytes to come */
	uint32_t last;       /* the character to repeat */
	uint32_t log_at;     /* how much of a log line's head the current line has shown */
	uint8_t log_colour;  /* of the log line that is being written, CELL_BLACK: none */
};

/* `cells` must hold cols * rows; they are blanked. VT_COLS_MIN <= cols <= VT_COLS_MAX, 2 <= rows <= VT_ROWS_MAX. */
void vt_init(struct vt *vt, cell_t *cells, uint32_t cols, uint32_t rows);
/* Goes on in a larger room of the same width, with the same picture on top. */
void vt_grow(struct vt *vt, cell_t *cells, uint32_t rows);
void vt_write(struct vt *vt, const uint8_t *buf, size_t n);
static inline cell_t *vt_row(const struct vt *vt, uint32_t y)
{
	uint32_t row = vt->first + y;

	return vt->cells + (row < vt->rows ? row : row - vt->rows) * vt->cols;
}
