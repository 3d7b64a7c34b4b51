/* The loop around VM entry, and the only place that moves RIP. */
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/lapic.h"
#include "arch/x86_64/trace_event.h"
#include "arch/x86_64/tsc.h"
#include "guest/exit.h"
#include "vmx/mitigations.h"
#include "vmx/run.h"

/* A single step traps, unless single steps are of branches. */
static __attribute__((noinline, cold)) void pend_step(void)
{
	if (!(vmcs_read(VMCS_GUEST_DEBUGCTL) & DEBUGCTL_BTF))
		vmcs_write(VMCS_GUEST_PENDING_DEBUG, vmcs_read(VMCS_GUEST_PENDING_DEBUG) | PENDING_DEBUG_BS);
}

/* Past the instruction, `len` bytes, with what its completion does (SDM 3A, "Single-Step Exception Condition", "RF flag"). */
static inline void advance(uint64_t len)
{
	uint64_t rip = vmcs_read(VMCS_GUEST_RIP), next = rip + len;
	uint32_t low = (uint32_t)rip;

	if (unlikely(__builtin_add_overflow(low, (uint32_t)len, &low)) && !vcpu_code64())
		next = low;
	vmcs_write(VMCS_GUEST_RIP, next);
	vmx_set_blocking(0, BLOCK_STI | BLOCK_MOV_SS);
	uint64_t rflags = vmcs_read(VMCS_GUEST_RFLAGS);
	if (unlikely(rflags & (RFLAGS_TF | RFLAGS_RF))) {
		vmcs_write(VMCS_GUEST_RFLAGS, rflags & ~RFLAGS_RF);
		if (rflags & RFLAGS_TF)
			pend_step();
	}
}

void vcpu_iterated(bool step)
{
	vmx_set_blocking(0, BLOCK_STI | BLOCK_MOV_SS);
	vmcs_write(VMCS_GUEST_RFLAGS, vmcs_read(VMCS_GUEST_RFLAGS) | RFLAGS_RF);
	if (step)
		pend_step();
}

/* What only a sibling, a device or the machine asks for. False: the vCPU's run ends. */
static __attribute__((noinline, cold)) bool serve_rarely(struct vcpu *v)
{
	struct vm *vm = v->vm;
	uint32_t r = __atomic_fetch_and(&v->requests, REQ_INIT, __ATOMIC_SEQ_CST);

	if (r & REQ_INIT) { /* a start-up IPI that comes at any moment of this is for what comes of the INIT */
		__atomic_store_n(&v->wait_sipi, v->id != 0, __ATOMIC_SEQ_CST);
		__atomic_fetch_and(&v->requests, ~(uint32_t)REQ_INIT, __ATOMIC_SEQ_CST);
	}
	if (r & (REQ_STOP | REQ_RESET)) {
		__atomic_fetch_or(&v->requests, r & REQ_RESET, __ATOMIC_SEQ_CST); /* of the next life */
		return false;
	}
	if (r & REQ_INIT)
		vcpu_init_signal(v);
	if (r & REQ_SIPI)
		vcpu_startup(v, v->sipi_vector);
	if (r & REQ_PAUSE)
		vmx_set_proc(&v->vmx, PROC_PAUSE_EXIT, 0);
	if (r & (REQ_LINT | REQ_CONSOLE)) {
		spin_lock(&vm->lock);
		if (r & REQ_LINT)
			vcpu_lint0(v);
		if (r & REQ_CONSOLE)
			vm->host->console(vm);
		spin_unlock(&vm->lock);
	}
	if (r & REQ_CLOCK)
		kvm_pv_update_clock(v);
	if (r & REQ_APIC)
		vcpu_apic_mode_changed(v);
	return true;
}

/* A sibling can ask as fast as it is answered: after so many the machine's interrupts, and other vCPUs, have their turn. */
#define ROUNDS_AT_ONCE 8

enum served { SERVED_RUN, SERVED_SLEEP, SERVED_STOP, SERVED_ENOUGH };

static inline __attribute__((always_inline)) enum served serve_requests(struct vcpu *v)
{
	uint32_t event = REQ_EVENT; /* mostly it is this one alone */

	if (unlikely(!__atomic_compare_exchange_n(&v->requests, &event, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) &&
	    !serve_rarely(v))
		return SERVED_STOP;
	if (unlikely(v->wait_sipi)) {
		vcpu_forget_posted(v);
		return SERVED_SLEEP;
	}
	if (unlikely(vcpu_is_posted(v))) {
		vcpu_take_posted(v);
		/* The look that it asks for is to come anyway. Who posted meanwhile has asked, too, and is not to be forgotten. */
		__atomic_fetch_and(&v->requests, ~(uint32_t)REQ_EVENT, __ATOMIC_SEQ_CST);
		vcpu_take_posted(v);
	}
	if (unlikely(v->halted)) {
		if (!vcpu_has_event(v))
			return SERVED_SLEEP;
		v->halted = false;
		if (kvm_pv_kicked(&v->kvm))
			(void)kvm_pv_take_kick(v); /* this was for it */
	}
	vcpu_deliver(v);
	if (unlikely(v->kvm.eoi_left))
		kvm_pv_want_eoi(v);
	return SERVED_RUN;
}

/* The same as vmx_arm_preemption() where the CPU has no preemption timer that can be relied on. */
static __attribute__((noinline, cold)) void arm_otherwise(struct run_limit *limit, uint64_t until, uint64_t now)
{
	if (vmx_caps.preemption_timer)
		vmx_arm_preemption(until - now);
	if (limit->armed != until)
		lapic_timer_arm(limit->armed = until);
}

/* A turn while the VM starts: each vCPU begins anew, on its own CPU, and the first one loads the kernel. */
static enum run_result start(struct vcpu *v)
{
	struct vm *vm = v->vm;

	if (__atomic_load_n(&v->requests, __ATOMIC_SEQ_CST) & REQ_RESET) {
		__atomic_fetch_and(&v->requests, REQ_STOP, __ATOMIC_SEQ_CST); /* what else there is was for the last life */
		vcpu_reset(v);
		__atomic_fetch_add(&vm->nreset, 1, __ATOMIC_RELEASE);
	} else { /* the others that could be for this one: its first vCPU may just have begun */
		__atomic_fetch_and(&v->requests, REQ_STOP | REQ_RESET | REQ_INIT | REQ_SIPI, __ATOMIC_SEQ_CST);
	}
	if (v->id != 0)
		return RUN_HALTED;
	vm_start_step(vm);
	return __atomic_load_n(&vm->state, __ATOMIC_ACQUIRE) == VM_STOPPED ? RUN_STOPPED : RUN_EXPIRED;
}

/* Something else than going on behind an instruction. False: the run ends with *result. */
static bool act_rarely(struct vcpu *v, enum action act, enum run_result *result)
{
	switch (act) {
	case ACT_NEXT:
	case ACT_DECODED:
		return true;
	case ACT_RETRY:
		/* An event whose delivery exits again comes before the machine's interrupts, each time. */
		if (unlikely(vmx_event_pending(&v->vmx))) {
			interrupt_window();
			vmx_mitigate_touched();
		}
		return true;
	case ACT_HALT:
		advance(exit_insn_len());
		if (unlikely(vmcs_read(VMCS_GUEST_PENDING_DEBUG)))
			return true; /* a single step resumes from HLT at once */
		v->halted = true;
		*result = RUN_HALTED;
		return false;
	case ACT_STOP:
		break;
	}
	*result = RUN_STOPPED;
	return false;
}

/* The vCPU's own timers are run here. True: its time is up. */
static __attribute__((noinline)) bool limit_reached(struct vcpu *v, struct run_limit *limit, uint64_t now)
{
	if (now >= limit->end)
		return true;
	if (__atomic_load_n(&v->next_deadline, __ATOMIC_RELAXED) <= now)
		vcpu_timers_due(v, now);
	run_limit_look(limit, v);
	return false;
}

/* Where the last exit is counted. What is the same for all kinds is left to the addresses of the accesses. */
static inline struct exit_stat *stat_of_exit(struct vcpu *v)
{
	char *at = (char *)v + exit_kind(&v->vmx.exit) * sizeof(struct exit_stat);

	__asm__("" : "+r"(at));
	return (struct exit_stat *)(void *)(at + offsetof(struct vcpu, stats));
}

static void trace_entry(const struct vcpu *v)
{
	uint32_t event = v->vmx.pending_event;

	if (!event && v->lapic.hw_virtual)
		event = vmcs_read(VMCS_GUEST_INTR_STATUS) & INTR_VECTOR;
	if (event)
		trace_note(TRACE_INJECT, TRACE_WHO(v->vm->id, v->id), event, 0, 0);
	trace_note(TRACE_ENTRY, TRACE_WHO(v->vm->id, v->id), 0, 0, 0);
}

static void trace_exit(const struct vcpu *v)
{
	trace_note(TRACE_EXIT, TRACE_WHO(v->vm->id, v->id), v->vmx.exit.reason, vmcs_read(VMCS_GUEST_RIP),
		    vmcs_read(VMCS_EXIT_QUALIFICATION));
}

/* Twice in the image: who does not trace pays nothing for it. */
static inline __attribute__((always_inline)) enum run_result run(struct vcpu *v, struct run_limit *limit, const bool traced)
{
	enum run_result result;

	for (;;) {
		/* Not in the guest with one of them set: who sets it again would take the vCPU for told. */
		for (unsigned round = 0; unlikely(v->requests); round++) {
			enum served served = round < ROUNDS_AT_ONCE ? serve_requests(v) : SERVED_ENOUGH;

			if (unlikely(served != SERVED_RUN))
				return served == SERVED_STOP ? RUN_STOPPED : served == SERVED_SLEEP ? RUN_HALTED : RUN_EXPIRED;
		}
		uint64_t now = rdtsc(), until = __atomic_load_n(&limit->until, __ATOMIC_RELAXED);
		if (unlikely(now >= until)) {
			if (limit_reached(v, limit, now))
				return RUN_EXPIRED;
			continue;
		}
		if (likely(v->vmx.exact_timer))
			vmx_arm_preemption(until - now);
		else
			arm_otherwise(limit, until, now);
		stats_count(stat_of_exit(v), (uint32_t)now - v->vmx.exit.tsc);
#ifdef TF_TEST_HOOKS
		test_hook_before_entry(v);
#endif
		if (traced)
			trace_entry(v);
		bool refused = vmx_run(&v->vmx);
		if (traced)
			trace_exit(v);
		if (unlikely(refused)) {
			vcpu_entry_refused(v);
			return RUN_STOPPED;
		}
		if (unlikely(v->kvm.eoi_left))
			kvm_pv_take_eoi(v);
		enum action act = exit_handle(v);
		if (likely(act == ACT_NEXT))
			advance(exit_insn_len());
		else if (act == ACT_DECODED)
			advance(v->next_len);
		else if (!act_rarely(v, act, &result))
			return result;
	}
}

static __attribute__((noinline, cold)) enum run_result run_traced(struct vcpu *v, struct run_limit *limit)
{
	return run(v, limit, true);
}

#define LEAD_MAX_US 20

/* A sleeper that was woken early enough for its timer waits for it here, where all is ready. How early that is to be is learnt. */
static uint64_t await_deadline(struct run_limit *limit, uint64_t now, uint64_t due)
{
	uint64_t most = tsc_from_us(LEAD_MAX_US);

	if (now < due)
		limit->lead -= (uint32_t)MIN((due - now) / 16, (uint64_t)limit->lead);
	else if (now - due < most) /* or it had been held up by something else */
		limit->lead = (uint32_t)MIN(limit->lead + (now - due) / 4 + 1, most);
	while (now < due) {
		__builtin_ia32_pause();
		now = rdtsc();
	}
	return now;
}

/* What is due as its turn begins. True: something was. */
static inline bool run_timers(struct vcpu *v, struct run_limit *limit)
{
	uint64_t now = rdtsc(), due = __atomic_load_n(&v->next_deadline, __ATOMIC_RELAXED);

	if (limit->resumed && !vcpu_due(v) && due <= now + limit->lead)
		now = await_deadline(limit, now, due);
	if (due > now)
		return false;
	vcpu_timers_due(v, now);
	return true;
}

/* It may be for the end of what was armed while it ran, or for its restart. */
static __attribute__((noinline, cold)) enum run_result not_running(struct vcpu *v, struct run_limit *limit)
{
	(void)run_timers(v, limit);
	return __atomic_load_n(&v->vm->state, __ATOMIC_ACQUIRE) == VM_STARTING ? start(v) : RUN_STOPPED;
}

enum run_result vcpu_run(struct vcpu *v, struct run_limit *limit)
{
	if (unlikely(__atomic_load_n(&v->vm->state, __ATOMIC_ACQUIRE) != VM_RUNNING))
		return not_running(v, limit);
	v->vmx.exit = (struct vm_exit){ .reason = STAT_TURN, .tsc = (uint32_t)rdtsc() };
	kvm_pv_switch_in(v);
	vm_flush_stale(v->vm);
	vmx_mitigate_turn(&v->vmx);
	if (unlikely(v->vmx.pause_exits))
		vmx_set_proc(&v->vmx, limit->crowded ? PROC_PAUSE_EXIT : 0, limit->crowded ? 0 : PROC_PAUSE_EXIT);
	if (run_timers(v, limit))
		run_limit_look(limit, v);
	vcpu_request(v, REQ_EVENT); /* whatever came while it did not have the CPU */
	enum run_result result = trace_is_on() ? run_traced(v, limit) : run(v, limit, false);
	if (likely(exit_kind(&v->vmx.exit) < STAT_KINDS))
		stats_count(stat_of_exit(v), (uint32_t)rdtsc() - v->vmx.exit.tsc);
	if (result == RUN_EXPIRED)
		kvm_pv_switch_out(v);
	return result;
}
