/*
 * The console multiplexer: one physical serial line carries the hypervisor's log and every guest's console. Pure: all
 * state is in the caller's structures, the caller locks, and nothing here waits. docs/consoles.md is for the person
 * at the keyboard.
 *
 * Everything that is shown goes through one output ring, `out`. Guests get a quarter of it, which bounds how far a guest
 * is ahead of the line; the rest is kept for log lines, command output and the reprinting of torn lines.
 *
 * A console that is shown (focused, or any with show_all) has back-pressure: it takes what fits and loses nothing. A
 * hidden console never makes its guest wait: its history keeps the newest bytes and counts the ones that were lost.
 */
#pragma once
#include "core/plain.h"
#include "lib/ring.h"
#include <stdarg.h>
#include <tf/types.h>

#define CONSOLE_MAX          128
#define CONSOLE_NAME_MAX     32
#define CONSOLE_LINE_MAX     256 /* a longer unfinished line is not reprinted; a longer prefixed line is broken up */
#define CONSOLE_BACKLOG      512 /* what a shown console may have waiting behind its share of the output ring */
#define CONSOLE_GRACE        64  /* taken beyond what vconsole_room said: a guest asks once and then fills a FIFO */
#define CONSOLE_INPUT        256
#define CONSOLE_REPLAY_MAX   KiB(16)
#define CONSOLE_LOG_SIZE     KiB(32)
#define CONSOLE_LOG_LINE_MAX 512
#define CONSOLE_OUT_MIN      2048
#define CONSOLE_HISTORY_MIN  4096

struct console_mux;
struct vconsole;

/* The physical line. */
struct console_port {
	void *ctx;
	size_t (*send)(void *ctx, const uint8_t *buf, size_t n); /* takes what fits now, perhaps nothing */
};

/* CONSOLE_ASK_VIEW: the view that is painted anew again and again has begun or ended, console_mux.view says which. */
enum console_ask { CONSOLE_ASK_STATS, CONSOLE_ASK_VIEW, CONSOLE_ASK_ZERO, CONSOLE_ASK_DUMP, CONSOLE_ASK_TRACE, CONSOLE_ASK_TRACE_DUMP };

/*
 * What the keys after Ctrl-] ask for. These are called inside console_rx, that is under the caller's lock: they may use
 * console_print, but what takes long or writes log lines is to be noted and done later. Any of them may be NULL.
 */
struct console_cmds {
	void *ctx;
	void (*list)(void *ctx, struct vconsole *vc, char *state, size_t size); /* a few words: "running, 256 MiB" */
	void (*restart)(void *ctx, struct vconsole *vc);
	void (*stop)(void *ctx, struct vconsole *vc);
	void (*start)(void *ctx, struct vconsole *vc);
	void (*audit)(void *ctx);
	void (*power_off)(void *ctx);
	void (*ask)(void *ctx, struct console_mux *m, enum console_ask what);
};

/* One guest's console. The fields belong to the multiplexer; `lost` and `input_lost` may be read. */
struct vconsole {
	struct console_mux *mux;
	char name[CONSOLE_NAME_MAX];
	unsigned index;                   /* in the order of console_add; the person's number is one more */
	size_t (*input)(void *ctx, const uint8_t *buf, size_t n);
	void (*ready)(void *ctx);
	void *ctx;                        /* for both */
	struct ring history;              /* written by the guest and not shown yet */
	uint32_t scanned;                 /* bytes at its start that are known to hold no newline (prefixed display) */
	uint32_t limit;                   /* how much `history` takes while the console is shown */
	bool refused;                     /* was told that there is no room, and waits for ready() */
	bool swallow_lf;                  /* CR LF was torn apart: the line has been ended already */
	bool input_stuck;                 /* the input queue has overflowed since it was last empty */
	uint64_t lost;                    /* bytes that never were and never will be shown */
	uint64_t gap;                     /* the part of `lost` that the person has not been told of */
	uint64_t input_lost;
	uint32_t line_len;                /* CONSOLE_LINE_MAX + 1: the line is longer than `line` */
	uint8_t line[CONSOLE_LINE_MAX];   /* the unfinished line, as far as it has been shown */
	struct ring inq;                  /* typed, and not taken by the guest yet */
	uint8_t inq_mem[CONSOLE_INPUT];
};

enum console_key_state { CONSOLE_KEYS_PLAIN, CONSOLE_KEYS_COMMAND, CONSOLE_KEYS_CONFIRM, CONSOLE_KEYS_VIEW };

struct console_mux {
	struct console_port port;
	struct console_cmds cmds;
	struct ring out;
	uint32_t reserve;             /* bytes of `out` that guests do not get */
	struct vconsole *live;        /* may write straight into `out`: focused, and nothing else comes first */
	struct vconsole *focus;       /* NULL: the log */
	struct vconsole *consoles[CONSOLE_MAX];
	unsigned nconsoles;
	unsigned turn;                /* whose waiting output is shown next */
	bool show_all, show_log;
	bool view;                    /* console_paint() has the screen, and nothing else is shown */
	bool banner_due;              /* the focus has changed and the screen does not say so yet */
	bool line_start;              /* the cursor is at the start of a line */
	struct plain plain;           /* how the focused guest's bytes have left the terminal */
	bool torn;                    /* the focused console's unfinished line is not where the cursor is */
	bool prints_cut;              /* console_print left something out, and the screen does not say so yet */
	struct ring log;              /* whole lines, shown or not */
	uint32_t log_at;              /* what is before this position of `log` is not waiting to be shown */
	uint32_t log_mark;            /* log_at as it was before the log was replayed */
	uint32_t report_at;           /* when `out` has been sent up to here it is a report's turn */
	uint32_t log_lost;            /* lines that were overwritten while waiting */
	enum console_key_state keys;
	uint8_t log_mem[CONSOLE_LOG_SIZE];
};

/*
 * `outsize` is a power of two from CONSOLE_OUT_MIN up; 16 KiB is a good choice. `port` and `cmds` are copied. The log has
 * the focus at first, log lines are shown, other consoles are not.
 */
void console_init(struct console_mux *m, const struct console_port *port, const struct console_cmds *cmds,
		  void *outbuf, uint32_t outsize);
/*
 * Adds a guest's console. `input` hands typed bytes to the guest and returns how many it took; the rest is offered again
 * by console_pump. `ready` says that there is room again after vconsole_write took less than it was given or
 * vconsole_room said 0; it may be NULL. Both are called under the caller's lock and may call vconsole_*. `history` is
 * storage of `size` bytes, a power of two from CONSOLE_HISTORY_MIN up. At most CONSOLE_MAX consoles.
 */
void console_add(struct console_mux *m, struct vconsole *vc, const char *name,
		 size_t (*input)(void *ctx, const uint8_t *buf, size_t n), void (*ready)(void *ctx), void *ctx,
		 void *history, uint32_t size);

/* What the guest sends. The two functions of a chardev, but for the type of their first argument. */
size_t vconsole_write(struct vconsole *vc, const uint8_t *buf, size_t n);
/*
 * How many bytes vconsole_write takes now. Once this is above 0, a full 16-byte FIFO will be taken later on, too,
 * whatever is printed or switched in between.
 */
size_t vconsole_room(struct vconsole *vc);
/* There is room, as nearly always: may be asked without the caller's lock. False: ask vconsole_room(). */
static inline bool vconsole_has_room(const struct vconsole *vc)
{
	return __atomic_load_n(&vc->mux->live, __ATOMIC_RELAXED) == vc; /* what it then writes waits behind its share if need be */
}
/* Forgets what was typed and not taken; for a guest that starts anew. */
void vconsole_flush_input(struct vconsole *vc);
/* Offers waiting input to this guest. */
void vconsole_feed(struct vconsole *vc);

/* One line of the hypervisor's log, with or without its newline. Never waits. */
void console_log(struct console_mux *m, const char *line, size_t len);
/* One that was shown before there was a multiplexer: it is kept for who asks for the log. To be called first of all. */
void console_log_shown(struct console_mux *m, const char *line, size_t len);
/*
 * Command output: whole lines, each ending in \n, 511 bytes at most. Never waits: what does not fit is left out, and a
 * notice says so.
 */
void console_print(struct console_mux *m, const char *fmt, ...) __printf(2, 3);
/*
 * Whole lines of a long report, with which others still have half of the output ring. False: there is no room now, and nothing
 * is lost. To be tried again when console_report_due(), so that guests have had their turn.
 */
__must_check bool console_report(struct console_mux *m, const char *text, size_t n);
bool console_report_due(const struct console_mux *m);
/*
 * A view of the whole screen: from its begin to its end guests are as without focus, log lines wait, and what was painted
 * last is seen. Any key ends it.
 */
void console_view(struct console_mux *m, bool on);
/* Whole lines, which fit on the screen. Nothing happens when there is no view (any more), or the line is too slow. */
void console_paint(struct console_mux *m, const char *text, size_t n);
/* NULL: the log. */
void console_focus(struct console_mux *m, struct vconsole *vc);
void console_show_all(struct console_mux *m, bool on);
void console_show_log(struct console_mux *m, bool on);

/* Bytes from the physical line: Ctrl-] and its keys, everything else for the focused guest. */
void console_rx(struct console_mux *m, const uint8_t *bytes, size_t n);
/* Offers waiting input to the guests; part of console_pump. */
void console_feed(struct console_mux *m);
/* Moves output to the port as far as it takes it, gives waiting input to guests, calls ready() of those who wait. */
void console_pump(struct console_mux *m);
/* The port has bytes to send: it should interrupt when it has room, and console_pump should be called then. */
static inline bool console_tx_pending(const struct console_mux *m) { return !ring_empty(&m->out); }
