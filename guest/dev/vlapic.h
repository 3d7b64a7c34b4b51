/*
 * A local APIC (SDM 3A, "Advanced Programmable Interrupt Controller (APIC)"). Its registers live in a 4 KiB page laid
 * out as the hardware's, so that the same page can be the CPU's virtual-APIC page; what the CPU virtualises itself is
 * simply not asked here. xAPIC and x2APIC; timer one-shot, periodic and TSC-deadline.
 */
#pragma once
#include "guest/dev/vioapic.h"
#include <tf/dev.h>
#include <tf/err.h>
#include <tf/x86.h>

#define APIC_ID 0x20
#define APIC_VERSION 0x30
#define APIC_TPR 0x80
#define APIC_PPR 0xa0
#define APIC_EOI 0xb0
#define APIC_LDR 0xd0
#define APIC_DFR 0xe0
#define APIC_SVR 0xf0
#define APIC_ISR 0x100
#define APIC_TMR 0x180
#define APIC_IRR 0x200
#define APIC_ESR 0x280
#define APIC_LVT_CMCI 0x2f0
#define APIC_ICR_LO 0x300
#define APIC_ICR_HI 0x310
#define APIC_LVT_TIMER 0x320
#define APIC_LVT_THERMAL 0x330
#define APIC_LVT_PMC 0x340
#define APIC_LVT_LINT0 0x350
#define APIC_LVT_LINT1 0x360
#define APIC_LVT_ERROR 0x370
#define APIC_TIMER_ICR 0x380
#define APIC_TIMER_CCR 0x390
#define APIC_TIMER_DCR 0x3e0
#define APIC_SELF_IPI 0x3f0 /* x2APIC only */

/* Destination shorthands (SDM 3A, "Interrupt Command Register (ICR)") */
enum apic_shorthand { SHORTHAND_NONE, SHORTHAND_SELF, SHORTHAND_ALL, SHORTHAND_OTHERS };

struct vlapic;
#define APIC_SLOT 16u /* every register sits at the start of 16 bytes */

struct vlapic_ops {
	/*
	 * An IPI from the ICR. Always an asserted edge: the INIT level de-assert, illegal vectors and reserved delivery
	 * modes do not get here. A destination of FFh (xAPIC) or FFFFFFFFh is everyone; vlapic_matches knows.
	 */
	void (*ipi)(void *ctx, struct vlapic *from, const struct apic_msg *msg, enum apic_shorthand shorthand);
	/* EOI of a vector whose TMR bit is set. */
	void (*eoi)(void *ctx, uint8_t vector);
	/* NMI or other non-vectored local delivery (LINT1 as NMI, error, ...): delivery mode as in struct apic_msg. */
	void (*local)(void *ctx, struct vlapic *l, uint8_t delivery);
	/* Something became deliverable: the vCPU must look again (and wake up). */
	void (*kick)(void *ctx, struct vlapic *l);
	/* The same of one vector alone, which has just been requested. */
	void (*requested)(void *ctx, struct vlapic *l, uint8_t vector);
};

struct vlapic {
	uint8_t *page;                /* 4 KiB, aligned; the caller's */
	const struct dev_host *host;  /* hz is the timer's input clock before its divider (and now() its count) */
	const struct vlapic_ops *ops;
	void *ctx;
	uint32_t id;                  /* initial APIC ID, x2APIC ID */
	uint64_t base_msr;            /* IA32_APIC_BASE */
	uint64_t tsc_deadline;        /* IA32_TSC_DEADLINE as the guest wrote it, 0 disarmed */
	uint64_t deadline;            /* armed host time, or DEV_NEVER */
	uint32_t esr;                 /* collected errors, shown after a write to ESR */
	uint32_t timer_lvt;           /* LVT timer entry in force */
	uint32_t backlog;             /* periodic timer interrupts that wait until the one before is taken */
	uint8_t timer_shift;          /* log2 of the timer's divider */
	uint8_t lint;                 /* LINT0 and LINT1 levels */
	bool lint0_remote_irr;        /* a level-triggered LINT0 was delivered and awaits its EOI */
	uint8_t phys_bits;            /* MAXPHYADDR, at most 52; 36 after vlapic_init, the caller may set it */
	bool resync;                  /* ISR or TMR changed, not by the CPU, which has copies; the caller clears it */
	bool hw_virtual;              /* virtual-interrupt delivery: the CPU evaluates PPR and EOI itself */
	uint8_t irr_words, isr_words; /* if not: a bit for each of their 32-bit words that is not zero */
	/*
	 * Guest TSC value -> host time of host->now(), for the TSC-deadline mode; gets `ctx` above. Set by the caller after
	 * vlapic_init; without it the two are the same.
	 */
	uint64_t (*tsc_to_host)(void *ctx, uint64_t guest_tsc);
};

/*
 * Power-up state. Clears `page` and every field; cancels the host timer. LVT LINT0 = ExtINT unmasked, LINT1 = NMI, and
 * SVR enabled if `virtual_wire` (as firmware leaves it).
 */
void vlapic_init(struct vlapic *l, void *page, uint32_t id, bool bsp, bool virtual_wire, const struct dev_host *host,
		 const struct vlapic_ops *ops, void *ctx);
/* INIT: as power-up, but the APIC ID and IA32_APIC_BASE stay. */
void vlapic_reset(struct vlapic *l);

/* From now on the CPU delivers interrupts, and changes the page, itself; or not any more. */
void vlapic_set_hw_virtual(struct vlapic *l, bool on);

static inline bool vlapic_enabled(const struct vlapic *l) { return l->base_msr & APIC_BASE_ENABLE; }
static inline bool vlapic_x2apic(const struct vlapic *l) { return l->base_msr & APIC_BASE_X2APIC; }
bool vlapic_software_enabled(const struct vlapic *l); /* and SVR[8] */

/* xAPIC MMIO: dev_access_fn over the 4 KiB page. Accesses that are not 32-bit aligned behave as on hardware (undefined, harmless). */
void vlapic_access(void *l, struct dev_access *a);
/* May a write there make deliverable what is requested already? Whatever else a write brings about tells of itself by ops->kick. */
static inline bool vlapic_write_delivers(uint32_t offset)
{
	offset &= ~0xfu;
	return offset == APIC_TPR || offset == APIC_SVR;
}
/* The effect of a 32-bit xAPIC write at `offset` whose value is already in the page (APIC-write VM exit), and the
 * shared second half of vlapic_access and the x2APIC writes. */
void vlapic_write(struct vlapic *l, uint32_t offset, uint32_t value);
uint32_t vlapic_read(struct vlapic *l, uint32_t offset);
/* A write to the EOI register. */
void vlapic_eoi(struct vlapic *l);
/* x2APIC MSRs 800h to 8FFh, IA32_APIC_BASE and IA32_TSC_DEADLINE. TF_EINVAL means #GP. */
__must_check enum tf_err vlapic_rdmsr(struct vlapic *l, uint32_t msr, uint64_t *value);
__must_check enum tf_err vlapic_wrmsr(struct vlapic *l, uint32_t msr, uint64_t value);

/* Does a message with this destination reach this APIC? (physical, logical flat and cluster, x2APIC, broadcast) */
bool vlapic_matches(const struct vlapic *l, uint32_t dest, bool logical);
/* Sets the vector in IRR (and TMR as `level` says); vectors below 16 set the error register instead. Kicks. */
void vlapic_inject(struct vlapic *l, uint8_t vector, bool level);
/* LINT0 and LINT1 pins, asserted or not (the polarity in the LVT is not looked at). LINT0 in ExtINT mode says so by vlapic_extint(). */
void vlapic_set_lint(struct vlapic *l, unsigned pin, bool level);
/* May the 8259's INTR reach the CPU? (APIC hardware-disabled, or LINT0 unmasked in ExtINT mode) */
bool vlapic_extint(const struct vlapic *l);
/* The highest vector that may be delivered now (above PPR), or -1. While the CPU keeps PPR, as of the last exit. */
int vlapic_pending(struct vlapic *l);
/* The CPU takes it: IRR to ISR. Asserts that it is in IRR: call it with what vlapic_pending said just before. */
void vlapic_ack(struct vlapic *l, uint8_t vector);
/* Is the vector in IRR, requested and not taken yet? */
bool vlapic_requested(const struct vlapic *l, uint8_t vector);
/*
 * Is `vector` all that is in service, edge-triggered, and nothing is requested? Then its EOI takes it out of service, and
 * nothing follows from that.
 */
bool vlapic_eoi_is_plain(const struct vlapic *l, uint8_t vector);
/* Highest IRR vector whatever the priority, and highest ISR vector; -1 if none (for RVI and SVI). */
int vlapic_highest_irr(const struct vlapic *l);
int vlapic_highest_isr(const struct vlapic *l);
/* The EOI of `vector` was done by the CPU (EOI-induced VM exit): broadcast if it was level-triggered. */
void vlapic_eoi_done(struct vlapic *l, uint8_t vector);
/*
 * The timer's deadline has come: fires if due, re-arms a periodic timer. Periods that ended while the last interrupt was
 * not taken yet, up to a second's, are made up for: an interrupt each, in quicker succession. The count keeps its phase.
 */
void vlapic_tick(struct vlapic *l);
