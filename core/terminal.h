/* The console multiplexer (core/console.c) on the serial line and the screen, with the VMs behind it. */
#pragma once
#include "core/config.h"
#include "guest/vm.h"

/*
 * Takes over the serial line (core/serial.h) and the screen: log lines go through the multiplexer from now on. With both,
 * the line sets the pace, and the screen shows what has gone to it.
 */
void terminal_init(const struct config *cfg);
/* Output moves by itself from now on, by the UART's interrupt if it comes; until then terminal_drain() moves it. */
void terminal_start(void);
/* The handler of the UART's interrupt. */
void terminal_interrupt(void *ctx);
/* Serves a line whose interrupt does not come. Returns the TSC time of the next look that is needed. */
uint64_t terminal_poll(void);
/* Bytes from the keyboard, as if they came from the line. */
void terminal_type(const uint8_t *bytes, size_t n);
/* What the UART of VM number `id` writes to. */
struct chardev terminal_chardev(uint32_t id);
/* A line whose output is lost and whose room is endless: console = none. */
struct chardev terminal_nowhere(void);
/* REQ_CONSOLE of a VM, whose lock is held: it gets what has waited for that. */
void terminal_serve(struct vm *vm);
/* Gives the VM (number vm->id) its console. */
void terminal_add(struct vm *vm);
/* A piece of a long report, whole lines. False: not now; sched_poke() follows when there is room. For the `work` of sched_run(). */
__must_check bool terminal_report(const char *text, size_t n);
/* Is there a view (core/console.h)? And whose console has the focus, NULL: the log. */
bool terminal_view(struct vm **focused);
/* Paints it anew. */
void terminal_paint(const char *text, size_t n);
/* Sends everything that is waiting, polled, and paints it: nothing comes after it. */
void terminal_drain(void);
/* For the panic report: what is waiting, line by line. Changes nothing and takes no lock. */
void terminal_unsent(void (*print)(const char *fmt, ...));
