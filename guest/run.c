/* The loop around VM entry, and the only place that moves RIP. */
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/lapic.h"
#include "arch/x86_64/trace_event.h"
#include "guest/exit.h"
#include "vmx/mitigations.h"

/* Past the instruction, with what its completion does (SDM 3A, "Single-Step Exception Condition", "RF flag"). */
static void advance(struct vcpu *v)
{
	uint64_t rip = vmcs_read(VMCS_GUEST_RIP), next = rip + (v->next_len ? v->next_len : exit_insn_len());
	uint64_t rflags = vmcs_read(VMCS_GUEST_RFLAGS);

	v->next_len = 0;
	if (unlikely((rip ^ next) >> 32) && !vcpu_code64())
		next = (uint32_t)next;
	vmcs_write(VMCS_GUEST_RIP, next);
	vmx_set_blocking(0, BLOCK_STI | BLOCK_MOV_SS);
	if (unlikely(rflags & (RFLAGS_TF | RFLAGS_RF))) {
		vmcs_write(VMCS_GUEST_RFLAGS, rflags & ~RFLAGS_RF);
		if ((rflags & RFLAGS_TF) && !(vmcs_read(VMCS_GUEST_DEBUGCTL) & DEBUGCTL_BTF))
			vmcs_write(VMCS_GUEST_PENDING_DEBUG, vmcs_read(VMCS_GUEST_PENDING_DEBUG) | PENDING_DEBUG_BS);
	}
}

void vcpu_iterated(bool step)
{
	vmx_set_blocking(0, BLOCK_STI | BLOCK_MOV_SS);
	vmcs_write(VMCS_GUEST_RFLAGS, vmcs_read(VMCS_GUEST_RFLAGS) | RFLAGS_RF);
	if (step && !(vmcs_read(VMCS_GUEST_DEBUGCTL) & DEBUGCTL_BTF))
		vmcs_write(VMCS_GUEST_PENDING_DEBUG, vmcs_read(VMCS_GUEST_PENDING_DEBUG) | PENDING_DEBUG_BS);
}

/* What only a sibling, a device or the machine asks for. */
static __attribute__((noinline, cold)) void serve_rarely(struct vcpu *v, uint32_t r)
{
	struct vm *vm = v->vm;

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
}

/* A sibling can ask as fast as it is answered: after so many the machine's interrupts, and other vCPUs, have their turn. */
#define ROUNDS_AT_ONCE 8

enum served { SERVED_RUN, SERVED_SLEEP, SERVED_STOP, SERVED_ENOUGH };

static inline __attribute__((always_inline)) enum served serve_requests(struct vcpu *v)
{
	uint32_t r = __atomic_fetch_and(&v->requests, REQ_INIT, __ATOMIC_SEQ_CST);

	if (unlikely(r & REQ_INIT)) { /* a start-up IPI that comes at any moment of this is for what comes of the INIT */
		__atomic_store_n(&v->wait_sipi, v->id != 0, __ATOMIC_SEQ_CST);
		__atomic_fetch_and(&v->requests, ~(uint32_t)REQ_INIT, __ATOMIC_SEQ_CST);
	}

	if (unlikely(r & (REQ_STOP | REQ_RESET))) {
		__atomic_fetch_or(&v->requests, r & REQ_RESET, __ATOMIC_SEQ_CST); /* of the next life */
		return SERVED_STOP;
	}
	if (unlikely(r & ~(uint32_t)REQ_EVENT))
		serve_rarely(v, r);
	if (unlikely(v->wait_sipi)) {
		vcpu_forget_posted(v);
		return SERVED_SLEEP;
	}
	/* What this brings in asks for a look, too, which is to come anyway. Whatever comes after that asks again. */
	vcpu_take_posted(v);
	__atomic_fetch_and(&v->requests, ~(uint32_t)REQ_EVENT, __ATOMIC_SEQ_CST);
	if (unlikely(v->halted)) {
		if (!vcpu_has_event(v))
			return SERVED_SLEEP;
		v->halted = false;
		(void)kvm_pv_take_kick(v); /* this was for it */
	}
	vcpu_deliver(v);
	if (unlikely(v->kvm.eoi_left))
		kvm_pv_want_eoi(v);
	return SERVED_RUN;
}

/* Bounds the time in the guest from `now` on; false: the time is up. */
static inline __attribute__((always_inline)) bool arm_limit(struct run_limit *limit, uint64_t now)
{
	uint64_t until = __atomic_load_n(&limit->until, __ATOMIC_RELAXED);

	if (now >= until)
		return false;
	if (likely(vmx_caps.preemption_timer))
		vmx_arm_preemption(until - now);
	if (unlikely(!vmx_caps.preemption_timer || vmx_caps.preemption_inexact) && limit->armed != until)
		lapic_timer_arm(limit->armed = until);
	return true;
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
	for (;;) {
		/* Not in the guest with one of them set: who sets it again would take the vCPU for told. */
		for (unsigned round = 0; unlikely(v->requests); round++) {
			enum served served = round < ROUNDS_AT_ONCE ? serve_requests(v) : SERVED_ENOUGH;

			if (unlikely(served != SERVED_RUN))
				return served == SERVED_STOP ? RUN_STOPPED : served == SERVED_SLEEP ? RUN_HALTED : RUN_EXPIRED;
		}
		uint64_t now = rdtsc();
		if (unlikely(!arm_limit(limit, now)))
			return RUN_EXPIRED;
		stats_count(v->stats, v->vmx.exit.kind, (uint32_t)now - v->vmx.exit.tsc);
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
		switch (exit_handle(v)) {
		case ACT_NEXT:
			advance(v);
			break;
		case ACT_RETRY:
			/* An event whose delivery exits again comes before the machine's interrupts, each time. */
			if (unlikely(vmx_event_pending(&v->vmx))) {
				interrupt_window();
				vmx_mitigate_touched();
			}
			break;
		case ACT_HALT:
			advance(v);
			if (unlikely(vmcs_read(VMCS_GUEST_PENDING_DEBUG)))
				break; /* a single step resumes from HLT at once */
			v->halted = true;
			return RUN_HALTED;
		case ACT_STOP:
			return RUN_STOPPED;
		}
	}
}

static __attribute__((noinline, cold)) enum run_result run_traced(struct vcpu *v, struct run_limit *limit)
{
	return run(v, limit, true);
}

enum run_result vcpu_run(struct vcpu *v, struct run_limit *limit)
{
	enum vm_state state = __atomic_load_n(&v->vm->state, __ATOMIC_ACQUIRE);

	if (unlikely(state != VM_RUNNING))
		return state == VM_STARTING ? start(v) : RUN_STOPPED;
	v->vmx.exit.kind = (enum exit_kind)STAT_TURN;
	v->vmx.exit.tsc = (uint32_t)rdtsc();
	kvm_pv_switch_in(v);
	vm_flush_stale(v->vm);
	vmx_mitigate_turn(&v->vmx);
	if (unlikely(v->vmx.pause_exits))
		vmx_set_proc(&v->vmx, limit->crowded ? PROC_PAUSE_EXIT : 0, limit->crowded ? 0 : PROC_PAUSE_EXIT);
	vcpu_request(v, REQ_EVENT); /* whatever came while it did not have the CPU */
	enum run_result result = trace_is_on() ? run_traced(v, limit) : run(v, limit, false);
	if (likely(v->vmx.exit.kind < STAT_KINDS))
		stats_count(v->stats, v->vmx.exit.kind, (uint32_t)rdtsc() - v->vmx.exit.tsc);
	if (result == RUN_EXPIRED)
		kvm_pv_switch_out(v);
	return result;
}
