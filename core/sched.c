/*
 * Runs vCPUs as core/runq.h decides, by borrowed virtual time: one number for each serves shares, latency and the choice of a
 * CPU. docs/scheduling.md says what else there is.
 */
#include "core/sched.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/frames.h"
#include "arch/x86_64/irq.h"
#include "arch/x86_64/lapic.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/smp.h"
#include "arch/x86_64/trace_event.h"
#include "arch/x86_64/tsc.h"
#include "core/runq.h"
#include "core/sched_internal.h"
#include "guest/vm.h"
#include <tf/panic.h>
#include <tf/string.h>

/* The longest without a look at the machine's interrupts and at `work`, also if nobody wants the CPU. */
#define BREATH_US 50000
/* What a vCPU gets of its turn whatever timers are due: or those of hostile guests could leave no time for any. */
#define UNDISTURBED_US 100
/* Over which a cap may even out. */
#define PERIOD_US 50000
/* Siblings that a vCPU that spins looks at. */
#define YIELD_LOOK 8
#define ROOM_AT_FIRST 64

/* One CPU's scheduler. */
struct sched_cpu {
	struct runq q;
	struct run_limit limit;
	uint64_t breath, least; /* BREATH_US and UNDISTURBED_US in TSC ticks */
	uint64_t undisturbed; /* no timer ends the run in progress before this */
	uint64_t work_at;     /* when `work` wants to be called; atomic */
	bool running;         /* a vCPU runs, or is about to */
	struct vcpu *timers_of; /* whose timers are run; runq_timer_next() looks at their next deadline */
	bool look, poked;     /* atomic: another CPU has something for this one, or for its `work` */
	uint64_t idle;
	struct heap_node *slots[RUNQ_HEAPS * ROOM_AT_FIRST];
};
_Static_assert(sizeof(struct sched_cpu) <= PAGE_SIZE, "one frame");

struct runqs sched_queues;

static struct sched_cpu *mine(void) { return this_cpu()->sched; }
static struct sched_vcpu *of(struct runq_entity *e) { return container_of(e, struct sched_vcpu, e); }

static void kicked(void *ctx);

static __attribute__((noinline, cold)) void note(enum trace_kind kind, const struct vcpu *v)
{
	trace_note(kind, v ? TRACE_WHO(v->vm->id, v->id) : TRACE_NOBODY, 0, kind == TRACE_ARMED ? v->next_deadline : 0, 0);
}

static void timer_interrupt(void *ctx)
{
	(void)ctx;
	mine()->limit.armed = 0;
}

enum tf_err sched_init_cpu(uint64_t slice_us)
{
	uint32_t id = this_cpu()->id;
	hpa_t frame;

	enum tf_err e = frame_alloc_zero(&frame);
	if (e)
		return e;
	if (id == 0) {
		runq_setup(&sched_queues, tsc_from_us(slice_us), tsc_from_us(PERIOD_US));
		irq_register(IRQ_VECTOR_TIMER, timer_interrupt, NULL);
		irq_register(IRQ_VECTOR_POSTED, vcpu_posted_interrupt, NULL);
		irq_register(IRQ_VECTOR_KICK, kicked, NULL);
	}
	struct sched_cpu *s = phys_to_virt(frame);
	runq_init(&s->q, &sched_queues, id);
	(void)runq_room(&s->q, s->slots, ROOM_AT_FIRST);
	s->breath = tsc_from_us(BREATH_US);
	s->least = tsc_from_us(UNDISTURBED_US);
	this_cpu()->sched = s;
	return TF_OK;
}

static enum tf_err grow(struct sched_cpu *s, uint32_t n)
{
	unsigned order = frame_order(n * RUNQ_HEAPS * sizeof(struct heap_node *));
	hpa_t frames;

	if (frame_alloc(order, &frames))
		return TF_ENOMEM;
	uint32_t had = s->q.run[0].max;
	uint32_t has = (uint32_t)((PAGE_SIZE << order) / (RUNQ_HEAPS * sizeof(struct heap_node *)));
	struct heap_node **old = runq_room(&s->q, phys_to_virt(frames), has);
	if (old != s->slots)
		frame_free(virt_to_phys(old), frame_order(had * RUNQ_HEAPS * sizeof(struct heap_node *)));
	return TF_OK;
}

enum tf_err sched_make_room(uint32_t n)
{
	enum tf_err e = TF_OK;

	__atomic_store_n(&sched_queues.n, smp_cpus(), __ATOMIC_SEQ_CST);
	for (uint32_t cpu = 0; cpu < smp_cpus() && !e; cpu++) {
		struct sched_cpu *s = cpus[cpu]->sched;

		if (s->q.run[0].max < n)
			e = grow(s, n);
	}
	return e;
}

/* --- what ends a run */

/*
 * When the run in progress ends: with its slice; for timers, and for whatever another CPU has, once it has had its undisturbed
 * time, or siblings of others could ask so often that nobody gets anything done; at once for what the operator wants.
 */
static uint64_t limit_now(const struct sched_cpu *s)
{
	uint64_t next = MIN(__atomic_load_n(&s->q.next_timer, __ATOMIC_RELAXED), __atomic_load_n(&s->work_at, __ATOMIC_RELAXED));

	if (__atomic_load_n(&s->poked, __ATOMIC_SEQ_CST))
		return 0;
	if (__atomic_load_n(&s->look, __ATOMIC_SEQ_CST) || __atomic_load_n(&s->q.resched, __ATOMIC_SEQ_CST))
		next = 0;
	return MIN(__atomic_load_n(&s->q.slice_end, __ATOMIC_RELAXED), MAX(next, s->undisturbed));
}

static struct vcpu *current(const struct sched_cpu *s) { return of(s->q.current)->v; }

static void set_limit(struct sched_cpu *s, uint64_t now)
{
	s->limit.end = MIN(limit_now(s), now + RUN_LIMIT_MAX);
	run_limit_look(&s->limit, current(s));
}

/* The handler of IRQ_VECTOR_KICK. What came before the run began is in the flags already, what comes later interrupts it. */
static void kicked(void *ctx)
{
	(void)ctx;
	if (mine() && mine()->running)
		set_limit(mine(), rdtsc());
}

/* Makes a CPU look at its queue, timers and flags again. */
static void look_at(uint32_t cpu)
{
	if (cpu >= MAX_CPUS)
		return;
	if (cpu == this_cpu()->id) {
		kicked(NULL);
		return;
	}
	struct sched_cpu *s = cpus[cpu]->sched;
	if (!__atomic_exchange_n(&s->look, true, __ATOMIC_SEQ_CST)) /* else it has been told, and has not looked yet */
		smp_kick(cpu);
}

void sched_poke(void)
{
	struct sched_cpu *s = cpus[0]->sched;

	__atomic_store_n(&s->poked, true, __ATOMIC_SEQ_CST);
	if (this_cpu()->id != 0)
		smp_kick(0);
	else
		kicked(NULL);
}

void sched_end_runs(void)
{
	for (uint32_t cpu = 0; cpu < smp_cpus(); cpu++)
		look_at(cpu);
}

static bool work_earlier(struct sched_cpu *s, uint64_t tsc)
{
	uint64_t at = __atomic_load_n(&s->work_at, __ATOMIC_RELAXED);

	while (tsc < at)
		if (__atomic_compare_exchange_n(&s->work_at, &at, tsc, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
			return true;
	return false;
}

void sched_work_at(uint64_t tsc)
{
	if (cpus[0]->sched && work_earlier(cpus[0]->sched, tsc))
		look_at(0);
}

/* --- the guest layer's hooks */

static void wake(struct vcpu *v)
{
	uint32_t cpu = runq_wake(&sched_queues, v->sched, rdtsc());

	if (likely(cpu != RUNQ_AWAKE)) {
		look_at(cpu);
		return;
	}
	/* It was on no CPU a moment ago. Should it be by now it may have looked at its requests before this one came. */
	int32_t on = __atomic_load_n(&v->on_cpu, __ATOMIC_SEQ_CST);
	if (on != NO_CPU && (uint32_t)on != this_cpu()->id)
		smp_kick((uint32_t)on);
}

static __attribute__((noinline)) void deadline_changed(struct vcpu *v)
{
	struct sched_cpu *s = mine();

	if (trace_is_on())
		note(TRACE_ARMED, v);
	if (s->timers_of == v)
		return;
	if (s->q.current != v->sched)
		look_at(runq_deadline(&sched_queues, v->sched));
	else if (s->running)
		run_limit_look(&s->limit, v);
}

static void deadline(struct vcpu *v)
{
	if (mine()->timers_of != v || trace_is_on())
		deadline_changed(v);
}

static struct vm *vm_of(struct runq_entity *e) { return of(e)->v->vm; }

/* A CPU that another VM has, for a sibling that waits for this one. */
static uint32_t other_cpu(const struct vm *vm)
{
	uint32_t n = __atomic_load_n(&sched_queues.n, __ATOMIC_RELAXED), me = this_cpu()->id;

	for (uint32_t i = 1; i < MIN(n, (uint32_t)YIELD_LOOK + 1); i++) {
		struct runq_entity *e = runq_current(&sched_queues, (me + i) % n);

		if (e && vm_of(e) != vm)
			return (me + i) % n;
	}
	return me;
}

/*
 * The sibling that this vCPU spins for is best run beside it, or the two would spin for each other by turns: where it waits,
 * or in another VM's place. Where there is no such CPU it gets the rest of this turn.
 */
static bool yield(struct vcpu *v)
{
	struct vm *vm = v->vm;
	struct sched_cpu *s = mine();

	for (uint32_t i = 1; i < MIN(vm->nvcpus, (uint32_t)YIELD_LOOK + 1); i++) {
		struct vcpu *to = vm->vcpus[(v->id + i) % vm->nvcpus];
		struct sched_vcpu *e = to->sched;

		if (runq_state(&e->e) != RUNQ_QUEUED)
			continue;
		uint32_t cpu = runq_summon(&s->q, &e->e, other_cpu(vm), rdtsc());
		if (cpu != RUNQ_NOBODY)
			look_at(cpu);
		else if (sched_queues.n == 1 && runq_yield_to(&s->q, &e->e))
			set_limit(s, rdtsc());
		return true;
	}
	return false;
}

/* Its siblings that run may come to spin for it. Where the CPU notices that by itself nobody need be told. */
static void turn_lost(struct vcpu *v)
{
	for (uint32_t i = 1; v->vmx.pause_exits && i < MIN(v->vm->nvcpus, (uint32_t)YIELD_LOOK + 1); i++) {
		struct vcpu *to = v->vm->vcpus[(v->id + i) % v->vm->nvcpus];

		if (__atomic_load_n(&to->on_cpu, __ATOMIC_SEQ_CST) != NO_CPU)
			vcpu_signal(to, REQ_PAUSE);
	}
}

/* Does one of its siblings wait for a CPU? */
static bool sibling_waits(const struct vcpu *v)
{
	for (uint32_t i = 1; i < MIN(v->vm->nvcpus, (uint32_t)YIELD_LOOK + 1); i++) {
		const struct vcpu *to = v->vm->vcpus[(v->id + i) % v->vm->nvcpus];

		if (runq_state(&((struct sched_vcpu *)to->sched)->e) == RUNQ_QUEUED)
			return true;
	}
	return false;
}

const struct vm_host sched_vm_host = { .wake = wake, .deadline = deadline, .restart = vmm_restart_due,
				      .stopped = vmm_stopped, .console = vmm_console, .yield = yield };

uint64_t sched_idle_ticks(uint32_t cpu) { return ((const struct sched_cpu *)cpus[cpu]->sched)->idle; }

/* --- the loop */

static void timers_due(struct sched_cpu *s, struct vcpu *v, uint64_t now)
{
	s->timers_of = v;
	vcpu_timers_due(v, now);
	s->timers_of = NULL;
}

/* Each deadline once: a device that asks for the past again gets its turn at the next look. Its owner pays. */
static void run_timers(struct sched_cpu *s, uint64_t now)
{
	struct runq_entity *e = NULL;
	uint32_t look;

	for (;;) {
		e = runq_timer_next(&s->q, e, now, rdtsc(), &look);
		look_at(look);
		if (!e)
			return;
		timers_due(s, of(e)->v, now);
	}
}

static bool work_due(const struct sched_cpu *s, uint64_t now)
{
	return __atomic_load_n(&s->poked, __ATOMIC_RELAXED) || now >= __atomic_load_n(&s->work_at, __ATOMIC_RELAXED);
}

/* Returns when it was done. */
static uint64_t do_work(struct sched_cpu *s, uint64_t (*work)(void), uint64_t now)
{
	__atomic_store_n(&s->poked, false, __ATOMIC_SEQ_CST);
	__atomic_store_n(&s->work_at, DEV_NEVER, __ATOMIC_SEQ_CST);
	uint64_t at = work(), after = rdtsc();
	(void)work_earlier(s, MIN(at, after + s->breath));
	runq_skip(&s->q, after - now); /* nobody's time */
	return after;
}

/* Sleeps until an interrupt; the local APIC's timer stands for the next deadline, or work. */
static void idle(struct sched_cpu *s)
{
	uint64_t start = rdtsc(), next = runq_next_event(&s->q);

	next = MIN(next - MIN(next, (uint64_t)s->limit.lead), __atomic_load_n(&s->work_at, __ATOMIC_RELAXED));
	if (next <= start || __atomic_load_n(&s->poked, __ATOMIC_SEQ_CST) || __atomic_load_n(&s->look, __ATOMIC_SEQ_CST) ||
	    runq_claimed(&s->q))
		return;
	lapic_timer_arm(next);
	if (trace_is_on())
		note(TRACE_SWITCH, NULL);
	__asm__ volatile("sti; hlt; cli" : : : "memory");
	s->limit.armed = 0;
	s->idle += rdtsc() - start;
}

static void release(void *ctx) { vcpu_release(ctx); }

/*
 * Makes this CPU the vCPU's home. Where its VMCS is active nowhere none of its registers are on a CPU either, as they are put
 * there after it was loaded and taken off before it is unloaded (guest/vcpu.c); the lock of the queue that it comes from
 * has made what its last CPU did visible here.
 */
static void move_home(struct vcpu *v, uint32_t cpu)
{
	if (__atomic_load_n(&v->vmx.cpu, __ATOMIC_ACQUIRE))
		smp_call(v->home, release, v);
	__atomic_store_n(&v->home, cpu, __ATOMIC_RELEASE);
	v->migrations++;
}

/* Its turn begins. */
static inline void begin(struct sched_cpu *s, struct runq_entity *e)
{
	struct vcpu *v = of(e)->v;

	if (unlikely(v->home != s->q.cpu))
		move_home(v, s->q.cpu);
}

static void stopped(struct sched_cpu *s, struct vcpu *v)
{
	vcpu_release(v);
	if (vcpu_stopped(v))
		vmm_stopped(v->vm);
	runq_sleep(&s->q, rdtsc());
	/* Not until its next life has begun, if it has had its part in the end of this one. */
	if (!__atomic_load_n(&v->ended, __ATOMIC_SEQ_CST) && vcpu_due(v))
		wake(v);
}

static void run(struct sched_cpu *s, struct vcpu *v)
{
	vcpu_switch_in(v);
	__atomic_store_n(&v->on_cpu, (int32_t)s->q.cpu, __ATOMIC_SEQ_CST);
	uint64_t now = rdtsc();
	if (runq_has_culprit(&s->q))
		runq_switched(&s->q, now);
	s->undisturbed = now + s->least;
	s->running = true;
	s->limit.crowded = unlikely(v->vmx.pause_exits) && sibling_waits(v);
	set_limit(s, now);
	enum run_result result = vcpu_run(v, &s->limit);
	s->running = false;
	__atomic_store_n(&v->on_cpu, NO_CPU, __ATOMIC_SEQ_CST);
	switch (result) {
	case RUN_HALTED:
		runq_sleep(&s->q, rdtsc());
		if (vcpu_due(v))
			wake(v);
		break;
	case RUN_STOPPED:
		stopped(s, v);
		break;
	case RUN_EXPIRED:
		break;
	}
}

/*
 * The owner of a timer that is due gets the CPU with it. On an idle CPU that is when the timer will be due once all is ready for
 * it, and the vCPU awaits it (guest/run.c). False: there is something to decide.
 */
static bool resume(struct sched_cpu *s, uint64_t now)
{
	struct runq_entity *last = s->q.current;
	uint32_t offer;
	struct runq_entity *e = runq_resume(&s->q, now, last ? now : now + s->limit.lead, &offer);

	if (!e)
		return false;
	look_at(offer);
	if (last)
		turn_lost(of(last)->v);
	if (trace_is_on())
		note(TRACE_SWITCH, of(e)->v);
	begin(s, e);
	struct vcpu *v = of(e)->v;
	if (last) {
		__atomic_store_n(&v->on_cpu, (int32_t)s->q.cpu, __ATOMIC_SEQ_CST); /* what they ask of it is for this turn */
		timers_due(s, v, now);
	}
	s->limit.resumed = !last;
	run(s, v);
	s->limit.resumed = false;
	return true;
}

void sched_run(uint64_t (*work)(void))
{
	struct sched_cpu *s = mine();
	uint32_t offer;

	if (!work)
		s->work_at = DEV_NEVER;

	for (;;) {
		/* What is pending would be taken by the next VM entry, as an exit. But where that entry has RFLAGS.IF = 0 some
		 * CPUs (Bochs 2.7) forget it for as long as the guest does not touch IF. */
		interrupt_window();
		if (unlikely(__atomic_load_n(&s->look, __ATOMIC_RELAXED)))
			__atomic_store_n(&s->look, false, __ATOMIC_SEQ_CST);
		uint64_t now = rdtsc();
		if (unlikely(work_due(s, now)) && work)
			now = do_work(s, work, now);
		if (unlikely(runq_timer_waits(&s->q, now + s->limit.lead))) {
			if ((!s->q.current || runq_timer_waits(&s->q, now)) && resume(s, now))
				continue;
			if (runq_timer_waits(&s->q, now)) {
				run_timers(s, now);
				now = rdtsc();
			}
		}
		if (!runq_goes_on(&s->q, now)) {
			struct runq_entity *last = s->q.current, *e = runq_pick(&s->q, now, &offer);

			if (unlikely(offer != RUNQ_NOBODY))
				look_at(offer);
			if (last && last != e)
				turn_lost(of(last)->v);
			if (!e) {
				idle(s);
				continue;
			}
			if (last != e && trace_is_on())
				note(TRACE_SWITCH, of(e)->v);
			begin(s, e);
		}
		run(s, current(s));
	}
}
