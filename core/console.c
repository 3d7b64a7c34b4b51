#include "core/console.h"
#include "core/console_screen.h"
#include <tf/assert.h>
#include <tf/string.h>

#define PRINT_MAX 512

void console_init(struct console_mux *m, const struct console_port *port, const struct console_cmds *cmds,
		  void *outbuf, uint32_t outsize)
{
	ASSERT(outsize >= CONSOLE_OUT_MIN);
	memset(m, 0, sizeof(*m));
	m->port = *port;
	m->cmds = *cmds;
	ring_init(&m->out, outbuf, outsize);
	ring_init(&m->log, m->log_mem, sizeof(m->log_mem));
	m->reserve = outsize - outsize / 4;
	m->show_log = true;
	m->line_start = true;
}

void console_add(struct console_mux *m, struct vconsole *vc, const char *name,
		 size_t (*input)(void *ctx, const uint8_t *buf, size_t n), void (*ready)(void *ctx), void *ctx,
		 void *history, uint32_t size)
{
	ASSERT(m->nconsoles < CONSOLE_MAX && size >= CONSOLE_HISTORY_MIN);
	memset(vc, 0, sizeof(*vc));
	vc->mux = m;
	(void)tf_strcpy(vc->name, name, sizeof(vc->name));
	vc->input = input;
	vc->ready = ready;
	vc->ctx = ctx;
	ring_init(&vc->history, history, size);
	ring_init(&vc->inq, vc->inq_mem, sizeof(vc->inq_mem));
	vc->limit = CONSOLE_BACKLOG + CONSOLE_GRACE;
	vc->index = m->nconsoles;
	m->consoles[m->nconsoles++] = vc;
}

static uint32_t backlog_room(const struct vconsole *vc)
{
	uint32_t used = ring_used(&vc->history);

	return used < CONSOLE_BACKLOG ? CONSOLE_BACKLOG - used : 0;
}

/* Takes what the limit allows; screen_drain moves it on. */
static size_t put_backlog(struct vconsole *vc, const uint8_t *buf, size_t n)
{
	uint32_t used = ring_used(&vc->history);

	if (used < CONSOLE_BACKLOG)
		vc->limit = CONSOLE_BACKLOG + CONSOLE_GRACE;
	return ring_put(&vc->history, buf, MIN(n, (size_t)(vc->limit > used ? vc->limit - used : 0)));
}

static size_t put_hidden(struct vconsole *vc, const uint8_t *buf, size_t n)
{
	size_t over = ring_put_over(&vc->history, buf, n);

	/* What was too long for the ring as a whole is lost as well. */
	if (n > vc->history.size)
		over += n - vc->history.size;
	vc->lost += over;
	vc->gap += over;
	return n;
}

static size_t put_live(struct vconsole *vc, const uint8_t *buf, size_t n)
{
	n = MIN(n, (size_t)screen_share(vc->mux));
	screen_raw(vc->mux, vc, buf, n);
	return n;
}

size_t vconsole_write(struct vconsole *vc, const uint8_t *buf, size_t n)
{
	struct console_mux *m = vc->mux;
	size_t took = 0;

	if (likely(m->live == vc)) {
		took = put_live(vc, buf, n);
		if (likely(took == n))
			return n;
	} else if (!screen_shows(m, vc)) {
		return put_hidden(vc, buf, n);
	} else {
		screen_drain(m, vc == m->focus);
		if (m->live == vc)
			took = put_live(vc, buf, n);
	}
	if (took < n) {
		took += put_backlog(vc, buf + took, n - took);
		screen_drain(m, vc == m->focus);
	}
	if (took < n)
		vc->refused = true;
	return took;
}

size_t vconsole_room(struct vconsole *vc)
{
	struct console_mux *m = vc->mux;
	size_t room;

	if (m->live == vc)
		return CONSOLE_BACKLOG + screen_share(m);
	room = screen_shows(m, vc) ? backlog_room(vc) : vc->history.size;
	if (!room)
		vc->refused = true;
	return room;
}

/* Position of the log, `back` bytes before its end or the start of the next line. */
static uint32_t log_before(const struct console_mux *m, uint32_t back)
{
	uint32_t at = m->log.head - back;

	if (back >= ring_used(&m->log))
		return m->log.tail;
	while (at != m->log.head && m->log.buf[(at - 1) & (m->log.size - 1)] != '\n')
		at++;
	return at;
}

static void log_drop_oldest(struct console_mux *m)
{
	uint32_t at = m->log.tail;

	while (m->log.buf[at++ & (m->log.size - 1)] != '\n')
		;
	if (m->log_at == m->log.tail) {
		m->log_at = at;
		if (screen_shows_log(m))
			m->log_lost++;
	}
	if (m->log_mark == m->log.tail)
		m->log_mark = at;
	m->log.tail = at;
}

static void keep_log(struct console_mux *m, const char *line, size_t len)
{
	while (len && (line[len - 1] == '\n' || line[len - 1] == '\r'))
		len--;
	len = MIN(len, (size_t)CONSOLE_LOG_LINE_MAX - 1);
	while (ring_free(&m->log) < len + 1)
		log_drop_oldest(m);
	for (size_t i = 0; i < len; i++) {
		char c = line[i];

		/* One line, whatever is in it. */
		m->log.buf[m->log.head++ & (m->log.size - 1)] = (uint8_t)((unsigned char)c < ' ' ? ' ' : c);
	}
	m->log.buf[m->log.head++ & (m->log.size - 1)] = '\n';
}

void console_log(struct console_mux *m, const char *line, size_t len)
{
	keep_log(m, line, len);
	if (m->view)
		return;
	if (screen_shows_log(m))
		screen_drain(m, false);
	else
		m->log_at = m->log.head;
}

void console_log_shown(struct console_mux *m, const char *line, size_t len)
{
	keep_log(m, line, len);
	m->log_at = m->log_mark = m->log.head;
}

void console_print(struct console_mux *m, const char *fmt, ...)
{
	char text[PRINT_MAX];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = tf_vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n <= 0)
		return;
	if ((size_t)n >= sizeof(text)) {
		n = sizeof(text) - 1;
		m->prints_cut = true;
	}
	text[n - 1] = '\n';
	if (!screen_text(m, text, (size_t)n))
		m->prints_cut = true;
}

bool console_report(struct console_mux *m, const char *text, size_t n)
{
	if (!m->view && ring_free(&m->out) >= m->out.size / 2 && screen_text(m, text, n))
		return true;
	m->report_at = m->out.head;
	return false;
}

bool console_report_due(const struct console_mux *m)
{
	return !m->view && (int32_t)(m->report_at - m->out.tail) <= 0;
}

void console_view(struct console_mux *m, bool on)
{
	m->view = on;
	m->live = NULL;
	if (on)
		return;
	for (unsigned i = 0; i < m->nconsoles; i++)
		if (screen_shows(m, m->consoles[i]))
			screen_trim(m->consoles[i]);
	if (!screen_shows_log(m))
		m->log_at = m->log.head;
	m->banner_due = true;
	m->torn = m->focus != NULL;
	screen_drain(m, true);
}

void console_paint(struct console_mux *m, const char *text, size_t n)
{
	if (m->view)
		screen_page(m, text, n);
}

void console_focus(struct console_mux *m, struct vconsole *vc)
{
	struct vconsole *old = m->focus;

	if (!old)
		m->log_at = !m->show_log ? m->log.head : (int32_t)(m->log_mark - m->log_at) > 0 ? m->log_mark : m->log_at;
	m->focus = vc;
	m->live = NULL;
	m->banner_due = true;
	m->torn = true;
	if (!vc) {
		m->log_mark = m->log_at;
		m->log_at = log_before(m, CONSOLE_REPLAY_MAX);
		m->torn = false;
	} else if (vc != old) {
		screen_trim(vc);
	}
	screen_drain(m, true);
}

void console_show_all(struct console_mux *m, bool on)
{
	for (unsigned i = 0; i < m->nconsoles; i++)
		if (m->consoles[i] != m->focus && on && !m->show_all)
			screen_trim(m->consoles[i]);
	m->show_all = on;
	screen_drain(m, false);
}

void console_show_log(struct console_mux *m, bool on)
{
	if (on && !screen_shows_log(m))
		m->log_at = m->log.head;
	m->show_log = on;
	if (!screen_shows_log(m))
		m->log_at = m->log.head;
	screen_drain(m, false);
}

static bool send_out(struct console_mux *m)
{
	bool any = false;

	while (!ring_empty(&m->out)) {
		uint32_t at = m->out.tail & (m->out.size - 1);
		size_t span = MIN(ring_used(&m->out), m->out.size - at);
		size_t sent = m->port.send(m->port.ctx, m->out.buf + at, span);

		ASSERT(sent <= span);
		m->out.tail += (uint32_t)sent;
		any |= sent > 0;
		if (sent < span)
			break;
	}
	return any;
}

static void wake_waiting(struct console_mux *m)
{
	for (unsigned i = 0; i < m->nconsoles; i++) {
		struct vconsole *vc = m->consoles[i];

		/* Half the backlog at once, so that the guest does not wake up for every byte. */
		if (!vc->refused || (screen_shows(m, vc) && backlog_room(vc) < CONSOLE_BACKLOG / 2))
			continue;
		vc->refused = false;
		if (vc->ready)
			vc->ready(vc->ctx);
	}
}

void console_pump(struct console_mux *m)
{
	do
		screen_drain(m, ring_empty(&m->out));
	while (send_out(m));
	console_feed(m);
	wake_waiting(m);
}
