/* All CPUs at the devices at once; and the ways to end a machine, from a CPU that is not the boot CPU. */
#include "smp_hostile.h"

#define RTC          0x70
#define SLP_EN_S5    0x3400 /* of a guest's board */
#define RESET_PORT   0xcf9
#define RESET_FULL   0x06
#define KEYBOARD     0x64
#define KEYBOARD_RESET 0xfe
#define RTE_LAST     0x3f
#define VECTOR       0x40
#define RTE_FIXED    0x1a900 /* or lowest priority */
#define RTE_ANY      0x1af00

static void ports(unsigned cpu, uint64_t *random)
{
	static const uint16_t list[] = {
		COM1, COM1 + 1, COM1 + 2, COM1 + 3, COM1 + 4, COM1 + 7, PIC1, PIC1 + 1, PIC2, PIC2 + 1, PIT, PIT + 1, PIT + 2,
		PIT + 3, 0x61, RTC, RTC + 1, 0x4d0, 0x4d1,
	};
	uint64_t r = xorshift(random);
	uint16_t port = list[r % ARRAY_SIZE(list)];

	(void)cpu;
	if (r & 0x100)
		outb(port, (uint8_t)(r >> 16));
	else
		inb(port);
	if (!(r & 0xf0000))
		open_window();
}

/* The same device on every CPU. */
static void device_race(void) { everywhere(ports); }

static void rewrite(uint64_t *random, uint32_t bits)
{
	uint64_t r = xorshift(random);

	mmio_write(IOAPIC, 0x10 + (uint32_t)(r % (RTE_LAST - 0x10 + 1)));
	if (r & 0x100)
		mmio_write(IOAPIC + IOAPIC_WIN, ((uint32_t)(r >> 16) & bits) | VECTOR);
	else
		mmio_read(IOAPIC + IOAPIC_WIN);
	open_window();
}

static void redirect(unsigned cpu, uint64_t *random)
{
	(void)cpu;
	rewrite(random, RTE_FIXED);
}

static void redirect_any(unsigned cpu, uint64_t *random)
{
	(void)cpu;
	rewrite(random, RTE_ANY);
}

/* The I/O APIC is rewritten while the PIT sends through it. */
static void ioapic_race(void)
{
	pit_periodic(10000);
	everywhere(redirect);
}

/* With INIT, NMI and SMI: it can end the guest. */
static void ioapic_any(void)
{
	pit_periodic(10000);
	everywhere(redirect_any);
}

static void string_ports(unsigned cpu, uint64_t *random)
{
	static uint8_t buffer[SMP_MAX][PAGE];
	uint8_t *p = buffer[cpu];

	(void)random;
	__asm__ volatile("rep insb" : "+D"(p) : "c"(PAGE), "d"(PIT) : "memory");
}

static void string_race(void) { everywhere(string_ports); }

static void flood(unsigned cpu, uint64_t *random)
{
	(void)random;
	outb(COM1, (uint8_t)('0' + cpu));
}

static void console_race(void) { everywhere(flood); }

static void off(void *unused)
{
	struct acpi_ports p = acpi_find();

	(void)unused;
	outw(p.pm1a_cnt, SLP_EN_S5);
}

static void reset(void *unused)
{
	(void)unused;
	outb(RESET_PORT, RESET_FULL);
}

static void keyboard_reset(void *unused)
{
	(void)unused;
	outb(KEYBOARD, KEYBOARD_RESET);
}

static void triple(void *unused)
{
	struct { uint16_t limit; uint64_t base; } __attribute__((packed)) none = { 0, 0 };

	(void)unused;
	__asm__ volatile("lidt %0; int3" :: "m"(none));
}

/* On the last CPU, while the others compute. */
static void on_last(smp_fn fn)
{
	smp_run(smp_count - 1, fn, NULL);
	for (;;)
		pause();
}

static void off_from_ap(void) { on_last(off); }
static void reset_from_ap(void) { on_last(reset); }
static void keyboard_from_ap(void) { on_last(keyboard_reset); }
static void triple_on_ap(void) { on_last(triple); }

/* All at the same moment. */
static void off_from_all(void) { smp_all(off, NULL); }
static void reset_from_all(void) { smp_all(reset, NULL); }
static void triple_on_all(void) { smp_all(triple, NULL); }

const struct smp_attack smp_hostile_devices[] = {
	{ "device-race", device_race }, { "ioapic-race", ioapic_race }, { "ioapic-any", ioapic_any },
	{ "string-race", string_race }, { "console-race", console_race }, { "off-from-ap", off_from_ap }, { "reset-from-ap", reset_from_ap },
	{ "keyboard-from-ap", keyboard_from_ap }, { "triple-on-ap", triple_on_ap }, { "off-from-all", off_from_all },
	{ "reset-from-all", reset_from_all }, { "triple-on-all", triple_on_all },
	ATTACKS_END
};
