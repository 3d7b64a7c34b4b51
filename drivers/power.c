#include "drivers/power.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/paging.h"

#define PM1_CNT_SLP_TYP_SHIFT 10
#define PM1_CNT_SLP_TYP_MASK  (7u << PM1_CNT_SLP_TYP_SHIFT)
#define PM1_CNT_SLP_EN        (1u << 13)

#define GAS_MEMORY 0
#define GAS_IO     1

#define RESET_CONTROL       0xcf9
#define RESET_CONTROL_HARD  0x02
#define RESET_CONTROL_GO    0x04
#define KBC_COMMAND         0x64
#define KBC_INPUT_FULL      0x02
#define KBC_PULSE_RESET     0xfe

#define IO_DELAY_PORT 0x80 /* a write takes about 1 us */
#define OFF_US        1000000
#define RESET_US      50000
#define KBC_SPINS     100000

static void wait_us(unsigned us)
{
	while (us--)
		outb(IO_DELAY_PORT, 0);
}

static void enter_sleep(uint16_t port, uint8_t typ)
{
	uint16_t v = inw(port);

	v = (uint16_t)((v & ~(PM1_CNT_SLP_TYP_MASK | PM1_CNT_SLP_EN)) | (typ & 7u) << PM1_CNT_SLP_TYP_SHIFT);
	outw(port, v);
	outw(port, (uint16_t)(v | PM1_CNT_SLP_EN));
}

void power_off(const struct acpi_info *a)
{
	cli();
	if (!a->has_s5 || !a->pm1a_cnt_port)
		return;
	enter_sleep(a->pm1a_cnt_port, a->s5_typ_a);
	if (a->pm1b_cnt_port)
		enter_sleep(a->pm1b_cnt_port, a->s5_typ_b);
	wait_us(OFF_US);
}

void power_reset(const struct acpi_info *a)
{
	static const struct { uint16_t limit; uint64_t base; } __packed no_idt = { 0, 0 };

	cli();
	if (a->has_reset && a->reset.space == GAS_IO && a->reset.address <= UINT16_MAX)
		outb((uint16_t)a->reset.address, a->reset_value);
	else if (a->has_reset && a->reset.space == GAS_MEMORY && a->reset.address)
		*(volatile uint8_t *)paging_map_device(HPA(a->reset.address), 1) = a->reset_value;
	wait_us(RESET_US);

	outb(RESET_CONTROL, RESET_CONTROL_HARD);
	outb(RESET_CONTROL, RESET_CONTROL_HARD | RESET_CONTROL_GO);
	wait_us(RESET_US);

	for (unsigned i = 0; i < KBC_SPINS && (inb(KBC_COMMAND) & KBC_INPUT_FULL); i++)
		;
	outb(KBC_COMMAND, KBC_PULSE_RESET);
	wait_us(RESET_US);

	__asm__ volatile("lidt %0; int3" : : "m"(no_idt));
	for (;;)
		__asm__ volatile("hlt");
}
