/* One vCPU: what VT-x holds (vmx/), and everything else that belongs to its CPU. */
#pragma once
#include "arch/x86_64/lock.h"
#include "guest/bus.h"
#include "guest/dev/vlapic.h"
#include "guest/insn.h"
#include "guest/kvm_pv.h"
#include "guest/mtrr.h"
#include "guest/stats.h"
#include "vmx/event.h"
#include "vmx/vcpu.h"

struct vm;

/* Reasons to look up before the next entry. */
#define REQ_EVENT   BIT(0) /* an interrupt or NMI may have become deliverable */
#define REQ_STOP    BIT(1) /* the VM is stopping */
#define REQ_RESET   BIT(2) /* a new life of the VM begins */
#define REQ_INIT    BIT(3) /* INIT has arrived */
#define REQ_SIPI    BIT(4) /* and a start-up IPI, for sipi_vector */
#define REQ_APIC    BIT(5) /* the local APIC's mode changed */
#define REQ_LINT    BIT(6) /* the 8259s' INTR, which is wired to LINT0, has changed */
#define REQ_CONSOLE BIT(7) /* the console has input, or room for output again */
#define REQ_CLOCK   BIT(8) /* the TSC of another vCPU was moved: kvm_pv_update_clock() */
#define REQ_PAUSE   BIT(9) /* a sibling has lost its CPU: see pause_exits in vmx/vcpu.h */

enum vcpu_timer { TIMER_LAPIC, TIMER_PIT, TIMER_RTC, TIMER_ACPI, TIMER_WATCHDOG, TIMER_RESTART, NTIMERS };

/* MSRs that the CPU keeps across exits and that are switched with the vCPU; the first four by their numbers. */
enum switched_msr { SWITCH_STAR, SWITCH_LSTAR, SWITCH_CSTAR, SWITCH_FMASK, SWITCH_KERNEL_GS, SWITCH_TSC_AUX, NSWITCHED };

/*
 * Where an instruction was, in 64-bit mode, and all that its address depended on: what the tables of the guest's paging held.
 * Its bytes are within one page. guest/walk.h
 */
enum { WALK_LEVELS = 4 };
struct walk_note {
	uint64_t cr3;
	uint32_t cs_ar;
	struct { const uint64_t *at; uint64_t entry; } walk[WALK_LEVELS];
	const struct code_bytes { uint64_t bytes[2]; } __packed *code;
	uint64_t bytes[2];
};

/* Instructions that accessed devices lately, by where they are: what these bytes mean. */
#define DECODED_SETS 4
#define DECODED_WAYS 2
#define NO_CPU  (-1)
struct decoded {
	uint64_t rip;           /* if insn.len is not 0 */
	uint64_t bytes[2];
	struct insn insn;
	bool noted;             /* `note` holds, and it is a MOV that guest/mmio_again.c can do */
	struct walk_note note;
};

/*
 * What other CPUs bring to a local APIC, whose state is its own CPU's alone: a bit for each vector. The descriptor is the
 * CPU's own where it has posted interrupts (SDM 3C, "Posted-Interrupt Processing"). Level-triggered ones, for which the CPU
 * has no place there, are beside it.
 */
struct posted {
	uint32_t edge[8];
	uint32_t flags;    /* POSTED_* */
	uint32_t reserved[7];
	uint32_t level[8];
} __attribute__((aligned(64)));
#define POSTED_ON    BIT(0) /* outstanding notification: in `edge` there is something new */
#define POSTED_LEVEL BIT(1) /* ours: in `level` */

struct vcpu {
	struct posted posted;   /* written by all CPUs, atomically; first, as Bochs 3.0 wants it at the start of a page */
	struct vmx_vcpu vmx;
	struct vm *vm;
	uint32_t id;
	uint32_t requests;      /* REQ_*, set atomically */
	bool halted;            /* in HLT; wakes on an event */
	bool halted_if;         /* RFLAGS.IF when it halted */
	bool halted_nmi;        /* NMIs were not blocked then */
	bool nmi_pending;       /* atomic */
	uint8_t sipi_vector;    /* of REQ_SIPI */
	bool started;           /* it has had one */
	bool ended;             /* it has stopped, and its VM knows */
	bool apic_redirected;   /* by the APIC-access page; the VM's lock */
	bool wait_sipi;         /* takes nothing but a startup IPI (SDM 3A, "MP Initialization Protocol") */
	bool watched;           /* it has not been able to take an interrupt since vcpu_look() */
	uint32_t pauses;        /* PAUSE exits, where each PAUSE is made to exit */
	uint8_t next_len;       /* see ACT_DECODED */
	struct bus_hints ports, addresses;
	struct decoded decoded[DECODED_SETS][DECODED_WAYS];
	uint8_t replaced;       /* the way that the next one that is not there takes the place of */
	uint64_t tsc_offset, tsc_adjust;
	struct spinlock timers; /* the two that follow: a sibling may program a device that is on this vCPU's time */
	uint64_t next_deadline; /* the earliest of deadlines[] */
	uint64_t deadlines[NTIMERS];

	struct vlapic lapic;
	struct dev_host lapic_host;
	hpa_t apic_page;

	uint64_t switched[NSWITCHED]; /* on a CPU, SWITCH_KERNEL_GS is that CPU's; the others always hold */
	uint64_t dr[4], dr6, cr2;
	uint64_t xcr0, xss;
	uint64_t misc_enable, mcg_status;
	struct mtrrs mtrr;
	struct kvm_pv kvm;
	void *fpu;              /* XSAVE area */
	hpa_t fpu_frame;

	void *sched;            /* the scheduler's, core/ */
	uint32_t home;          /* the CPU that it belongs to; written by the scheduler alone, and only when no registers of it
	                         * are left on the one before (vcpu_release). All state that is not shared is that CPU's. */
	int32_t on_cpu;         /* where it has the CPU, or NO_CPU; atomic, the scheduler's */
	uint64_t ran;           /* TSC ticks that it had the CPU */
	uint64_t waited;        /* TSC ticks that it wanted it and did not have it; the scheduler's, as is `ran` */
	uint64_t migrations;    /* CPUs that it came to */
	uint64_t looked, looked_ran; /* TSC and `ran` at the last vcpu_look() */
	struct exit_stat stats[STAT_KINDS];
	uint64_t stats_from;    /* `ran` when they were at zero */
};

/* What a run of vcpu_run() ended with. */
enum run_result {
	RUN_EXPIRED,  /* the limit was reached */
	RUN_HALTED,   /* HLT: nothing to do until an event wakes it */
	RUN_STOPPED,  /* the VM has stopped */
};

#define RUN_LIMIT_MAX UINT32_MAX /* what the preemption timer can count */
/* How long a vCPU may run. Written by the scheduler, also from interrupt handlers while the vCPU runs. */
struct run_limit {
	uint64_t end;    /* TSC, at most RUN_LIMIT_MAX from when it is set; 0 makes the vCPU return at once */
	uint64_t until;  /* `end`, or a deadline of the vCPU's own that comes before it */
	uint32_t lead;   /* ticks that a CPU needs to get out of idleness: so much before a deadline it begins */
	bool resumed;    /* its turn begins so much before its deadline, or later, and for nothing else */
	bool crowded;    /* a sibling waits for a CPU: a vCPU that only spins need not have this one */
	uint64_t armed;  /* without a preemption timer: what the local APIC timer is set to */
};
/* Either has changed, on the CPU that runs the vCPU. */
static inline void run_limit_look(struct run_limit *limit, const struct vcpu *v)
{
	__atomic_store_n(&limit->until, MIN(limit->end, __atomic_load_n(&v->next_deadline, __ATOMIC_ACQUIRE)), __ATOMIC_RELAXED);
}

__must_check enum tf_err vcpu_create(struct vm *vm, uint32_t id, struct vcpu **out);
void vcpu_destroy(struct vcpu *v);
/* Power-up state (SDM 3A, "Processor State After Reset"), for a start of the VM. All but the first wait for a startup IPI. */
void vcpu_reset(struct vcpu *v);
/*
 * INIT (SDM 3A, "IA-32 and Intel 64 Processor States Following Power-up, Reset, or INIT"): what is neither a general register
 * nor decides the mode stays. Then the bootstrap processor starts at its reset vector, the others wait for a startup IPI. The
 * vCPU is on this CPU, outside of the guest.
 */
void vcpu_init_signal(struct vcpu *v);
/* A startup IPI: nothing happens unless it waits for one. The same holds. */
void vcpu_startup(struct vcpu *v, uint8_t vector);
/* Sets the registers that a loader left. The vCPU's VMCS must be loaded. */
struct load_entry;
void vcpu_set_entry(struct vcpu *v, const struct load_entry *e);

/* Runs until the limit or an end. Interrupts off; may dispatch host interrupts. */
enum run_result vcpu_run(struct vcpu *v, struct run_limit *limit);
/* Puts this vCPU's registers on the CPU, saving whose were there. */
void vcpu_switch_in(struct vcpu *v);
/* Saves the registers of the vCPU that is on this CPU, if `v` is (before it is destroyed or moves). */
void vcpu_switch_out(struct vcpu *v);
/* Takes all of `v` off this CPU, its home, so that another can have it. */
void vcpu_release(struct vcpu *v);
/*
 * The scheduler has seen RUN_STOPPED of this vCPU, which is off this CPU now. True for the last one: nothing of the VM runs
 * any more.
 */
bool vcpu_stopped(struct vcpu *v);

/* On the vCPU's own CPU, before it goes on. */
static inline void vcpu_request(struct vcpu *v, uint32_t req)
{
	__atomic_fetch_or(&v->requests, req, __ATOMIC_RELEASE);
}
/* From any CPU: it serves the request at once, wherever it is, asleep or running. */
void vcpu_signal(struct vcpu *v, uint32_t req);
/* Something may have become deliverable: look before the next entry, wake it from HLT. */
void vcpu_kick(struct vcpu *v);
/* Is there something to look at, so that it must not sleep? To be asked after it was marked as sleeping. */
static inline bool vcpu_due(const struct vcpu *v)
{
	return __atomic_load_n(&v->requests, __ATOMIC_SEQ_CST) || __atomic_load_n(&v->posted.flags, __ATOMIC_SEQ_CST);
}
/* Sets one timer's deadline (TSC; DEV_NEVER: off). */
void vcpu_arm(struct vcpu *v, enum vcpu_timer t, uint64_t tsc);
/* Runs what is due at `now`. The caller looks at the next deadline afterwards. */
void vcpu_timers_due(struct vcpu *v, uint64_t now);

/* --- events, guest/irq.c */
void vcpu_deliver(struct vcpu *v);
/* Have other CPUs posted something? */
static inline bool vcpu_is_posted(const struct vcpu *v) { return __atomic_load_n(&v->posted.flags, __ATOMIC_RELAXED); }
/* Takes it into the local APIC. */
void vcpu_take_posted(struct vcpu *v);
/* INIT: what has come until now is lost. */
void vcpu_forget_posted(struct vcpu *v);
/* Asleep, would it wake? What is posted is not looked at. */
bool vcpu_has_event(struct vcpu *v);
/* Is the vector requested and not taken yet, wherever it is on its way? */
bool vcpu_requested(const struct vcpu *v, uint8_t vector);
/* The handler of IRQ_VECTOR_POSTED: one came for the vCPU of this CPU while it was not in its guest. */
void vcpu_posted_interrupt(void *ctx);
/* INTR follows the 8259s; the VM's lock is held. */
void vcpu_lint0(struct vcpu *v);
void vcpu_apic_mode_changed(struct vcpu *v);
/*
 * Has it been able to take an interrupt since the last call? If not, *silent is for how long: the time that it had the CPU,
 * or that it slept with interrupts off, from which nothing but an NMI wakes.
 */
bool vcpu_look(struct vcpu *v, uint64_t *silent);
struct apic_msg;
/* An interrupt message to whichever vCPUs it names. */
void vm_send(struct vm *vm, const struct apic_msg *msg);
extern const struct vlapic_ops vcpu_lapic_ops;

/* What an exit handler wants done. Only guest/run.c moves RIP. */
enum action {
	ACT_NEXT,    /* the instruction is done: go past it, by the VMCS's VM-exit instruction length */
	ACT_DECODED, /* the same for an instruction that we decoded ourselves: by next_len */
	ACT_RETRY,   /* go on where RIP is (an event was injected, or the access will now work) */
	ACT_HALT,    /* past the instruction, then sleep until an event */
	ACT_STOP,    /* the VM has stopped */
};
typedef enum action (*exit_fn)(struct vcpu *v);

/* Injects a fault; RF is set as a real fault would push it. A fault during #DF ends the VM as a triple fault. */
enum action vcpu_fault(struct vcpu *v, enum x86_vector vec, uint32_t error);
enum action vcpu_page_fault(struct vcpu *v, uint64_t linear, uint32_t error);
#define vcpu_gp(v) vcpu_fault(v, VEC_GP, 0)
#define vcpu_ud(v) vcpu_fault(v, VEC_UD, 0)

/* The segment registers of the VMCS behind those of enum insn_seg. */
enum { SEG_LDTR = SEG_GS + 1, SEG_TR };

/* For all of these the VMCS must be loaded. */
static inline uint64_t vcpu_cpl(void) { return AR_DPL(vmcs_read(VMCS_GUEST_AR(SEG_SS))); }
static inline bool vcpu_long_mode(void) { return vmcs_read(VMCS_GUEST_EFER) & EFER_LMA; }
static inline bool vcpu_code64(void) { return vcpu_long_mode() && (vmcs_read(VMCS_GUEST_AR(SEG_CS)) & AR_L); }
/* Whether the next entry is to IA-32e mode: follows EFER.LMA. */
static inline void vcpu_enter_ia32e(bool on)
{
	uint32_t ctl = vmcs_read(VMCS_ENTRY_CTL) & ~(uint32_t)ENTRY_IA32E;

	vmcs_write(VMCS_ENTRY_CTL, on ? ctl | (uint32_t)ENTRY_IA32E : ctl);
}
