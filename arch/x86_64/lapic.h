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
void lapic_timer_stop(void);
/* Fixed-delivery IPI. */
void lapic_ipi(uint32_t apic_id, uint8_t vector);
