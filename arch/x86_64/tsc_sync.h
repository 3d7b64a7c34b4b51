/* Whether two CPUs' TSCs agree, and what is done where they do not. */
#pragma once
#include <tf/types.h>

/* Shared by the two CPUs, on cache lines of their own; each writes its half only. All 0 before the new CPU is started. */
struct tsc_sync {
	_Alignas(64) uint64_t lead_turn, lead_tsc, adjust;
	_Alignas(64) uint64_t follow_turn, follow_tsc;
	_Alignas(64) int64_t offset; /* of the follower, as first measured; within the time that a question takes */
};

/*
 * On the boot CPU, while the new one is in tsc_sync_follow(): asks for its time some hundred times. Where it is off by more
 * than the quickest answer took, the new CPU is told to set its TSC (IA32_TSC_ADJUST where there is one), and asked again.
 * False: it still is.
 */
__must_check bool tsc_sync_lead(struct tsc_sync *s, uint32_t cpu);
void tsc_sync_follow(struct tsc_sync *s);
