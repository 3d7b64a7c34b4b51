/* The emulated 16550A against the PC16550D data sheet, and against what Linux's 8250 driver probes. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "fake_host.h"
#include "guest/dev/vuart.h"

#define IRQ 4

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR };
#define FCR IIR

#define THRE_TEMT 0x60
#define MCR_RUN   0x0b /* DTR, RTS, OUT2 */

static struct fake_host host;
static struct vuart uart;
static struct { uint8_t text[4096]; size_t used, room; } sink;

static size_t sink_write(void *ctx, const uint8_t *buf, size_t n)
{
	(void)ctx;
	n = MIN(n, sink.room);
	n = MIN(n, sizeof(sink.text) - sink.used);
	memcpy(sink.text + sink.used, buf, n);
	sink.used += n;
	sink.room -= n;
	return n;
}

static size_t sink_room(void *ctx)
{
	(void)ctx;
	return sink.room;
}

static const struct chardev_ops sink_ops = { .write = sink_write, .room = sink_room };

static int setup(void **state)
{
	(void)state;
	memset(&sink, 0, sizeof(sink));
	sink.room = 1000000;
	fake_host_init(&host, 1000000000);
	vuart_init(&uart, &host.host, (struct chardev){ .ops = &sink_ops }, IRQ);
	return 0;
}

static uint8_t in(unsigned reg) { return (uint8_t)fake_in(vuart_access, &uart, reg, 1); }
static void out(unsigned reg, uint8_t value) { fake_out(vuart_access, &uart, reg, 1, value); }

static void receive(const char *text)
{
	assert_int_equal(vuart_receive(&uart, (const uint8_t *)text, strlen(text)), strlen(text));
}

static void reset_state(void **state)
{
	(void)state;
	assert_int_equal(in(IER), 0);
	assert_int_equal(in(IIR), 0x01);
	assert_int_equal(in(LCR), 0);
	assert_int_equal(in(MCR), 0);
	assert_int_equal(in(LSR), THRE_TEMT);
	assert_int_equal(in(MSR), 0xb0); /* DCD, DSR, CTS, no change */
	assert_false(host.level[IRQ]);
}

/* What a driver does to tell 8250, 16450, 16550, 16550A and 16750 apart. */
static void is_a_16550a(void **state)
{
	(void)state;
	out(IER, 0xff);
	assert_int_equal(in(IER), 0x0f);
	out(IER, 0);
	out(SCR, 0xa5);
	assert_int_equal(in(SCR), 0xa5);
	out(FCR, 0x01);
	assert_int_equal(in(IIR), 0xc1);
	out(LCR, 0x80);
	out(FCR, 0x21); /* a 16750 would show 64-byte mode in bit 5 */
	assert_int_equal(in(IIR), 0xc1);
	out(LCR, 0xbf); /* a 16650 would show its EFR, which is 0 */
	assert_int_equal(in(IIR), 0xc1);
	out(LCR, 0);
	out(FCR, 0xc0); /* without bit 0 the others are not programmed */
	assert_int_equal(in(IIR), 0x01);
}

static void divisor_latch(void **state)
{
	(void)state;
	out(LCR, 0x83);
	out(DATA, 0x34);
	out(IER, 0x12);
	assert_int_equal(in(DATA), 0x34);
	assert_int_equal(in(IER), 0x12);
	out(LCR, 0x03);
	assert_int_equal(in(IER), 0);
	assert_int_equal(sink.used, 0);
}

static void transmits(void **state)
{
	(void)state;
	for (const char *c = "hello"; *c; c++) {
		assert_int_equal(in(LSR) & 0x20, 0x20);
		out(DATA, (uint8_t)*c);
	}
	assert_int_equal(sink.used, 5);
	assert_memory_equal(sink.text, "hello", 5);
	assert_int_equal(host.rises[IRQ], 0);
}

static void thre_interrupt(void **state)
{
	(void)state;
	out(MCR, MCR_RUN);
	out(IER, 0x02); /* enabled while THR is empty: at once */
	assert_true(host.level[IRQ]);
	assert_int_equal(in(IIR), 0x02);
	assert_false(host.level[IRQ]);
	assert_int_equal(in(IIR), 0x01); /* the first read was the end of it */
	out(IER, 0);
	out(IER, 0x02); /* and again */
	assert_int_equal(in(IIR), 0x02);
	out(IER, 0x02); /* enabled already: nothing new */
	assert_int_equal(in(IIR), 0x01);
	out(DATA, 'x');
	assert_true(host.level[IRQ]);
	out(DATA, 'y'); /* served by the write alone: an edge for each byte all the same */
	assert_int_equal(host.rises[IRQ], 4);
	assert_int_equal(in(IIR), 0x02);
	assert_false(host.level[IRQ]);
}

static void out2_gates_the_interrupt(void **state)
{
	(void)state;
	out(IER, 0x02);
	assert_false(host.level[IRQ]);
	out(MCR, 0x08);
	assert_true(host.level[IRQ]);
	out(MCR, 0x18); /* loopback forces OUT2 inactive */
	assert_false(host.level[IRQ]);
	out(MCR, 0x08);
	assert_true(host.level[IRQ]);
	out(MCR, 0x00);
	assert_false(host.level[IRQ]);
}

static void receives(void **state)
{
	(void)state;
	out(MCR, MCR_RUN);
	out(IER, 0x01);
	receive("ab");
	assert_true(host.level[IRQ]);
	assert_int_equal(in(IIR), 0x04);
	assert_int_equal(in(LSR) & 1, 1);
	assert_int_equal(in(DATA), 'a');
	assert_true(host.level[IRQ]);
	assert_int_equal(in(DATA), 'b');
	assert_false(host.level[IRQ]);
	assert_int_equal(in(LSR) & 1, 0);
	assert_int_equal(in(DATA), 0);
	assert_int_equal(in(IIR), 0x01);
}

static void trigger_level_or_timeout(void **state)
{
	(void)state;
	out(MCR, MCR_RUN);
	out(IER, 0x01);
	out(FCR, 0x81); /* eight bytes */
	receive("1234567");
	assert_true(host.level[IRQ]);
	assert_int_equal(in(IIR), 0xcc);
	receive("8");
	assert_int_equal(in(IIR), 0xc4);
	in(DATA);
	assert_int_equal(in(IIR), 0xcc);
}

static void pasted_text_waits(void **state)
{
	uint8_t text[400], got;
	size_t taken;

	(void)state;
	for (unsigned i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)i;
	out(FCR, 0x01);
	taken = vuart_receive(&uart, text, sizeof(text));
	assert_int_equal(taken, VUART_RX + VUART_FIFO);
	assert_int_equal(uart.rx_overrun, sizeof(text) - taken);
	for (size_t i = 0; i < taken; i++) {
		assert_int_equal(in(LSR) & 0x03, 0x01); /* data, and no overrun of the guest's */
		got = in(DATA);
		assert_int_equal(got, text[i]);
	}
	assert_int_equal(in(LSR) & 1, 0);
}

static void fifo_reset_drops_the_fifo_only(void **state)
{
	(void)state;
	out(FCR, 0x01);
	receive("0123456789abcdefNEXT");
	out(FCR, 0x03);
	assert_int_equal(in(DATA), 'N');
	out(FCR, 0x00); /* leaving FIFO mode clears too */
	assert_int_equal(in(LSR) & 1, 0);
}

static void interrupt_priority(void **state)
{
	(void)state;
	out(MCR, 0x10);
	out(DATA, '1');
	out(DATA, '2'); /* one RBR without a FIFO: overrun */
	out(MCR, MCR_RUN);
	out(IER, 0x0f);
	assert_int_equal(in(IIR), 0x06);
	assert_int_equal(in(LSR) & 0x03, 0x03);
	assert_int_equal(in(IIR), 0x04);
	assert_int_equal(in(DATA), '1');
	assert_int_equal(in(IIR), 0x02);
	assert_int_equal(in(IIR), 0x00);
	assert_int_equal(in(MSR) & 0x0f, 0x0b);
	assert_int_equal(in(IIR), 0x01);
	assert_false(host.level[IRQ]);
}

static void loopback(void **state)
{
	(void)state;
	out(FCR, 0x01);
	out(MCR, 0x1a);
	assert_int_equal(in(MSR) & 0xf0, 0x90); /* RTS to CTS, OUT2 to DCD */
	out(MCR, 0x15);
	assert_int_equal(in(MSR) & 0xf0, 0x60); /* DTR to DSR, OUT1 to RI */
	out(MCR, 0x11);
	assert_int_equal(in(MSR), 0x24); /* the trailing edge of RI */
	receive("outside");
	assert_int_equal(in(LSR) & 1, 0); /* disconnected */
	for (unsigned i = 0; i < 20; i++)
		out(DATA, (uint8_t)(0x40 + i));
	assert_int_equal(in(LSR), 0x63);
	assert_int_equal(in(LSR), 0x61); /* the error is gone with the first read */
	for (unsigned i = 0; i < VUART_FIFO; i++)
		assert_int_equal(in(DATA), 0x40 + i);
	assert_int_equal(in(LSR) & 1, 0);
	assert_int_equal(sink.used, 0);
	out(MCR, 0);
	assert_int_equal(in(DATA), 'o');
}

static void waits_for_the_output(void **state)
{
	(void)state;
	sink.room = 2;
	out(MCR, MCR_RUN);
	out(IER, 0x02);
	assert_int_equal(in(IIR), 0x02);
	out(DATA, 'a');
	assert_int_equal(in(LSR), THRE_TEMT);
	out(DATA, 'b');
	assert_int_equal(in(LSR), 0);
	assert_false(host.level[IRQ]);
	assert_int_equal(in(IIR), 0x01);
	out(DATA, 'c'); /* a guest that does not look still has the FIFO */
	vuart_output_ready(&uart); /* and a host that calls too early does no harm */
	assert_int_equal(in(LSR), 0);
	sink.room = 100;
	vuart_output_ready(&uart);
	assert_true(host.level[IRQ]);
	assert_int_equal(in(LSR), THRE_TEMT);
	assert_int_equal(in(IIR), 0x02);
	assert_int_equal(sink.used, 3);
	assert_memory_equal(sink.text, "abc", 3);
	assert_int_equal(uart.tx_lost, 0);
}

static void loses_only_against_lsr(void **state)
{
	(void)state;
	sink.room = 0;
	for (unsigned i = 0; i < VUART_FIFO + 3; i++)
		out(DATA, (uint8_t)('A' + i));
	assert_int_equal(uart.tx_lost, 3);
	out(FCR, 0x05); /* XMIT FIFO reset: real hardware would have sent them by now */
	sink.room = 100;
	vuart_output_ready(&uart);
	assert_int_equal(sink.used, VUART_FIFO);
	assert_memory_equal(sink.text, "ABCDEFGHIJKLMNOP", VUART_FIFO);
}

static void writes_many(void **state)
{
	static const uint8_t text[] = "a string of some length";

	(void)state;
	out(MCR, MCR_RUN);
	out(IER, 0x02);
	in(IIR);
	assert_int_equal(vuart_write_many(&uart, text, 0), 0);
	assert_int_equal(vuart_write_many(&uart, text, sizeof(text)), sizeof(text));
	assert_memory_equal(sink.text, text, sizeof(text));
	assert_int_equal(host.rises[IRQ], 2);
	sink.room = 5;
	assert_int_equal(vuart_write_many(&uart, text, sizeof(text)), 5);
	assert_false(host.level[IRQ]);
	assert_int_equal(vuart_write_many(&uart, text + 5, sizeof(text) - 5), 1);
	sink.room = 100;
	vuart_output_ready(&uart);
	assert_int_equal(sink.used, sizeof(text) + 6);
	assert_memory_equal(sink.text + sizeof(text), text, 6);
	out(LCR, 0x80);
	assert_int_equal(vuart_write_many(&uart, text, 3), 3);
	assert_int_equal(in(DATA), text[2]);
	out(LCR, 0);
	out(MCR, 0x10);
	assert_int_equal(vuart_write_many(&uart, text, 3), 1);
	assert_int_equal(in(DATA), text[0]);
}

static void wide_access_is_bytes(void **state)
{
	(void)state;
	fake_out(vuart_access, &uart, LCR, 2, 0x1583);
	assert_int_equal(in(LCR), 0x83);
	assert_int_equal(in(MCR), 0x15);
	assert_int_equal(fake_in(vuart_access, &uart, LCR, 2), 0x1583);
	assert_int_equal(fake_in(vuart_access, &uart, SCR, 4), 0xffffff00);
	fake_out(vuart_access, &uart, SCR, 8, 0x77);
	assert_int_equal(in(SCR), 0x77);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(reset_state, setup),
		cmocka_unit_test_setup(is_a_16550a, setup),
		cmocka_unit_test_setup(divisor_latch, setup),
		cmocka_unit_test_setup(transmits, setup),
		cmocka_unit_test_setup(thre_interrupt, setup),
		cmocka_unit_test_setup(out2_gates_the_interrupt, setup),
		cmocka_unit_test_setup(receives, setup),
		cmocka_unit_test_setup(trigger_level_or_timeout, setup),
		cmocka_unit_test_setup(pasted_text_waits, setup),
		cmocka_unit_test_setup(fifo_reset_drops_the_fifo_only, setup),
		cmocka_unit_test_setup(interrupt_priority, setup),
		cmocka_unit_test_setup(loopback, setup),
		cmocka_unit_test_setup(waits_for_the_output, setup),
		cmocka_unit_test_setup(loses_only_against_lsr, setup),
		cmocka_unit_test_setup(writes_many, setup),
		cmocka_unit_test_setup(wide_access_is_bytes, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
