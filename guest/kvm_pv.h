/*
 * KVM's paravirtual interface, for VMs with hypervisor = kvm: what Linux's Documentation/virt/kvm/x86 (cpuid, msr,
 * hypercalls) describes. A clock without exits, stolen time, and help for vCPUs that wait for each other.
 */
#pragma once
#include "guest/kvm_clock.h"
#include <tf/err.h>

#define KVM_CPUID_BASE     0x40000000u
#define KVM_CPUID_FEATURES 0x40000001u

#define MSR_KVM_BASE        0x4b564d00u /* and the 255 behind it */
#define MSR_KVM_WALL_CLOCK  0x4b564d00u
#define MSR_KVM_SYSTEM_TIME 0x4b564d01u
#define MSR_KVM_STEAL_TIME  0x4b564d03u
#define MSR_KVM_PV_EOI      0x4b564d04u
#define KVM_MSR_ENABLED     BIT(0)

enum kvm_hypercall { KVM_HC_VAPIC_POLL_IRQ = 1, KVM_HC_KICK_CPU = 5, KVM_HC_SEND_IPI = 10, KVM_HC_SCHED_YIELD = 11,
		     KVM_HC_LAST = KVM_HC_SCHED_YIELD };
enum kvm_error { KVM_EPERM = 1, KVM_EINVAL = 22, KVM_ENOSYS = 1000 };

/* struct kvm_steal_time */
struct kvm_steal {
	uint64_t steal;    /* nanoseconds */
	uint32_t version;  /* odd while it is being written */
	uint32_t flags;
	uint8_t preempted; /* KVM_PREEMPTED, KVM_FLUSH_TLB; the guest's other vCPUs write it, too */
	uint8_t reserved[47];
};
_Static_assert(sizeof(struct kvm_steal) == 64 && offsetof(struct kvm_steal, preempted) == 16, "struct kvm_steal_time");
#define KVM_PREEMPTED 1
#define KVM_FLUSH_TLB 2 /* to be flushed before it runs again */

/* A vCPU's part. All but the last two is touched on the vCPU's CPU only. */
struct kvm_pv {
	uint64_t wall_msr, time_msr, steal_msr, eoi_msr; /* as the guest wrote them */
	struct kvm_time *time;   /* in the guest's RAM; NULL: off */
	struct kvm_steal *steal; /* the same */
	uint32_t *eoi;           /* the same; bit 0 set: the guest may end the interrupt by clearing it */
	bool eoi_left;           /* bit 0 was set */
	uint32_t time_version, steal_version;
	uint64_t steal_start, waited_start; /* what stood in *steal when it was named, and v->waited then */
	uint64_t waited_shown;   /* v->waited when *steal was last written */
	struct kvm_scale scale;  /* of the TSC */
	bool unhalt;             /* kicked: out of its HLT, or else out of its next one */
	bool preempted;          /* it could go on, and does not */
};

struct vm;
struct vcpu;
struct cpuid_regs;

void kvm_pv_cpuid(const struct vm *vm, uint32_t leaf, struct cpuid_regs *r);
/* Power-up and INIT: nothing in the guest's memory is written any more. */
void kvm_pv_reset(struct vcpu *v);
/* MSR_KVM_BASE on. TF_ENOENT: absent; TF_EINVAL: #GP. */
__must_check enum tf_err kvm_pv_rdmsr(struct vcpu *v, uint32_t msr, uint64_t *out);
__must_check enum tf_err kvm_pv_wrmsr(struct vcpu *v, uint32_t msr, uint64_t value);
/*
 * How vcpu_run() begins, with v->waited up to date, and how it ends if the vCPU could go on: from then until it begins again
 * the guest's other vCPUs find it preempted, whether the CPU is really given to somebody else or not.
 */
void kvm_pv_switch_in(struct vcpu *v);
void kvm_pv_switch_out(struct vcpu *v);
/* The guest has moved this vCPU's TSC: its clock follows, and the others learn whether they still agree. */
void kvm_pv_tsc_moved(struct vcpu *v);
/* REQ_CLOCK. */
void kvm_pv_update_clock(struct vcpu *v);
/*
 * EOIs in memory, where the CPU does not deliver interrupts itself. The vCPU takes `vector`, the interrupt that it was just
 * given: leaves its EOI to the guest's memory if nothing can follow from it.
 */
void kvm_pv_leave_eoi(struct vcpu *v, uint8_t vector);
/* With eoi_left. After each exit: does what the guest has done in its memory. Before each entry: a request that waits for the
 * EOI has come, so that it must be seen. */
void kvm_pv_take_eoi(struct vcpu *v);
void kvm_pv_want_eoi(struct vcpu *v);
/* At HLT, and when it wakes: true if it has been kicked, which has then had its effect. */
bool kvm_pv_take_kick(struct vcpu *v);
/* Is it to wake? */
static inline bool kvm_pv_kicked(const struct kvm_pv *k) { return __atomic_load_n(&k->unhalt, __ATOMIC_ACQUIRE); }
