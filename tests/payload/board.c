/* The PC's devices: interrupt controllers, timers, clock, serial port, what is absent. Counts and states, never times. */
#include "board.h"

#define TICKS     20
#define RTC_A     0x0a
#define RTC_B     0x0b
#define RTC_C     0x0c
#define RTC_D     0x0d
#define RTC_UIP   0x80
#define RTC_PIE   0x40
#define RTC_UIE   0x10
#define CMOS_SPARE 0x7c
#define OCW3_IRR  0x0a
#define OCW3_ISR  0x0b
#define IRQ_TIMER 0
#define IRQ_RTC   8

static volatile unsigned ticks, isr_seen, irr_seen;

static uint8_t cmos_read(uint8_t i)
{
	outb(0x70, i);
	return inb(0x71);
}

static void cmos_write(uint8_t i, uint8_t v)
{
	outb(0x70, i);
	outb(0x71, v);
}

static void on_pit(struct frame *f)
{
	(void)f;
	outb(PIC1, OCW3_ISR);
	isr_seen |= inb(PIC1);
	ticks++;
	pic_eoi(IRQ_TIMER);
}

static void on_rtc(struct frame *f)
{
	(void)f;
	outb(PIC2, OCW3_ISR);
	isr_seen |= inb(PIC2);
	irr_seen |= cmos_read(RTC_C);
	ticks++;
	pic_eoi(IRQ_RTC);
}

static void wait_ticks(unsigned n)
{
	while (ticks < n)
		hlt_wait();
}

static void pic(void)
{
	outb(PIC1 + 1, 0xa5);
	outb(PIC2 + 1, 0x5a);
	print("pic imr: %x %x\n", inb(PIC1 + 1), inb(PIC2 + 1));
	pic_mask_all();
	irq_set(PIC_VECTOR + IRQ_TIMER, on_pit);
	pit_periodic(1000);
	pic_unmask(IRQ_TIMER);
	ticks = 0;
	wait_ticks(TICKS);
	pic_mask_all();
	print("pic irq0: %s, isr %x\n", ticks >= TICKS ? "ticks" : "none", isr_seen);
	outb(PIC1, OCW3_ISR);
	print("pic isr after eoi: %x\n", inb(PIC1));
	/* Masked, the request stays visible in the IRR and is taken when the mask opens. */
	outb(PIC1, OCW3_IRR);
	while (!(inb(PIC1) & 1))
		;
	ticks = 0;
	sti();
	__asm__ volatile("nop; nop");
	cli();
	print("pic masked: %u\n", ticks);
	pic_unmask(IRQ_TIMER);
	sti();
	__asm__ volatile("nop; nop");
	cli();
	print("pic unmasked: %u\n", ticks ? 1u : 0u);
	pic_mask_all();
	/* One shot (mode 0): exactly one interrupt. */
	outb(PIT + 3, 0x30);
	outb(PIT, 0);
	outb(PIT, 8);
	outb(PIC1, OCW3_IRR);
	print("pit mode 0 starts with irr %x", inb(PIC1) & 1u);
	while (!(inb(PIC1) & 1))
		;
	print(", ends with 1\n");
	ticks = 0;
	pic_unmask(IRQ_TIMER);
	wait_ticks(1);
	for (unsigned i = 0; i < 1000; i++)
		inb(0x80);
	sti();
	__asm__ volatile("nop; nop");
	cli();
	print("pit mode 0: %u\n", ticks);
	pic_mask_all();
}

static void pit_modes(void)
{
	uint8_t gate = inb(0x61) & ~3;
	unsigned a, b;

	outb(0x61, gate);
	for (unsigned mode = 0; mode < 6; mode++) {
		unsigned before, after;

		outb(PIT + 3, (uint8_t)(0xb0 | mode << 1));
		outb(PIT + 3, 0xe8); /* read-back: status of channel 2 */
		before = inb(PIT + 2);
		outb(PIT + 2, 0x34);
		outb(PIT + 2, 0x12);
		outb(PIT + 3, 0xe8);
		after = inb(PIT + 2);
		print("pit mode %u: status %02x, loaded %02x, out %u\n", mode, before & ~PIT_STATUS_NULL, after & 0xbf & ~PIT_STATUS_NULL,
		      (unsigned)(inb(0x61) >> 5 & 1));
	}
	/* The gate starts mode 0; its output rises at the end and stays. */
	outb(PIT + 3, 0xb0);
	outb(PIT + 2, 0);
	outb(PIT + 2, 4);
	print("pit one shot: out %u", inb(0x61) >> 5 & 1u);
	outb(0x61, gate | 1);
	while (!(inb(0x61) & 0x20))
		;
	print(" then %u\n", inb(0x61) >> 5 & 1u);
	/* A stopped counter reads the same twice, a running one less. */
	outb(PIT + 3, 0xb4);
	outb(PIT + 2, 0xff);
	outb(PIT + 2, 0xff);
	outb(PIT + 3, 0x80); /* latch */
	a = inb(PIT + 2);
	a |= inb(PIT + 2) * 256u;
	for (unsigned i = 0; i < 2000; i++)
		inb(0x80);
	outb(PIT + 3, 0xd8); /* read-back: latch the count */
	b = inb(PIT + 2);
	b |= inb(PIT + 2) * 256u;
	print("pit counts %s\n", b < a ? "down" : "wrongly");
	outb(PIT + 3, 0x94); /* low byte only */
	outb(PIT + 2, 0x10);
	outb(PIT + 3, 0xe8);
	print("pit low byte only: status %02x\n", inb(PIT + 2) & 0x3fu);
	outb(PIT + 3, 0xb5); /* BCD */
	outb(PIT + 3, 0xe8);
	print("pit bcd: status %02x\n", inb(PIT + 2) & 0x3fu);
	outb(0x61, gate);
}

static void rtc(void)
{
	uint8_t b = cmos_read(RTC_B), spare = cmos_read(CMOS_SPARE), s;
	unsigned bad = 0;

	print("rtc d: %x, b: %x, a rate %x\n", cmos_read(RTC_D), b & 0x87u, cmos_read(RTC_A) & 0x7fu);
	while (!(cmos_read(RTC_A) & RTC_UIP))
		;
	while (cmos_read(RTC_A) & RTC_UIP)
		;
	print("rtc uip: toggles\n");
	s = cmos_read(0);
	while (cmos_read(0) == s)
		;
	print("rtc seconds: advance\n");
	for (uint8_t i = 0; i < 10; i++) {
		static const uint8_t max[] = { 0x59, 0xff, 0x59, 0xff, 0x23, 0xff, 7, 0x31, 0x12, 0x99 };
		uint8_t v = cmos_read(i);

		if (!(i & 1) || i > 5)
			bad += v > max[i] || (v & 0xf) > 9;
	}
	print("rtc bcd: %s\n", bad ? "bad" : "ok");
	cmos_write(CMOS_SPARE, 0x5a);
	print("cmos: %x", cmos_read(CMOS_SPARE));
	cmos_write(CMOS_SPARE, 0xa5);
	print(" %x\n", cmos_read(CMOS_SPARE));
	cmos_write(CMOS_SPARE, spare);

	irq_set(PIC_VECTOR + IRQ_RTC, on_rtc);
	isr_seen = irr_seen = ticks = 0;
	cmos_write(RTC_A, 0x26); /* 1024 Hz */
	cmos_read(RTC_C);
	cmos_write(RTC_B, b | RTC_PIE);
	pic_unmask(IRQ_RTC);
	wait_ticks(TICKS);
	cmos_write(RTC_B, b);
	pic_mask_all();
	print("rtc periodic: isr %x, c %x\n", isr_seen, irr_seen & 0xc0u);
	cmos_read(RTC_C);
	isr_seen = irr_seen = ticks = 0;
	cmos_write(RTC_B, b | RTC_UIE);
	pic_unmask(IRQ_RTC);
	wait_ticks(1);
	cmos_write(RTC_B, b);
	pic_mask_all();
	print("rtc update: c %x, then %x\n", irr_seen & 0x90u, cmos_read(RTC_C) & 0x90u);
}

struct uart_result { uint8_t v[24]; unsigned n; };

static void uart_note(struct uart_result *r, uint8_t v)
{
	if (r->n < sizeof(r->v))
		r->v[r->n++] = v;
}

static void uart(void)
{
	struct uart_result r = { .n = 0 };
	static const char *const names[] = {
		"scratch", "lcr", "dll", "dlm", "ier", "mcr", "idle iir", "thre iir", "then", "loop lsr", "loop iir", "loop data", "then lsr",
		"then iir", "loop msr", "msr deltas", "then", "order iir", "second", "third",
	};

	print_flush();
	outb(COM1 + 7, 0x5a);
	uart_note(&r, inb(COM1 + 7));
	outb(COM1 + 3, 0x83);
	uart_note(&r, inb(COM1 + 3));
	uart_note(&r, inb(COM1));
	uart_note(&r, inb(COM1 + 1));
	outb(COM1 + 3, 0x03);
	outb(COM1 + 1, 0xff);
	uart_note(&r, inb(COM1 + 1));
	outb(COM1 + 1, 0);
	outb(COM1 + 4, 0xff);
	uart_note(&r, inb(COM1 + 4));
	outb(COM1 + 4, 0x10); /* loopback, all outputs off */
	inb(COM1 + 6);
	uart_note(&r, inb(COM1 + 2));
	outb(COM1 + 1, 2); /* enabling it with an empty THR requests the interrupt */
	uart_note(&r, inb(COM1 + 2));
	uart_note(&r, inb(COM1 + 2));
	outb(COM1 + 1, 1);
	outb(COM1, 0xc3);
	while (!(inb(COM1 + 5) & 1))
		;
	while (!(inb(COM1 + 5) & 0x40))
		;
	uart_note(&r, inb(COM1 + 5));
	uart_note(&r, inb(COM1 + 2));
	uart_note(&r, inb(COM1));
	uart_note(&r, inb(COM1 + 5));
	uart_note(&r, inb(COM1 + 2));
	outb(COM1 + 1, 0);
	outb(COM1 + 4, 0x1f); /* DTR RTS OUT1 OUT2 come back as DSR CTS RI DCD */
	uart_note(&r, inb(COM1 + 6) & 0xf0);
	outb(COM1 + 4, 0x10);
	uart_note(&r, inb(COM1 + 6) & 0x0f);
	uart_note(&r, inb(COM1 + 6) & 0x0f);
	/* Received data comes before modem status. */
	outb(COM1, 0x11);
	while (!(inb(COM1 + 5) & 1))
		;
	while (!(inb(COM1 + 5) & 0x40))
		;
	outb(COM1 + 4, 0x11);
	outb(COM1 + 1, 0x09);
	uart_note(&r, inb(COM1 + 2));
	inb(COM1);
	uart_note(&r, inb(COM1 + 2));
	inb(COM1 + 6);
	uart_note(&r, inb(COM1 + 2));
	print_init();
	for (unsigned i = 0; i < r.n; i++)
		print("uart %s: %02x\n", names[i], r.v[i]);
}

static void absent(void)
{
	static const uint64_t nowhere[] = { 0xd0000000, 0xfd000000, 0xfeb00000, 0xfef00ff8 };
	struct acpi_ports acpi = acpi_find();
	uint32_t last, grew = 0;

	print("absent ports: %x %x %x, %x %x\n", inb(0x1234), inw(0x1234), inl(0x1234), inb(0x5678), inb(0xe000));
	outb(0x1234, 1);
	outl(0x1234, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(nowhere); i++) {
		volatile uint64_t *p = (volatile uint64_t *)nowhere[i];

		*p = 0x1122334455667788;
		*(volatile uint8_t *)p = 0;
		print("absent %lx: %lx %x %x %x\n", nowhere[i], *p, *(volatile uint32_t *)p, *(volatile uint16_t *)p, *(volatile uint8_t *)p);
	}
	print("pm timer: %s\n", acpi.pm_timer ? "found" : "none");
	last = inl(acpi.pm_timer);
	for (unsigned i = 0; i < 100; i++) {
		uint32_t now;

		for (unsigned k = 0; k < 20; k++)
			inb(0x80);
		now = inl(acpi.pm_timer);
		grew += ((now - last) & 0xffffff) < 0x800000;
		last = now;
	}
	print("pm timer grew %u of 100 times\n", grew);
}

void payload_main(void)
{
	irq_init();
	pic();
	pit_modes();
	rtc();
	uart();
	absent();
	board_apic();
}
