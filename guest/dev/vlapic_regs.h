/* What the files of the local APIC share: access to the register page, register bits, and their inner functions. */
#pragma once
#include "guest/dev/vlapic.h"

/* 14h: integrated APIC; highest LVT entry 5, so no LVT CMCI; bit 24 clear: no EOI-broadcast suppression. */
#define APIC_VERSION_VALUE 0x00050014u

#define APIC_APR 0x90 /* gone since the Pentium 4, read as 0 */
#define APIC_RRD 0xc0

#define SVR_ENABLE   BIT(8)
#define SVR_WRITABLE 0x3ffu /* bit 9, focus processor checking, can be written and does nothing */
#define SVR_POWER_UP 0xffu

#define LVT_VECTOR     0xffu
#define LVT_DELIVERY   0x700u
#define LVT_DELIVERY_SHIFT 8
#define LVT_STATUS     0x1000u /* read-only: messages never wait here */
#define LVT_POLARITY   0x2000u
#define LVT_REMOTE_IRR 0x4000u /* read-only */
#define LVT_LEVEL      0x8000u
#define LVT_MASKED     0x10000u
#define LVT_TIMER_MODE 0x60000u
#define LVT_TIMER_PERIODIC 0x20000u
#define LVT_TIMER_DEADLINE 0x40000u

#define ICR_WRITABLE 0xccfffu
#define ICR_STATUS   0x1000u /* delivery status, read-only: nothing is ever on its way */
#define APIC_X2_ICR_DEST (APIC_ICR_LO + 4) /* in x2APIC mode the ICR is one register of 64 bits */
#define DCR_WRITABLE 0xbu

/* SDM 3A, "Error Status Register (ESR)" */
#define ESR_SEND_ILLEGAL_VECTOR    BIT(5)
#define ESR_RECEIVED_ILLEGAL_VECTOR BIT(6)
#define ESR_ILLEGAL_REGISTER       BIT(7)

#define VECTOR_FIRST 16 /* vectors below are illegal for an APIC */

typedef uint32_t __attribute__((may_alias)) apic_reg_t;

static inline apic_reg_t *apic_reg(const struct vlapic *l, uint32_t offset)
{
	return (apic_reg_t *)(void *)(l->page + offset);
}

/* ISR, TMR and IRR are 256 bits each, 32 bits in every 16 bytes. */
static inline apic_reg_t *apic_vector_reg(const struct vlapic *l, uint32_t base, uint8_t vector)
{
	return apic_reg(l, base + (vector / 32u) * 16u);
}

static inline uint32_t apic_vector_bit(uint8_t vector) { return 1u << (vector % 32u); }

static inline bool apic_vector_test(const struct vlapic *l, uint32_t base, uint8_t vector)
{
	return *apic_vector_reg(l, base, vector) & apic_vector_bit(vector);
}

/* vlapic_software_enabled() */
static inline bool apic_accepts(const struct vlapic *l) { return vlapic_enabled(l) && *apic_reg(l, APIC_SVR) & SVR_ENABLE; }

/* vlapic.c: the ID register, and in x2APIC mode LDR, as `id` says. */
void vlapic_set_id(struct vlapic *l);

/* vlapic_irq.c */
uint32_t vlapic_update_ppr(struct vlapic *l);
void vlapic_error(struct vlapic *l, uint32_t esr_bit);
void vlapic_kick_if_pending(struct vlapic *l);
void vlapic_lint0_written(struct vlapic *l, uint32_t lvt);

/* vlapic_timer.c. `lvt` is sanitized; the page holds it already. */
void vlapic_timer_reset(struct vlapic *l);
void vlapic_timer_lvt_written(struct vlapic *l, uint32_t lvt);
void vlapic_timer_load(struct vlapic *l, uint32_t count);
void vlapic_timer_divide(struct vlapic *l, uint32_t dcr);
uint32_t vlapic_timer_count(struct vlapic *l);
void vlapic_timer_deadline_write(struct vlapic *l, uint64_t tsc);
uint64_t vlapic_timer_deadline_read(struct vlapic *l);
