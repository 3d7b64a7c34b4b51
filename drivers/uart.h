/* A physical 16550 UART in I/O space. One reader, one writer: the console (core/) owns it. */
#pragma once
#include <tf/types.h>

struct uart {
	uint16_t port;
	bool present, fifo;
	bool irq_mode;
	uint8_t ier;
	bool stuck; /* the last polled byte timed out: wait no more until the transmitter moves again */
};

/* Probes (scratch register, loopback) and sets 115200 8n1, FIFOs on, interrupts off. False if nothing answers. */
bool uart_init(struct uart *u, uint16_t port);
/* Polled write, for early start and panic. Bounded wait: a line that is stuck loses the byte instead of hanging. */
void uart_put_polled(struct uart *u, uint8_t c);
/* Fills the transmit FIFO from buf without waiting; returns how many bytes went (0 if it is not empty yet). */
size_t uart_send(struct uart *u, const uint8_t *buf, size_t n);
/* Takes what has been received, up to n bytes. */
size_t uart_recv(struct uart *u, uint8_t *buf, size_t n);
/* Receive interrupts on; transmit-empty interrupts while `tx`. */
void uart_interrupts(struct uart *u, bool rx, bool tx);
/*
 * Acknowledges the interrupt causes. To be called last in the handler, after uart_recv() and uart_send(): what is
 * pending then (a byte that came in the meantime) gives a new edge on the interrupt line, which an edge-triggered
 * input would otherwise wait for in vain.
 */
void uart_ack(struct uart *u);
/* Waits until what was sent has left the wire, some milliseconds at most: a machine that goes off would lose it. */
void uart_flush(struct uart *u);
