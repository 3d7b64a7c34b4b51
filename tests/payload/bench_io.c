/* Ports and device memory. */
#include "bench.h"

#define PORT_POST    0x80
#define PORT_ABSENT  0x2e0
#define ABSENT       0xd0000000
#define STRING       64
#define LSR          (COM1 + 5)
#define HPET_ADDRESS 44 /* in its ACPI table */
#define HPET_COUNTER 0xf0

__attribute__((noinline)) uint32_t bench_read(uint64_t address) { return mmio_read(address); }
__attribute__((noinline)) void bench_write(uint64_t address, uint32_t value) { mmio_write(address, value); }

static uint16_t pm_timer;
static uint64_t hpet;

static bool has_pm_timer(void) { return (pm_timer = acpi_find().pm_timer) != 0; }

static bool has_hpet(void)
{
	const uint8_t *table = acpi_table("HPET");

	hpet = table ? *(const uint64_t *)(table + HPET_ADDRESS) : 0;
	return hpet && hpet < GiB(4);
}

static bool has_ioapic(void)
{
	bench_write(IOAPIC, 1); /* the register that is read: its version */
	return true;
}

static bool is_absent(void)
{
	for (unsigned i = 0; i < boot_nmap; i++)
		if (ABSENT - boot_map[i].base < boot_map[i].len)
			return false;
	return true;
}

static void op_in_21(void) { inb(PIC1 + 1); }
static void op_out_21(void) { outb(PIC1 + 1, 0xff); }
static void op_in_40(void) { inb(PIT); }
static void op_in_3fd(void) { inb(LSR); }
static void op_out_80(void) { outb(PORT_POST, 0); }
static void op_in_absent(void) { inb(PORT_ABSENT); }
static void op_out_absent(void) { outb(PORT_ABSENT, 0); }
static void op_pm(void) { inl(pm_timer); }
static void op_ioapic(void) { bench_read(IOAPIC + IOAPIC_WIN); }
static void op_hpet(void) { bench_read(hpet + HPET_COUNTER); }
static void op_absent(void) { bench_read(ABSENT); }

/* A character that is really sent, into an empty transmitter. */
static void op_out_3f8(void) { outb(COM1, '.'); }

static void op_rep_outsb(void)
{
	static const char text[STRING];
	const void *from = text;
	size_t n = sizeof(text);

	__asm__ volatile("rep outsb" : "+S"(from), "+c"(n) : "d"(PORT_POST) : "memory");
}

const struct operation bench_io[] = {
	{ "in-21", .op = op_in_21 },
	{ "out-21", .op = op_out_21 },
	{ "in-40", .op = op_in_40 },
	{ "in-3fd", .op = op_in_3fd },
	{ "out-3f8", .op = op_out_3f8, .before = print_flush },
	{ "out-80", .op = op_out_80 },
	{ "in-absent", .op = op_in_absent },
	{ "out-absent", .op = op_out_absent },
	{ "rep-outsb-64", .op = op_rep_outsb },
	{ "pm-timer", .op = op_pm, .present = has_pm_timer },
	{ "ioapic-read", .op = op_ioapic, .present = has_ioapic },
	{ "hpet-read", .op = op_hpet, .present = has_hpet },
	{ "absent-mmio", .op = op_absent, .present = is_absent },
	{ },
};
