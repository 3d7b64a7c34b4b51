#include "drivers/uart.h"

/* Data sheet, "Registers" */
enum { REG_DATA = 0, REG_IER = 1, REG_IIR = 2, REG_FCR = 2, REG_LCR = 3, REG_MCR = 4, REG_LSR = 5, REG_MSR = 6, REG_SCR = 7,
       REG_DLL = 0, REG_DLM = 1 };

#define IER_RX          0x01
#define IER_TX          0x02
#define IER_ALL         0x0f
#define IIR_NONE        0x01
#define IIR_CAUSE       0x0e
#define IIR_CAUSE_MODEM 0x00
#define IIR_CAUSE_RX    0x04
#define IIR_CAUSE_LINE  0x06
#define IIR_CAUSE_RX_TIMEOUT 0x0c
#define IIR_FIFOS       0xc0
#define FCR_ENABLE      0x01
#define FCR_CLEAR       0x06
#define FCR_TRIGGER_8   0x80
#define LCR_8N1         0x03
#define LCR_DLAB        0x80
#define MCR_DTR_RTS     0x03
#define MCR_RTS         0x02
#define MCR_OUT2        0x08 /* gates the interrupt line on a PC */
#define MCR_LOOP        0x10
#define LSR_DATA        0x01
#define LSR_THR_EMPTY   0x20
#define LSR_IDLE        0x40 /* the shift register is empty as well */
#define LSR_ABSENT      0xff /* what nothing reads as */
#define MSR_INPUTS      0xf0
#define MSR_CTS_DCD     0x90

#define DIVISOR_MAX     0xffff
#define FIFO_SIZE       16
#define SEND_SPINS      200000 /* reads of LSR, about 1 us each: a full FIFO takes 1.4 ms to leave */
#define ACK_LIMIT       16

static uint8_t get(const struct uart *u, unsigned reg) { return u->get(u, reg); }
static void put(const struct uart *u, unsigned reg, uint8_t v) { u->put(u, reg, v); }

static void wait_idle(const struct uart *u)
{
	for (unsigned spins = SEND_SPINS; spins && !(get(u, REG_LSR) & LSR_IDLE); spins--)
		__builtin_ia32_pause();
}

/* Does this register keep what is written to it? */
static bool keeps(const struct uart *u, unsigned reg, uint8_t a, uint8_t b)
{
	put(u, reg, a);
	if (get(u, reg) != a)
		return false;
	put(u, reg, b);
	return get(u, reg) == b;
}

static bool probe(const struct uart *u)
{
	put(u, REG_LCR, LCR_8N1); /* whoever was here before may have left the divisor in the place of other registers */
	if (u->place.trusted)
		return get(u, REG_LSR) != LSR_ABSENT && keeps(u, REG_IER, IER_ALL, 0);
	if (!keeps(u, REG_SCR, 0x5a, 0xa5))
		return false;
	/* What an earlier owner has sent goes out first. */
	wait_idle(u);
	/* In loopback OUT2 and RTS come back as DCD and CTS. */
	put(u, REG_MCR, MCR_LOOP | MCR_OUT2 | MCR_RTS);
	uint8_t inputs = get(u, REG_MSR) & MSR_INPUTS;
	put(u, REG_MCR, 0);
	return inputs == MSR_CTS_DCD;
}

/* A divisor that the firmware was to set, and has not, is of no use. */
static void set_speed(const struct uart *u)
{
	uint32_t divisor = u->place.divisor;

	put(u, REG_LCR, LCR_DLAB | LCR_8N1);
	if (!divisor)
		divisor = get(u, REG_DLL) | (uint32_t)get(u, REG_DLM) << 8;
	if (!divisor || divisor >= DIVISOR_MAX)
		divisor = UART_DIVISOR_115200;
	put(u, REG_DLL, (uint8_t)divisor);
	put(u, REG_DLM, (uint8_t)(divisor >> 8));
	put(u, REG_LCR, LCR_8N1);
}

bool uart_init(struct uart *u)
{
	u->present = probe(u);
	if (!u->present)
		return false;
	u->ier = 0;
	u->stuck = false;
	put(u, REG_IER, 0);
	wait_idle(u);
	set_speed(u);
	put(u, REG_FCR, FCR_ENABLE | FCR_CLEAR | FCR_TRIGGER_8);
	put(u, REG_MCR, MCR_DTR_RTS | MCR_OUT2);
	u->fifo = (get(u, REG_IIR) & IIR_FIFOS) == IIR_FIFOS;
	return true;
}

void uart_put_polled(struct uart *u, uint8_t c)
{
	if (!u->present)
		return;
	for (unsigned i = u->stuck ? 1 : SEND_SPINS; i; i--) {
		if (get(u, REG_LSR) & LSR_THR_EMPTY) {
			put(u, REG_DATA, c);
			u->stuck = false;
			return;
		}
		__builtin_ia32_pause();
	}
	u->stuck = true;
}

size_t uart_send(struct uart *u, const uint8_t *buf, size_t n)
{
	size_t i;

	if (!u->present || !(get(u, REG_LSR) & LSR_THR_EMPTY))
		return 0;
	n = MIN(n, (size_t)(u->fifo ? FIFO_SIZE : 1));
	for (i = 0; i < n; i++)
		put(u, REG_DATA, buf[i]);
	return i;
}

size_t uart_recv(struct uart *u, uint8_t *buf, size_t n)
{
	size_t i = 0;

	if (!u->present)
		return 0;
	for (uint8_t lsr; i < n && ((lsr = get(u, REG_LSR)) & LSR_DATA) && lsr != LSR_ABSENT; i++)
		buf[i] = get(u, REG_DATA);
	return i;
}

void uart_interrupts(struct uart *u, bool rx, bool tx)
{
	uint8_t ier = (uint8_t)((rx ? IER_RX : 0) | (tx ? IER_TX : 0));

	if (!u->present || ier == u->ier)
		return;
	u->ier = ier;
	put(u, REG_IER, ier);
}

bool uart_wants_interrupt(const struct uart *u)
{
	return u->present && !(get(u, REG_IIR) & IIR_NONE);
}

void uart_ack(struct uart *u)
{
	if (!u->present)
		return;
	for (unsigned i = 0; i < ACK_LIMIT; i++) {
		uint8_t iir = get(u, REG_IIR), cause = iir & IIR_CAUSE;

		if (iir & IIR_NONE)
			return;
		if (cause == IIR_CAUSE_LINE)
			(void)get(u, REG_LSR);
		else if (cause == IIR_CAUSE_MODEM)
			(void)get(u, REG_MSR);
		else if (cause == IIR_CAUSE_RX || cause == IIR_CAUSE_RX_TIMEOUT)
			break;
	}
	/* Something is still pending: the line falls and rises again. */
	put(u, REG_IER, 0);
	put(u, REG_IER, u->ier);
}

void uart_flush(struct uart *u)
{
	if (u->present)
		wait_idle(u);
}
