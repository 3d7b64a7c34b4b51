/* A console multiplexer with two guests and a line that takes what it is told to take. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "core/console.h"

#define OUT_SIZE  4096
#define SHARE     (OUT_SIZE / 4)
#define HISTORY   65536
#define SCREEN    (1 << 20)
#define PREFIX    "\x1d"

struct guest {
	struct vconsole vc;
	uint8_t history[HISTORY];
	char typed[4096];
	size_t ntyped, takes; /* how many more bytes it takes */
	unsigned readies;
};

static struct console_mux mux;
static uint8_t outbuf[OUT_SIZE];
static struct guest web, db;
static char screen[SCREEN];
static size_t nscreen, budget; /* how many more bytes the line takes */
static char acts[256];

static inline size_t line_send(void *ctx, const uint8_t *buf, size_t n)
{
	(void)ctx;
	n = MIN(n, budget);
	assert_true(nscreen + n < SCREEN);
	memcpy(screen + nscreen, buf, n);
	nscreen += n;
	screen[nscreen] = 0;
	if (budget != SIZE_MAX)
		budget -= n;
	return n;
}

static inline size_t guest_input(void *ctx, const uint8_t *buf, size_t n)
{
	struct guest *g = ctx;

	n = MIN(n, g->takes);
	assert_true(g->ntyped + n < sizeof(g->typed));
	memcpy(g->typed + g->ntyped, buf, n);
	g->ntyped += n;
	g->typed[g->ntyped] = 0;
	g->takes -= n;
	return n;
}

static inline void guest_ready(void *ctx) { ((struct guest *)ctx)->readies++; }

static inline void note(const char *what, const char *name)
{
	strcat(acts, what);
	strcat(acts, name);
	strcat(acts, ";");
}
static inline void cmd_restart(void *ctx, struct vconsole *vc) { (void)ctx; note("restart ", vc->name); }
static inline void cmd_stop(void *ctx, struct vconsole *vc) { (void)ctx; note("stop ", vc->name); }
static inline void cmd_start(void *ctx, struct vconsole *vc) { (void)ctx; note("start ", vc->name); }
static inline void cmd_power_off(void *ctx) { (void)ctx; note("off", ""); }
static inline void cmd_audit(void *ctx) { (void)ctx; note("audit", ""); }
static inline void cmd_ask(void *ctx, struct console_mux *m, enum console_ask what)
{
	static const char *const names[] = { "stats", "view", "zero", "dump", "trace", "trace dump" };

	(void)ctx;
	note(names[what], what != CONSOLE_ASK_VIEW ? "" : m->view ? " on" : " off");
}
static inline void cmd_list(void *ctx, struct vconsole *vc, char *state, size_t size)
{
	(void)ctx;
	snprintf(state, size, "state of %s", vc->name);
}

static inline int setup(void **state)
{
	const struct console_port port = { NULL, line_send };
	const struct console_cmds cmds = { NULL, cmd_list, cmd_restart, cmd_stop, cmd_start, cmd_audit, cmd_power_off, cmd_ask };

	(void)state;
	memset(&web, 0, sizeof(web));
	memset(&db, 0, sizeof(db));
	web.takes = db.takes = SIZE_MAX;
	nscreen = 0;
	screen[0] = acts[0] = 0;
	budget = SIZE_MAX;
	console_init(&mux, &port, &cmds, outbuf, sizeof(outbuf));
	console_add(&mux, &web.vc, "web", guest_input, guest_ready, &web, web.history, HISTORY);
	console_add(&mux, &db.vc, "db", guest_input, guest_ready, &db, db.history, HISTORY);
	return 0;
}

static inline size_t say(struct guest *g, const char *s) { return vconsole_write(&g->vc, (const uint8_t *)s, strlen(s)); }
static inline void keys(const char *s) { console_rx(&mux, (const uint8_t *)s, strlen(s)); }
static inline void log_line(const char *s) { console_log(&mux, s, strlen(s)); }

/* What has come since the last call. */
static inline const char *seen(void)
{
	static char copy[SCREEN];

	budget = SIZE_MAX;
	console_pump(&mux);
	memcpy(copy, screen, nscreen + 1);
	nscreen = 0;
	screen[0] = 0;
	return copy;
}

static inline void focus_on(struct guest *g)
{
	console_focus(&mux, &g->vc);
	seen();
}

static inline unsigned count(const char *hay, const char *needle)
{
	unsigned n = 0;

	for (; (hay = strstr(hay, needle)) != NULL; hay++)
		n++;
	return n;
}
