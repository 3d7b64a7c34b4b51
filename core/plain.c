/* ECMA-48, "Control functions"; ECMA-35, "Designation of sets"; and the modes of the VT100 and xterm. */
#include "core/plain.h"

#define SO  0x0e
#define SI  0x0f
#define BEL 0x07
#define CAN 0x18
#define SUB 0x1a
#define ESC 0x1b
#define DEL 0x7f

#define PARAM_MAX      9999
#define MARKER_STRANGE 0xff

/* What may have been changed; and parameters that are told apart. */
enum { STYLE = 1, SET = 2, SHIFT = 4, REGION = 8, INSERT = 16, NO_WRAP = 32 };
enum { PARAM_0 = 1, PARAM_INSERT = 2, PARAM_WRAP = 4, PARAM_SCREEN = 8, PARAM_OTHER = 16 };

static void change(struct plain *p, bool on, uint8_t what)
{
	p->changed = on ? p->changed | what : p->changed & (uint8_t)~what;
}

static enum plain_state escape(struct plain *p, uint8_t b)
{
	switch (b) {
	case '[':
		p->param = p->params = 0;
		p->marker = p->nparams = 0;
		return PLAIN_CSI;
	case ']': case 'P': case 'X': case '^': case '_':
		return PLAIN_STRING;
	case '8': /* restores what we did not note */
		change(p, true, STYLE | SET | SHIFT | NO_WRAP);
		return PLAIN_TEXT;
	case 'n': case 'o': /* like SO */
		change(p, true, SHIFT);
		return PLAIN_TEXT;
	case 'c':
		p->changed = 0;
		return PLAIN_TEXT;
	}
	p->charset = b;
	return b >= ' ' && b < '0' ? PLAIN_CHARSET : PLAIN_TEXT;
}

static uint32_t param_bit(uint32_t n)
{
	switch (n) {
	case 0: return PARAM_0;
	case 4: return PARAM_INSERT;
	case 7: return PARAM_WRAP; /* with '?' */
	case 1047: case 1048: case 1049: return PARAM_SCREEN;
	default: return PARAM_OTHER;
	}
}

/* Terminals differ in what they make of odd sequences: those change, only the plainest ones change back. */
static void control_sequence(struct plain *p, uint8_t final)
{
	bool any = p->params & ~(uint32_t)PARAM_0, one = p->nparams == 1, none = !any && p->nparams < 2 && !p->marker;

	switch (final) {
	case 'm':
		if (any || none)
			change(p, any, STYLE);
		break;
	case 'r':
		if (any || none)
			change(p, any, REGION);
		break;
	case 'u':
		change(p, true, STYLE | SET | SHIFT | NO_WRAP);
		break;
	case 'h':
		if (p->params & PARAM_INSERT)
			change(p, true, INSERT);
		if (one && p->params == PARAM_WRAP && p->marker == '?')
			change(p, false, NO_WRAP);
		break;
	case 'l':
		if (p->params & PARAM_WRAP)
			change(p, true, NO_WRAP);
		if (p->params & PARAM_SCREEN) /* restores, too */
			change(p, true, STYLE | SET | SHIFT | NO_WRAP);
		if (one && p->params == PARAM_INSERT && !p->marker)
			change(p, false, INSERT);
		break;
	}
}

static enum plain_state csi(struct plain *p, uint8_t b)
{
	bool digit = b >= '0' && b <= '9', between = b == ':' || b == ';';

	if (b >= '@' && b < DEL) {
		p->params |= param_bit(p->param);
		control_sequence(p, b);
		return PLAIN_TEXT;
	}
	if (!digit && !between) {
		p->marker = p->marker || p->nparams || b >= DEL ? MARKER_STRANGE : b;
		return PLAIN_CSI;
	}
	if (between || !p->nparams)
		p->nparams = (uint8_t)MIN(p->nparams + 1u + (between && !p->nparams), 2u);
	if (digit) {
		p->param = MIN(p->param * 10 + (b - '0'), (uint32_t)PARAM_MAX);
	} else {
		p->params |= param_bit(p->param);
		p->param = 0;
	}
	return PLAIN_CSI;
}

void plain_feed(struct plain *p, uint8_t b)
{
	bool in_string = p->state == PLAIN_STRING || p->state == PLAIN_STRING_ESCAPE;

	if (b == CAN || b == SUB) {
		p->state = PLAIN_TEXT;
	} else if (b == ESC) {
		p->state = in_string ? PLAIN_STRING_ESCAPE : PLAIN_ESCAPE;
	} else if (b < ' ') {
		if (p->state == PLAIN_STRING_ESCAPE)
			p->state = PLAIN_ESCAPE; /* some take it for the string's end */
		else if (b == BEL && in_string)
			p->state = PLAIN_TEXT;
		if (b == SO || (b == SI && !in_string))
			change(p, b == SO, SHIFT);
	} else if (p->state == PLAIN_ESCAPE || p->state == PLAIN_STRING_ESCAPE) {
		p->state = escape(p, b);
	} else if (p->state == PLAIN_CHARSET) {
		if (p->charset == '(')
			change(p, b != 'B', SET);
		p->state = b < '0' ? PLAIN_CHARSET : PLAIN_TEXT;
	} else if (p->state == PLAIN_CSI) {
		p->state = csi(p, b);
	}
}
