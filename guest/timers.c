/* A vCPU's deadlines: those of its local APIC's timer and, of the first one, the board's. */
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/trace_event.h"
#include "guest/vm.h"

static uint64_t first_deadline(const struct vcpu *v)
{
	uint64_t next = DEV_NEVER;

#pragma GCC unroll NTIMERS
	for (unsigned i = 0; i < NTIMERS; i++)
		next = MIN(next, v->deadlines[i]);
	return next;
}

/* True: the earliest of its deadlines is another one now. */
static inline bool set(struct vcpu *v, enum vcpu_timer t, uint64_t tsc)
{
	spin_lock(&v->timers);
	uint64_t before = v->next_deadline, next = MIN(before, tsc), old = v->deadlines[t];
	v->deadlines[t] = tsc;
	if (tsc > before && old == before) /* it was the first */
		next = first_deadline(v);
	__atomic_store_n(&v->next_deadline, next, __ATOMIC_RELEASE);
	spin_unlock(&v->timers);
	return next != before;
}

void vcpu_arm(struct vcpu *v, enum vcpu_timer t, uint64_t tsc)
{
	if (t < NTIMERS && set(v, t, tsc))
		v->vm->host->deadline(v);
}

/* Takes it, if it is due. */
static bool timer_due(struct vcpu *v, enum vcpu_timer t, uint64_t now)
{
	if (__atomic_load_n(&v->deadlines[t], __ATOMIC_RELAXED) > now)
		return false;
	(void)set(v, t, DEV_NEVER);
	return true;
}

void vcpu_timers_due(struct vcpu *v, uint64_t now)
{
	struct vm *vm = v->vm;
	bool over = __atomic_load_n(&vm->state, __ATOMIC_ACQUIRE) == VM_STOPPED; /* what was armed while it stopped dies here */

	if (trace_is_on())
		trace_note(TRACE_FIRED, TRACE_WHO(vm->id, v->id), 0, 0, 0);
	if (timer_due(v, TIMER_LAPIC, now) && !over)
		vlapic_tick(&v->lapic);
	if (likely(__atomic_load_n(&v->next_deadline, __ATOMIC_RELAXED) > now) || v->id != 0)
		return;
	for (enum vcpu_timer t = TIMER_PIT; t < TIMER_RESTART; t++) {
		if (__atomic_load_n(&v->deadlines[t], __ATOMIC_RELAXED) > now)
			continue;
		spin_lock(&vm->lock);
		if (timer_due(v, t, now) && !over) /* it may have been put off meanwhile */
			board_timer(vm, t);
		spin_unlock(&vm->lock);
	}
	if (timer_due(v, TIMER_RESTART, now))
		vm->host->restart(vm);
}
