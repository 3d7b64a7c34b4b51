#include "guest/dev/vuart.h"
#include "guest/dev/byte_access.h"
#include <tf/string.h>

/* PC16550D, "Registers" */
enum { REG_DATA, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR };

#define IER_RDA  0x01 /* received data available, character timeout */
#define IER_THRE 0x02
#define IER_RLS  0x04
#define IER_MS   0x08
#define IER_MASK 0x0f

#define IIR_MS      0x00
#define IIR_NONE    0x01
#define IIR_THRE    0x02
#define IIR_RDA     0x04
#define IIR_RLS     0x06
#define IIR_TIMEOUT 0x0c
#define IIR_FIFO    0xc0

#define FCR_ENABLE   0x01
#define FCR_RX_RESET 0x02
#define FCR_TRIGGER  0xc0

#define LCR_DLAB 0x80

#define MCR_DTR  0x01
#define MCR_RTS  0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08
#define MCR_LOOP 0x10
#define MCR_MASK 0x1f

#define LSR_DR   0x01
#define LSR_OE   0x02
#define LSR_THRE 0x20
#define LSR_TEMT 0x40

#define MSR_TERI 0x04
#define MSR_CTS  0x10
#define MSR_DSR  0x20
#define MSR_RI   0x40
#define MSR_DCD  0x80
#define MSR_DELTA_SHIFT 4 /* CTS, DSR and DCD have their delta bits so much lower */

#define DIVISOR_9600 12

static unsigned rx_capacity(const struct vuart *u)
{
	return u->fcr & FCR_ENABLE ? VUART_FIFO : 1;
}

static unsigned rx_trigger(const struct vuart *u)
{
	static const uint8_t level[] = { 1, 4, 8, 14 };

	return level[u->fcr >> 6];
}

static uint8_t interrupt_source(const struct vuart *u)
{
	if (u->ier & IER_RLS && u->lsr_errors)
		return IIR_RLS;
	if (u->ier & IER_RDA && !ring_empty(&u->rx_fifo)) {
		/* Below the trigger level a timeout is due after four character times: here at once. */
		if (u->fcr & FCR_ENABLE && ring_used(&u->rx_fifo) < rx_trigger(u))
			return IIR_TIMEOUT;
		return IIR_RDA;
	}
	if (u->ier & IER_THRE && u->thr_empty_pending)
		return IIR_THRE;
	if (u->ier & IER_MS && u->msr_delta)
		return IIR_MS;
	return IIR_NONE;
}

/* On a PC the OUT2 pin enables the interrupt, and loopback forces that pin inactive. */
static void irq_update(struct vuart *u)
{
	bool level = u->ier && (u->mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2 && interrupt_source(u) != IIR_NONE;

	if (level == u->irq_level)
		return;
	u->irq_level = level;
	u->host->irq(u->host->ctx, u->line, level);
}

/* Moves bytes from the host-side queue into the FIFO. In loopback the serial input is disconnected: they wait. */
static void rx_refill(struct vuart *u)
{
	uint8_t byte;

	if (u->mcr & MCR_LOOP)
		return;
	while (!ring_empty(&u->rx) && ring_used(&u->rx_fifo) < rx_capacity(u)) {
		(void)ring_get(&u->rx, &byte, 1);
		(void)ring_put(&u->rx_fifo, &byte, 1);
	}
}

/* Offers waiting bytes to the output. */
static __attribute__((noinline)) void tx_drain(struct vuart *u)
{
	uint8_t byte;

	while (!ring_empty(&u->tx)) {
		(void)ring_peek(&u->tx, 0, &byte, 1);
		if (!u->out.ops->write(u->out.ctx, &byte, 1))
			break;
		(void)ring_get(&u->tx, &byte, 1);
	}
}

/* Is the transmitter empty by now? */
static void tx_update(struct vuart *u)
{
	if (unlikely(!ring_empty(&u->tx)))
		tx_drain(u);
	bool empty = ring_empty(&u->tx) && (u->mcr & MCR_LOOP || u->out.ops->room(u->out.ctx) > 0);
	if (empty && !u->tx_empty)
		u->thr_empty_pending = true;
	u->tx_empty = empty;
}

/*
 * Something was just written to THR. The write ends the THRE interrupt and the emptied register raises it again: two
 * changes of the line, because a handler may serve the interrupt by the write alone and then wait for the next edge.
 */
static void tx_written(struct vuart *u)
{
	u->thr_empty_pending = false;
	u->tx_empty = false;
	irq_update(u);
	tx_update(u);
	irq_update(u);
}

static void thr_write(struct vuart *u, uint8_t byte)
{
	if (u->mcr & MCR_LOOP) {
		if (ring_used(&u->rx_fifo) < rx_capacity(u))
			(void)ring_put(&u->rx_fifo, &byte, 1);
		else
			u->lsr_errors |= LSR_OE;
	} else if (!ring_empty(&u->tx) || !u->out.ops->write(u->out.ctx, &byte, 1)) {
		if (!ring_put(&u->tx, &byte, 1))
			u->tx_lost++;
	}
	tx_written(u);
}

static uint8_t modem_lines(const struct vuart *u)
{
	uint8_t lines = 0;

	if (!(u->mcr & MCR_LOOP))
		return MSR_DCD | MSR_DSR | MSR_CTS;
	if (u->mcr & MCR_RTS)
		lines |= MSR_CTS;
	if (u->mcr & MCR_DTR)
		lines |= MSR_DSR;
	if (u->mcr & MCR_OUT1)
		lines |= MSR_RI;
	if (u->mcr & MCR_OUT2)
		lines |= MSR_DCD;
	return lines;
}

static void mcr_write(struct vuart *u, uint8_t value)
{
	uint8_t before = modem_lines(u), after;

	u->mcr = value & MCR_MASK;
	after = modem_lines(u);
	u->msr_delta |= (uint8_t)(((before ^ after) & (MSR_CTS | MSR_DSR | MSR_DCD)) >> MSR_DELTA_SHIFT);
	if (before & ~after & MSR_RI)
		u->msr_delta |= MSR_TERI;
	rx_refill(u);
	tx_update(u);
}

/*
 * XMIT FIFO reset has nothing to drop: what waits in `tx` waits for the host's console, not for the wire, and would
 * have left a real FIFO long ago.
 */
static void fcr_write(struct vuart *u, uint8_t value)
{
	bool toggled = (u->fcr ^ value) & FCR_ENABLE;

	if (value & FCR_ENABLE)
		u->fcr = value & (FCR_ENABLE | FCR_TRIGGER);
	else
		u->fcr = 0; /* the other bits are programmed only while bit 0 is written as 1 */
	if (toggled || (value & FCR_ENABLE && value & FCR_RX_RESET))
		ring_init(&u->rx_fifo, u->rx_fifo_mem, VUART_FIFO);
	rx_refill(u);
}

static void ier_write(struct vuart *u, uint8_t value)
{
	tx_update(u);
	if (value & ~u->ier & IER_THRE && u->tx_empty)
		u->thr_empty_pending = true;
	u->ier = value & IER_MASK;
}

static void vuart_out(void *dev, uint64_t port, uint8_t value)
{
	struct vuart *u = dev;
	bool dlab = u->lcr & LCR_DLAB;

	switch (port) {
	case REG_DATA:
		if (dlab)
			u->dll = value;
		else
			thr_write(u, value);
		return;
	case REG_IER:
		if (dlab)
			u->dlm = value;
		else
			ier_write(u, value);
		break;
	case REG_IIR_FCR:
		fcr_write(u, value);
		break;
	case REG_LCR:
		u->lcr = value;
		return;
	case REG_MCR:
		mcr_write(u, value);
		break;
	case REG_SCR:
		u->scr = value;
		return;
	default: /* LSR is for factory tests, MSR's written value has no effect */
		return;
	}
	irq_update(u);
}

static uint8_t rbr_read(struct vuart *u)
{
	uint8_t byte = 0;

	(void)ring_get(&u->rx_fifo, &byte, 1);
	rx_refill(u);
	return byte;
}

static uint8_t iir_read(struct vuart *u)
{
	uint8_t source = interrupt_source(u);

	if (source == IIR_THRE)
		u->thr_empty_pending = false;
	return source | (u->fcr & FCR_ENABLE ? IIR_FIFO : 0);
}

static uint8_t lsr_read(struct vuart *u)
{
	uint8_t value = u->lsr_errors;

	tx_update(u);
	u->lsr_errors = 0;
	if (!ring_empty(&u->rx_fifo))
		value |= LSR_DR;
	if (u->tx_empty)
		value |= LSR_THRE | LSR_TEMT;
	return value;
}

static uint8_t msr_read(struct vuart *u)
{
	uint8_t value = modem_lines(u) | u->msr_delta;

	u->msr_delta = 0;
	return value;
}

static uint8_t vuart_in(void *dev, uint64_t port)
{
	struct vuart *u = dev;
	bool dlab = u->lcr & LCR_DLAB;
	uint8_t value;

	switch (port) {
	case REG_DATA:
		if (dlab)
			return u->dll;
		value = rbr_read(u);
		break;
	case REG_IER:
		return dlab ? u->dlm : u->ier;
	case REG_IIR_FCR:
		value = iir_read(u);
		break;
	case REG_LCR:
		return u->lcr;
	case REG_MCR:
		return u->mcr;
	case REG_LSR: {
		bool was_empty = u->tx_empty;

		value = lsr_read(u);
		if (u->tx_empty == was_empty && !(value & LSR_OE))
			return value; /* what is asked most often, and has changed nothing */
		break;
	}
	case REG_MSR:
		value = msr_read(u);
		break;
	case REG_SCR:
		return u->scr;
	default:
		return 0xff;
	}
	irq_update(u);
	return value;
}

void vuart_init(struct vuart *u, const struct dev_host *host, struct chardev out, unsigned line)
{
	memset(u, 0, sizeof(*u));
	u->host = host;
	u->out = out;
	u->line = line;
	u->dll = DIVISOR_9600;
	ring_init(&u->rx, u->rx_mem, VUART_RX);
	ring_init(&u->rx_fifo, u->rx_fifo_mem, VUART_FIFO);
	ring_init(&u->tx, u->tx_mem, VUART_FIFO);
	u->tx_empty = true;
}

void vuart_access(void *u, struct dev_access *a)
{
	dev_access_bytes(u, a, vuart_in, vuart_out);
}

size_t vuart_receive(struct vuart *u, const uint8_t *buf, size_t n)
{
	size_t taken = 0, got;

	/* The FIFO in front of a full queue may have room for more. */
	do {
		got = ring_put(&u->rx, buf + taken, n - taken);
		taken += got;
		rx_refill(u);
	} while (got && taken < n);
	u->rx_overrun += n - taken;
	irq_update(u);
	return taken;
}

void vuart_output_ready(struct vuart *u)
{
	tx_update(u);
	irq_update(u);
}

size_t vuart_write_many(struct vuart *u, const uint8_t *buf, size_t n)
{
	size_t sent;

	if (!n)
		return 0;
	if (u->lcr & LCR_DLAB) {
		u->dll = buf[n - 1];
		return n;
	}
	if (!(u->mcr & MCR_LOOP) && ring_empty(&u->tx)) {
		sent = u->out.ops->write(u->out.ctx, buf, n);
		if (sent) {
			tx_written(u);
			return sent;
		}
	}
	thr_write(u, buf[0]);
	return 1;
}
