/* ECMA-48, "Control sequences"; and of the VT100 User Guide, "Programmer Information", what is in use. */
#include "core/vt_internal.h"
#include <tf/string.h>

#define PARAM_MAX 9999

/* The n-th parameter; one that is missing or 0 means `otherwise`. */
static uint32_t param(const struct vt *vt, uint32_t n, uint32_t otherwise)
{
	return n < vt->nparams && vt->params[n] ? vt->params[n] : otherwise;
}

static void save_cursor(struct vt *vt)
{
	vt->saved.x = vt->x;
	vt->saved.y = vt->y;
	vt->saved.pen = vt->pen;
	memcpy(vt->saved.graphics, vt->graphics, sizeof(vt->graphics));
	vt->saved.shifted = vt->shifted;
}

static void restore_cursor(struct vt *vt)
{
	vt_go(vt, vt->saved.x, vt->saved.y);
	vt->pen = vt->saved.pen;
	memcpy(vt->graphics, vt->saved.graphics, sizeof(vt->graphics));
	vt->shifted = vt->saved.shifted;
}

/* Rows and columns count from 1, with origin mode from the scrolling region's top. */
static void go_to(struct vt *vt, uint32_t row, uint32_t col)
{
	uint32_t top = vt->origin ? vt->top : 0, bottom = vt->origin ? vt->bottom : vt->rows;

	vt_go(vt, col - 1, MIN(top + row - 1, bottom - 1));
}

/* Up and down end at the scrolling region's edge, for a cursor that is inside. */
static void go_up(struct vt *vt, uint32_t n, uint32_t x)
{
	uint32_t edge = vt->y >= vt->top ? vt->top : 0;

	vt_go(vt, x, vt->y - MIN(n, vt->y - edge));
}

static void go_down(struct vt *vt, uint32_t n, uint32_t x)
{
	uint32_t edge = vt->y < vt->bottom ? vt->bottom - 1 : vt->rows - 1;

	vt_go(vt, x, vt->y + MIN(n, edge - vt->y));
}

static void erase_display(struct vt *vt, uint32_t what)
{
	uint32_t from = what == 0 ? vt->y + 1 : 0, to = what == 1 ? vt->y : vt->rows;

	if (what > 3)
		return;
	if (what == 0)
		vt_clear(vt, vt->y, vt->x, vt->cols);
	if (what == 1)
		vt_clear(vt, vt->y, 0, vt->x + 1);
	for (uint32_t y = from; y < to; y++)
		vt_clear(vt, y, 0, vt->cols);
}

static void erase_line(struct vt *vt, uint32_t what)
{
	if (what <= 2)
		vt_clear(vt, vt->y, what == 0 ? vt->x : 0, what == 1 ? vt->x + 1 : vt->cols);
}

static void delete_characters(struct vt *vt, uint32_t n)
{
	cell_t *at = vt_row(vt, vt->y) + vt->x;
	uint32_t left = vt->cols - vt->x;

	n = MIN(n, left);
	memmove(at, at + n, (left - n) * sizeof(*at));
	vt_clear(vt, vt->y, vt->cols - n, vt->cols);
}

static void insert_characters(struct vt *vt, uint32_t n)
{
	cell_t *at = vt_row(vt, vt->y) + vt->x;
	uint32_t left = vt->cols - vt->x;

	n = MIN(n, left);
	memmove(at + n, at, (left - n) * sizeof(*at));
	vt_clear(vt, vt->y, vt->x, vt->x + n);
}

/* The nearest of our colours. */
static uint8_t colour_of_rgb(uint32_t r, uint32_t g, uint32_t b)
{
	uint32_t most = MAX(r, MAX(g, b)), half = most / 2;
	uint8_t colour = (uint8_t)((r > half) | (g > half) << 1 | (b > half) << 2);

	if (most < 64)
		return CELL_BLACK;
	if (colour == CELL_WHITE && most < 144)
		return CELL_BLACK | CELL_BRIGHT;
	return most >= 216 ? colour | CELL_BRIGHT : colour;
}

/* Of the 256 that xterm has: 16, a cube of 6 * 6 * 6, and 24 shades of grey. */
static uint8_t colour_of_256(uint32_t n)
{
	static const uint8_t steps[] = { 0, 95, 135, 175, 215, 255 };

	if (n < 16)
		return (uint8_t)n;
	if (n >= 232)
		return colour_of_rgb(MIN(8 + (n - 232) * 10, 255u), MIN(8 + (n - 232) * 10, 255u), MIN(8 + (n - 232) * 10, 255u));
	n -= 16;
	return colour_of_rgb(steps[n / 36 % 6], steps[n / 6 % 6], steps[n % 6]);
}

/* What stands behind 38 or 48: 5 and a number, or 2 and red, green, blue. Returns how many parameters that is. */
static uint32_t extended_colour(const struct vt *vt, uint32_t at, uint8_t *colour, bool *set)
{
	const uint32_t *p = vt->params + at;

	if (vt->nparams - at >= 2 && p[0] == 5) {
		*colour = colour_of_256(p[1]);
		*set = true;
		return 2;
	}
	if (vt->nparams - at >= 4 && p[0] == 2) {
		*colour = colour_of_rgb(p[1], p[2], p[3]);
		*set = true;
		return 4;
	}
	return vt->nparams - at;
}

static void select_graphic_rendition(struct vt *vt)
{
	struct vt_pen *pen = &vt->pen;

	for (uint32_t i = 0; i < MAX(vt->nparams, 1u); i++) {
		uint32_t p = i < vt->nparams ? vt->params[i] : 0;

		if (p == 0) {
			*pen = (struct vt_pen){ 0 };
		} else if (p == 1) {
			pen->bold = true;
		} else if (p == 2) {
			pen->dim = true;
		} else if (p == 7) {
			pen->reverse = true;
		} else if (p == 8) {
			pen->hidden = true;
		} else if (p == 22) {
			pen->bold = pen->dim = false;
		} else if (p == 27) {
			pen->reverse = false;
		} else if (p == 28) {
			pen->hidden = false;
		} else if ((p >= 30 && p <= 37) || (p >= 90 && p <= 97)) {
			pen->fg = (uint8_t)(p >= 90 ? p - 90 + CELL_BRIGHT : p - 30);
			pen->fg_set = true;
		} else if ((p >= 40 && p <= 47) || (p >= 100 && p <= 107)) {
			pen->bg = (uint8_t)(p % 10);
			pen->bg_set = true;
		} else if (p == 38) {
			i += extended_colour(vt, i + 1, &pen->fg, &pen->fg_set);
		} else if (p == 48) {
			i += extended_colour(vt, i + 1, &pen->bg, &pen->bg_set);
		} else if (p == 39) {
			pen->fg_set = false;
		} else if (p == 49) {
			pen->bg_set = false;
		}
	}
}

static void set_mode(struct vt *vt, bool on)
{
	for (uint32_t i = 0; i < vt->nparams; i++) {
		switch (vt->marker << 16 | vt->params[i]) {
		case 4:
			vt->insert = on;
			break;
		case '?' << 16 | 6:
			vt->origin = on;
			go_to(vt, 1, 1);
			break;
		case '?' << 16 | 7:
			vt->autowrap = on;
			break;
		case '?' << 16 | 25:
			vt->cursor = on;
			break;
		case '?' << 16 | 1049: /* the other screen: we have one, which full-screen programs find empty and leave so */
			if (on)
				save_cursor(vt);
			erase_display(vt, 2);
			if (!on)
				restore_cursor(vt);
			break;
		}
	}
}

static void set_region(struct vt *vt)
{
	uint32_t top = param(vt, 0, 1), bottom = MIN(param(vt, 1, vt->rows), vt->rows);

	if (top >= bottom)
		return;
	vt->top = top - 1;
	vt->bottom = bottom;
	go_to(vt, 1, 1);
}

static void insert_or_delete_lines(struct vt *vt, bool insert, uint32_t n)
{
	if (vt->y < vt->top || vt->y >= vt->bottom)
		return;
	if (insert)
		vt_scroll_down(vt, vt->y, vt->bottom, n);
	else
		vt_scroll_up(vt, vt->y, vt->bottom, n);
	vt_go(vt, 0, vt->y);
}

static void control_sequence(struct vt *vt, uint8_t final)
{
	uint32_t n = param(vt, 0, 1), first = vt->nparams ? vt->params[0] : 0;

	if (final == 'h' || final == 'l') {
		set_mode(vt, final == 'h');
		return;
	}
	if (vt->marker)
		return;
	switch (final) {
	case '@': insert_characters(vt, n); break;
	case 'A': go_up(vt, n, vt->x); break;
	case 'B': case 'e': go_down(vt, n, vt->x); break;
	case 'C': case 'a': vt_go(vt, vt->x + n, vt->y); break;
	case 'D': vt_go(vt, vt->x - MIN(n, vt->x), vt->y); break;
	case 'E': go_down(vt, n, 0); break;
	case 'F': go_up(vt, n, 0); break;
	case 'G': case '`': vt_go(vt, n - 1, vt->y); break;
	case 'H': case 'f': go_to(vt, n, param(vt, 1, 1)); break;
	case 'I': vt_tab(vt, n); break;
	case 'J': erase_display(vt, first); break;
	case 'K': erase_line(vt, first); break;
	case 'L': case 'M': insert_or_delete_lines(vt, final == 'L', n); break;
	case 'P': delete_characters(vt, n); break;
	case 'S': vt_scroll_up(vt, vt->top, vt->bottom, n); break;
	case 'T': vt_scroll_down(vt, vt->top, vt->bottom, n); break;
	case 'X': vt_clear(vt, vt->y, vt->x, vt->x + n); break;
	case 'Z': vt_back_tab(vt, n); break;
	case 'b':
		for (uint32_t i = 0; vt->last && i < MIN(n, vt->cols); i++)
			vt_put(vt, vt->last);
		break;
	case 'd': go_to(vt, n, vt->x + 1); break;
	case 'm': select_graphic_rendition(vt); break;
	case 'r': set_region(vt); break;
	case 's': save_cursor(vt); break;
	case 'u': restore_cursor(vt); break;
	}
}

static enum vt_state escape(struct vt *vt, uint8_t b)
{
	switch (b) {
	case '[':
		vt->nparams = 0;
		vt->marker = 0;
		return VT_CSI;
	case ']': case 'P': case 'X': case '^': case '_':
		return VT_STRING;
	case '(': case ')':
		vt->charset = b == ')';
		return VT_CHARSET;
	case '7': save_cursor(vt); break;
	case '8': restore_cursor(vt); break;
	case 'D': vt_line_feed(vt); break;
	case 'E':
		vt_go(vt, 0, vt->y);
		vt_line_feed(vt);
		break;
	case 'M': vt_reverse_line_feed(vt); break;
	case 'c': vt_reset(vt); break;
	default:
		if (b >= ' ' && b < '0') /* an intermediate byte: one more follows */
			return VT_ESCAPE_OTHER;
	}
	return VT_TEXT;
}

static enum vt_state csi(struct vt *vt, uint8_t b)
{
	if (b >= '0' && b <= ';') { /* digits, and : ; between parameters */
		if (!vt->nparams) {
			vt->params[0] = 0;
			vt->nparams = 1;
		}
		if (b <= '9')
			vt->params[vt->nparams - 1] = MIN(vt->params[vt->nparams - 1] * 10 + (b - '0'), (uint32_t)PARAM_MAX);
		else if (vt->nparams == VT_PARAMS)
			return VT_CSI_IGNORE;
		else
			vt->params[vt->nparams++] = 0;
		return VT_CSI;
	}
	if (b >= '<' && b <= '?') {
		if (vt->nparams || vt->marker)
			return VT_CSI_IGNORE;
		vt->marker = b;
		return VT_CSI;
	}
	if (b < '@' || b == 0x7f)
		return VT_CSI_IGNORE;
	if (b < 0x7f)
		control_sequence(vt, b);
	return VT_TEXT;
}

bool vt_escape(struct vt *vt, uint8_t b)
{
	bool in_string = vt->state == VT_STRING || vt->state == VT_STRING_ESCAPE;

	if (b == VT_ESC) {
		vt->code_more = 0;
		vt->state = in_string ? VT_STRING_ESCAPE : VT_ESCAPE;
		return true;
	}
	if (b < ' ' && vt->state == VT_STRING_ESCAPE)
		vt->state = VT_ESCAPE; /* that was the string's end */
	if (b == '\n' && vt->state == VT_STRING)
		vt->state = VT_TEXT; /* a string without its end must not swallow all that follows */
	if (b < ' ' && vt->state != VT_STRING)
		return false;
	switch (vt->state) {
	case VT_TEXT:
		break;
	case VT_ESCAPE:
		vt->state = escape(vt, b);
		break;
	case VT_ESCAPE_OTHER:
		vt->state = b < '0' ? VT_ESCAPE_OTHER : VT_TEXT;
		break;
	case VT_CHARSET:
		vt->graphics[vt->charset] = b == '0';
		vt->state = VT_TEXT;
		break;
	case VT_CSI:
		vt->state = csi(vt, b);
		break;
	case VT_CSI_IGNORE:
		vt->state = b >= '@' && b < 0x7f ? VT_TEXT : VT_CSI_IGNORE;
		break;
	case VT_STRING:
		vt->state = b == '\a' ? VT_TEXT : VT_STRING;
		break;
	case VT_STRING_ESCAPE: /* ESC \ ends the string, any other sequence does so too */
		vt->state = b == '\\' ? VT_TEXT : escape(vt, b);
		break;
	}
	return true;
}
