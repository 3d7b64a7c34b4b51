/* The time base: the TSC, calibrated once. */
#pragma once
#include <tf/types.h>

/* What the firmware names, in memory or at an I/O port; 0: absent. The PIT is always tried last. */
struct tsc_refs { hpa_t hpet_base; uint16_t pm_timer_port; hpa_t pm_timer_mem; };

/* Measures against HPET, PM timer or PIT, in this order of preference, at least twice with agreement; logs the source,
 * and warns where CPUID 15h/16h disagrees by more than 1 % (it is only a hint). */
void tsc_init(const struct tsc_refs *refs);
extern uint64_t tsc_hz;
/* TSC at hypervisor entry: log time zero. */
extern uint64_t tsc_boot;
uint64_t tsc_from_us(uint64_t us);
uint64_t tsc_to_us(uint64_t ticks);
/* Waits. */
void tsc_spin_us(uint64_t us);
