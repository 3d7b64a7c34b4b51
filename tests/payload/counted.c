/*
 * Exits by number: for each digit typed so many thousand CPUIDs, half as many INs of an absent port, one HLT until the local
 * APIC's timer, and then a letter that stands for the digit, A for 1.
 */
#include "payload.h"

#define IRQ_COM1    4
#define IER_RX      1
#define LSR_THRE    0x20
#define ABSENT_PORT 0x80
#define CTRL_D      4
#define EACH        1000
#define V_TIMER     0x51
#define TIMER_COUNT 100000

static volatile uint8_t typed;
static volatile bool fired;

static void on_uart(struct frame *f)
{
	(void)f;
	(void)inb(COM1 + 2);
	typed = inb(COM1);
	pic_eoi(IRQ_COM1);
}

static void on_timer(struct frame *f)
{
	(void)f;
	fired = true;
	lapic_write(LAPIC_EOI, 0);
}

/* Always the same exits besides: nobody waits, as the transmitter has long been empty. */
static void work(uint8_t digit)
{
	unsigned n = digit - '0';

	for (unsigned i = 0; i < n * EACH; i++)
		(void)cpuid(0, 0);
	for (unsigned i = 0; i < n * EACH / 2; i++)
		(void)inb(ABSENT_PORT);
	fired = false;
	lapic_write(LAPIC_INIT_COUNT, TIMER_COUNT);
	while (!fired)
		hlt_wait();
	while (!(inb(COM1 + 5) & LSR_THRE))
		;
	outb(COM1, digit - '1' + 'A');
}

void payload_main(void)
{
	irq_init();
	irq_set(PIC_VECTOR + IRQ_COM1, on_uart);
	irq_set(V_TIMER, on_timer);
	lapic_write(LAPIC_LVT_TIMER, V_TIMER);
	print("counted: ready\n");
	print_flush();
	pic_unmask(IRQ_COM1);
	outb(COM1 + 1, IER_RX);
	for (;;) {
		while (!typed)
			hlt_wait();
		uint8_t key = typed;
		typed = 0;
		if (key == CTRL_D)
			break;
		work(key);
	}
	outb(COM1 + 1, 0);
}
