/*
 * Whether what a guest has sent leaves a terminal so that a line behind it could not be read: inside an escape sequence,
 * coloured or invisible, with other characters or modes, or with a scrolling region. Pure.
 */
#pragma once
#include <tf/types.h>

#define PLAIN_CANCEL "\x18" /* CAN: out of any sequence */
/* Scrolls all rows, with the cursor where it is; no insert mode; wraps; ASCII; default colours. */
#define PLAIN_RESTORE "\x1b" "7\x1b[r\x1b" "8\x1b[4l\x1b[?7h\x0f\x1b(B\x1b[m"
#define PLAIN_MAX     (sizeof(PLAIN_CANCEL) + sizeof(PLAIN_RESTORE) - 2)

enum plain_state { PLAIN_TEXT, PLAIN_ESCAPE, PLAIN_CHARSET, PLAIN_CSI, PLAIN_STRING, PLAIN_STRING_ESCAPE };

struct plain {
	enum plain_state state; /* PLAIN_TEXT: outside of sequences */
	uint8_t changed;        /* 0: a line can be read */
	uint8_t marker;         /* PLAIN_CSI: what it begins with, before the parameters */
	uint8_t charset;        /* PLAIN_CHARSET: which */
	uint8_t nparams;        /* PLAIN_CSI: begun; stops at 2 */
	uint32_t param, params; /* the current one; and what has been among them */
};

/* One byte that goes to the terminal. Those that plain_cares() about are enough. */
void plain_feed(struct plain *p, uint8_t b);

static inline bool plain_cares(const struct plain *p, uint8_t b) { return b < ' ' || p->state != PLAIN_TEXT; }
