#include "core/terminal.h"
#include "arch/x86_64/frames.h"
#include "arch/x86_64/lock.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/tsc.h"
#include "core/console.h"
#include "core/log.h"
#include "core/sched.h"
#include "core/vmm.h"
#include "drivers/uart.h"
#include <tf/panic.h>
#include <tf/string.h>

#define OUT_SIZE      KiB(16)
#define HISTORY_ORDER 4 /* 64 KiB per guest */
#define RX_PIECE      64
#define OVERDUE_US    20000 /* a full FIFO leaves in 1.4 ms */

static struct spinlock lock = SPINLOCK_INIT; /* guards everything below */
static struct console_mux mux;
static struct uart uart;
static bool interrupts;                      /* the UART interrupts: nobody need pump without one */
static bool transmitting;                    /* its transmit interrupt is on and will pump again */
static uint64_t overdue;                     /* TSC: without an interrupt until then, it was lost */
static uint8_t out_storage[OUT_SIZE];
static struct vconsole *consoles;            /* CONFIG_MAX_VMS, by VM number */
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

/* Without a port what is sent is lost: no guest may wait for it. */
static size_t port_send(void *ctx, const uint8_t *buf, size_t n)
{
	return uart.present ? uart_send(ctx, buf, n) : n;
}

/* Gets the transmitter going; from then on its interrupt keeps it going. */
static void transmit(void)
{
	if (!interrupts || transmitting)
		return;
	console_pump(&mux);
	if ((transmitting = console_tx_pending(&mux)))
		uart_interrupts(&uart, true, true);
	overdue = rdtsc() + tsc_from_us(OVERDUE_US);
}

void terminal_interrupt(void *ctx)
{
	uint8_t buf[RX_PIECE];
	bool entered = enter();

	(void)ctx;
	for (size_t n; (n = uart_recv(&uart, buf, sizeof(buf))) > 0;)
		console_rx(&mux, buf, n);
	console_pump(&mux);
	transmitting = console_tx_pending(&mux);
	overdue = rdtsc() + tsc_from_us(OVERDUE_US);
	uart_interrupts(&uart, true, transmitting);
	uart_ack(&uart);
	leave(entered);
}

void terminal_poll(void)
{
	if (transmitting && rdtsc() > overdue)
		terminal_interrupt(NULL);
}

static void log_sink(const char *line, size_t len)
{
	bool entered = enter();

	console_log(&mux, line, len);
	transmit();
	leave(entered);
}

static size_t guest_write(void *ctx, const uint8_t *buf, size_t n)
{
	bool entered = enter();
	size_t took = vconsole_write(ctx, buf, n);

	if (entered)
		transmit();
	leave(entered);
	return took;
}

static size_t guest_room(void *ctx)
{
	bool entered = enter();
	size_t room = vconsole_room(ctx);

	leave(entered);
	return room;
}

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

static size_t guest_input(void *ctx, const uint8_t *buf, size_t n)
{
	struct vm *vm = ctx;

	return vm->state == VM_RUNNING ? vuart_receive(&vm->board.uart, buf, n) : n;
}

static void guest_ready(void *ctx)
{
	struct vm *vm = ctx;

	if (vm->state == VM_RUNNING)
		vuart_output_ready(&vm->board.uart);
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

static void print_exits(struct console_mux *m, const struct vcpu *v)
{
	for (uint32_t k = 0; k < EXIT_NKINDS; k++)
		if (v->exits[k])
			console_print(m, "    %-24s %12lu\n", vmx_exit_name(k), v->exits[k]);
}

static void cmd_stats(void *ctx, struct console_mux *m)
{
	uint64_t up = tsc_to_us(rdtsc() - tsc_boot);

	(void)ctx;
	console_print(m, "up %lu.%03lu s, idle %lu ms, %lu MiB of %lu MiB free\n", up / 1000000, up / 1000 % 1000,
		      tsc_to_us(sched_idle_ticks()) / 1000, frames_free_bytes() >> 20, frames_total_bytes() >> 20);
	for (uint32_t i = 0; i < vmm_count(); i++) {
		struct vm *vm = vmm_vm(i);

		for (uint32_t c = 0; c < vm->nvcpus; c++) {
			console_print(m, "%s vcpu %u: ran %lu ms\n", vm->cfg.name, c, tsc_to_us(vm->vcpus[c]->ran) / 1000);
			print_exits(m, vm->vcpus[c]);
		}
		console_print(m, "    absent ports %lu, absent addresses %lu, denied MSRs %lu\n", vm->pio.absent,
			      vm->mmio.absent, vm->denied_msr);
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

static void cmd_power_off(void *ctx)
{
	(void)ctx;
	vmm_request_power_off();
}

bool terminal_init(const struct config *cfg, uint16_t port)
{
	const struct console_port p = { &uart, port_send };
	const struct console_cmds cmds = { .list = cmd_list, .stats = cmd_stats, .restart = cmd_restart, .stop = cmd_stop,
					   .start = cmd_start, .power_off = cmd_power_off };

	unsigned order = frame_order(CONFIG_MAX_VMS * sizeof(*consoles));
	hpa_t frames;

	if (frame_alloc(order, &frames))
		panic("console: no memory");
	consoles = phys_to_virt(frames);
	memset(consoles, 0, PAGE_SIZE << order);
	tf_strcpy(focus, cfg->focus, sizeof(focus));
	uart_init(&uart, port);
	console_init(&mux, &p, &cmds, out_storage, sizeof(out_storage));
	console_show_all(&mux, cfg->show_all);
	log_set_sink(log_sink);
	return uart.present;
}

void terminal_start(void)
{
	bool entered = enter();

	interrupts = true;
	uart_interrupts(&uart, true, false);
	transmit();
	leave(entered);
}

struct chardev terminal_chardev(uint32_t id)
{
	static const struct chardev_ops ops = { guest_write, guest_room };

	return (struct chardev){ &ops, &consoles[id] };
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
	console_add(&mux, &consoles[vm->id], vm->cfg.name, guest_input, guest_ready, vm, phys_to_virt(history),
		    PAGE_SIZE << HISTORY_ORDER);
	if (focus[0] ? !strcmp(focus, vm->cfg.name) : mux.nconsoles == 1)
		console_focus(&mux, &consoles[vm->id]);
	leave(entered);
}

void terminal_drain(void)
{
	bool entered = enter();

	for (unsigned tries = 0; console_tx_pending(&mux) && tries < 1u << 24; tries++) {
		console_pump(&mux);
		pause();
	}
	uart_flush(&uart);
	leave(entered);
}
