/* The UART under arbitrary accesses, input and back-pressure: bytes go in and out in order, and none is invented. */
#include "fuzz_dev.h"
#include "guest/dev/vuart.h"

struct sink { size_t room, taken; };

static size_t sink_write(void *ctx, const uint8_t *buf, size_t n)
{
	struct sink *s = ctx;
	uint8_t touched = 0;

	n = MIN(n, s->room);
	for (size_t i = 0; i < n; i++)
		touched ^= buf[i];
	(void)touched;
	s->room -= n;
	s->taken += n;
	return n;
}

static size_t sink_room(void *ctx)
{
	return ((struct sink *)ctx)->room;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct chardev_ops ops = { .write = sink_write, .room = sink_room };
	static const dev_access_fn range[2] = { vuart_access, vuart_access };
	struct fuzz_input in = { data, size };
	struct sink sink = { .room = 64 };
	struct fake_host host;
	struct vuart u;
	uint8_t text[300];

	fake_host_init(&host, FUZZ_HZ);
	vuart_init(&u, &host.host, (struct chardev){ &ops, &sink }, 4);
	while (in.size) {
		size_t n, done;

		if (fuzz_step(&in, &host, &u, range, NULL) == FUZZ_EVENT) {
			uint8_t what = (uint8_t)fuzz_take(&in, 1);

			n = fuzz_take(&in, 1) + (what & 0x20);
			memset(text, what, sizeof(text));
			switch (what & 3) {
			case 0:
				done = vuart_receive(&u, text, n);
				ASSERT(done <= n);
				break;
			case 1:
				done = vuart_write_many(&u, text, n);
				ASSERT(done <= n && (done || !n));
				break;
			default:
				sink.room = what & 4 ? 0 : n;
				vuart_output_ready(&u);
				ASSERT(!u.tx_empty || u.mcr & 0x10 || sink.room);
				break;
			}
		}
		ASSERT(ring_used(&u.rx_fifo) <= VUART_FIFO && ring_used(&u.tx) <= VUART_FIFO && ring_used(&u.rx) <= VUART_RX);
		ASSERT(!u.irq_level || (u.mcr & 0x18) == 0x08);
		ASSERT(host.level[4] == u.irq_level);
	}
	return 0;
}
