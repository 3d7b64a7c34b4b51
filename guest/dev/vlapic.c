/* The local APIC's registers: power-up state, reads and writes as xAPIC MMIO. MSRs are in vlapic_msr.c. */
#include "guest/dev/vlapic_regs.h"
#include <tf/string.h>

#define DEFAULT_PHYS_BITS 36

static const uint16_t vlapic_lvts[] = {
	APIC_LVT_TIMER, APIC_LVT_THERMAL, APIC_LVT_PMC, APIC_LVT_LINT0, APIC_LVT_LINT1, APIC_LVT_ERROR,
};

bool vlapic_software_enabled(const struct vlapic *l) { return apic_accepts(l); }

void vlapic_set_id(struct vlapic *l)
{
	if (vlapic_x2apic(l)) {
		*apic_reg(l, APIC_ID) = l->id;
		/* SDM 3A, "Deriving Logical x2APIC ID from the Local x2APIC ID" */
		*apic_reg(l, APIC_LDR) = (l->id >> 4) << 16 | 1u << (l->id & 15);
	} else {
		*apic_reg(l, APIC_ID) = l->id << 24;
	}
}

/* SDM 3A, "Local APIC State After Power-Up or Reset" */
void vlapic_reset(struct vlapic *l)
{
	memset(l->page, 0, PAGE_SIZE);
	l->resync = true;
	l->irr_words = l->isr_words = 0;
	*apic_reg(l, APIC_VERSION) = APIC_VERSION_VALUE;
	*apic_reg(l, APIC_DFR) = UINT32_MAX;
	*apic_reg(l, APIC_SVR) = SVR_POWER_UP;
	for (size_t i = 0; i < ARRAY_SIZE(vlapic_lvts); i++)
		*apic_reg(l, vlapic_lvts[i]) = LVT_MASKED;
	vlapic_set_id(l);
	l->esr = 0;
	l->lint0_remote_irr = false;
	vlapic_timer_reset(l);
}

void vlapic_init(struct vlapic *l, void *page, uint32_t id, bool bsp, bool virtual_wire, const struct dev_host *host,
		 const struct vlapic_ops *ops, void *ctx)
{
	*l = (struct vlapic){
		.page = page, .host = host, .ops = ops, .ctx = ctx, .id = id, .phys_bits = DEFAULT_PHYS_BITS,
		.base_msr = APIC_DEFAULT_BASE | APIC_BASE_ENABLE | (bsp ? APIC_BASE_BSP : 0),
	};
	vlapic_reset(l);
	if (virtual_wire) {
		*apic_reg(l, APIC_SVR) |= SVR_ENABLE;
		*apic_reg(l, APIC_LVT_LINT0) = APIC_EXTINT << LVT_DELIVERY_SHIFT;
		*apic_reg(l, APIC_LVT_LINT1) = APIC_NMI << LVT_DELIVERY_SHIFT;
	}
}

uint32_t vlapic_read(struct vlapic *l, uint32_t offset)
{
	switch (offset) {
	case APIC_ID:
	case APIC_VERSION:
	case APIC_TPR:
	case APIC_LDR:
	case APIC_DFR:
	case APIC_SVR:
	case APIC_ISR ... APIC_ESR:
	case APIC_ICR_LO:
	case APIC_ICR_HI:
	case APIC_LVT_TIMER ... APIC_TIMER_ICR:
	case APIC_TIMER_DCR:
		return offset % APIC_SLOT ? 0 : *apic_reg(l, offset);
	case APIC_PPR:
		/* The CPU keeps it in the page itself where it delivers interrupts itself. */
		return l->hw_virtual ? *apic_reg(l, APIC_PPR) : vlapic_update_ppr(l);
	case APIC_TIMER_CCR:
		return vlapic_timer_count(l);
	case APIC_APR:
	case APIC_EOI:
	case APIC_RRD:
		return 0;
	}
	vlapic_error(l, ESR_ILLEGAL_REGISTER);
	return 0;
}

/* SDM 3A, "Interrupt Command Register (ICR)" */
static void vlapic_send(struct vlapic *l, uint32_t lo)
{
	enum { DEST_LOGICAL = 0x800, LEVEL_ASSERT = 0x4000, TRIGGER_LEVEL = 0x8000, SHORTHAND_SHIFT = 18 };
	enum { RESERVED_3 = 3 };
	enum apic_shorthand shorthand = lo >> SHORTHAND_SHIFT & 3;
	struct apic_msg msg = {
		.logical = lo & DEST_LOGICAL,
		.delivery = lo >> 8 & 7,
		.vector = (uint8_t)lo,
		.dest = vlapic_x2apic(l) ? *apic_reg(l, APIC_X2_ICR_DEST) : *apic_reg(l, APIC_ICR_HI) >> 24,
	};
	switch (msg.delivery) {
	case APIC_FIXED:
	case APIC_LOWEST:
		if (msg.vector < VECTOR_FIRST) {
			vlapic_error(l, ESR_SEND_ILLEGAL_VECTOR | (shorthand == SHORTHAND_SELF ? ESR_RECEIVED_ILLEGAL_VECTOR : 0));
			return;
		}
		break;
	case APIC_INIT:
		/* The level de-assert that resynchronised arbitration IDs; nobody listens since the Pentium 4. */
		if (lo & TRIGGER_LEVEL && !(lo & LEVEL_ASSERT))
			return;
		/* fall through */
	case APIC_STARTUP:
		if (shorthand == SHORTHAND_SELF || shorthand == SHORTHAND_ALL)
			return;
		break;
	case RESERVED_3:
	case APIC_EXTINT:
		return;
	}
	/* Level and trigger mode have no meaning for any other message: it is an edge, asserted. */
	l->ops->ipi(l->ctx, l, &msg, shorthand);
}

static void vlapic_lvt_write(struct vlapic *l, uint32_t offset, uint32_t writable, uint32_t value)
{
	value &= writable;
	if (!vlapic_software_enabled(l))
		value |= LVT_MASKED;
	*apic_reg(l, offset) = value;
	if (offset == APIC_LVT_TIMER)
		vlapic_timer_lvt_written(l, value);
	else if (offset == APIC_LVT_LINT0)
		vlapic_lint0_written(l, value);
}

static void vlapic_svr_write(struct vlapic *l, uint32_t value)
{
	*apic_reg(l, APIC_SVR) = value & SVR_WRITABLE;
	if (value & SVR_ENABLE)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(vlapic_lvts); i++)
		*apic_reg(l, vlapic_lvts[i]) |= LVT_MASKED;
	vlapic_timer_lvt_written(l, *apic_reg(l, APIC_LVT_TIMER));
}

void vlapic_write(struct vlapic *l, uint32_t offset, uint32_t value)
{
	switch (offset) {
	case APIC_TPR:
		*apic_reg(l, APIC_TPR) = value & 0xff;
		vlapic_kick_if_pending(l);
		return;
	case APIC_EOI:
		*apic_reg(l, APIC_EOI) = 0;
		vlapic_eoi(l);
		return;
	case APIC_LDR:
		if (!vlapic_x2apic(l))
			*apic_reg(l, APIC_LDR) = value & 0xff000000;
		return;
	case APIC_DFR:
		*apic_reg(l, APIC_DFR) = value | 0x0fffffff;
		return;
	case APIC_SVR:
		vlapic_svr_write(l, value);
		return;
	case APIC_ESR: /* SDM 3A, "Error Handling": a write shows what was collected, and starts again */
		*apic_reg(l, APIC_ESR) = l->esr;
		l->esr = 0;
		return;
	case APIC_ICR_LO:
		*apic_reg(l, APIC_ICR_LO) = value & ICR_WRITABLE;
		vlapic_send(l, value & ICR_WRITABLE);
		return;
	case APIC_ICR_HI:
		*apic_reg(l, APIC_ICR_HI) = value & 0xff000000;
		return;
	case APIC_LVT_TIMER:
		vlapic_lvt_write(l, offset, LVT_VECTOR | LVT_MASKED | LVT_TIMER_MODE, value);
		return;
	case APIC_LVT_THERMAL:
	case APIC_LVT_PMC:
		vlapic_lvt_write(l, offset, LVT_VECTOR | LVT_DELIVERY | LVT_MASKED, value);
		return;
	case APIC_LVT_LINT0:
	case APIC_LVT_LINT1:
		vlapic_lvt_write(l, offset, LVT_VECTOR | LVT_DELIVERY | LVT_POLARITY | LVT_LEVEL | LVT_MASKED, value);
		return;
	case APIC_LVT_ERROR:
		vlapic_lvt_write(l, offset, LVT_VECTOR | LVT_MASKED, value);
		return;
	case APIC_TIMER_ICR:
		vlapic_timer_load(l, value);
		return;
	case APIC_TIMER_DCR:
		*apic_reg(l, APIC_TIMER_DCR) = value & DCR_WRITABLE;
		vlapic_timer_divide(l, value);
		return;
	case APIC_SELF_IPI:
		if (!vlapic_x2apic(l))
			break;
		if ((value & 0xff) < VECTOR_FIRST)
			vlapic_error(l, ESR_SEND_ILLEGAL_VECTOR | ESR_RECEIVED_ILLEGAL_VECTOR);
		else
			vlapic_inject(l, (uint8_t)value, false);
		return;
	case APIC_ID: /* read-only, but the page may have the guest's value already */
		vlapic_set_id(l);
		return;
	case APIC_VERSION:
	case APIC_APR:
	case APIC_PPR:
	case APIC_RRD:
	case APIC_ISR ... APIC_ESR - 1:
	case APIC_TIMER_CCR:
		return;
	}
	vlapic_error(l, ESR_ILLEGAL_REGISTER);
}

void vlapic_access(void *dev, struct dev_access *a)
{
	struct vlapic *l = dev;
	if (!vlapic_enabled(l) || vlapic_x2apic(l) || a->offset >= PAGE_SIZE) {
		a->value = dev_ones(a->size); /* nobody there */
		return;
	}
	uint32_t slot = (uint32_t)ALIGN_DOWN(a->offset, APIC_SLOT), byte = (uint32_t)a->offset % APIC_SLOT;
	if (a->write) {
		if (!byte && a->size == 4)
			vlapic_write(l, slot, (uint32_t)a->value);
	} else {
		/* 32 bits of register, then nothing up to the next one. */
		a->value = byte < 4 ? vlapic_read(l, slot) >> (8 * byte) : 0;
	}
}
