/* From the physical line: the keys after Ctrl-], and everything else for the focused guest. */
#include "core/console.h"
#include "core/console_screen.h"
#include <tf/assert.h>
#include <tf/string.h>

#define KEY_PREFIX 0x1d /* Ctrl-] */
#define KEY_ESC    0x1b

static const char help[] =
	"--- Ctrl-] and then: ---\n"
	"  1 to 9  focus that guest      0  focus the hypervisor's log\n"
	"  n  next console               p  previous console\n"
	"  a  show all guests, on/off    g  show log lines, on/off\n"
	"  i  list the guests\n"
	"  s  statistics of exits        l  the same, live\n"
	"  z  set them to zero           d  dump them as CSV\n"
	"  t  trace, on/off              x  dump the trace\n"
	"  b  begin (start) the guest    k  kill (stop) it\n"
	"  r  restart the guest          v  verify who can reach what memory\n"
	"  q  power the machine off      ?  this help\n"
	"  Ctrl-]  send Ctrl-] itself\n";

void vconsole_flush_input(struct vconsole *vc)
{
	vc->inq.tail = vc->inq.head;
	vc->input_stuck = false;
}

void vconsole_feed(struct vconsole *vc)
{
	uint8_t chunk[CONSOLE_INPUT];
	size_t n = ring_peek(&vc->inq, 0, chunk, sizeof(chunk));
	size_t took = n ? vc->input(vc->ctx, chunk, n) : 0;

	ASSERT(took <= n);
	vc->inq.tail += (uint32_t)took;
	if (ring_empty(&vc->inq))
		vc->input_stuck = false;
}

void console_feed(struct console_mux *m)
{
	for (unsigned i = 0; i < m->nconsoles; i++)
		if (!ring_empty(&m->consoles[i]->inq))
			vconsole_feed(m->consoles[i]);
}

static void type(struct console_mux *m, struct vconsole *vc, const uint8_t *buf, size_t n)
{
	size_t took;

	while (n) {
		took = ring_put(&vc->inq, buf, n);
		buf += took;
		n -= took;
		took = ring_used(&vc->inq);
		vconsole_feed(vc);
		if (ring_used(&vc->inq) == took)
			break;
	}
	vc->input_lost += n;
	if (n && !vc->input_stuck) {
		vc->input_stuck = true;
		console_print(m, "--- %s does not read its input: what is typed is lost ---\n", vc->name);
	}
}

static void list(struct console_mux *m)
{
	console_print(m, "--- %c0 hypervisor log: lines %s ---\n", m->focus ? ' ' : '*', m->show_log ? "shown" : "hidden");
	for (unsigned i = 0; i < m->nconsoles; i++) {
		struct vconsole *vc = m->consoles[i];
		char state[80] = "";

		if (m->cmds.list)
			m->cmds.list(m->cmds.ctx, vc, state, sizeof(state));
		console_print(m, "--- %c%u %s: %s%sunseen %u, lost %llu, input lost %llu ---\n", vc == m->focus ? '*' : ' ',
			      i + 1, vc->name, state, *state ? "; " : "", ring_used(&vc->history),
			      (unsigned long long)vc->lost, (unsigned long long)vc->input_lost);
	}
}

/* For the keys that act on the focused guest. */
static void act(struct console_mux *m, void (*fn)(void *ctx, struct vconsole *vc), const char *verb)
{
	struct vconsole *vc = m->focus;

	if (!vc) {
		console_print(m, "--- %s: the log has the focus, choose a guest first ---\n", verb);
		return;
	}
	if (!fn) {
		console_print(m, "--- %s: not available ---\n", verb);
		return;
	}
	console_print(m, "--- %s %s ---\n", verb, vc->name);
	vconsole_flush_input(vc);
	fn(m->cmds.ctx, vc);
}

static void ask(struct console_mux *m, enum console_ask what)
{
	if (m->cmds.ask)
		m->cmds.ask(m->cmds.ctx, m, what);
}

/* Ctrl-] does so, too, and begins a command. */
static void end_view(struct console_mux *m, uint8_t key)
{
	m->keys = key == KEY_PREFIX ? CONSOLE_KEYS_COMMAND : CONSOLE_KEYS_PLAIN;
	console_view(m, false);
	ask(m, CONSOLE_ASK_VIEW);
}

/* `step` consoles further, counting the log as number 0. */
static void focus_step(struct console_mux *m, unsigned step)
{
	unsigned at = ((m->focus ? m->focus->index + 1 : 0) + step) % (m->nconsoles + 1);

	console_focus(m, at ? m->consoles[at - 1] : NULL);
}

static void command(struct console_mux *m, uint8_t key)
{
	const uint8_t prefix = KEY_PREFIX;

	m->keys = CONSOLE_KEYS_PLAIN;
	if (key >= '1' && key <= '9') {
		if (key - '1' < (int)m->nconsoles)
			console_focus(m, m->consoles[key - '1']);
		else
			console_print(m, "--- there is no guest %c ---\n", key);
		return;
	}
	switch (key | (key >= 'A' && key <= 'Z' ? 0x20 : 0)) {
	case '0': console_focus(m, NULL); break;
	case 'n': focus_step(m, 1); break;
	case 'p': focus_step(m, m->nconsoles); break;
	case 'a':
		console_show_all(m, !m->show_all);
		console_print(m, "--- other guests are %s ---\n", m->show_all ? "shown" : "hidden");
		break;
	case 'g':
		console_show_log(m, !m->show_log);
		console_print(m, "--- log lines are %s ---\n", m->show_log ? "shown" : "hidden");
		break;
	case 'i': list(m); break;
	case 's': ask(m, CONSOLE_ASK_STATS); break;
	case 'l':
		m->keys = CONSOLE_KEYS_VIEW;
		console_view(m, true);
		ask(m, CONSOLE_ASK_VIEW);
		break;
	case 'z': ask(m, CONSOLE_ASK_ZERO); break;
	case 'd': ask(m, CONSOLE_ASK_DUMP); break;
	case 't': ask(m, CONSOLE_ASK_TRACE); break;
	case 'x': ask(m, CONSOLE_ASK_TRACE_DUMP); break;
	case 'v':
		if (m->cmds.audit) {
			console_print(m, "--- verifying: the log tells ---\n");
			m->cmds.audit(m->cmds.ctx);
		} else {
			console_print(m, "--- verify: not available ---\n");
		}
		break;
	case 'r': act(m, m->cmds.restart, "restart"); break;
	case 'k': act(m, m->cmds.stop, "stop"); break;
	case 'b': act(m, m->cmds.start, "start"); break;
	case 'q':
		console_print(m, "--- power the machine off? y to confirm ---\n");
		m->keys = CONSOLE_KEYS_CONFIRM;
		break;
	case KEY_PREFIX:
		if (m->focus)
			type(m, m->focus, &prefix, 1);
		break;
	case '?':
		if (!screen_text(m, help, sizeof(help) - 1))
			m->prints_cut = true;
		break;
	case '\r':
	case '\n':
	case KEY_ESC: break;
	default: console_print(m, "--- no such key; Ctrl-] ? for help ---\n"); break;
	}
}

static void confirm(struct console_mux *m, uint8_t key)
{
	m->keys = CONSOLE_KEYS_PLAIN;
	if (key != 'y' && key != 'Y')
		console_print(m, "--- not powered off ---\n");
	else if (m->cmds.power_off)
		m->cmds.power_off(m->cmds.ctx);
}

void console_rx(struct console_mux *m, const uint8_t *bytes, size_t n)
{
	for (size_t i = 0, run; i < n; i += run) {
		const uint8_t *key = bytes + i, *end;

		run = 1;
		if (m->keys == CONSOLE_KEYS_COMMAND) {
			command(m, *key);
		} else if (m->keys == CONSOLE_KEYS_CONFIRM) {
			confirm(m, *key);
		} else if (m->keys == CONSOLE_KEYS_VIEW) {
			end_view(m, *key);
		} else if (*key == KEY_PREFIX) {
			m->keys = CONSOLE_KEYS_COMMAND;
		} else {
			end = memchr(key, KEY_PREFIX, n - i);
			run = end ? (size_t)(end - key) : n - i;
			if (m->focus)
				type(m, m->focus, key, run);
		}
	}
}
