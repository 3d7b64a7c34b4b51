#include "drivers/power.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/tsc.h"
#include "drivers/acpi_sleep.h"

#define RESET_CONTROL       0xcf9
#define RESET_CONTROL_HARD  0x02
#define RESET_CONTROL_GO    0x04
#define KBC_COMMAND         0x64
#define KBC_INPUT_FULL      0x02
#define KBC_PULSE_RESET     0xfe
/* PCI local bus specification, "Configuration Mechanism #1" */
#define PCI_ADDRESS         0xcf8
#define PCI_DATA            0xcfc
#define PCI_ENABLE          BIT(31)

#define IO_DELAY_PORT 0x80 /* a write takes about 1 us */
#define RESET_US      50000
#define KBC_SPINS     100000

static void wait_us(void *ctx, unsigned us)
{
	uint64_t start = rdtsc(), ticks = tsc_hz ? tsc_from_us(us) : 0;

	(void)ctx;
	if (ticks)
		while (rdtsc() - start < ticks)
			pause();
	else
		while (us--)
			outb(IO_DELAY_PORT, 0);
}

/* The last one stays, for those who poll. What cannot be there reads as zeros. */
static volatile void *mapped(struct acpi_gas at, unsigned bytes)
{
	static uint16_t nothing;
	static volatile void *p;
	static uint64_t address;

	if (address != at.address)
		p = paging_map_device(HPA(at.address), bytes);
	address = at.address;
	nothing = 0;
	return p ? p : &nothing;
}

static uint32_t read_reg(void *ctx, struct acpi_gas at, unsigned bytes)
{
	(void)ctx;
	if (at.space == ACPI_SPACE_IO)
		return bytes == 1 ? inb((uint16_t)at.address) : inw((uint16_t)at.address);
	return bytes == 1 ? *(volatile uint8_t *)mapped(at, bytes) : *(volatile uint16_t *)mapped(at, bytes);
}

static void write_reg(void *ctx, struct acpi_gas at, unsigned bytes, uint32_t v)
{
	(void)ctx;
	if (at.space == ACPI_SPACE_IO && bytes == 1)
		outb((uint16_t)at.address, (uint8_t)v);
	else if (at.space == ACPI_SPACE_IO)
		outw((uint16_t)at.address, (uint16_t)v);
	else if (bytes == 1)
		*(volatile uint8_t *)mapped(at, bytes) = (uint8_t)v;
	else
		*(volatile uint16_t *)mapped(at, bytes) = (uint16_t)v;
}

static void flush_caches(void *ctx)
{
	(void)ctx;
	wbinvd();
}

static const struct acpi_regs regs = { NULL, read_reg, write_reg, wait_us, flush_caches };

const char *power_off(const struct acpi_info *a)
{
	cli();
	return acpi_enter_s5(a, &regs);
}

/* "Reset Register": in PCI configuration space the address is device, function and offset on bus 0. */
static void write_pci(uint64_t address, uint8_t v)
{
	uint32_t device = address >> 32 & 0x1f, function = address >> 16 & 7, offset = address & 0xff;

	outl(PCI_ADDRESS, (uint32_t)PCI_ENABLE | device << 11 | function << 8 | (offset & ~3u));
	outb((uint16_t)(PCI_DATA + (offset & 3)), v);
}

void power_reset(const struct acpi_info *a)
{
	static const struct { uint16_t limit; uint64_t base; } __packed no_idt = { 0, 0 };

	cli();
	if (a->has_reset && a->reset.space == ACPI_SPACE_PCI)
		write_pci(a->reset.address, a->reset_value);
	else if (a->has_reset)
		write_reg(NULL, a->reset, 1, a->reset_value);
	wait_us(NULL, RESET_US);

	outb(RESET_CONTROL, RESET_CONTROL_HARD);
	outb(RESET_CONTROL, RESET_CONTROL_HARD | RESET_CONTROL_GO);
	wait_us(NULL, RESET_US);

	for (unsigned i = 0; i < KBC_SPINS && (inb(KBC_COMMAND) & KBC_INPUT_FULL); i++)
		;
	outb(KBC_COMMAND, KBC_PULSE_RESET);
	wait_us(NULL, RESET_US);

	__asm__ volatile("lidt %0; int3" : : "m"(no_idt));
	for (;;)
		__asm__ volatile("hlt");
}
