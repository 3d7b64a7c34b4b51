#include "core/terminal.h"
#include "arch/x86_64/frames.h"
#include "arch/x86_64/lock.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/tsc.h"
#include "core/audit.h"
#include "core/console.h"
#include "core/line.h"
#include "core/log.h"
#include "core/sched.h"
#include "core/report.h"
#include "core/screen.h"
#include "core/serial.h"
#include "core/statistics.h"
#include "core/tracing.h"
#include "core/vmm.h"
#include <tf/panic.h>
#include <tf/string.h>

#define OUT_SIZE      KiB(16)
#define HISTORY_ORDER 4 /* 64 KiB per guest */
#define RX_PIECE      64
#define RX_PIECES     4     /* at a time: more is taken the next time */
#define SHOW_US       20000 /* what was written appears on the screen within this time */
#define STALL_US      2000000
#define UNSENT_LINE   200   /* longer lines are broken up */

static struct spinlock lock = SPINLOCK_INIT(RANK_TERMINAL); /* guards everything below */
static struct {
	struct console_mux mux;
	uint8_t out[OUT_SIZE];
	bool ready[CONFIG_MAX_VMS];          /* there is room again, and the guest has not been told */
	struct vconsole consoles[];          /* by VM number, as many as the configuration has */
} *terminal;                                 /* NULL until terminal_init() */
static struct line line;
static bool started;                         /* until then nothing is sent but by terminal_drain() */
static bool report_waits;                    /* for room: it is to go on when there is some */
static bool screen;                          /* shows what goes to the serial line, or takes it where there is none */
static uint64_t show_ticks, stall_ticks;
static uint64_t moved;                       /* TSC: when the line last took something */
static char focus[VM_NAME_MAX];              /* whose console is shown first; empty: the first VM's */

/* The multiplexer calls back into guests and they write again: one level of nesting, on the same CPU. */
static bool enter(void)
{
	if (spin_held(&lock))
		return false;
	spin_lock(&lock);
	return true;
}

static void leave(bool entered)
{
	if (entered)
		spin_unlock(&lock);
}

/* Where there is a screen, a line that has stood still for long holds up nobody. */
static size_t line_send(const uint8_t *buf, size_t n)
{
	size_t took = uart_send(line.uart, buf, n);
	uint64_t now = rdtsc();

	if (took)
		moved = now;
	return took || !screen || now - moved < stall_ticks ? took : n;
}

/* With neither line nor screen what is sent is lost: no guest may wait for it. */
static size_t port_send(void *ctx, const uint8_t *buf, size_t n)
{
	(void)ctx;
	if (line.uart->present)
		n = line_send(buf, n);
	if (screen && n) {
		screen_write(buf, n);
		sched_work_at(rdtsc() + show_ticks);
	}
	return n;
}

/* Moves output; afterwards the UART's interrupt, or terminal_poll(), moves the rest. */
static void pump(void)
{
	console_pump(&terminal->mux);
	if (line.started)
		line_served(&line, console_tx_pending(&terminal->mux));
	if (unlikely(report_waits) && console_report_due(&terminal->mux)) {
		report_waits = false;
		sched_poke();
	}
}

static void transmit(void)
{
	if (started && !line.transmitting)
		pump();
}

static void serve(void)
{
	uint8_t buf[RX_PIECE];
	size_t n = sizeof(buf);

	for (unsigned i = 0; i < RX_PIECES && n == sizeof(buf); i++) {
		n = uart_recv(line.uart, buf, sizeof(buf));
		console_rx(&terminal->mux, buf, n);
	}
	pump();
}

void terminal_interrupt(void *ctx)
{
	bool entered = enter();

	(void)ctx;
	line_prove(&line);
	serve();
	uart_ack(line.uart);
	leave(entered);
}

uint64_t terminal_poll(void)
{
	if (line.started && rdtsc() >= line.due) {
		bool entered = enter();

		serve();
		uart_ack(line.uart);
		leave(entered);
	}
	return line.started ? line.due : DEV_NEVER;
}

void terminal_type(const uint8_t *bytes, size_t n)
{
	bool entered = enter();

	console_rx(&terminal->mux, bytes, n);
	transmit();
	leave(entered);
}

static void log_sink(const char *text, size_t len)
{
	bool entered = enter();

	console_log(&terminal->mux, text, len);
	transmit();
	leave(entered);
}

static void log_past(const char *text, size_t len) { console_log_shown(&terminal->mux, text, len); }

static size_t guest_write(void *ctx, const uint8_t *buf, size_t n)
{
	bool entered = enter();
	size_t took = vconsole_write(ctx, buf, n);

	if (entered)
		transmit();
	leave(entered);
	return took;
}

static __attribute__((noinline)) size_t ask_room(void *ctx)
{
	bool entered = enter();
	size_t room = vconsole_room(ctx);

	leave(entered);
	return room;
}

/* A guest asks for each character. */
static size_t guest_room(void *ctx) { return likely(vconsole_has_room(ctx)) ? CONSOLE_BACKLOG : ask_room(ctx); }

static size_t nowhere_write(void *ctx, const uint8_t *buf, size_t n)
{
	(void)ctx, (void)buf;
	return n;
}

static size_t nowhere_room(void *ctx)
{
	(void)ctx;
	return SIZE_MAX;
}

/*
 * A guest writes with its VM's lock held, and the terminal's comes behind that one: from here the VM's can only be tried.
 * If it is busy the guest's own CPU comes for what there is: terminal_serve(). False: it will.
 */
static bool enter_vm(struct vm *vm, bool *entered)
{
	*entered = !spin_held(&vm->lock);
	if (!*entered || spin_trylock(&vm->lock))
		return true;
	vcpu_signal(vm->vcpus[0], REQ_CONSOLE);
	return false;
}

static size_t guest_input(void *ctx, const uint8_t *buf, size_t n)
{
	struct vm *vm = ctx;
	bool entered;

	if (vm->state != VM_RUNNING)
		return n;
	if (!enter_vm(vm, &entered))
		return 0;
	n = vuart_receive(&vm->board.uart, buf, n);
	if (entered)
		spin_unlock(&vm->lock);
	return n;
}

static void guest_ready(void *ctx)
{
	struct vm *vm = ctx;
	bool entered;

	if (vm->state != VM_RUNNING)
		return;
	terminal->ready[vm->id] = true;
	if (!enter_vm(vm, &entered))
		return;
	terminal->ready[vm->id] = false;
	vuart_output_ready(&vm->board.uart);
	if (entered)
		spin_unlock(&vm->lock);
}

void terminal_serve(struct vm *vm)
{
	bool entered = enter();

	vconsole_feed(&terminal->consoles[vm->id]);
	if (terminal->ready[vm->id])
		guest_ready(vm);
	transmit();
	leave(entered);
}

static void cmd_list(void *ctx, struct vconsole *vc, char *state, size_t size)
{
	const struct vm *vm = vc->ctx;

	(void)ctx;
	if (vm->state == VM_STOPPED)
		tf_snprintf(state, size, "stopped (%s), %lu MiB, weight %u", vm_stop_name(vm->stop), vm->mem.bytes >> 20,
			    vm->cfg.weight);
	else
		tf_snprintf(state, size, "%s, %lu MiB, weight %u, started %lu times", vm_state_name(vm->state),
			    vm->mem.bytes >> 20, vm->cfg.weight, vm->starts);
}

static void cmd_ask(void *ctx, struct console_mux *m, enum console_ask what)
{
	(void)ctx;
	switch (what) {
	case CONSOLE_ASK_STATS: report_request(REPORT_STATISTICS); break;
	case CONSOLE_ASK_VIEW: sched_poke(); break;
	case CONSOLE_ASK_ZERO: statistics_reset(); break;
	case CONSOLE_ASK_DUMP: report_request(REPORT_CSV); break;
	case CONSOLE_ASK_TRACE:
	case CONSOLE_ASK_TRACE_DUMP:
		if (!tracing_possible())
			console_print(m, "--- there is no room for a trace: trefoil.conf says how much (trace) ---\n");
		else if (what == CONSOLE_ASK_TRACE)
			tracing_toggle();
		else
			report_request(REPORT_TRACE);
		break;
	}
}

static void cmd_restart(void *ctx, struct vconsole *vc)
{
	(void)ctx;
	vconsole_flush_input(vc);
	vmm_request(vc->ctx, VMM_RESTART);
}

static void cmd_stop(void *ctx, struct vconsole *vc)
{
	(void)ctx;
	vmm_request(vc->ctx, VMM_STOP);
}

static void cmd_start(void *ctx, struct vconsole *vc)
{
	(void)ctx;
	vmm_request(vc->ctx, VMM_START);
}

static void cmd_audit(void *ctx)
{
	(void)ctx;
	audit_request();
}

static void cmd_power_off(void *ctx)
{
	(void)ctx;
	vmm_request_power_off();
}

void terminal_init(const struct config *cfg)
{
	const struct console_port p = { NULL, port_send };
	const struct console_cmds cmds = { .list = cmd_list, .restart = cmd_restart, .stop = cmd_stop,
					   .start = cmd_start, .audit = cmd_audit, .power_off = cmd_power_off, .ask = cmd_ask };

	unsigned order = frame_order(sizeof(*terminal) + cfg->nvms * sizeof(terminal->consoles[0]));
	hpa_t frames;

	if (frame_alloc(order, &frames))
		panic("console: no memory");
	terminal = phys_to_virt(frames);
	memset(terminal, 0, PAGE_SIZE << order);
	tf_strcpy(focus, cfg->focus, sizeof(focus));
	line.uart = serial_uart();
	screen = cfg->screen && screen_present();
	show_ticks = tsc_from_us(SHOW_US);
	stall_ticks = tsc_from_us(STALL_US);
	moved = rdtsc();
	console_init(&terminal->mux, &p, &cmds, terminal->out, sizeof(terminal->out));
	console_show_all(&terminal->mux, cfg->show_all);
	log_each(log_past);
	log_set_sink(log_sink);
}

void terminal_start(void)
{
	bool entered = enter();

	started = true;
	line_start(&line);
	pump();
	leave(entered);
}

struct chardev terminal_chardev(uint32_t id)
{
	static const struct chardev_ops ops = { guest_write, guest_room };

	return (struct chardev){ &ops, &terminal->consoles[id] };
}

struct chardev terminal_nowhere(void)
{
	static const struct chardev_ops ops = { nowhere_write, nowhere_room };

	return (struct chardev){ &ops, NULL };
}

void terminal_add(struct vm *vm)
{
	hpa_t history;
	bool entered;

	if (frame_alloc(HISTORY_ORDER, &history)) {
		vm->console = terminal_nowhere();
		log_error("console", "vm=%s event=no-console reason=no memory for its history", vm->cfg.name);
		return;
	}
	entered = enter();
	console_add(&terminal->mux, &terminal->consoles[vm->id], vm->cfg.name, guest_input, guest_ready, vm,
		    phys_to_virt(history), PAGE_SIZE << HISTORY_ORDER);
	if (focus[0] ? !strcmp(focus, vm->cfg.name) : terminal->mux.nconsoles == 1)
		console_focus(&terminal->mux, &terminal->consoles[vm->id]);
	leave(entered);
}

bool terminal_report(const char *text, size_t n)
{
	bool entered = enter(), took = console_report(&terminal->mux, text, n);

	report_waits |= !took;
	transmit();
	leave(entered);
	return took;
}

bool terminal_view(struct vm **focused)
{
	bool entered = enter(), view = terminal->mux.view;

	*focused = terminal->mux.focus ? terminal->mux.focus->ctx : NULL;
	leave(entered);
	return view;
}

void terminal_paint(const char *text, size_t n)
{
	bool entered = enter();

	console_paint(&terminal->mux, text, n);
	transmit();
	leave(entered);
}

void terminal_drain(void)
{
	bool entered = enter();

	for (unsigned tries = 0; terminal && console_tx_pending(&terminal->mux) && tries < 1u << 24; tries++) {
		console_pump(&terminal->mux);
		pause();
	}
	uart_flush(serial_uart());
	leave(entered);
	screen_immediate();
}

void terminal_unsent(void (*print)(const char *fmt, ...))
{
	char text[UNSENT_LINE + 1], c = 0;
	bool more = terminal;
	size_t len = 0;

	for (uint32_t at = 0; more && at <= OUT_SIZE; at++) {
		more = ring_peek(&terminal->mux.out, at, &c, 1);
		if (more && c != '\r' && c != '\n')
			text[len++] = c < ' ' || c == 0x7f ? '?' : c; /* UTF-8 and escape sequences, too */
		if (len && (!more || c == '\n' || len == UNSENT_LINE)) {
			text[len] = '\0';
			print("unsent: %s\n", text);
			len = 0;
		}
	}
}
