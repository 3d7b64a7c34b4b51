#include "core/com2.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/lock.h"
#include "arch/x86_64/tsc.h"
#include "drivers/uart.h"
#include "lib/ring.h"

#define COM2_PORT 0x2f8
#define OUT_SIZE  KiB(4)
#define RX_PIECE  64
#define OVERDUE_US 20000 /* a full FIFO leaves in 1.4 ms */

static struct spinlock lock = SPINLOCK_INIT; /* guards everything below */
static struct uart uart;
static struct vm *owner;
static uint8_t out_storage[OUT_SIZE];
static struct ring out;
static bool transmitting; /* the transmit interrupt is on and will send more */
static uint64_t overdue;  /* TSC: without an interrupt until then, it was lost */
static bool refused;      /* the guest was told that there is no room */

bool com2_init(void)
{
	ring_init(&out, out_storage, sizeof(out_storage));
	return uart_init(&uart, COM2_PORT);
}

static void send(void)
{
	uint8_t piece[RX_PIECE];
	size_t n = ring_peek(&out, 0, piece, sizeof(piece));

	n = uart_send(&uart, piece, n);
	n = ring_get(&out, piece, n);
	transmitting = !ring_empty(&out);
	overdue = rdtsc() + tsc_from_us(OVERDUE_US);
	uart_interrupts(&uart, true, transmitting);
}

static size_t write(void *ctx, const uint8_t *buf, size_t n)
{
	(void)ctx;
	bool entered = !spin_held(&lock); /* a guest that is told of room writes at once */
	if (entered)
		spin_lock(&lock);
	size_t took = ring_put(&out, buf, n);
	refused |= took < n;
	if (!transmitting)
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
	uart_interrupts(&uart, true, false);
}

void com2_interrupt(void *ctx)
{
	uint8_t buf[RX_PIECE];

	(void)ctx;
	spin_lock(&lock);
	for (size_t n; (n = uart_recv(&uart, buf, sizeof(buf))) > 0;)
		if (owner && owner->state == VM_RUNNING)
			vuart_receive(&owner->board.uart, buf, n);
	send();
	if (refused && ring_free(&out) >= OUT_SIZE / 2 && owner && owner->state == VM_RUNNING) {
		refused = false;
		vuart_output_ready(&owner->board.uart);
	}
	uart_ack(&uart);
	spin_unlock(&lock);
}

void com2_poll(void)
{
	if (transmitting && rdtsc() > overdue)
		com2_interrupt(NULL);
}
