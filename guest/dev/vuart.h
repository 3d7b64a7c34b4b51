/* An emulated 16550A UART (PC16550D data sheet). */
#pragma once
#include "lib/ring.h"
#include <tf/dev.h>

#define VUART_RX   256
#define VUART_FIFO 16

struct vuart {
	const struct dev_host *host;
	struct chardev out;      /* where transmitted bytes go */
	unsigned line;           /* ISA IRQ */
	uint8_t ier, lcr, mcr, scr, fcr, dll, dlm, lsr_errors, msr_delta;
	bool thr_empty_pending;  /* the "transmitter holding register empty" interrupt has not been read yet */
	bool irq_level;
	uint8_t rx_mem[VUART_RX];
	struct ring rx;          /* host-side receive queue behind the FIFO, so that pasted text is not lost */
	uint64_t rx_overrun;     /* bytes that found the queue full */
	uint8_t rx_fifo_mem[VUART_FIFO];
	struct ring rx_fifo;     /* what the guest sees as its FIFO (or as its one RBR while FCR.0 is 0) */
	uint8_t tx_mem[VUART_FIFO];
	struct ring tx;          /* transmitted by the guest, and not yet taken by `out` */
	bool tx_empty;           /* LSR.THRE and LSR.TEMT */
	uint64_t tx_lost;        /* bytes written into a full FIFO against LSR.THRE */
};

void vuart_init(struct vuart *u, const struct dev_host *host, struct chardev out, unsigned line);
/* dev_access_fn for the 8 ports. */
void vuart_access(void *u, struct dev_access *a);
/* Bytes for the guest to receive; returns how many were taken. */
size_t vuart_receive(struct vuart *u, const uint8_t *buf, size_t n);
/* The output has room again: LSR.THRE comes back and the interrupt with it. (While out.ops->room() is 0 the
 * transmitter is not empty, so that a guest waits instead of losing text.) */
void vuart_output_ready(struct vuart *u);
/* REP OUTSB to the data port: writes up to n bytes as so many single OUTs would, returns how many (room permitting, at least 1 if n). */
size_t vuart_write_many(struct vuart *u, const uint8_t *buf, size_t n);
