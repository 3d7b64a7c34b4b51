/*
 * KVM's clock as a guest reads it: nanoseconds from TSC ticks by a shift and a 32-bit multiplication, without an exit. Pure.
 * The layout is Linux's ("KVM-specific MSRs" in its documentation), known to other systems as well.
 */
#pragma once
#include <tf/types.h>

/* ns = ((ticks << shift) * mul) >> 32; a negative shift is one to the right. */
struct kvm_scale { uint32_t mul; int8_t shift; };

/* struct pvclock_vcpu_time_info */
struct kvm_time {
	uint32_t version;       /* odd while it is being written */
	uint32_t reserved;
	uint64_t tsc_timestamp; /* the guest's TSC at ... */
	uint64_t system_time;   /* ... this time in nanoseconds */
	uint32_t mul;
	int8_t shift;
	uint8_t flags;          /* KVM_TIME_* */
	uint8_t reserved_30[2];
} __attribute__((packed, aligned(4))); /* so a guest may place it */
_Static_assert(sizeof(struct kvm_time) == 32 && offsetof(struct kvm_time, flags) == 29, "struct pvclock_vcpu_time_info");
#define KVM_TIME_STABLE 1 /* the same on all vCPUs: time never steps back from one to the other */

/* struct pvclock_wall_clock */
struct kvm_wall { uint32_t version, sec, nsec; };
_Static_assert(sizeof(struct kvm_wall) == 12, "struct pvclock_wall_clock");

/* For a TSC of `hz`, which is not 0. The error is less than one part in 2^31, on the slow side. */
struct kvm_scale kvm_scale_of(uint64_t hz);
/* As the guest computes it. */
uint64_t kvm_scale_ns(struct kvm_scale s, uint64_t ticks);
/* Writes what the guest may be reading on another CPU. *version is the writer's: what stands in the memory may be anything. */
void kvm_time_write(struct kvm_time *to, uint32_t *version, struct kvm_scale s, uint64_t tsc_at_0, uint8_t flags);
void kvm_wall_write(struct kvm_wall *to, uint64_t unix_at_0);
