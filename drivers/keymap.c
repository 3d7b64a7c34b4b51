#include "drivers/keymap.h"
#include <tf/string.h>

enum { SHIFT_L = 1, SHIFT_R = 2, CTRL_L = 4, CTRL_R = 8, ALT_L = 16, ALT_R = 32 };
#define SHIFT (SHIFT_L | SHIFT_R)
#define CTRL  (CTRL_L | CTRL_R)
#define ALT   (ALT_L | ALT_R)

enum code {
	CODE_BACKSPACE = 0x0e, CODE_TAB = 0x0f, CODE_ENTER = 0x1c, CODE_CTRL = 0x1d, CODE_SHIFT_L = 0x2a, CODE_SLASH = 0x35,
	CODE_SHIFT_R = 0x36, CODE_ALT = 0x38, CODE_CAPS = 0x3a, CODE_F1 = 0x3b, CODE_F10 = 0x44, CODE_NUM = 0x45,
	CODE_PAD = 0x47, CODE_PAD_MINUS = 0x4a, CODE_PAD_PLUS = 0x4e, CODE_DELETE = 0x53, CODE_ANGLE = 0x56, CODE_F11 = 0x57,
	CODE_F12 = 0x58, CODE_RELEASED = 0x80,
	/* Not keys. */
	CODE_EXTENDED = 0xe0, CODE_PAUSE = 0xe1, CODE_ACK = 0xfa, CODE_RESEND = 0xfe, CODE_OVERRUN = 0xff,
};
#define PAUSE_REST 5 /* bytes of Pause behind E1; it is never released */

#define ESC 0x1b
#define DEL 0x7f
#define NOTHING (-1)

/* By scan code; 0: none. */
static const char plain[] =
	"\0\0331234567890-=\177\tqwertyuiop[]\r\0asdfghjkl;'`\0\\zxcvbnm,./\0*\0 ";
static const char shifted[] =
	"\0\033!@#$%^&*()_+\177\tQWERTYUIOP{}\r\0ASDFGHJKL:\"~\0|ZXCVBNM<>?\0*\0 ";
_Static_assert(sizeof(plain) == 0x3b && sizeof(shifted) == sizeof(plain), "up to the space bar, 39h, and the final 0");

/* The keypad from 47h, with and without Num Lock; the keys with E0 are the same without. */
static const char pad_digits[] = "789-456+1230.";
static const char *const pad_moves[] = { "[1~", "[A", "[5~", NULL, "[D", NULL, "[C", NULL, "[4~", "[B", "[6~", "[2~", "[3~" };
_Static_assert(sizeof(pad_digits) - 1 == ARRAY_SIZE(pad_moves), "from Home to Del");

static const char *const functions[] = { "[[A", "[[B", "[[C", "[[D", "[[E", "[17~", "[18~", "[19~", "[20~", "[21~" };

static int modifier(uint8_t code, bool extended)
{
	switch (code) {
	case CODE_SHIFT_L: return extended ? 0 : SHIFT_L; /* with E0: made up by the keyboard around cursor keys */
	case CODE_SHIFT_R: return extended ? 0 : SHIFT_R;
	case CODE_CTRL: return extended ? CTRL_R : CTRL_L;
	case CODE_ALT: return extended ? ALT_R : ALT_L;
	default: return NOTHING;
	}
}

/* As the Linux console has it: the letters and their neighbours, and the row 2 to 8 for what is hard to type. */
static uint8_t with_ctrl(char c)
{
	static const uint8_t row[] = { 0x00, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f, DEL };

	if ((c >= '@' && c <= '_') || (c >= 'a' && c <= '~'))
		return (uint8_t)c & 0x1f;
	if (c >= '2' && c <= '8')
		return row[c - '2'];
	switch (c) {
	case ' ': return 0;
	case '-': return 0x1f;
	case '/': return 0x1f;
	case '?': return DEL;
	case '`': return 0;
	case DEL: return '\b';
	default: return (uint8_t)c;
	}
}

/* The key's character, or NOTHING. */
static int character(const struct keymap *k, uint8_t code, bool extended)
{
	char c = 0;

	if (extended) /* on the keypad */
		return code == CODE_ENTER ? '\r' : code == CODE_SLASH ? '/' : NOTHING;
	if (code == CODE_PAD_MINUS || code == CODE_PAD_PLUS ||
	    (code >= CODE_PAD && code <= CODE_DELETE && k->num != !!(k->held & SHIFT)))
		return pad_digits[code - CODE_PAD];
	if (code == CODE_ANGLE)
		c = k->held & SHIFT ? '>' : '<';
	else if (code < sizeof(plain) - 1)
		c = k->held & SHIFT ? shifted[code] : plain[code];
	if (!c)
		return NOTHING;
	if (k->caps && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')))
		c ^= 'a' ^ 'A';
	return k->held & CTRL ? with_ctrl(c) : (uint8_t)c;
}

/* What follows ESC in the key's sequence; NULL if it is none of these keys. */
static const char *sequence(const struct keymap *k, uint8_t code, bool extended)
{
	if (code >= CODE_PAD && code <= CODE_DELETE)
		return pad_moves[code - CODE_PAD];
	if (extended)
		return NULL;
	if (code >= CODE_F1 && code <= CODE_F10)
		return functions[code - CODE_F1];
	switch (code) {
	case CODE_F11: return "[23~";
	case CODE_F12: return "[24~";
	case CODE_TAB: return k->held & SHIFT ? "[Z" : NULL;
	default: return NULL;
	}
}

static size_t press(struct keymap *k, uint8_t code, bool extended, uint8_t *out)
{
	const char *rest;
	size_t n = 0;
	int c;

	if (code == CODE_DELETE && (k->held & CTRL) && (k->held & ALT))
		return 0; /* Ctrl-Alt-Del is for no guest, and one chord does not end them all */
	if (!extended && code == CODE_CAPS) {
		k->caps = !k->caps;
		return 0;
	}
	if (!extended && code == CODE_NUM) {
		k->num = !k->num;
		return 0;
	}
	c = code == CODE_TAB && (k->held & SHIFT) ? NOTHING : character(k, code, extended);
	if (c != NOTHING) {
		if (k->held & ALT)
			out[n++] = ESC;
		out[n++] = (uint8_t)c;
		return n;
	}
	rest = sequence(k, code, extended);
	if (!rest)
		return 0;
	out[n++] = ESC;
	while (*rest)
		out[n++] = (uint8_t)*rest++;
	return n;
}

size_t keymap_feed(struct keymap *k, uint8_t code, uint8_t out[KEYMAP_MAX])
{
	bool extended = k->extended;
	int m;

	if (k->skip) {
		k->skip--;
		return 0;
	}
	k->extended = code == CODE_EXTENDED;
	switch (code) {
	case CODE_EXTENDED:
	case CODE_ACK:
	case CODE_RESEND:
		return 0;
	case CODE_PAUSE:
		k->skip = PAUSE_REST;
		return 0;
	case 0:
	case CODE_OVERRUN: /* keys were lost, perhaps the release of one that is held */
		k->held = 0;
		return 0;
	}
	m = modifier(code & ~CODE_RELEASED, extended);
	if (m == NOTHING)
		return code & CODE_RELEASED ? 0 : press(k, code, extended, out);
	if (code & CODE_RELEASED)
		k->held &= (uint8_t)~m;
	else
		k->held |= (uint8_t)m;
	return 0;
}
