/* The terminal's screen: characters, the cursor, scrolling. Escape sequences are in core/vt_escape.c. */
#include "core/vt.h"
#include "core/vt_internal.h"
#include "lib/font.h"
#include <tf/assert.h>
#include <tf/string.h>

#define TAB_WIDTH   8
#define REPLACEMENT 0xfffd
#define CODE_MAX    0x10ffff

/* Characters that take no place, or two (Unicode TR #11, coarsely); the latter are not in the font. */
static const struct { uint32_t first, last; uint8_t width; } widths[] = {
	{ 0x0080, 0x009f, 0 },   { 0x0300, 0x036f, 0 },   { 0x1100, 0x115f, 2 },   { 0x200b, 0x200f, 0 },   { 0x202a, 0x202e, 0 },
	{ 0x2060, 0x2064, 0 },   { 0x20d0, 0x20ff, 0 },   { 0x2e80, 0xa4cf, 2 },   { 0xac00, 0xd7a3, 2 },   { 0xf900, 0xfaff, 2 },
	{ 0xfe00, 0xfe0f, 0 },   { 0xfe30, 0xfe6f, 2 },   { 0xfeff, 0xfeff, 0 },   { 0xff00, 0xff60, 2 },   { 0xffe0, 0xffe6, 2 },
	{ 0x1f300, 0x1faff, 2 }, { 0x20000, 0x3fffd, 2 }, { 0xe0000, 0xe0fff, 0 },
};

/* DEC Special Graphics, from 60h to 7Eh. */
static const uint16_t line_drawing[] = {
	0x25c6, 0x2592, 0x2409, 0x240c, 0x240d, 0x240a, 0x00b0, 0x00b1, 0x2424, 0x240b, 0x2518, 0x2510, 0x250c, 0x2514, 0x253c, 0x2500,
	0x2500, 0x2500, 0x2500, 0x2500, 0x251c, 0x2524, 0x2534, 0x252c, 0x2502, 0x2264, 0x2265, 0x03c0, 0x2260, 0x00a3, 0x00b7,
};

void vt_dirty(struct vt *vt, uint32_t from, uint32_t to)
{
	if (vt->dirty_from == vt->dirty_to) {
		vt->dirty_from = from;
		vt->dirty_to = to;
	} else {
		vt->dirty_from = MIN(vt->dirty_from, from);
		vt->dirty_to = MAX(vt->dirty_to, to);
	}
}

static cell_t pen_cell(const struct vt *vt, unsigned glyph)
{
	const struct vt_pen *p = &vt->pen;
	unsigned fg = p->fg_set ? p->fg : vt->log_colour ? vt->log_colour : CELL_WHITE;
	unsigned bg = p->bg_set ? p->bg & 7u : CELL_BLACK;

	if (p->bold)
		fg |= CELL_BRIGHT;
	else if (p->dim && !p->fg_set)
		fg = CELL_BLACK | CELL_BRIGHT;
	if (fg == bg || p->hidden) /* the palette has the two apart, but not far enough to read by */
		fg = p->hidden ? bg : fg ^ CELL_BRIGHT;
	return p->reverse ? cell_reverse(cell_make(glyph, fg, bg)) : cell_make(glyph, fg, bg);
}

/* What is left where something is deleted: blank, in the background of the pen. */
static cell_t blank(const struct vt *vt)
{
	return cell_make(' ', CELL_WHITE, vt->pen.bg_set ? vt->pen.bg & 7u : CELL_BLACK);
}

void vt_clear(struct vt *vt, uint32_t y, uint32_t from, uint32_t to)
{
	cell_t *row = vt_row(vt, y), b = blank(vt);
	uint64_t four = b * 0x0001000100010001ull;
	uint32_t x = from;

	/* A guest can ask for the whole screen with each three bytes: four cells at once. */
	for (to = MIN(to, vt->cols); x + 4 <= to; x += 4)
		__builtin_memcpy(row + x, &four, sizeof(four));
	for (; x < to; x++)
		row[x] = b;
	vt_dirty(vt, y, y + 1);
}

static void move_rows(struct vt *vt, uint32_t to, uint32_t from)
{
	memcpy(vt_row(vt, to), vt_row(vt, from), vt->cols * sizeof(cell_t));
}

void vt_scroll_up(struct vt *vt, uint32_t top, uint32_t bottom, uint32_t n)
{
	n = MIN(n, bottom - top);
	if (top == 0 && bottom == vt->rows)
		vt->first = (vt->first + n) % vt->rows;
	else
		for (uint32_t y = top; y + n < bottom; y++)
			move_rows(vt, y, y + n);
	for (uint32_t y = bottom - n; y < bottom; y++)
		vt_clear(vt, y, 0, vt->cols);
	vt_dirty(vt, top, bottom);
}

void vt_scroll_down(struct vt *vt, uint32_t top, uint32_t bottom, uint32_t n)
{
	n = MIN(n, bottom - top);
	if (top == 0 && bottom == vt->rows)
		vt->first = (vt->first + vt->rows - n) % vt->rows;
	else
		for (uint32_t y = bottom; y-- > top + n;)
			move_rows(vt, y, y - n);
	for (uint32_t y = top; y < top + n; y++)
		vt_clear(vt, y, 0, vt->cols);
	vt_dirty(vt, top, bottom);
}

void vt_go(struct vt *vt, uint32_t x, uint32_t y)
{
	vt->x = MIN(x, vt->cols - 1);
	vt->y = MIN(y, vt->rows - 1);
	vt->wrap = false;
}

void vt_line_feed(struct vt *vt)
{
	vt->wrap = false;
	if (vt->y + 1 == vt->bottom)
		vt_scroll_up(vt, vt->top, vt->bottom, 1);
	else if (vt->y + 1 < vt->rows)
		vt->y++;
}

void vt_reverse_line_feed(struct vt *vt)
{
	vt->wrap = false;
	if (vt->y == vt->top)
		vt_scroll_down(vt, vt->top, vt->bottom, 1);
	else if (vt->y)
		vt->y--;
}

void vt_tab(struct vt *vt, uint32_t n)
{
	vt_go(vt, (vt->x / TAB_WIDTH + MIN(n, vt->cols)) * TAB_WIDTH, vt->y);
}

void vt_back_tab(struct vt *vt, uint32_t n)
{
	uint32_t stop = (vt->x + TAB_WIDTH - 1) / TAB_WIDTH;

	vt_go(vt, (stop - MIN(n, stop)) * TAB_WIDTH, vt->y);
}

static uint32_t width_of(uint32_t code)
{
	for (size_t i = 0; i < ARRAY_SIZE(widths) && code >= widths[i].first; i++)
		if (code <= widths[i].last)
			return widths[i].width;
	return 1;
}

static void put_glyph(struct vt *vt, unsigned glyph)
{
	if (vt->wrap && vt->autowrap) {
		vt->x = 0;
		vt_line_feed(vt);
	}
	cell_t *row = vt_row(vt, vt->y);
	if (vt->insert)
		memmove(row + vt->x + 1, row + vt->x, (vt->cols - 1 - vt->x) * sizeof(*row));
	row[vt->x] = pen_cell(vt, glyph);
	vt_dirty(vt, vt->y, vt->y + 1);
	vt->wrap = vt->x + 1 == vt->cols;
	if (!vt->wrap)
		vt->x++;
}

void vt_put(struct vt *vt, uint32_t code)
{
	uint32_t width = code < 0x7f ? 1 : width_of(code);

	vt->last = code;
	for (uint32_t i = 0; i < width; i++)
		put_glyph(vt, font_glyph(code));
}

/*
 * The hypervisor's log lines show their level: "[   12.345678] cpu0 error", as core/log.c writes them. This follows a
 * line's head; a guest that prints the same gets the same colour.
 */
static void watch_log(struct vt *vt, uint8_t b)
{
	static const char head[] = "[.] cpu";
	enum { SECONDS = 1, MICROSECONDS = 2, NUMBER = sizeof(head) - 1, LEVEL, OTHER };
	bool digit = b >= '0' && b <= '9';

	if (vt->log_at == OTHER)
		return;
	if (vt->log_at == LEVEL) {
		vt->log_colour = b == 'e' ? CELL_RED | CELL_BRIGHT : b == 'w' ? CELL_YELLOW | CELL_BRIGHT : CELL_BLACK;
		vt->log_at = OTHER;
	} else if ((digit && (vt->log_at == SECONDS || vt->log_at == MICROSECONDS)) || (b == ' ' && vt->log_at == SECONDS)) {
		return;
	} else if (vt->log_at == NUMBER) {
		vt->log_at = digit ? NUMBER : b == ' ' ? LEVEL : OTHER;
	} else {
		vt->log_at = b == (uint8_t)head[vt->log_at] ? vt->log_at + 1 : OTHER;
	}
}

static void control(struct vt *vt, uint8_t b)
{
	switch (b) {
	case '\b':
		vt_go(vt, vt->x ? vt->x - 1 : 0, vt->y);
		break;
	case '\t':
		vt_tab(vt, 1);
		break;
	case '\n':
	case '\v':
	case '\f':
		vt_line_feed(vt);
		vt->log_at = 0;
		vt->log_colour = CELL_BLACK;
		break;
	case '\r':
		vt_go(vt, 0, vt->y);
		break;
	case VT_SO:
	case VT_SI:
		vt->shifted = b == VT_SO;
		break;
	}
}

/* A character of several bytes has ended too early. */
static void end_character(struct vt *vt)
{
	if (!vt->code_more)
		return;
	vt->code_more = 0;
	vt_put(vt, REPLACEMENT);
}

/* One byte of text, of which several may make a character. */
static void text(struct vt *vt, uint8_t b)
{
	if (vt->code_more && (b & 0xc0) == 0x80) {
		vt->code = vt->code << 6 | (b & 0x3f);
		if (--vt->code_more)
			return;
		bool bad = vt->code < vt->code_min || vt->code > CODE_MAX || (vt->code >= 0xd800 && vt->code <= 0xdfff);

		vt_put(vt, bad ? REPLACEMENT : vt->code);
		return;
	}
	end_character(vt);
	if (b < 0x80) {
		watch_log(vt, b);
		if (vt->graphics[vt->shifted] && b >= 0x60 && b < 0x7f)
			vt_put(vt, line_drawing[b - 0x60]);
		else if (b != 0x7f)
			vt_put(vt, b);
	} else if (b >= 0xc2 && b < 0xf5) {
		vt->code_more = b < 0xe0 ? 1 : b < 0xf0 ? 2 : 3;
		vt->code = b & (0x3fu >> vt->code_more);
		vt->code_min = b < 0xe0 ? 0x80 : b < 0xf0 ? 0x800 : 0x10000;
	} else {
		vt_put(vt, REPLACEMENT);
	}
}

void vt_write(struct vt *vt, const uint8_t *buf, size_t n)
{
	vt_dirty(vt, vt->y, vt->y + 1); /* the cursor leaves */
	for (size_t i = 0; i < n; i++) {
		uint8_t b = buf[i];

		if (b == VT_CAN || b == VT_SUB) {
			vt->state = VT_TEXT;
			vt->code_more = 0;
		} else if (b == VT_ESC || vt->state != VT_TEXT) {
			if (!vt_escape(vt, b))
				control(vt, b);
		} else if (b >= ' ') {
			text(vt, b);
		} else {
			end_character(vt);
			control(vt, b);
		}
	}
	vt_dirty(vt, vt->y, vt->y + 1);
}

void vt_reset(struct vt *vt)
{
	*vt = (struct vt){ .cells = vt->cells, .cols = vt->cols, .rows = vt->rows, .bottom = vt->rows, .autowrap = true,
			   .cursor = true };
	for (uint32_t y = 0; y < vt->rows; y++)
		vt_clear(vt, y, 0, vt->cols);
}

void vt_init(struct vt *vt, cell_t *cells, uint32_t cols, uint32_t rows)
{
	ASSERT(cols >= VT_COLS_MIN && cols <= VT_COLS_MAX && rows >= 2 && rows <= VT_ROWS_MAX);
	vt->cells = cells;
	vt->cols = cols;
	vt->rows = rows;
	vt_reset(vt);
}

void vt_grow(struct vt *vt, cell_t *cells, uint32_t rows)
{
	uint32_t had = vt->rows;

	ASSERT(rows >= had && rows <= VT_ROWS_MAX);
	for (uint32_t y = 0; y < had; y++)
		memcpy(cells + y * vt->cols, vt_row(vt, y), vt->cols * sizeof(cell_t));
	vt->cells = cells;
	vt->rows = rows;
	vt->first = 0;
	if (vt->bottom == had)
		vt->bottom = rows;
	for (uint32_t y = had; y < rows; y++)
		for (uint32_t x = 0; x < vt->cols; x++)
			vt_row(vt, y)[x] = CELL_BLANK;
	vt_dirty(vt, 0, rows);
}
