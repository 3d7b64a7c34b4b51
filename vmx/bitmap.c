/* MSR bitmap and APIC mode: which of the guest's accesses run without an exit (SDM 3C, "MSR-Bitmap Address"). */
#include "arch/x86_64/paging.h"
#include "vmx/vcpu.h"
#include <tf/x86.h>

#define BITMAP_HIGH   0x400 /* offset of the C0000000h half */
#define BITMAP_WRITE  0x800
#define X2APIC_MSRS   0x100

static bool msr_position(uint32_t msr, uint32_t *byte, uint8_t *mask)
{
	uint32_t base = 0;

	if (msr >= 0xc0000000 && msr <= 0xc0001fff)
		base = BITMAP_HIGH;
	else if (msr > 0x1fff)
		return false;
	*byte = base + (msr & 0x1fff) / 8;
	*mask = (uint8_t)(1u << (msr & 7));
	return true;
}

void vmx_msr_open(struct vmx_vcpu *v, uint32_t msr, bool read, bool write)
{
	uint8_t *map = phys_to_virt(v->msr_bitmap);
	uint32_t byte;
	uint8_t mask;

	if (!msr_position(msr, &byte, &mask))
		return;
	if (read)
		map[byte] &= (uint8_t)~mask;
	if (write)
		map[byte + BITMAP_WRITE] &= (uint8_t)~mask;
}

static void msr_close(struct vmx_vcpu *v, uint32_t msr)
{
	uint8_t *map = phys_to_virt(v->msr_bitmap);
	uint32_t byte;
	uint8_t mask;

	if (!msr_position(msr, &byte, &mask))
		return;
	map[byte] |= mask;
	map[byte + BITMAP_WRITE] |= mask;
}

/* x2APIC registers that the CPU answers from the virtual-APIC page (SDM 3C, "Virtualizing MSR-Based APIC Accesses"). */
static void open_x2apic(struct vmx_vcpu *v)
{
	static const uint8_t readable[] = {
		0x02, 0x03, 0x08, 0x0a, 0x0d, 0x0f, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a,
		0x1b, 0x1c, 0x1d, 0x1e, 0x1f, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, 0x30, 0x32, 0x33,
		0x34, 0x35, 0x36, 0x37, 0x38, 0x3e,
	};

	vmx_msr_open(v, MSR_X2APIC_BASE + 0x08, true, true); /* TPR */
	if (vmx_caps.apic_registers)
		for (unsigned i = 0; i < ARRAY_SIZE(readable); i++)
			vmx_msr_open(v, MSR_X2APIC_BASE + readable[i], true, false);
	if (vmx_caps.virtual_intr) {
		vmx_msr_open(v, MSR_X2APIC_BASE + 0x0b, false, true); /* EOI */
		vmx_msr_open(v, MSR_X2APIC_BASE + 0x3f, false, true); /* SELF IPI */
	}
}

void vmx_set_apic_mode(struct vmx_vcpu *v, enum vmx_apic_mode mode)
{
	const struct vmx_caps *c = &vmx_caps;
	uint32_t all = PROC2_APIC_ACCESS | PROC2_X2APIC | PROC2_APIC_REGISTERS | PROC2_VIRTUAL_INTR, on = 0;

	if (!(v->proc & PROC_TPR_SHADOW))
		return;
	if (mode == VMX_APIC_XAPIC && c->apic_access)
		on = PROC2_APIC_ACCESS;
	if (mode == VMX_APIC_X2APIC && c->x2apic)
		on = PROC2_X2APIC;
	if (on && c->apic_registers)
		on |= PROC2_APIC_REGISTERS;
	if (on && c->virtual_intr)
		on |= PROC2_VIRTUAL_INTR;
	vmx_set_proc2(v, on, all & ~on);
	if (on & PROC2_VIRTUAL_INTR)
		vmx_set_pin(v, PIN_POSTED_INTR, 0);
	else
		vmx_set_pin(v, 0, PIN_POSTED_INTR);
	for (uint32_t m = 0; m < X2APIC_MSRS; m++)
		msr_close(v, MSR_X2APIC_BASE + m);
	if (on & PROC2_X2APIC)
		open_x2apic(v);
}
