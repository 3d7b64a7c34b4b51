/* The local APIC's interrupts: acceptance, priority, EOI, errors, the LINT pins, and who is addressed. */
#include "guest/dev/vlapic_regs.h"
#include <tf/assert.h>
#include <tf/math.h>

#define CLASS 0xf0u /* a vector's priority class */

static inline int highest_of_all(const struct vlapic *l, uint32_t base)
{
#pragma GCC unroll 8
	for (int i = 7; i >= 0; i--) {
		uint32_t bits = *apic_reg(l, base + (uint32_t)i * 16);
		if (bits)
			return i * 32 + (int)bit_highest(bits);
	}
	return -1;
}

static inline int highest_of(const struct vlapic *l, uint32_t base, uint32_t words)
{
	if (!words)
		return -1;
	unsigned i = bit_highest(words);
	return (int)(i * 32 + bit_highest(*apic_reg(l, base + i * 16)));
}

int vlapic_highest_irr(const struct vlapic *l)
{
	return l->hw_virtual ? highest_of_all(l, APIC_IRR) : highest_of(l, APIC_IRR, l->irr_words);
}

int vlapic_highest_isr(const struct vlapic *l)
{
	return l->hw_virtual ? highest_of_all(l, APIC_ISR) : highest_of(l, APIC_ISR, l->isr_words);
}

static uint8_t words_in_use(const struct vlapic *l, uint32_t base)
{
	uint8_t words = 0;
	for (uint32_t i = 0; i < 8; i++)
		words |= (uint8_t)(!!*apic_reg(l, base + i * 16) << i);
	return words;
}

void vlapic_set_hw_virtual(struct vlapic *l, bool on)
{
	l->hw_virtual = on;
	l->resync = true;
	l->irr_words = words_in_use(l, APIC_IRR);
	l->isr_words = words_in_use(l, APIC_ISR);
}

static inline uint8_t word_bit(uint8_t vector) { return (uint8_t)(1u << vector / 32); }

bool vlapic_requested(const struct vlapic *l, uint8_t vector) { return apic_vector_test(l, APIC_IRR, vector); }

/* SDM 3A, "Task and Processor Priorities" */
static uint32_t set_ppr(struct vlapic *l, int isr)
{
	uint32_t ppr = *apic_reg(l, APIC_TPR) & 0xff;
	if (isr >= 0 && ((uint32_t)isr & CLASS) > (ppr & CLASS))
		ppr = (uint32_t)isr & CLASS;
	*apic_reg(l, APIC_PPR) = ppr;
	return ppr;
}

uint32_t vlapic_update_ppr(struct vlapic *l) { return set_ppr(l, vlapic_highest_isr(l)); }

int vlapic_pending(struct vlapic *l)
{
	int irr = vlapic_highest_irr(l);
	if (irr < 0)
		return -1;
	uint32_t ppr = l->hw_virtual ? *apic_reg(l, APIC_PPR) : vlapic_update_ppr(l);
	return ((uint32_t)irr & CLASS) > (ppr & CLASS) ? irr : -1;
}

void vlapic_ack(struct vlapic *l, uint8_t vector)
{
	apic_reg_t *irr = apic_vector_reg(l, APIC_IRR, vector);
	ASSERT(*irr & apic_vector_bit(vector));
	*apic_vector_reg(l, APIC_ISR, vector) |= apic_vector_bit(vector);
	l->isr_words |= word_bit(vector);
	if (!(*irr &= ~apic_vector_bit(vector)))
		l->irr_words ^= word_bit(vector);
	*apic_reg(l, APIC_PPR) = vector & CLASS; /* it is above all in service, and above TPR */
}

/* Where the CPU delivers interrupts itself it is to be told of what has changed. */
void vlapic_kick_if_pending(struct vlapic *l)
{
	if (l->hw_virtual || vlapic_pending(l) >= 0)
		l->ops->kick(l->ctx, l);
}

void vlapic_inject(struct vlapic *l, uint8_t vector, bool level)
{
	if (!apic_accepts(l))
		return;
	if (vector < VECTOR_FIRST) {
		vlapic_error(l, ESR_RECEIVED_ILLEGAL_VECTOR);
		return;
	}
	uint32_t bit = apic_vector_bit(vector);
	apic_reg_t *tmr = apic_vector_reg(l, APIC_TMR, vector);
	if (unlikely((*tmr & bit) || level)) {
		l->resync |= !(*tmr & bit) == level;
		*tmr = level ? *tmr | bit : *tmr & ~bit;
	}
	*apic_vector_reg(l, APIC_IRR, vector) |= bit;
	l->irr_words |= word_bit(vector);
	l->ops->requested(l->ctx, l, vector);
}

/* The first error after a write to ESR raises the error interrupt; further ones only collect. */
void vlapic_error(struct vlapic *l, uint32_t esr_bit)
{
	bool first = !l->esr;
	l->esr |= esr_bit;
	uint32_t lvt = *apic_reg(l, APIC_LVT_ERROR);
	if (first && !(lvt & LVT_MASKED))
		vlapic_inject(l, lvt & LVT_VECTOR, false);
}

/*
 * LINT0 as a level-triggered fixed interrupt: asserted until the line falls, with a remote IRR as an I/O APIC has it.
 * LINT1 is always edge-triggered, and so are the delivery modes without a vector.
 */
static void vlapic_lint0_level(struct vlapic *l)
{
	uint32_t lvt = *apic_reg(l, APIC_LVT_LINT0);
	if (!(l->lint & 1) || lvt & (LVT_MASKED | LVT_REMOTE_IRR | LVT_DELIVERY) || !(lvt & LVT_LEVEL))
		return;
	if ((lvt & LVT_VECTOR) >= VECTOR_FIRST) {
		*apic_reg(l, APIC_LVT_LINT0) |= LVT_REMOTE_IRR;
		l->lint0_remote_irr = true;
	}
	vlapic_inject(l, lvt & LVT_VECTOR, true);
}

static void vlapic_lint_edge(struct vlapic *l, unsigned pin)
{
	uint32_t lvt = *apic_reg(l, pin ? APIC_LVT_LINT1 : APIC_LVT_LINT0);
	if (lvt & LVT_MASKED)
		return;
	uint8_t delivery = (uint8_t)((lvt & LVT_DELIVERY) >> LVT_DELIVERY_SHIFT);
	switch (delivery) {
	case APIC_FIXED:
		if (pin || !(lvt & LVT_LEVEL))
			vlapic_inject(l, lvt & LVT_VECTOR, false);
		break;
	case APIC_SMI:
	case APIC_NMI:
	case APIC_INIT:
		l->ops->local(l->ctx, l, delivery);
		break;
	case APIC_EXTINT:
		if (!pin)
			l->ops->kick(l->ctx, l);
		break;
	}
}

void vlapic_set_lint(struct vlapic *l, unsigned pin, bool level)
{
	ASSERT(pin < 2);
	uint8_t bit = (uint8_t)(1u << pin);
	bool rising = level && !(l->lint & bit);
	l->lint = level ? l->lint | bit : l->lint & (uint8_t)~bit;
	if (!rising)
		return;
	/* Disabled in IA32_APIC_BASE, the pins are the plain INTR and NMI. */
	if (vlapic_enabled(l))
		vlapic_lint_edge(l, pin);
	else if (pin)
		l->ops->local(l->ctx, l, APIC_NMI);
	else
		l->ops->kick(l->ctx, l);
	vlapic_lint0_level(l);
}

/* `lvt` is the new entry, sanitized and already in the page, where its remote IRR is missing. */
void vlapic_lint0_written(struct vlapic *l, uint32_t lvt)
{
	if (!(lvt & LVT_LEVEL) || lvt & LVT_DELIVERY)
		l->lint0_remote_irr = false;
	if (l->lint0_remote_irr)
		*apic_reg(l, APIC_LVT_LINT0) = lvt | LVT_REMOTE_IRR;
	vlapic_lint0_level(l);
	if (l->lint & 1 && vlapic_extint(l))
		l->ops->kick(l->ctx, l);
}

bool vlapic_extint(const struct vlapic *l)
{
	uint32_t lvt = *apic_reg(l, APIC_LVT_LINT0);
	return !vlapic_enabled(l) || (lvt & (LVT_MASKED | LVT_DELIVERY)) == APIC_EXTINT << LVT_DELIVERY_SHIFT;
}

void vlapic_eoi_done(struct vlapic *l, uint8_t vector)
{
	if (!apic_vector_test(l, APIC_TMR, vector))
		return;
	l->ops->eoi(l->ctx, vector);
	uint32_t lvt = *apic_reg(l, APIC_LVT_LINT0);
	if (l->lint0_remote_irr && (lvt & LVT_VECTOR) == vector) {
		l->lint0_remote_irr = false;
		*apic_reg(l, APIC_LVT_LINT0) = lvt & ~LVT_REMOTE_IRR;
		vlapic_lint0_level(l);
	}
}

void vlapic_eoi(struct vlapic *l)
{
	int highest = vlapic_highest_isr(l);
	if (highest < 0)
		return;
	uint8_t vector = (uint8_t)highest;
	if (!(*apic_vector_reg(l, APIC_ISR, vector) &= ~apic_vector_bit(vector)))
		l->isr_words ^= word_bit(vector);
	l->resync = true;
	(void)vlapic_update_ppr(l);
	if (unlikely(apic_vector_test(l, APIC_TMR, vector)))
		vlapic_eoi_done(l, vector);
	if (l->hw_virtual || l->irr_words)
		vlapic_kick_if_pending(l);
}

bool vlapic_eoi_is_plain(const struct vlapic *l, uint8_t vector)
{
	for (unsigned v = 0; v < 256; v += 32)
		if (*apic_vector_reg(l, APIC_ISR, (uint8_t)v) != (v / 32 == vector / 32 ? apic_vector_bit(vector) : 0))
			return false;
	return !apic_vector_test(l, APIC_TMR, vector) && vlapic_highest_irr(l) < 0;
}

/* SDM 3A, "Logical Destination Mode" and "Logical Destination Mode in x2APIC Mode" */
static bool vlapic_matches_logical(const struct vlapic *l, uint32_t dest)
{
	uint32_t ldr = *apic_reg(l, APIC_LDR);
	if (vlapic_x2apic(l))
		return dest >> 16 == ldr >> 16 && (dest & ldr & 0xffff);
	if (dest == 0xff)
		return true;
	if (dest > 0xff)
		return false;
	ldr >>= 24;
	switch (*apic_reg(l, APIC_DFR) >> 28) {
	case 0xf: /* flat */
		return dest & ldr;
	case 0x0: /* cluster */
		return dest >> 4 == ldr >> 4 && (dest & ldr & 0xf);
	}
	return false;
}

bool vlapic_matches(const struct vlapic *l, uint32_t dest, bool logical)
{
	if (!vlapic_enabled(l))
		return false;
	if (dest == UINT32_MAX)
		return true;
	if (logical)
		return vlapic_matches_logical(l, dest);
	/* FFh is a broadcast of everyone with 8 bits of destination, whatever mode we are in: no APIC has this ID. */
	return dest == 0xff || dest == (vlapic_x2apic(l) ? l->id : l->id & 0xff);
}
