/* The PC's devices in depth; board.c has the common uses. Here: the two 8259. What asks is the PIT, the UART and the RTC. */
#include "pc.h"

#define IRQ_PIT   0
#define IRQ_UART  4
#define IRR       0x0a
#define ISR       0x0b
#define EOI       0x20
#define EOI_OF    0x60
#define ROTATE    0xa0
#define ROTATE_OF 0xe0
#define PRIORITY  0xc0
#define SMM_ON    0x68
#define SMM_OFF   0x48
#define ELCR      0x4d0

static uint32_t notes[64];
static unsigned nnotes;
static volatile unsigned order, isr_then;

/* Nothing can be printed while the UART is a source of interrupts. */
static void note(uint32_t v) { if (nnotes < ARRAY_SIZE(notes)) notes[nnotes++] = v; }

static void show(const char *name)
{
	print("%s:", name);
	for (unsigned i = 0; i < nnotes; i++)
		print(" %x", notes[i]);
	print("\n");
	nnotes = 0;
}

static uint8_t chip_read(uint16_t port, uint8_t what)
{
	outb(port, what);
	return inb(port);
}

/* Takes one interrupt at most, without an EOI. (Bochs answers polls with something else than the data sheet says.) */
static volatile uint8_t taken;
static uint8_t take(void)
{
	taken = 0;
	sti();
	__asm__ volatile("nop; nop");
	cli();
	return taken;
}

static void on_any(struct frame *f)
{
	taken = (uint8_t)(0x80 | (f->vector - PIC_VECTOR));
	f->rflags &= ~BIT(9);
}

static void pit_line(bool high)
{
	outb(PIT + 3, 0x30); /* mode 0: low until it ends */
	if (!high)
		return;
	outb(PIT, 1);
	outb(PIT, 0);
	pause_io(300);
}

static void uart_line(bool high)
{
	outb(COM1 + 1, high ? 2 : 0);
	if (!high)
		inb(COM1 + 2);
}

static void init(uint8_t master_icw4, uint8_t slave_icw4)
{
	static const uint16_t port[] = { PIC1, PIC2 };
	const uint8_t icw4[] = { master_icw4, slave_icw4 };

	for (unsigned i = 0; i < 2; i++) {
		outb(port[i], 0x11);
		outb(port[i] + 1, (uint8_t)(PIC_VECTOR + 8 * i));
		outb(port[i] + 1, i ? 2 : 4);
		outb(port[i] + 1, icw4[i]);
	}
	pic_mask_all();
}

static void both(bool high)
{
	pit_line(high);
	uart_line(high);
}

static void requests(void)
{
	print_flush();
	irq_set(PIC_VECTOR + IRQ_PIT, on_any);
	irq_set(PIC_VECTOR + IRQ_UART, on_any);
	lapic_write(LAPIC_LINT0, 0x700);
	init(1, 1);
	both(false);
	note(chip_read(PIC1, IRR) & 0x11u);
	both(true);
	note(chip_read(PIC1, IRR) & 0x11u);
	note(take()); /* masked: nothing */
	outb(PIC1 + 1, (uint8_t)~0x11);
	note(take());
	note(chip_read(PIC1, ISR));
	note(chip_read(PIC1, IRR) & 0x11u);
	note(take()); /* IRQ 0 in service keeps IRQ 4 waiting */
	outb(PIC1, EOI);
	note(chip_read(PIC1, ISR));
	note(take());
	note(chip_read(PIC1, ISR));
	pit_line(false);
	pit_line(true);
	note(take()); /* IRQ 0 interrupts IRQ 4 */
	note(chip_read(PIC1, ISR));
	outb(PIC1, EOI_OF | IRQ_UART);
	note(chip_read(PIC1, ISR));
	outb(PIC1, EOI);
	note(chip_read(PIC1, ISR));
	both(false);
	note(chip_read(PIC1, IRR) & 0x11u); /* a line that falls takes its request along */
	print_init();
	show("pic requests");
}

static void rotation(void)
{
	print_flush();
	init(1, 1);
	outb(PIC1 + 1, (uint8_t)~0x11);
	both(false);
	outb(PIC1, PRIORITY | 0); /* IRQ 0 is the lowest now */
	uart_line(true); /* the one that comes first, first: Bochs never thinks again about a request that it has passed on */
	pit_line(true);
	note(take());
	outb(PIC1, ROTATE); /* and IRQ 4 after it */
	note(take());
	outb(PIC1, EOI);
	both(false);
	both(true);
	note(take());
	outb(PIC1, ROTATE_OF | IRQ_PIT);
	note(take());
	note(chip_read(PIC1, ISR));
	outb(PIC1, EOI);
	both(false);
	outb(PIC1, PRIORITY | 7);
	/* In the special mask mode a masked one in service does not keep the others waiting. */
	pit_line(true);
	note(take());
	uart_line(true);
	note(take());
	outb(PIC1, SMM_ON);
	outb(PIC1 + 1, (uint8_t)~0x10);
	note(take());
	note(chip_read(PIC1, ISR));
	outb(PIC1, EOI_OF | IRQ_PIT);
	outb(PIC1, EOI_OF | IRQ_UART);
	note(chip_read(PIC1, ISR));
	outb(PIC1, SMM_OFF);
	both(false);
	print_init();
	show("pic rotation and special mask");
}

static void on_pit(struct frame *f)
{
	(void)f;
	order = order * 16 + 1;
	isr_then = chip_read(PIC1, ISR);
	outb(PIC1, EOI);
}

static void on_uart(struct frame *f)
{
	(void)f;
	order = order * 16 + 4;
	isr_then = chip_read(PIC1, ISR);
	inb(COM1 + 2);
	outb(PIC1, EOI);
}

static void open_window(void)
{
	sti();
	__asm__ volatile("nop; nop; nop; nop");
	cli();
}

/*
 * Left out: LINT0 masked, which Bochs does not look at, and a request that goes before it is taken: the data sheet knows a
 * "default IR7" then, but not when INT falls.
 */
static void delivery(void)
{
	irq_set(PIC_VECTOR + IRQ_PIT, on_pit);
	irq_set(PIC_VECTOR + IRQ_UART, on_uart);
	for (unsigned icw4 = 1; icw4 <= 3; icw4 += 2) { /* then with automatic EOI */
		print_flush();
		lapic_write(LAPIC_LINT0, 0x700);
		init((uint8_t)icw4, (uint8_t)icw4);
		both(false);
		outb(PIC1 + 1, (uint8_t)~0x11);
		order = 0;
		both(true);
		open_window();
		open_window();
		note(order);
		note(isr_then);
		note(chip_read(PIC1, ISR));
		both(false);
		pic_mask_all();
		print_init();
		show(icw4 == 1 ? "pic delivery" : "pic automatic eoi");
	}
}

static void initialisation(void)
{
	init(1, 1);
	outb(PIC1 + 1, 0x5a);
	note(inb(PIC1 + 1));
	outb(PIC1, 0x11);
	note(inb(PIC1 + 1)); /* ICW1 clears the mask */
	outb(PIC1 + 1, PIC_VECTOR);
	outb(PIC1 + 1, 4);
	outb(PIC1 + 1, 1);
	note(inb(PIC1 + 1));
	outb(PIC1 + 1, 0xa5);
	note(inb(PIC1 + 1));
	outb(PIC2, 0x11);
	outb(PIC2 + 1, PIC_VECTOR + 8);
	outb(PIC2 + 1, 2);
	outb(PIC2 + 1, 1);
	outb(PIC2 + 1, 0xc3);
	note(inb(PIC2 + 1));
	outb(PIC1, ISR);
	note(inb(PIC1));
	note(inb(PIC1)); /* the choice of register stays */
	show("pic initialisation");
	init(1, 1);
	outb(ELCR, 0xff);
	outb(ELCR + 1, 0xff);
	note(inb(ELCR));
	note(inb(ELCR + 1));
	outb(ELCR, 0);
	outb(ELCR + 1, 0);
	note(inb(ELCR));
	note(inb(ELCR + 1));
	show("elcr");
}

void pc_pic(void)
{
	initialisation();
	requests();
	rotation();
	delivery();
	irq_init();
	both(false);
}

void payload_main(void)
{
	irq_init();
	pc_pic();
	pc_pit();
	pc_rtc();
	pc_uart();
	pc_msr_acpi();
}
