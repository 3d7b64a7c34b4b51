#include "core/com2.h"
#include "arch/x86_64/lock.h"
#include "core/line.h"
#include "core/serial.h"
#include "lib/ring.h"

#define OUT_SIZE  KiB(4)
#define RX_PIECE  64
#define RX_PIECES 4 /* at a time: more is taken the next time */

static struct spinlock lock = SPINLOCK_INIT; /* guards everything below */
static struct uart uart;
static struct line line = { .uart = &uart };
static const char *missing = "the machine has no second serial port";
static struct vm *owner;
static uint8_t out_storage[OUT_SIZE];
static struct ring out;
static bool refused;      /* the guest was told that there is no room */

bool com2_init(void)
{
	const struct uart *console = serial_uart();
	const struct uart_place at = uart_at_port(COM2_PORT);

	ring_init(&out, out_storage, sizeof(out_storage));
	if (console->present && !console->place.mmio && console->place.base == COM2_PORT)
		missing = "the second serial port is the console's (set serial = none, or another, to free it)";
	else if (uart_open(&uart, &at))
		missing = NULL;
	return !missing;
}

const char *com2_missing(void) { return missing; }

static void send(void)
{
	uint8_t piece[RX_PIECE];
	size_t n = ring_peek(&out, 0, piece, sizeof(piece));

	n = uart_send(&uart, piece, n);
	(void)ring_get(&out, piece, n);
	line_served(&line, !ring_empty(&out));
}

static size_t write(void *ctx, const uint8_t *buf, size_t n)
{
	(void)ctx;
	bool entered = !spin_held(&lock); /* a guest that is told of room writes at once */
	if (entered)
		spin_lock(&lock);
	size_t took = ring_put(&out, buf, n);
	refused |= took < n;
	if (!line.transmitting)
		send();
	if (entered)
		spin_unlock(&lock);
	return took;
}

static size_t room(void *ctx)
{
	size_t n = ring_free(&out);

	(void)ctx;
	refused |= n == 0;
	return n;
}

struct chardev com2_chardev(void)
{
	static const struct chardev_ops ops = { write, room };

	return (struct chardev){ &ops, NULL };
}

void com2_connect(struct vm *vm)
{
	owner = vm;
	line_start(&line);
}

static void serve(void)
{
	uint8_t buf[RX_PIECE];
	size_t n = sizeof(buf);

	for (unsigned i = 0; i < RX_PIECES && n == sizeof(buf); i++) {
		n = uart_recv(&uart, buf, sizeof(buf));
		if (n && owner && owner->state == VM_RUNNING)
			vuart_receive(&owner->board.uart, buf, n);
	}
	send();
	if (refused && ring_free(&out) >= OUT_SIZE / 2 && owner && owner->state == VM_RUNNING) {
		refused = false;
		vuart_output_ready(&owner->board.uart);
	}
	uart_ack(&uart);
}

void com2_interrupt(void *ctx)
{
	(void)ctx;
	spin_lock(&lock);
	line_prove(&line);
	serve();
	spin_unlock(&lock);
}

uint64_t com2_poll(void)
{
	if (line.started && rdtsc() >= line.due) {
		spin_lock(&lock);
		serve();
		spin_unlock(&lock);
	}
	return line.started ? line.due : DEV_NEVER;
}
