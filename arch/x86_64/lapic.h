/* This CPU's local APIC: xAPIC at its MMIO page, or x2APIC where the firmware left it on. */
#pragma once
#include <tf/err.h>

/* Maps and enables it; LVTs masked, spurious vector set, timer calibrated against the TSC. Needs tsc_init() first. */
void lapic_init(hpa_t base);
uint32_t lapic_id(void);
void lapic_eoi(void);
/* Has this CPU taken the interrupt `vector` from its local APIC, and not ended it yet? */
bool lapic_in_service(uint8_t vector);
/*
 * One timer interrupt (IRQ_VECTOR_TIMER) when the TSC reaches `tsc`, at once if that is past. TSC-deadline mode where the
 * CPU has it, else one-shot, which comes early when the time is beyond the counter's range: the handler looks at the TSC
 * and arms again.
 */
void lapic_timer_arm(uint64_t tsc);
/* Lets NMIs in at LINT0 or LINT1, where the MADT says that the platform's arrive. */
void lapic_open_nmi(unsigned lint, bool active_low);
/*
 * INIT to all other CPUs: they wait for a start-up IPI from then on. The firmware has left them asleep in loops, perhaps
 * in memory that it gave up (UEFI boot services), and an SMI can wake them there: to be called before that is used for
 * something else, on the early page tables.
 */
void lapic_park_others(void);
/* Fixed-delivery IPI. */
void lapic_ipi(uint32_t apic_id, uint8_t vector);
/* The others of "Multiple-Processor Initialization"; `page` is where the CPU starts, in real mode. */
void lapic_send_init(uint32_t apic_id);
void lapic_send_startup(uint32_t apic_id, uint8_t page);
void lapic_send_nmi(uint32_t apic_id);
/* Can an IPI name this CPU? Ids from 255 on need x2APIC mode. */
bool lapic_reaches(uint32_t apic_id);
