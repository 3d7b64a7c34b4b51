/* The interrupt controllers as a payload wants them. */
#include "payload.h"

#define ICW1        0x11 /* edge, cascade, ICW4 */
#define ICW4        0x01 /* 8086 */
#define OCW2_EOI    0x20
#define SVR_ENABLE  0x1ff
#define LVT_MASKED  0x10000
#define LVT_EXTINT  0x700
#define ICR_SELF    0x40000
#define ICR_PENDING 0x1000

void irq_init(void)
{
	static const uint16_t lvt[] = { LAPIC_LVT_TIMER, 0x340, 0x360, LAPIC_LVT_ERROR };

	outb(PIC1, ICW1);
	outb(PIC1 + 1, PIC_VECTOR);
	outb(PIC1 + 1, 4);
	outb(PIC1 + 1, ICW4);
	outb(PIC2, ICW1);
	outb(PIC2 + 1, PIC_VECTOR + 8);
	outb(PIC2 + 1, 2);
	outb(PIC2 + 1, ICW4);
	pic_mask_all();
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | BIT(11));
	lapic_write(LAPIC_SVR, SVR_ENABLE);
	lapic_write(LAPIC_TPR, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(lvt); i++)
		lapic_write(lvt[i], LVT_MASKED);
	lapic_write(LAPIC_LINT0, LVT_EXTINT);
}

void pic_mask_all(void)
{
	outb(PIC1 + 1, 0xff);
	outb(PIC2 + 1, 0xff);
}

void pic_unmask(unsigned irq)
{
	if (irq >= 8) {
		outb(PIC2 + 1, (uint8_t)(inb(PIC2 + 1) & ~(1u << (irq - 8))));
		irq = 2;
	}
	outb(PIC1 + 1, (uint8_t)(inb(PIC1 + 1) & ~(1u << irq)));
}

void pic_eoi(unsigned irq)
{
	if (irq >= 8)
		outb(PIC2, OCW2_EOI);
	outb(PIC1, OCW2_EOI);
}

void lapic_self_ipi(uint8_t vector)
{
	lapic_write(LAPIC_ICR, ICR_SELF | vector);
	while (lapic_read(LAPIC_ICR) & ICR_PENDING)
		;
}

void pit_periodic(unsigned hz)
{
	unsigned count = PIT_HZ / hz;

	outb(PIT + 3, 0x34); /* channel 0, low then high byte, mode 2 */
	outb(PIT, (uint8_t)count);
	outb(PIT, (uint8_t)(count >> 8));
}
