#include "core/console_screen.h"
#include <tf/assert.h>
#include <tf/string.h>

#define ESC 0x1b
#define DEL 0x7f
#define BEL 0x07

#define FRESH_MAX    (PLAIN_MAX + 2) /* what fresh_line may need: CR LF besides */
/* A prefixed line at its longest: name, "| ", the text, CR LF. */
#define PREFIXED_MAX (FRESH_MAX + CONSOLE_NAME_MAX + 2 + CONSOLE_LINE_MAX + 2)
#define HOME       "\x1b[H"
#define END_LINE   "\x1b[K\r\n"
#define END_SCREEN "\x1b[J"
#define REPLAY_CHUNK 256 /* one turn of a console that catches up */

enum step { STEP_DONE, STEP_MORE, STEP_BLOCKED };

static void put(struct console_mux *m, const void *buf, size_t n)
{
	size_t took = ring_put(&m->out, buf, n);

	ASSERT(took == n);
}

void screen_raw(struct console_mux *m, struct vconsole *vc, const uint8_t *buf, size_t n)
{
	if (unlikely(vc->swallow_lf) && n) {
		vc->swallow_lf = false;
		if (*buf == '\n') {
			buf++;
			n--;
		}
	}
	for (size_t i = 0; i < n; i++) {
		uint8_t b = buf[i];

		m->out.buf[m->out.head++ & (m->out.size - 1)] = b;
		if (unlikely(plain_cares(&m->plain, b)))
			plain_feed(&m->plain, b);
		if (b == '\n') {
			vc->line_len = 0;
			m->line_start = true;
			continue;
		}
		m->line_start = false;
		if (unlikely(vc->line_len >= CONSOLE_LINE_MAX)) {
			vc->line_len = CONSOLE_LINE_MAX + 1;
			continue;
		}
		if (vc->line_len && vc->line[vc->line_len - 1] == '\r')
			vc->line_len = 0; /* the line is being written anew */
		vc->line[vc->line_len++] = b;
	}
}

/* Length of the escape sequence that starts at p[0] == ESC; n + 1 if it goes on behind n. */
static size_t escape_length(const uint8_t *p, size_t n)
{
	if (n < 2 || p[1] != '[')
		return 2;
	for (size_t i = 2; i < n; i++)
		if (p[i] >= 0x40 && p[i] <= 0x7e)
			return i + 1;
	return n + 1;
}

/* The terminal would answer it once more: "device status report" or "device attributes" (ECMA-48). */
static bool escape_is_query(const uint8_t *p, size_t n)
{
	return n > 2 && (p[n - 1] == 'n' || p[n - 1] == 'c');
}

/* Guests move cursors and change colours: a line that is not theirs must be readable all the same. */
static void make_readable(struct console_mux *m)
{
	if (m->plain.state == PLAIN_TEXT && !m->plain.changed)
		return;
	if (m->plain.state != PLAIN_TEXT)
		put(m, PLAIN_CANCEL, sizeof(PLAIN_CANCEL) - 1);
	if (m->plain.changed)
		put(m, PLAIN_RESTORE, sizeof(PLAIN_RESTORE) - 1);
	m->line_start = false; /* whoever searches for lines finds this one at a line's start */
	m->plain = (struct plain){ 0 };
}

/* What is next is not the focused console's. */
static void leave_line(struct console_mux *m)
{
	struct vconsole *vc = m->focus;

	if (vc && vc->line_len && !m->torn) {
		m->torn = true;
		m->live = NULL;
	}
	make_readable(m);
}

/* Moves the cursor to the start of a line, out of whatever the focused console has there. */
static void fresh_line(struct console_mux *m)
{
	leave_line(m);
	if (!m->line_start)
		put(m, "\r\n", 2);
	m->line_start = true;
}

static void put_lines(struct console_mux *m, const char *text, size_t n, const char *end)
{
	for (size_t i = 0; i < n; i++) {
		if (text[i] == '\n')
			put(m, end, strlen(end));
		else
			put(m, text + i, 1);
		m->line_start = text[i] == '\n';
	}
}

static bool room_for(const struct console_mux *m, const char *text, size_t n, size_t each_end, size_t more)
{
	size_t need = n + FRESH_MAX + more;

	for (size_t i = 0; i < n; i++)
		need += text[i] == '\n' ? each_end : 0;
	return need <= ring_free(&m->out);
}

bool screen_text(struct console_mux *m, const char *text, size_t n)
{
	if (!room_for(m, text, n, 1, 0))
		return false;
	fresh_line(m);
	put_lines(m, text, n, "\r\n");
	return true;
}

void screen_page(struct console_mux *m, const char *text, size_t n)
{
	if (!room_for(m, text, n, sizeof(END_LINE), sizeof(HOME END_SCREEN)))
		return;
	leave_line(m);
	put(m, HOME, sizeof(HOME) - 1);
	put_lines(m, text, n, END_LINE);
	put(m, END_SCREEN, sizeof(END_SCREEN) - 1);
	m->line_start = false; /* as in make_readable() */
}

/* Puts the focused console's unfinished line back where the cursor is. False: no room. */
static bool resume_line(struct console_mux *m)
{
	struct vconsole *vc = m->focus;
	size_t step;

	if (ring_free(&m->out) < CONSOLE_LINE_MAX + 2)
		return false;
	if (!m->line_start)
		put(m, "\r\n", 2);
	m->line_start = true;
	m->torn = false;
	if (vc->line_len > CONSOLE_LINE_MAX || !vc->line_len)
		return true;
	if (vc->line[vc->line_len - 1] == '\r') {
		vc->line_len = 0;
		vc->swallow_lf = true;
		return true;
	}
	for (size_t i = 0; i < vc->line_len; i += step) {
		const uint8_t *p = vc->line + i;

		step = *p == ESC ? MIN(escape_length(p, vc->line_len - i), vc->line_len - i) : 1;
		/* not the bell, but the BEL that ends a window's title */
		if ((*p == BEL && m->plain.state != PLAIN_STRING) || (*p == ESC && escape_is_query(p, step)))
			continue;
		put(m, p, step);
		for (size_t k = 0; k < step; k++)
			plain_feed(&m->plain, p[k]);
	}
	m->line_start = false;
	return true;
}

void screen_trim(struct vconsole *vc)
{
	struct ring *h = &vc->history;
	uint32_t keep = MIN((uint32_t)CONSOLE_REPLAY_MAX, h->size / 2), used = ring_used(h);

	vc->scanned = 0;
	if (used > keep) {
		uint32_t cut = used - keep;

		/* Start with a whole line, if one starts soon. */
		for (uint32_t i = cut; i < cut + CONSOLE_LINE_MAX; i++) {
			if (h->buf[(h->tail + i - 1) & (h->size - 1)] == '\n') {
				cut = i;
				break;
			}
		}
		h->tail += cut;
		vc->lost += cut;
		vc->gap += cut;
	}
	if (vc->gap) {
		vc->line_len = 0;
		vc->swallow_lf = false;
	}
	vc->limit = MAX(ring_used(h), (uint32_t)CONSOLE_BACKLOG) + CONSOLE_GRACE;
}

static bool show_banner(struct console_mux *m)
{
	struct vconsole *vc = m->focus;
	char text[160];
	int n;

	n = tf_snprintf(text, sizeof(text), "--- console: %s (Ctrl-] ? for help) ---\n", vc ? vc->name : "hypervisor log");
	if (vc && vc->gap)
		n += tf_snprintf(text + n, sizeof(text) - (size_t)n, "--- %llu earlier bytes not shown ---\n",
				 (unsigned long long)vc->gap);
	if (!screen_text(m, text, (size_t)n))
		return false;
	if (vc)
		vc->gap = 0;
	m->banner_due = false;
	return true;
}

static bool show_notices(struct console_mux *m)
{
	char text[64];
	int n;

	if (m->prints_cut) {
		n = tf_snprintf(text, sizeof(text), "--- output cut: the line is too slow ---\n");
		if (!screen_text(m, text, (size_t)n))
			return false;
		m->prints_cut = false;
	}
	if (m->log_lost && screen_shows_log(m)) {
		n = tf_snprintf(text, sizeof(text), "--- log: %u lines not shown ---\n", m->log_lost);
		if (!screen_text(m, text, (size_t)n))
			return false;
		m->log_lost = 0;
	}
	return true;
}

static bool show_log_lines(struct console_mux *m)
{
	char line[CONSOLE_LOG_LINE_MAX];

	if (!screen_shows_log(m))
		return true;
	while (m->log_at != m->log.head) {
		uint32_t n = (uint32_t)ring_peek(&m->log, m->log_at - m->log.tail, line, sizeof(line));
		const char *end = memchr(line, '\n', n);

		ASSERT(end != NULL);
		n = (uint32_t)(end - line) + 1;
		if (!screen_text(m, line, n))
			return false;
		m->log_at += n;
	}
	return true;
}

/* Removes what would move the cursor or change colours; returns the new length. */
static size_t make_plain(uint8_t *p, size_t n)
{
	size_t to = 0, step;

	for (size_t i = 0; i < n; i += step) {
		step = p[i] == ESC ? escape_length(p + i, n - i) : 1;
		if (p[i] == '\t' || (p[i] >= ' ' && p[i] != DEL))
			p[to++] = p[i];
	}
	return to;
}

/* One line of a console that is shown without having the focus: `NAME| text`. */
static enum step show_prefixed(struct console_mux *m, struct vconsole *vc)
{
	struct ring *h = &vc->history;
	uint8_t line[CONSOLE_LINE_MAX];
	uint32_t used = ring_used(h), i = vc->scanned;
	char head[CONSOLE_NAME_MAX + 48];
	size_t n;

	while (i < used && i < CONSOLE_LINE_MAX && h->buf[(h->tail + i) & (h->size - 1)] != '\n')
		i++;
	vc->scanned = i;
	if (i == used && i < CONSOLE_LINE_MAX)
		return STEP_DONE;
	if (screen_share(m) < PREFIXED_MAX)
		return STEP_BLOCKED;
	fresh_line(m);
	if (vc->gap) {
		n = (size_t)tf_snprintf(head, sizeof(head), "%s| (%llu bytes not shown)\n", vc->name,
					(unsigned long long)vc->gap);
		vc->gap = 0;
		put_lines(m, head, n, "\r\n");
		return STEP_MORE;
	}
	n = (size_t)tf_snprintf(head, sizeof(head), "%s| ", vc->name);
	put_lines(m, head, n, "\r\n");
	n = ring_get(h, line, MIN(i + 1, (uint32_t)CONSOLE_LINE_MAX));
	n = make_plain(line, n);
	put(m, line, n);
	put(m, "\r\n", 2);
	m->line_start = true;
	vc->scanned = 0;
	vc->line_len = 0;
	vc->swallow_lf = false;
	return STEP_MORE;
}

static enum step show_focused(struct console_mux *m, struct vconsole *vc, bool resume)
{
	uint8_t chunk[REPLAY_CHUNK];
	size_t n;

	if (m->torn) {
		if (!resume && ring_empty(&vc->history))
			return STEP_DONE;
		if (!resume_line(m))
			return STEP_BLOCKED;
	}
	if (ring_empty(&vc->history))
		return STEP_DONE;
	n = MIN((size_t)screen_share(m), sizeof(chunk));
	if (!n)
		return STEP_BLOCKED;
	n = ring_get(&vc->history, chunk, n);
	screen_raw(m, vc, chunk, n);
	return STEP_MORE;
}

static enum step show_console(struct console_mux *m, struct vconsole *vc, bool resume)
{
	if (vc == m->focus)
		return show_focused(m, vc, resume);
	return m->show_all ? show_prefixed(m, vc) : STEP_DONE;
}

/* The consoles that are shown take turns, so that none can keep the line for itself. */
static bool show_consoles(struct console_mux *m, bool resume)
{
	unsigned idle = 0;

	while (idle < m->nconsoles) {
		enum step s = show_console(m, m->consoles[m->turn], resume);

		if (s == STEP_BLOCKED)
			return false;
		idle = s == STEP_DONE ? idle + 1 : 0;
		m->turn = (m->turn + 1) % m->nconsoles;
	}
	return true;
}

void screen_drain(struct console_mux *m, bool resume)
{
	m->live = NULL;
	if (m->view)
		return;
	if (m->banner_due && !show_banner(m))
		return;
	if (!show_notices(m) || !show_log_lines(m) || !show_consoles(m, resume))
		return;
	if (m->focus && !m->torn)
		m->live = m->focus;
}
