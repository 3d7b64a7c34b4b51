#include "drivers/power.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/tsc.h"
#include "drivers/acpi_sleep.h"

#define IO_DELAY_PORT 0x80 /* a write takes about 1 us */

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
