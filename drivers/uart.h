/*
 * A physical 16550 UART (National Semiconductor PC16550D data sheet). One reader, one writer: core/ owns it. Pure: its
 * registers are reached through two functions, which drivers/uart_io.c has for I/O ports and for device memory.
 */
#pragma once
#include <tf/types.h>

/* Where a UART is, as a PC's custom, the firmware's tables or a PCI card's registers say. */
struct uart_place {
	bool mmio;
	bool trusted;     /* whoever named it knows that it is a UART: its modem control may be incomplete */
	uint64_t base;    /* I/O port, or physical address */
	uint8_t stride;   /* bytes from one register to the next: 1, 2, 4 or 8 */
	uint8_t width;    /* bytes of one access: 1, 2 or 4; I/O ports 1 */
	uint32_t divisor; /* of its clock; 0: as the firmware has set it */
};

struct uart {
	uint8_t (*get)(const struct uart *u, unsigned reg);
	void (*put)(const struct uart *u, unsigned reg, uint8_t v);
	struct uart_place place;
	volatile void *regs; /* where the registers are mapped, if they are memory */
	bool present, fifo;
	uint8_t ier;
	bool stuck; /* the last polled byte timed out: wait no more until the transmitter moves again */
};

#define UART_DIVISOR_115200 1 /* of the PC's 1.8432 MHz */
#define UART_REGISTERS      8

/* A port as the PC has them, at 115200 baud. */
static inline struct uart_place uart_at_port(uint16_t port)
{
	return (struct uart_place){ .base = port, .stride = 1, .width = 1, .divisor = UART_DIVISOR_115200 };
}

/* drivers/uart_io.c: reaches the registers, if that is possible, and calls uart_init(). Device memory needs paging_init(). */
bool uart_open(struct uart *u, const struct uart_place *at);

/*
 * Probes what get() and put() lead to, and sets 8n1, the speed, FIFOs on, interrupts off. False if nothing answers; all
 * functions below do nothing then.
 */
bool uart_init(struct uart *u);
/* Polled write, for early start and panic. Bounded wait: a line that is stuck loses the byte instead of hanging. */
void uart_put_polled(struct uart *u, uint8_t c);
/* Fills the transmit FIFO from buf without waiting; returns how many bytes went (0 if it is not empty yet). */
size_t uart_send(struct uart *u, const uint8_t *buf, size_t n);
/* Takes what has been received, up to n bytes. */
size_t uart_recv(struct uart *u, uint8_t *buf, size_t n);
/* Receive interrupts on; transmit-empty interrupts while `tx`. */
void uart_interrupts(struct uart *u, bool rx, bool tx);
/* Does it ask for an interrupt? Asking may withdraw the request of an empty transmitter. */
bool uart_wants_interrupt(const struct uart *u);
/*
 * Acknowledges the interrupt causes. To be called last in the handler, after uart_recv() and uart_send(): what is
 * pending then (a byte that came in the meantime) gives a new edge on the interrupt line, which an edge-triggered
 * input would otherwise wait for in vain.
 */
void uart_ack(struct uart *u);
/* Waits until what was sent has left the wire, some milliseconds at most: a machine that goes off would lose it. */
void uart_flush(struct uart *u);
