/* The console multiplexer: what a person sees on the line, what a guest is told, and that nothing shown is lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "core/console.h"
#include "core/vt.h"

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

static size_t line_send(void *ctx, const uint8_t *buf, size_t n)
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

static size_t guest_input(void *ctx, const uint8_t *buf, size_t n)
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

static void guest_ready(void *ctx) { ((struct guest *)ctx)->readies++; }

static void note(const char *what, const char *name)
{
	strcat(acts, what);
	strcat(acts, name);
	strcat(acts, ";");
}
static void cmd_restart(void *ctx, struct vconsole *vc) { (void)ctx; note("restart ", vc->name); }
static void cmd_stop(void *ctx, struct vconsole *vc) { (void)ctx; note("stop ", vc->name); }
static void cmd_start(void *ctx, struct vconsole *vc) { (void)ctx; note("start ", vc->name); }
static void cmd_power_off(void *ctx) { (void)ctx; note("off", ""); }
static void cmd_stats(void *ctx, struct console_mux *m) { (void)ctx; console_print(m, "exits 7\nticks 8\n"); }
static void cmd_list(void *ctx, struct vconsole *vc, char *state, size_t size)
{
	(void)ctx;
	snprintf(state, size, "state of %s", vc->name);
}

static int setup(void **state)
{
	const struct console_port port = { NULL, line_send };
	const struct console_cmds cmds = { NULL, cmd_list, cmd_stats, cmd_restart, cmd_stop, cmd_start, cmd_power_off };

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

static size_t say(struct guest *g, const char *s) { return vconsole_write(&g->vc, (const uint8_t *)s, strlen(s)); }
static void keys(const char *s) { console_rx(&mux, (const uint8_t *)s, strlen(s)); }
static void log_line(const char *s) { console_log(&mux, s, strlen(s)); }

/* What has come since the last call. */
static const char *seen(void)
{
	static char copy[SCREEN];

	budget = SIZE_MAX;
	console_pump(&mux);
	memcpy(copy, screen, nscreen + 1);
	nscreen = 0;
	screen[0] = 0;
	return copy;
}

static void focus_on(struct guest *g)
{
	console_focus(&mux, &g->vc);
	seen();
}

static unsigned count(const char *hay, const char *needle)
{
	unsigned n = 0;

	for (; (hay = strstr(hay, needle)) != NULL; hay++)
		n++;
	return n;
}

static void test_log_first(void **state)
{
	(void)state;
	log_line("one");
	log_line("two\n");
	log_line("th\nree\x1b[1m\r\n");
	assert_true(console_tx_pending(&mux));
	assert_string_equal(seen(), "one\r\ntwo\r\nth ree [1m\r\n");
	assert_false(console_tx_pending(&mux));
}

static void test_focused_is_raw(void **state)
{
	uint8_t all[256], got[256];

	(void)state;
	focus_on(&web);
	for (int i = 0; i < 256; i++)
		all[i] = (uint8_t)i;
	assert_int_equal(vconsole_write(&web.vc, all, 256), 256);
	console_pump(&mux);
	assert_int_equal(nscreen, 256);
	memcpy(got, screen, 256);
	assert_memory_equal(got, all, 256);
}

static void test_banner_and_replay(void **state)
{
	(void)state;
	say(&db, "hidden\r\ntext");
	assert_string_equal(seen(), "");
	keys(PREFIX "2");
	assert_string_equal(seen(), "--- console: db (Ctrl-] ? for help) ---\r\nhidden\r\ntext");
	say(&db, "!\r\n");
	assert_string_equal(seen(), "!\r\n");
	/* What has been seen is not shown again, but the unfinished line is. */
	say(&db, "/ # ");
	keys(PREFIX "1");
	assert_string_equal(seen(), "/ # \r\n--- console: web (Ctrl-] ? for help) ---\r\n");
	say(&db, "more\r\n");
	keys(PREFIX "2");
	assert_string_equal(seen(), "--- console: db (Ctrl-] ? for help) ---\r\n/ # more\r\n");
}

static void test_replay_is_bounded(void **state)
{
	char line[32];
	const char *s;
	unsigned skipped, n = 10000;

	(void)state;
	for (unsigned i = 0; i < n; i++) {
		snprintf(line, sizeof(line), "line %u\r\n", i);
		assert_int_equal(say(&db, line), strlen(line));
	}
	keys(PREFIX "2");
	s = seen();
	assert_int_equal(sscanf(s, "--- console: db (Ctrl-] ? for help) ---\r\n--- %u earlier bytes not shown ---", &skipped), 1);
	assert_int_equal(db.vc.lost, skipped);
	s = strstr(s, "line");
	assert_non_null(s);
	assert_int_equal(*(s - 1), '\n'); /* starts with a whole line, and ends with the newest */
	assert_true(strlen(s) <= CONSOLE_REPLAY_MAX && strlen(s) > CONSOLE_REPLAY_MAX - 64);
	assert_string_equal(s + strlen(s) - 11, "line 9999\r\n");
	assert_int_equal(skipped + strlen(s), 10 * 8 + 90 * 9 + 900 * 10 + 9000 * 11);
	keys(PREFIX "1" PREFIX "2");
	assert_null(strstr(seen(), "not shown"));
	/* The unfinished line is not put in front of text that does not belong to it. */
	say(&db, "/ # ");
	keys(PREFIX "1");
	for (unsigned i = 0; i < n; i++)
		say(&db, "another line\r\n");
	seen();
	keys(PREFIX "2");
	s = seen();
	assert_non_null(strstr(s, "not shown"));
	assert_null(strstr(s, "/ # "));
}

static void test_write_larger_than_history(void **state)
{
	static uint8_t big[HISTORY + 1000];

	(void)state;
	memset(big, 'x', sizeof(big));
	assert_int_equal(vconsole_write(&db.vc, big, sizeof(big)), sizeof(big));
	assert_int_equal(db.vc.lost, 1000);
}

/* What was on the screen before there was a multiplexer comes again when the log is asked for, and not before. */
static void test_log_from_before(void **state)
{
	(void)state;
	console_log_shown(&mux, "early one", 9);
	console_log_shown(&mux, "early two", 9);
	assert_string_equal(seen(), "");
	log_line("late");
	assert_string_equal(seen(), "late\r\n");
	console_focus(&mux, &web.vc);
	seen();
	log_line("with the guest");
	assert_null(strstr(seen(), "early"));
	console_focus(&mux, NULL);
	assert_non_null(strstr(seen(), "early one\r\nearly two\r\nlate\r\nwith the guest\r\n"));
}

static void test_log_tears_a_line_cleanly(void **state)
{
	(void)state;
	focus_on(&web);
	say(&web, "done\r\n/ # l");
	log_line("first");
	log_line("second");
	assert_string_equal(seen(), "done\r\n/ # l\r\nfirst\r\nsecond\r\n/ # l");
	say(&web, "s\r\n");
	assert_string_equal(seen(), "s\r\n");
	log_line("between lines");
	say(&web, "next");
	assert_string_equal(seen(), "between lines\r\nnext");
}

static void test_torn_details(void **state)
{
	char longline[CONSOLE_LINE_MAX + 2];

	(void)state;
	focus_on(&web);
	/* CR and LF torn apart: no empty line, nothing twice. */
	say(&web, "text\r");
	log_line("log");
	say(&web, "\nnext\r\n");
	assert_string_equal(seen(), "text\r\r\nlog\r\nnext\r\n");
	say(&web, "text\r");
	log_line("log");
	say(&web, "50%");
	assert_string_equal(seen(), "text\r\r\nlog\r\n50%");
	/* A query to the terminal and a bell are not repeated; an unfinished sequence is cancelled first. */
	say(&web, "\r\n\a# \x1b[1mls\x1b[6n");
	log_line("log");
	assert_string_equal(seen(), "\r\n\a# \x1b[1mls\x1b[6n" PLAIN_RESTORE "\r\nlog\r\n# \x1b[1mls");
	say(&web, "\x1b[m\r\n\x1b[3");
	log_line("log");
	say(&web, "1mred");
	assert_string_equal(seen(), "\x1b[m\r\n\x1b[3\x18\r\nlog\r\n\x1b[31mred");
	/* What a progress line wrote over itself is not repeated. */
	say(&web, "\x1b[m\r\n10%\r20%");
	log_line("log");
	assert_string_equal(seen(), "\x1b[m\r\n10%\r20%\r\nlog\r\n20%");
	/* A guest that ends its lines with LF alone. */
	say(&web, "\none\ntwo");
	seen();
	log_line("log");
	assert_string_equal(seen(), "\r\nlog\r\ntwo");
	/* Too long to keep: goes on where it was. */
	say(&web, "\r\n");
	memset(longline, 'x', sizeof(longline));
	longline[sizeof(longline) - 1] = 0;
	say(&web, longline);
	seen();
	log_line("log");
	say(&web, "y\r\n");
	assert_string_equal(seen(), "\r\nlog\r\ny\r\n");
}

/* What stands in the terminal's row in which `text` begins, if it can be read there. */
static bool readable(const char *bytes, const char *text)
{
	static cell_t cells[80 * 25];
	struct vt vt;

	vt_init(&vt, cells, 80, 25);
	vt_write(&vt, (const uint8_t *)bytes, strlen(bytes));
	for (uint32_t y = 0; y < vt.rows; y++) {
		const cell_t *row = vt_row(&vt, y);
		size_t n = 0;

		while (text[n] && cell_glyph(row[n]) == (unsigned char)text[n] && cell_fg(row[n]) == CELL_WHITE &&
		       cell_bg(row[n]) == CELL_BLACK)
			n++;
		if (!text[n])
			return true;
	}
	return false;
}

static void test_log_is_readable_behind_anything(void **state)
{
	static const char *const nasty[] = {
		"\x1b[8m", "\x1b[8mx\n", "\x1b[30;40m\n", "\x1b[0;7m\n", "\x0e\x1b)0", "\x1b(0\n", "\x1b]0;title", "\x1b]0;title\n", "\x1bP\n",
		"\x1b[?7l\x1b[1;78H", "\x1b[4h\n", "\x1b[;31", "\x1b[8m\x1b" "7\x1b[m\x1b" "8\n", "\x1b[8m\x1b[s\x1b[m\x1b[u\n", "\x1b(", "\x1b",
		"\x1b[8m\x1b[0;0;0;0;0;0;0;0;0;0;0;0;0;0;0;0;0m\n", "\x1b[8m\x1b[?1049h\x1b[m\x1b[?1049l\n", "\x1b[1?\xff", "\x1bP\x1b\x01\x1b\a",
		"\x0e\x1b)0\x1b]\x0f\a\n", "\xe2\x80\r\n",
	};
	const char *log = "[    1.000000] cpu0 info test: event=seen with=ijklmnopq and=more";

	(void)state;
	focus_on(&web);
	for (size_t i = 0; i < ARRAY_SIZE(nasty); i++) {
		say(&web, nasty[i]);
		log_line(log);
		const char *all = seen(), *at = strstr(all, log);

		if (!readable(all, log))
			fail_msg("not readable behind number %zu", i);
		assert_true(at > all && at[-1] == '\n'); /* for those who search for it by line */
		assert_null(strstr(at, "\x1b[m"));
		say(&web, "\x1b" "c\n");
		seen();
	}
	/* All rows scroll again, with the cursor where it was. */
	say(&web, "\x1b[2;4r\x1b[3;1Hthree\n");
	for (unsigned i = 0; i < 8; i++)
		log_line(log);
	const char *all = seen();
	assert_true(readable(all, "three"));
	assert_int_equal(count(all, "\x1b[r"), 1);
}

/* What tidy programs send costs nothing. */
static void test_log_behind_tidy_output(void **state)
{
	static const char *const tidy[] = {
		"[  \x1b[0;32mOK\x1b[0m  ] Started.\n", "\x1b[1;31mred\x1b[m\n", "\x1b[?2004h\x1b[?25l\n", "\x1b(0lqk\x1b(B\n", "\x0elqk\x0f\n",
		"\x1b[1;5r\x1b[r\n", "\x1b]0;title\x07\n", "\x1b]0;title\x1b\\\n", "\x1b[4hx\x1b[4l\n", "\x1b[?7lx\x1b[?7h\n", "\x1b[2J\n",
	};

	(void)state;
	focus_on(&web);
	for (size_t i = 0; i < ARRAY_SIZE(tidy); i++) {
		char expected[128];

		say(&web, tidy[i]);
		log_line("log");
		snprintf(expected, sizeof(expected), "%slog\r\n", tidy[i]);
		assert_string_equal(seen(), expected);
	}
}

/* A prompt that sets the window's title must not come back without the title's end: it would swallow all that follows. */
static void test_torn_prompt_with_title(void **state)
{
	(void)state;
	focus_on(&web);
	say(&web, "\a\x1b]0;me@web\ame@web$ ");
	seen();
	log_line("log");
	assert_string_equal(seen(), "\r\nlog\r\n\x1b]0;me@web\ame@web$ ");
}

static void test_backpressure_loses_nothing(void **state)
{
	char *sent = malloc(SCREEN);
	size_t n = 0, room, took;
	unsigned rounds = 0;

	(void)state;
	assert_non_null(sent);
	focus_on(&web);
	srand(1);
	while (n < 200000) {
		uint8_t chunk[700];
		size_t want = 1 + (size_t)rand() % sizeof(chunk);

		for (size_t i = 0; i < want; i++)
			chunk[i] = "abcdefg\r\n"[(n + i) % 9];
		room = vconsole_room(&web.vc);
		took = vconsole_write(&web.vc, chunk, want);
		assert_true(took <= want && took >= MIN(room, want));
		memcpy(sent + n, chunk, took);
		n += took;
		budget = (size_t)rand() % 400;
		console_pump(&mux);
		assert_true(++rounds < 100000);
	}
	budget = SIZE_MAX;
	console_pump(&mux);
	assert_int_equal(nscreen, n);
	assert_memory_equal(screen, sent, n);
	assert_int_equal(web.vc.lost, 0);
	assert_true(web.readies > 0);
	free(sent);
}

static void test_ready_comes_once_per_wait(void **state)
{
	static uint8_t big[OUT_SIZE * 2];
	size_t took;

	(void)state;
	focus_on(&web);
	memset(big, 'x', sizeof(big));
	took = vconsole_write(&web.vc, big, sizeof(big));
	assert_true(took >= SHARE && took <= SHARE + CONSOLE_BACKLOG + CONSOLE_GRACE);
	assert_int_equal(vconsole_room(&web.vc), 0);
	assert_int_equal(vconsole_write(&web.vc, big, 1), 0);
	budget = 16;
	console_pump(&mux);
	assert_int_equal(web.readies, 0);
	seen();
	assert_int_equal(web.readies, 1);
	assert_true(vconsole_room(&web.vc) > 0);
	seen();
	assert_int_equal(web.readies, 1);
	/* A guest that only asked is told as well; so is one that goes out of view. */
	vconsole_write(&web.vc, big, sizeof(big));
	console_focus(&mux, &db.vc);
	budget = 0;
	console_pump(&mux);
	assert_int_equal(web.readies, 2);
	assert_true(vconsole_room(&web.vc) > 0);
}

/* A 16550 driver looks once and then fills the FIFO: whatever happens in between, 16 bytes must be taken. */
static void test_room_is_a_promise(void **state)
{
	static uint8_t big[OUT_SIZE * 2];

	(void)state;
	memset(big, 'x', sizeof(big));
	for (int i = 0; i < 8; i++)
		vconsole_write(&db.vc, big, sizeof(big)); /* hidden, with a full history */
	assert_true(vconsole_room(&db.vc) >= 16);
	console_focus(&mux, &db.vc);
	assert_int_equal(vconsole_room(&db.vc), 0);
	assert_int_equal(vconsole_write(&db.vc, big, 16), 16);
	while (vconsole_room(&db.vc) == 0) {
		budget = 50;
		console_pump(&mux);
	}
	/* Just room enough to say so; then the log takes all it can get. */
	budget = 0;
	for (int i = 0; i < 100; i++)
		log_line("a line of the log that needs room in the output ring, and a rather long one at that");
	assert_int_equal(vconsole_write(&db.vc, big, 16), 16);
}

static void test_log_never_waits(void **state)
{
	static uint8_t big[OUT_SIZE * 2];
	const char *s;
	char line[80];
	unsigned lost;

	(void)state;
	focus_on(&web);
	budget = 0;
	memset(big, 'x', sizeof(big));
	vconsole_write(&web.vc, big, sizeof(big));
	for (int i = 0; i < 2000; i++) {
		snprintf(line, sizeof(line), "log line %05d and some text behind it", i);
		log_line(line);
	}
	s = seen();
	assert_non_null(strstr(s, "log line 00000")); /* the reserve took the first ones at once */
	assert_non_null(strstr(s, "log line 01999"));
	assert_non_null(strstr(s, "--- log: "));
	assert_int_equal(sscanf(strstr(s, "--- log: "), "--- log: %u lines not shown ---", &lost), 1);
	assert_int_equal(count(s, "log line"), 2000 - lost);
	assert_true(lost > 0 && lost < 2000);
}

static void test_log_view(void **state)
{
	const char *s;
	char line[80];

	(void)state;
	focus_on(&web);
	keys(PREFIX "g");
	assert_string_equal(seen(), "--- log lines are hidden ---\r\n");
	for (int i = 0; i < 1000; i++) {
		snprintf(line, sizeof(line), "log line %05d and some text behind it", i);
		log_line(line);
	}
	assert_string_equal(seen(), "");
	keys(PREFIX "0");
	s = seen();
	assert_memory_equal(s, "--- console: hypervisor log", 27);
	s = strchr(s, '\n') + 1;
	assert_memory_equal(s, "log line", 8);
	assert_true(strlen(s) > CONSOLE_REPLAY_MAX - 64);
	assert_non_null(strstr(s, "log line 00999"));
	log_line("fresh");
	assert_string_equal(seen(), "fresh\r\n");
	/* Leaving the log in the middle of its replay does not pour the rest over the guest. */
	budget = 0;
	keys(PREFIX "0" PREFIX "1");
	log_line("hidden");
	s = seen();
	s = strstr(s, "console: web");
	assert_non_null(s);
	assert_null(strstr(s, "log line"));
	assert_null(strstr(s, "hidden"));
	keys(PREFIX "g");
	log_line("shown again");
	s = seen();
	assert_non_null(strstr(s, "shown again\r\n"));
	assert_null(strstr(s, "hidden\r\n"));
	/* The same with log lines shown, but for those that are new. */
	budget = 0;
	keys(PREFIX "0");
	log_line("new one");
	keys(PREFIX "1");
	s = strstr(seen(), "console: web");
	assert_non_null(s);
	assert_null(strstr(s, "log line"));
	assert_null(strstr(s, "shown again"));
	assert_int_equal(count(s, "new one\r\n"), 1);
}

static void test_show_all(void **state)
{
	(void)state;
	focus_on(&web);
	keys(PREFIX "a");
	assert_string_equal(seen(), "--- other guests are shown ---\r\n");
	say(&web, "/ # ");
	say(&db, "\x1b[1;31mhel");
	assert_string_equal(seen(), "/ # ");
	say(&db, "lo\x1b[0m\tyou\x07\r\nsecond\r\nthird");
	assert_string_equal(seen(), "\r\ndb| hello\tyou\r\ndb| second\r\n/ # ");
	/* Taking the focus shows the rest of the line as it is. */
	keys(PREFIX "2");
	assert_string_equal(seen(), "\r\n--- console: db (Ctrl-] ? for help) ---\r\nthird");
	keys(PREFIX "a" PREFIX "1");
	assert_non_null(strstr(seen(), "other guests are hidden"));
	say(&db, "x\r\n");
	assert_string_equal(seen(), "");
	/* An unfinished line that was ended with a prefix is not shown again. */
	keys(PREFIX "2");
	say(&db, "/ # ");
	keys(PREFIX "a" PREFIX "1");
	say(&db, "ls\r\n");
	seen();
	keys(PREFIX "2");
	assert_string_equal(seen(), "\r\n--- console: db (Ctrl-] ? for help) ---\r\n");
}

static void test_show_all_breaks_long_lines(void **state)
{
	char text[CONSOLE_LINE_MAX + 21];
	const char *s;

	(void)state;
	focus_on(&web);
	console_show_all(&mux, true);
	memset(text, 'x', sizeof(text));
	strcpy(text + sizeof(text) - 3, "\r\n");
	say(&db, text);
	s = seen();
	assert_int_equal(count(s, "db| "), 2);
	assert_int_equal(count(s, "x"), CONSOLE_LINE_MAX + 18);
	assert_int_equal(count(s, "\r\n"), 2);
}

static void test_show_all_catches_up(void **state)
{
	const char *s;

	(void)state;
	for (int i = 0; i < 10000; i++)
		say(&db, "one of many lines\r\n");
	focus_on(&web);
	console_show_all(&mux, true);
	s = seen();
	assert_non_null(strstr(s, "bytes not shown)\r\ndb| one of"));
	assert_true(count(s, "db| one of many lines\r\n") > 800);
	assert_int_equal(count(s, "db| "), count(s, "db| one of many lines\r\n") + 1);
	assert_string_equal(seen(), "");
}

/* Two guests that write as fast as they may share the line; neither loses a byte. */
static void test_fair_shares(void **state)
{
	static const char a[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n";
	static const char b[] = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n";
	size_t na = 0, nb = 0, sa = 0, sb = 0;
	const char *s;

	(void)state;
	focus_on(&web);
	console_show_all(&mux, true);
	for (int i = 0; i < 20000; i++) {
		size_t n = vconsole_write(&web.vc, (const uint8_t *)a + na % 64, 64 - na % 64);

		na += n;
		n = vconsole_write(&db.vc, (const uint8_t *)b + nb % 64, 64 - nb % 64);
		nb += n;
		budget = 16;
		console_pump(&mux);
	}
	s = seen();
	for (; *s; s++) {
		sa += *s == 'a';
		sb += *s == 'b';
	}
	assert_true(sa > 50000 && sb > 50000);
	assert_true(sb >= nb / 64 * 62); /* every line of the prefixed one, once, but for its own "db| " */
}

static void test_input(void **state)
{
	(void)state;
	keys("nobody");
	focus_on(&web);
	keys("hello\r" PREFIX PREFIX "\x03");
	assert_string_equal(web.typed, "hello\r\x1d\x03");
	keys(PREFIX "2world");
	assert_string_equal(db.typed, "world");
	assert_string_equal(web.typed, "hello\r\x1d\x03");
	/* The prefix and its key may come in two pieces. */
	keys(PREFIX);
	keys("1x");
	assert_string_equal(web.typed, "hello\r\x1d\x03x");
}

static void test_input_waits(void **state)
{
	char text[CONSOLE_INPUT + 101];
	const char *s;

	(void)state;
	focus_on(&web);
	web.takes = 3;
	keys("abcdef");
	assert_string_equal(web.typed, "abc");
	web.takes = 1;
	console_pump(&mux);
	assert_string_equal(web.typed, "abcd");
	web.takes = SIZE_MAX;
	keys("g");
	assert_string_equal(web.typed, "abcdefg");
	/* Overflow is counted, and said once. */
	web.takes = 0;
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = 0;
	keys(text);
	keys("y");
	assert_int_equal(web.vc.input_lost, 101);
	s = seen();
	assert_int_equal(count(s, "web does not read its input"), 1);
	keys(PREFIX "i");
	assert_non_null(strstr(seen(), "input lost 101"));
	web.takes = SIZE_MAX;
	console_pump(&mux);
	assert_int_equal(web.ntyped, 7 + CONSOLE_INPUT);
	web.takes = 0;
	keys("stale");
	vconsole_flush_input(&web.vc);
	web.takes = SIZE_MAX;
	console_pump(&mux);
	assert_int_equal(web.ntyped, 7 + CONSOLE_INPUT);
}

static void test_commands(void **state)
{
	const char *s;

	(void)state;
	keys(PREFIX "r");
	assert_non_null(strstr(seen(), "choose a guest"));
	assert_string_equal(acts, "");
	focus_on(&db);
	keys(PREFIX "r" PREFIX "k" PREFIX "b");
	assert_string_equal(acts, "restart db;stop db;start db;");
	acts[0] = 0;
	db.takes = 0;
	keys("stale" PREFIX "r");
	db.takes = SIZE_MAX;
	console_pump(&mux);
	assert_string_equal(db.typed, "");
	acts[0] = 0;
	keys(PREFIX "qn" PREFIX "q" PREFIX "x");
	assert_string_equal(acts, "");
	assert_string_equal(db.typed, "x"); /* the prefix was the answer to the question */
	keys(PREFIX "qy");
	assert_string_equal(acts, "off;");
	seen();
	say(&db, "/ # ");
	keys(PREFIX "s");
	assert_string_equal(seen(), "/ # \r\nexits 7\r\nticks 8\r\n/ # ");
	keys(PREFIX "i");
	s = seen();
	assert_non_null(strstr(s, "*2 db: state of db;"));
	assert_non_null(strstr(s, " 1 web: state of web;"));
	keys(PREFIX "?");
	assert_non_null(strstr(seen(), "restart the guest"));
	keys(PREFIX "3" PREFIX "!");
	s = seen();
	assert_non_null(strstr(s, "no guest 3"));
	assert_non_null(strstr(s, "no such key"));
	keys(PREFIX "\x1b");
	assert_string_equal(seen(), "");
}

static void test_next_and_previous(void **state)
{
	(void)state;
	keys(PREFIX "n");
	assert_ptr_equal(mux.focus, &web.vc);
	keys(PREFIX "N");
	assert_ptr_equal(mux.focus, &db.vc);
	keys(PREFIX "n");
	assert_null(mux.focus);
	keys(PREFIX "p");
	assert_ptr_equal(mux.focus, &db.vc);
	keys(PREFIX "p" PREFIX "p");
	assert_null(mux.focus);
}

static void test_print_is_cut_not_blocked(void **state)
{
	char big[1000];
	const char *s;

	(void)state;
	budget = 0;
	for (int i = 0; i < 1000; i++)
		console_print(&mux, "number %d\n", i);
	s = seen();
	assert_non_null(strstr(s, "number 0\r\n"));
	assert_null(strstr(s, "number 999\r\n"));
	assert_int_equal(count(s, "output cut"), 1);
	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = 0;
	console_print(&mux, "%s", big);
	s = seen();
	assert_int_equal(count(s, "x"), 510);
	assert_non_null(strstr(s, "x\r\n--- output cut"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_log_first, setup),
		cmocka_unit_test_setup(test_log_from_before, setup),
		cmocka_unit_test_setup(test_focused_is_raw, setup),
		cmocka_unit_test_setup(test_banner_and_replay, setup),
		cmocka_unit_test_setup(test_replay_is_bounded, setup),
		cmocka_unit_test_setup(test_write_larger_than_history, setup),
		cmocka_unit_test_setup(test_log_tears_a_line_cleanly, setup),
		cmocka_unit_test_setup(test_torn_details, setup),
		cmocka_unit_test_setup(test_log_is_readable_behind_anything, setup),
		cmocka_unit_test_setup(test_log_behind_tidy_output, setup),
		cmocka_unit_test_setup(test_torn_prompt_with_title, setup),
		cmocka_unit_test_setup(test_backpressure_loses_nothing, setup),
		cmocka_unit_test_setup(test_ready_comes_once_per_wait, setup),
		cmocka_unit_test_setup(test_room_is_a_promise, setup),
		cmocka_unit_test_setup(test_log_never_waits, setup),
		cmocka_unit_test_setup(test_log_view, setup),
		cmocka_unit_test_setup(test_show_all, setup),
		cmocka_unit_test_setup(test_show_all_breaks_long_lines, setup),
		cmocka_unit_test_setup(test_show_all_catches_up, setup),
		cmocka_unit_test_setup(test_fair_shares, setup),
		cmocka_unit_test_setup(test_input, setup),
		cmocka_unit_test_setup(test_input_waits, setup),
		cmocka_unit_test_setup(test_commands, setup),
		cmocka_unit_test_setup(test_next_and_previous, setup),
		cmocka_unit_test_setup(test_print_is_cut_not_blocked, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
