/*
 * When a UART must be looked at. With its interrupt: hardly ever. Until the first interrupt has come, which proves that
 * they do, or without one: before its FIFO of 16 bytes, 1.4 ms at 115200 baud, is full or empty.
 */
#pragma once
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/tsc.h"
#include "drivers/uart.h"
#include <tf/dev.h>

#define LINE_POLL_US    1000
#define LINE_OVERDUE_US 20000
#define LINE_SELDOM_US  100000 /* with an interrupt, in case one is lost: an edge comes once only */

struct line {
	struct uart *uart;
	bool started;
	bool proven;       /* an interrupt has come */
	bool transmitting; /* more is to be sent when what was sent has left */
	uint64_t due;      /* TSC: to be looked at then */
};

/* Its UART has been served. */
static inline void line_served(struct line *l, bool transmitting)
{
	uint64_t now = rdtsc();

	l->transmitting = transmitting;
	l->due = now + tsc_from_us(!l->proven ? LINE_POLL_US : transmitting ? LINE_OVERDUE_US : LINE_SELDOM_US);
	uart_interrupts(l->uart, true, transmitting);
}

static inline void line_start(struct line *l)
{
	l->started = l->uart->present;
	l->due = l->started ? 0 : DEV_NEVER;
}

/* To be asked first in the handler of the interrupt, as serving the UART hides that it was the one. */
static inline void line_prove(struct line *l)
{
	if (unlikely(!l->proven))
		l->proven = uart_wants_interrupt(l->uart);
}
