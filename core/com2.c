#include "core/com2.h"
#include "arch/x86_64/lock.h"
#include "core/line.h"
#include "core/serial.h"
#include "lib/ring.h"

#define OUT_SIZE  KiB(4)
#define IN_SIZE   512
#define RX_PIECE  64
#define RX_PIECES 4 /* at a time: more is taken the next time */

static struct spinlock lock = SPINLOCK_INIT(RANK_TERMINAL); /* guards everything below */
static struct uart uart;
static struct line line = { .uart = &uart };
static const char *missing = "the machine has no second serial port";
static struct vm *owner;
static uint8_t out_storage[OUT_SIZE];
static struct ring out;
static uint8_t in_storage[IN_SIZE];
static struct ring in;    /* what the guest comes for itself, com2_serve(): its VM's lock is not to be waited for here */
static bool refused;      /* the guest was told that there is no room */

bool com2_init(void)
{
	const struct uart *console = serial_uart();
	const struct uart_place at = uart_at_port(COM2_PORT);

	ring_init(&out, out_storage, sizeof(out_storage));
	ring_init(&in, in_storage, sizeof(in_storage));
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

static bool room_again(void) { return refused && ring_free(&out) >= OUT_SIZE / 2; }

static void serve(void)
{
	uint8_t buf[RX_PIECE];
	size_t n = sizeof(buf);
	bool running = owner && owner->state == VM_RUNNING;

	for (unsigned i = 0; i < RX_PIECES && n == sizeof(buf); i++) {
		n = uart_recv(&uart, buf, sizeof(buf));
		if (running)
			(void)ring_put(&in, buf, n); /* what is too much is lost, as in a UART that nobody reads */
	}
	send();
	if (running && (!ring_empty(&in) || room_again()))
		vcpu_signal(owner->vcpus[0], REQ_CONSOLE);
	uart_ack(&uart);
}

void com2_serve(struct vm *vm)
{
	uint8_t piece[RX_PIECE];
	size_t n;

	spin_lock(&lock);
	while ((n = ring_peek(&in, 0, piece, sizeof(piece))) > 0) {
		size_t took = vuart_receive(&vm->board.uart, piece, n);

		in.tail += (uint32_t)took;
		if (took < n)
			break;
	}
	if (room_again()) {
		refused = false;
		vuart_output_ready(&vm->board.uart);
	}
	spin_unlock(&lock);
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
