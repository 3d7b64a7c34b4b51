/* The driver of the physical UART, against a 16550 as its data sheet (PC16550D, "Registers") describes it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/uart.h"

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR }; /* IIR is FCR when written */
#define DLAB      0x80
#define LOOP      0x10
#define LSR_DR    0x01
#define LSR_THRE  0x20
#define LSR_TEMT  0x40
#define FIFO_SIZE 16

static struct chip {
	bool absent, stuck, no_fifo, no_scratch, no_loop;
	uint8_t ier, fcr, lcr, mcr, scr;
	uint16_t divisor;
	uint8_t rx[64], tx[256], fifo[FIFO_SIZE];
	unsigned nrx, ntx, nfifo;
	unsigned busy; /* reads of LSR until the FIFO has left */
	bool thre;     /* the interrupt of the empty transmitter is pending */
	unsigned reads;
} chip;
static struct uart u;

static uint8_t line_status(void)
{
	uint8_t v = chip.nrx ? LSR_DR : 0;

	if (chip.nfifo && !chip.stuck && !(chip.busy && chip.busy--)) {
		memcpy(chip.tx + chip.ntx, chip.fifo, chip.nfifo);
		chip.ntx += chip.nfifo;
		chip.nfifo = 0;
		chip.thre = true;
	}
	if (!chip.nfifo && !chip.stuck)
		v |= LSR_THRE | LSR_TEMT;
	return v;
}

static uint8_t identify(void)
{
	uint8_t fifos = chip.fcr & 1 && !chip.no_fifo ? 0xc0 : 0;

	if (chip.ier & 1 && chip.nrx)
		return fifos | 0x04;
	if (chip.ier & 2 && chip.thre) {
		chip.thre = false; /* reading it withdraws the request */
		return fifos | 0x02;
	}
	return fifos | 0x01;
}

static uint8_t get(const struct uart *at, unsigned reg)
{
	assert_ptr_equal(at, &u);
	assert_in_range(reg, 0, 7);
	chip.reads++;
	if (chip.absent)
		return 0xff;
	switch (reg) {
	case DATA:
		if (chip.lcr & DLAB)
			return (uint8_t)chip.divisor;
		if (!chip.nrx)
			return 0;
		{
			uint8_t v = chip.rx[0];

			memmove(chip.rx, chip.rx + 1, --chip.nrx);
			return v;
		}
	case IER: return chip.lcr & DLAB ? (uint8_t)(chip.divisor >> 8) : chip.ier;
	case IIR: return identify();
	case LCR: return chip.lcr;
	case MCR: return chip.mcr;
	case LSR: return line_status();
	case MSR: /* in loopback DTR, RTS, OUT1, OUT2 come back as DSR, CTS, RI, DCD */
		if (!(chip.mcr & LOOP) || chip.no_loop)
			return 0xb0;
		return (uint8_t)((chip.mcr & 1) << 5 | (chip.mcr & 2) << 3 | (chip.mcr & 4) << 4 | (chip.mcr & 8) << 4);
	default: return chip.no_scratch ? 0xff : chip.scr;
	}
}

static void put(const struct uart *at, unsigned reg, uint8_t v)
{
	assert_ptr_equal(at, &u);
	assert_in_range(reg, 0, 7);
	if (chip.absent)
		return;
	if (chip.lcr & DLAB && reg <= IER) {
		chip.divisor = reg == DATA ? (uint16_t)((chip.divisor & 0xff00) | v) : (uint16_t)((chip.divisor & 0xff) | v << 8);
		return;
	}
	switch (reg) {
	case DATA:
		assert_in_range(chip.nfifo, 0, (chip.fcr & 1 && !chip.no_fifo ? FIFO_SIZE : 1) - 1); /* none is overwritten */
		chip.fifo[chip.nfifo++] = v;
		chip.thre = false;
		break;
	case IER:
		if (v & 2 && !(chip.ier & 2) && !chip.nfifo)
			chip.thre = true;
		chip.ier = v & 0x0f;
		break;
	case IIR: chip.fcr = v; break;
	case LCR: chip.lcr = v; break;
	case MCR: chip.mcr = v; break;
	case SCR: chip.scr = v; break;
	}
}

static int fresh(void **state)
{
	(void)state;
	memset(&chip, 0, sizeof(chip));
	chip.divisor = 12;
	u = (struct uart){ .get = get, .put = put, .place = uart_at_port(0x3f8) };
	return 0;
}

static int ready(void **state)
{
	fresh(state);
	return !uart_init(&u);
}

static void is_set_up(void **state)
{
	(void)state;
	chip.ier = 0x0f;
	chip.mcr = LOOP;
	assert_true(uart_init(&u));
	assert_true(u.present && u.fifo);
	assert_int_equal(chip.divisor, 1);
	assert_int_equal(chip.lcr, 0x03);
	assert_int_equal(chip.ier, 0);
	assert_int_equal(chip.mcr, 0x0b); /* DTR, RTS, and OUT2, which lets the interrupt through */
	assert_int_equal(chip.fcr & 1, 1);
}

static void speed(void **state)
{
	(void)state;
	u.place.divisor = 0; /* as the firmware has it */
	assert_true(uart_init(&u));
	assert_int_equal(chip.divisor, 12);
	u.place.divisor = 0x1234;
	assert_true(uart_init(&u));
	assert_int_equal(chip.divisor, 0x1234);
	chip.lcr = DLAB; /* and it has left the way to it open, so that a probe would hit it */
	chip.divisor = 0x0112;
	u.place.trusted = true;
	u.place.divisor = 0;
	assert_true(uart_init(&u));
	assert_int_equal(chip.divisor, 0x0112);
	chip.divisor = 0; /* the firmware has not set it */
	u.place.divisor = 0;
	assert_true(uart_init(&u));
	assert_int_equal(chip.divisor, 1);
}

static void what_is_none(void **state)
{
	uint8_t buf[4] = { 1, 2, 3, 4 };

	(void)state;
	chip.absent = true;
	assert_false(uart_init(&u));
	assert_false(u.present);
	chip.reads = 0;
	uart_put_polled(&u, 'x');
	assert_int_equal(uart_send(&u, buf, sizeof(buf)), 0);
	assert_int_equal(uart_recv(&u, buf, sizeof(buf)), 0);
	uart_interrupts(&u, true, true);
	uart_ack(&u);
	uart_flush(&u);
	assert_false(uart_wants_interrupt(&u));
	assert_int_equal(chip.reads, 0);

	u.place.trusted = true;
	assert_false(uart_init(&u));
	fresh(state);
	chip.no_scratch = true; /* an 8250, or something else */
	assert_false(uart_init(&u));
	fresh(state);
	chip.no_loop = true;
	assert_false(uart_init(&u));
	u.place.trusted = true; /* the firmware says that it is one */
	chip.no_scratch = true;
	assert_true(uart_init(&u));
}

static void sends_a_fifo_at_a_time(void **state)
{
	uint8_t text[40];

	(void)state;
	for (unsigned i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)i;
	chip.busy = 3;
	assert_int_equal(uart_send(&u, text, sizeof(text)), FIFO_SIZE);
	assert_int_equal(uart_send(&u, text + 16, 24), 0);
	assert_int_equal(uart_send(&u, text + 16, 24), 0);
	assert_int_equal(uart_send(&u, text + 16, 24), 0);
	assert_int_equal(uart_send(&u, text + 16, 24), FIFO_SIZE);
	assert_int_equal(uart_send(&u, text + 32, 8), 8);
	uart_flush(&u);
	assert_int_equal(chip.ntx, sizeof(text));
	assert_memory_equal(chip.tx, text, sizeof(text));
}

static void without_a_fifo(void **state)
{
	(void)state;
	fresh(state);
	chip.no_fifo = true;
	assert_true(uart_init(&u));
	assert_false(u.fifo);
	assert_int_equal(uart_send(&u, (const uint8_t *)"ab", 2), 1);
	uart_flush(&u);
	assert_int_equal(chip.ntx, 1);
}

static void a_stuck_line_loses_bytes(void **state)
{
	unsigned reads;

	(void)state;
	chip.stuck = true;
	uart_put_polled(&u, 'a');
	reads = chip.reads;
	for (unsigned i = 0; i < 1000; i++)
		uart_put_polled(&u, 'b'); /* the second and all that follow wait no more */
	assert_in_range(chip.reads - reads, 1000, 2000);
	chip.stuck = false;
	uart_put_polled(&u, 'c');
	uart_put_polled(&u, 'd');
	uart_flush(&u);
	assert_int_equal(chip.ntx, 2);
	assert_memory_equal(chip.tx, "cd", 2);
}

static void receives(void **state)
{
	uint8_t buf[8];

	(void)state;
	memcpy(chip.rx, "hello world", 11);
	chip.nrx = 11;
	assert_int_equal(uart_recv(&u, buf, sizeof(buf)), 8);
	assert_memory_equal(buf, "hello wo", 8);
	assert_int_equal(uart_recv(&u, buf, sizeof(buf)), 3);
	assert_int_equal(uart_recv(&u, buf, sizeof(buf)), 0);
	chip.nrx = 1;
	chip.absent = true; /* unplugged: reads as all ones, which is not input without end */
	assert_int_equal(uart_recv(&u, buf, sizeof(buf)), 0);
}

static void interrupts(void **state)
{
	uint8_t c;

	(void)state;
	assert_false(uart_wants_interrupt(&u));
	uart_interrupts(&u, true, false);
	assert_int_equal(chip.ier, 1);
	chip.rx[0] = 'x';
	chip.nrx = 1;
	assert_true(uart_wants_interrupt(&u));
	assert_int_equal(uart_recv(&u, &c, 1), 1);
	uart_ack(&u);
	assert_false(uart_wants_interrupt(&u));
	uart_interrupts(&u, true, true);
	assert_int_equal(chip.ier, 3);
	assert_true(uart_wants_interrupt(&u)); /* the transmitter is empty */
	uart_interrupts(&u, false, false);
	assert_int_equal(chip.ier, 0);
}

#define FRESH(f) cmocka_unit_test_setup(f, fresh)
#define READY(f) cmocka_unit_test_setup(f, ready)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FRESH(is_set_up), FRESH(speed), FRESH(what_is_none), READY(sends_a_fifo_at_a_time), READY(without_a_fifo),
		READY(a_stuck_line_loses_bytes), READY(receives), READY(interrupts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
