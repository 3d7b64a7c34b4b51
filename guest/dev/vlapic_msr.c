/* The local APIC's MSRs: x2APIC registers, IA32_APIC_BASE and IA32_TSC_DEADLINE. */
#include "guest/dev/vlapic_regs.h"

#define X2APIC_LAST 0x8ff
#define APIC_BASE_FLAGS (APIC_BASE_BSP | APIC_BASE_X2APIC | APIC_BASE_ENABLE)

/* SDM 3A, "x2APIC Register Address Space": MSR 800h + n is the register at 16 * n. */
static uint32_t x2apic_offset(uint32_t msr) { return (msr - MSR_X2APIC_BASE) << 4; }

static bool x2apic_readable(uint32_t offset)
{
	switch (offset) {
	case APIC_ID:
	case APIC_VERSION:
	case APIC_TPR:
	case APIC_PPR:
	case APIC_LDR:
	case APIC_SVR:
	case APIC_ISR ... APIC_ESR:
	case APIC_ICR_LO:
	case APIC_LVT_TIMER ... APIC_TIMER_CCR:
	case APIC_TIMER_DCR:
		return true;
	}
	return false;
}

/*
 * The bits that may be set in a write; false if the register cannot be written. Status bits that are only read-only,
 * not reserved, are ignored as in MMIO.
 */
static bool x2apic_writable(uint32_t offset, uint64_t *bits)
{
	switch (offset) {
	case APIC_TPR:
	case APIC_SELF_IPI:
		*bits = 0xff;
		return true;
	case APIC_EOI:
	case APIC_ESR:
		*bits = 0;
		return true;
	case APIC_SVR:
		*bits = SVR_WRITABLE;
		return true;
	case APIC_ICR_LO:
		*bits = 0xffffffffull << 32 | ICR_WRITABLE | ICR_STATUS;
		return true;
	case APIC_LVT_TIMER:
		*bits = LVT_VECTOR | LVT_STATUS | LVT_MASKED | LVT_TIMER_MODE;
		return true;
	case APIC_LVT_THERMAL:
	case APIC_LVT_PMC:
		*bits = LVT_VECTOR | LVT_DELIVERY | LVT_STATUS | LVT_MASKED;
		return true;
	case APIC_LVT_LINT0:
	case APIC_LVT_LINT1:
		*bits = LVT_VECTOR | LVT_DELIVERY | LVT_STATUS | LVT_POLARITY | LVT_REMOTE_IRR | LVT_LEVEL | LVT_MASKED;
		return true;
	case APIC_LVT_ERROR:
		*bits = LVT_VECTOR | LVT_STATUS | LVT_MASKED;
		return true;
	case APIC_TIMER_ICR:
		*bits = UINT32_MAX;
		return true;
	case APIC_TIMER_DCR:
		*bits = DCR_WRITABLE;
		return true;
	}
	return false;
}

/* SDM 3A, "x2APIC State Transitions" */
static enum tf_err vlapic_base_write(struct vlapic *l, uint64_t value)
{
	uint64_t address = (BIT(l->phys_bits) - 1) & ~(PAGE_SIZE - 1);
	bool enable = value & APIC_BASE_ENABLE, x2apic = value & APIC_BASE_X2APIC;
	bool was_enabled = vlapic_enabled(l), was_x2apic = vlapic_x2apic(l);
	if (value & ~(address | APIC_BASE_FLAGS))
		return TF_EINVAL;
	if (x2apic && (!enable || !was_enabled))
		return TF_EINVAL;
	if (was_x2apic && enable && !x2apic)
		return TF_EINVAL;

	l->base_msr = value;
	if (was_enabled && !enable)
		vlapic_reset(l);
	else
		vlapic_set_id(l); /* its format is the mode's */
	return TF_OK;
}

enum tf_err vlapic_rdmsr(struct vlapic *l, uint32_t msr, uint64_t *value)
{
	if (msr == MSR_IA32_APIC_BASE) {
		*value = l->base_msr;
		return TF_OK;
	}
	if (msr == MSR_IA32_TSC_DEADLINE) {
		*value = vlapic_timer_deadline_read(l);
		return TF_OK;
	}
	if (msr < MSR_X2APIC_BASE || msr > X2APIC_LAST || !vlapic_x2apic(l))
		return TF_EINVAL;
	uint32_t offset = x2apic_offset(msr);
	if (!x2apic_readable(offset))
		return TF_EINVAL;
	*value = vlapic_read(l, offset);
	if (offset == APIC_ICR_LO)
		*value |= (uint64_t)*apic_reg(l, APIC_X2_ICR_DEST) << 32;
	return TF_OK;
}

enum tf_err vlapic_wrmsr(struct vlapic *l, uint32_t msr, uint64_t value)
{
	uint64_t bits;
	if (msr == MSR_IA32_APIC_BASE)
		return vlapic_base_write(l, value);
	if (msr == MSR_IA32_TSC_DEADLINE) {
		vlapic_timer_deadline_write(l, value);
		return TF_OK;
	}
	if (msr < MSR_X2APIC_BASE || msr > X2APIC_LAST || !vlapic_x2apic(l))
		return TF_EINVAL;
	uint32_t offset = x2apic_offset(msr);
	if (!x2apic_writable(offset, &bits) || value & ~bits)
		return TF_EINVAL;
	if (offset == APIC_ICR_LO)
		*apic_reg(l, APIC_X2_ICR_DEST) = (uint32_t)(value >> 32);
	vlapic_write(l, offset, (uint32_t)value);
	return TF_OK;
}
