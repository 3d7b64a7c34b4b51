/* The driver of the machine's own UART before registers that read as anything: every call ends, and bytes stay in bounds. */
#include "fuzz_dev.h"
#include "drivers/uart.h"

#define READS_MAX 3000000ul /* some tens of the longest wait */

static struct fuzz_input input;
static unsigned long reads;
static uint8_t again; /* repeats what was read last, so that waits last */

static uint8_t get(const struct uart *u, unsigned reg)
{
	(void)u;
	ASSERT(reg < UART_REGISTERS && ++reads < READS_MAX);
	if (input.size && !(input.data[0] & 1)) {
		again = (uint8_t)fuzz_take(&input, 1);
		return again;
	}
	if (input.size && reads % 64 == 0)
		fuzz_take(&input, 1);
	return again;
}

static void put(const struct uart *u, unsigned reg, uint8_t v)
{
	(void)u;
	(void)v;
	ASSERT(reg < UART_REGISTERS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct uart u = { .get = get, .put = put, .place = uart_at_port(0x3f8) };
	uint8_t buf[64] = { 0 };

	input = (struct fuzz_input){ data, size };
	reads = 0;
	again = 0;
	u.place.trusted = fuzz_take(&input, 1) & 1;
	u.place.divisor = (uint32_t)fuzz_take(&input, 1);
	if (!uart_init(&u))
		ASSERT(!u.present);
	for (unsigned steps = 0; input.size && steps < 16; steps++) {
		uint8_t op = (uint8_t)fuzz_take(&input, 1);
		size_t n = 1 + (op >> 3);

		switch (op & 7) {
		case 0: uart_put_polled(&u, op); break;
		case 1: ASSERT(uart_send(&u, buf, n) <= n); break;
		case 2: ASSERT(uart_recv(&u, buf, n) <= n); break;
		case 3: uart_interrupts(&u, op & 8, op & 16); break;
		case 4: uart_wants_interrupt(&u); break;
		case 5: uart_ack(&u); break;
		case 6: uart_flush(&u); break;
		default: break;
		}
	}
	return 0;
}
