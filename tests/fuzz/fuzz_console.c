/*
 * The console multiplexer under a random interleaving of guests, log lines, keys and a line of random speed. Checked:
 * the promises of vconsole_room and of vconsole_write, and that everything drains once the line is fast.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "core/console.h"

#define GUESTS 3
#define OUT    CONSOLE_OUT_MIN
#define HIST   CONSOLE_HISTORY_MIN
#define CHECK(x) do { if (!(x)) abort(); } while (0)

static struct console_mux mux;
static struct vconsole vcs[GUESTS];
static uint8_t histories[GUESTS][HIST], outbuf[OUT];
static size_t budget, takes;
static bool waiting[GUESTS];

static size_t line_send(void *ctx, const uint8_t *buf, size_t n)
{
	static volatile uint8_t sum;

	(void)ctx;
	n = MIN(n, budget);
	for (size_t i = 0; i < n; i++)
		sum = (uint8_t)(sum + buf[i]);
	if (budget != SIZE_MAX)
		budget -= n;
	return n;
}

static size_t guest_input(void *ctx, const uint8_t *buf, size_t n)
{
	(void)ctx;
	(void)buf;
	return MIN(n, takes);
}

static void guest_ready(void *ctx)
{
	bool *w = ctx;

	CHECK(*w);
	*w = false;
	CHECK(vconsole_room(&vcs[w - waiting]) > 0);
}

static void cmd_vc(void *ctx, struct vconsole *vc)
{
	(void)ctx;
	console_print(vc->mux, "command on %s\n", vc->name);
}

/* What the keys ask for is given at once, if there is room. */
static void cmd_ask(void *ctx, struct console_mux *m, enum console_ask what)
{
	static const char text[] = "exits 7\nticks 8\n";

	(void)ctx;
	if (what == CONSOLE_ASK_VIEW)
		console_paint(m, text, sizeof(text) - 1);
	else if (!console_report(m, text, sizeof(text) - 1))
		CHECK(m->view || ring_free(&m->out) < OUT / 2);
}

static void guest_write(unsigned g, const uint8_t *buf, size_t n)
{
	size_t room = vconsole_room(&vcs[g]), took;

	if (!room)
		waiting[g] = true;
	took = vconsole_write(&vcs[g], buf, n);
	CHECK(took <= n && took >= MIN(room, n));
	if (room)
		CHECK(took >= MIN(n, 16u));
	if (took < n)
		waiting[g] = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct console_port port = { NULL, line_send };
	const struct console_cmds cmds = { .restart = cmd_vc, .stop = cmd_vc, .start = cmd_vc, .ask = cmd_ask };
	static uint8_t big[1024];

	console_init(&mux, &port, &cmds, outbuf, OUT);
	for (unsigned g = 0; g < GUESTS; g++) {
		waiting[g] = false;
		console_add(&mux, &vcs[g], (const char *[]){ "a", "bb", "a-name-of-thirty-one-characters" }[g], guest_input,
			    guest_ready, &waiting[g], histories[g], HIST);
	}
	while (size >= 2) {
		unsigned op = data[0] & 15, n = data[1];

		data += 2;
		size -= 2;
		n = (unsigned)MIN((size_t)n, size);
		switch (op) {
		case 0:
		case 1:
		case 2:
			guest_write(op % GUESTS, data, n);
			break;
		case 3:
		case 4:
		case 5:
			/* Much from little: n times the same few bytes. */
			for (unsigned i = 0; i < sizeof(big); i++)
				big[i] = n ? data[i % MIN(n, 8u)] : (i % 80 ? 'x' : '\n');
			n = MIN(n, 8u);
			guest_write(op % GUESTS, big, sizeof(big));
			break;
		case 6:
		case 7:
			console_log(&mux, (const char *)data, n);
			break;
		case 8:
			console_rx(&mux, data, n);
			break;
		case 9:
			console_rx(&mux, (const uint8_t[]){ 0x1d, (uint8_t)n }, 2);
			n = 0;
			break;
		case 10:
			budget = n;
			n = 0;
			console_pump(&mux);
			break;
		case 11:
			takes = n;
			n = 0;
			break;
		case 12:
			console_focus(&mux, n % (GUESTS + 1) ? &vcs[n % (GUESTS + 1) - 1] : NULL);
			n = 0;
			break;
		case 13:
			console_show_all(&mux, n & 1);
			console_show_log(&mux, n & 2);
			n = 0;
			break;
		default:
			budget = SIZE_MAX;
			n = 0;
			console_pump(&mux);
			CHECK(!console_tx_pending(&mux));
			break;
		}
		data += n;
		size -= n;
	}
	budget = SIZE_MAX;
	if (mux.view)
		console_rx(&mux, (const uint8_t *)" ", 1);
	console_pump(&mux);
	CHECK(!console_tx_pending(&mux));
	for (unsigned g = 0; g < GUESTS; g++) {
		CHECK(!waiting[g] && vconsole_room(&vcs[g]) > 0);
		CHECK(&vcs[g] != mux.focus || (ring_empty(&vcs[g].history) && mux.live == &vcs[g]));
	}
	return 0;
}
