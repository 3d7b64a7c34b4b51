#include "core/sched.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/frames.h"
#include "arch/x86_64/irq.h"
#include "arch/x86_64/lapic.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/percpu.h"
#include "arch/x86_64/tsc.h"
#include "guest/vm.h"
#include "lib/heap.h"
#include <tf/panic.h>
#include <tf/string.h>

/* The longest without a look at the machine's interrupts and at `work`, also if nobody wants the CPU. */
#define BREATH_US 50000
/* What a vCPU gets of its turn whatever timers are due: or those of hostile guests could leave no time for any. */
#define UNDISTURBED_US 100

struct sched_vcpu {
	struct vcpu *v;
	struct heap_node run;   /* key: virtual time; in the queue unless it runs or sleeps */
	struct heap_node timer; /* key: the next deadline, TSC; in the heap unless it waits for its turn, see turn_timers() */
	uint64_t vtime;
	bool runnable;
};

/* One CPU's scheduler; touched by that CPU only, with interrupts off. */
struct sched_cpu {
	struct heap queue, timers;
	struct run_limit limit;
	struct sched_vcpu *current;
	uint64_t slice, breath; /* TSC ticks */
	uint64_t slice_end;
	uint64_t charged;       /* up to here current's time has been charged */
	uint64_t vnow;          /* virtual time of the queue: never goes back */
	uint64_t undisturbed;   /* no timer ends the run in progress before this */
	uint64_t work_at;       /* when `work` wants to be called */
	bool resched, poked;
	struct sched_vcpu *slept; /* whose turn has just ended by itself */
	uint64_t idle;
	struct heap_node *queue_slots[SCHED_MAX_VCPUS], *timer_slots[SCHED_MAX_VCPUS];
	struct sched_vcpu vcpus[SCHED_MAX_VCPUS];
};

static struct sched_cpu *mine(void) { return this_cpu()->sched; }

static uint64_t virtual_ticks(const struct vcpu *v, uint64_t ticks)
{
	return ticks * VM_WEIGHT_DEFAULT / v->vm->cfg.weight;
}

static void timer_interrupt(void *ctx)
{
	struct sched_cpu *s = ctx;

	s->limit.armed = 0;
}

void sched_init_cpu(uint64_t slice_us)
{
	hpa_t frame;

	if (frame_alloc(frame_order(sizeof(struct sched_cpu)), &frame))
		panic("sched: no memory for a run queue");
	struct sched_cpu *s = phys_to_virt(frame);
	memset(s, 0, sizeof(*s));
	heap_init(&s->queue, s->queue_slots, SCHED_MAX_VCPUS);
	heap_init(&s->timers, s->timer_slots, SCHED_MAX_VCPUS);
	s->slice = tsc_from_us(slice_us);
	s->breath = tsc_from_us(BREATH_US);
	this_cpu()->sched = s;
	irq_register(IRQ_VECTOR_TIMER, timer_interrupt, s);
}

void sched_add(struct vcpu *v)
{
	struct sched_cpu *s = mine();

	for (unsigned i = 0; i < SCHED_MAX_VCPUS; i++) {
		struct sched_vcpu *e = &s->vcpus[i];

		if (e->v)
			continue;
		*e = (struct sched_vcpu){ .v = v };
		heap_node_init(&e->run);
		heap_node_init(&e->timer);
		v->sched = e;
		return;
	}
	panic("sched: more than %u vCPUs on one CPU", SCHED_MAX_VCPUS);
}

static uint64_t next_timer(const struct sched_cpu *s)
{
	struct heap_node *t = heap_top(&s->timers);

	return t ? t->key : DEV_NEVER;
}

static void set_limit(struct sched_cpu *s)
{
	uint64_t until = MIN(s->slice_end, MAX(MIN(next_timer(s), s->work_at), s->undisturbed));

	s->limit.until = s->resched || s->poked ? 0 : until;
}

/* The time since the last charge was spent for `e`. */
static void charge_to(struct sched_cpu *s, struct sched_vcpu *e, uint64_t now)
{
	uint64_t spent = now - s->charged;

	e->vtime += virtual_ticks(e->v, spent);
	e->v->ran += spent;
	s->charged = now;
	if (heap_holds(&e->run))
		heap_set(&s->queue, &e->run, e->vtime);
}

static void charge(struct sched_cpu *s, uint64_t now)
{
	struct sched_vcpu *c = s->current;

	charge_to(s, c, now);
	struct heap_node *top = heap_top(&s->queue);
	uint64_t least = top ? MIN(top->key, c->vtime) : c->vtime;
	s->vnow = MAX(s->vnow, least);
}

/*
 * The timers of those that wait for their turn wait with them, and are looked at when it comes: nobody is disturbed for
 * an interrupt that could not be taken.
 */
static void turn_timers(struct sched_cpu *s, struct sched_vcpu *e)
{
	bool waits = e->runnable && e != s->current;

	if (waits || e->v->next_deadline == DEV_NEVER)
		heap_remove(&s->timers, &e->timer);
	else
		heap_set(&s->timers, &e->timer, e->v->next_deadline);
}

static void wake(struct vcpu *v)
{
	struct sched_cpu *s = mine();
	struct sched_vcpu *e = v->sched;
	uint64_t credit = virtual_ticks(v, s->slice);

	v->halted = false;
	if (e->runnable)
		return;
	e->runnable = true;
	e->vtime = MAX(e->vtime, s->vnow > credit ? s->vnow - credit : 0);
	heap_set(&s->queue, &e->run, e->vtime);
	turn_timers(s, e);
	if (s->current) {
		uint64_t now = rdtsc();

		if (e->vtime < s->current->vtime + virtual_ticks(s->current->v, now - s->charged)) {
			s->resched = true;
			s->limit.until = 0;
		} else if (s->slice_end == DEV_NEVER) {
			s->slice_end = now + s->slice;
			set_limit(s);
		}
	}
}

static void deadline(struct vcpu *v)
{
	struct sched_cpu *s = mine();

	turn_timers(s, v->sched);
	if (s->current)
		set_limit(s);
}

const struct vm_host sched_vm_host = { .wake = wake, .deadline = deadline, .restart = vmm_restart_due };

void sched_poke(void)
{
	struct sched_cpu *s = mine();

	s->poked = true;
	s->limit.until = 0;
}

void sched_work_at(uint64_t tsc)
{
	struct sched_cpu *s = mine();

	if (!s || tsc >= s->work_at)
		return;
	s->work_at = tsc;
	if (s->current)
		set_limit(s);
}

uint64_t sched_idle_ticks(void) { return mine()->idle; }

/* Each deadline once: a device that asks for the past again gets its turn at the next look. Its owner pays. */
static void run_timers(struct sched_cpu *s)
{
	uint64_t now = rdtsc();

	if (s->current)
		charge(s, now);
	else
		s->charged = now;
	for (uint32_t n = s->timers.n; n > 0 && next_timer(s) <= now; n--) {
		struct sched_vcpu *e = container_of(heap_top(&s->timers), struct sched_vcpu, timer);

		vcpu_timers_due(e->v, now);
		charge_to(s, e, rdtsc());
	}
}

/* Charges the running vCPU, and puts it back in the queue if another is to have the CPU. */
static void pick(struct sched_cpu *s)
{
	uint64_t now = rdtsc();

	if (s->current) {
		charge(s, now);
		bool woken = heap_holds(&s->current->run); /* it slept and is queued again */

		if (s->current->runnable && !woken && now < s->slice_end && !s->resched)
			return;
		struct sched_vcpu *last = s->current;
		s->current = NULL;
		if (last->runnable)
			heap_set(&s->queue, &last->run, last->vtime);
		turn_timers(s, last);
	}
	s->resched = false;
	struct heap_node *top = heap_top(&s->queue);
	s->current = top ? container_of(top, struct sched_vcpu, run) : NULL;
	if (!top)
		return;
	heap_remove(&s->queue, top);
	s->charged = now;
	s->slice_end = s->queue.n ? now + s->slice : DEV_NEVER;
	s->vnow = MAX(s->vnow, s->current->vtime);
	if (s->current->v->next_deadline <= now)
		vcpu_timers_due(s->current->v, now);
	turn_timers(s, s->current);
}

/* Sleeps until an interrupt; the local APIC's timer stands for the next deadline, or work. */
static void idle(struct sched_cpu *s)
{
	uint64_t start = rdtsc(), next = MIN(next_timer(s), s->work_at);

	if (next <= start || s->poked)
		return;
	lapic_timer_arm(next);
	__asm__ volatile("sti; hlt; cli" : : : "memory");
	s->limit.armed = 0;
	s->idle += rdtsc() - start;
}

void sched_run(uint64_t (*work)(void))
{
	struct sched_cpu *s = mine();
	uint64_t least = tsc_from_us(UNDISTURBED_US);

	for (;;) {
		/* What is pending would be taken by the next VM entry, as an exit. But where that entry has RFLAGS.IF = 0 some
		 * CPUs (Bochs 2.7) forget it for as long as the guest does not touch IF. */
		interrupt_window();
		run_timers(s);
		uint64_t now = rdtsc();
		if (s->poked || now >= s->work_at) {
			s->poked = false;
			s->work_at = work();
			uint64_t after = rdtsc();
			s->work_at = MIN(s->work_at, after + s->breath);
			s->charged += after - now; /* nobody's time */
		}
		pick(s);
		if (!s->current) {
			idle(s);
			continue;
		}
		struct vcpu *v = s->current->v;
		vcpu_switch_in(v);
		now = rdtsc();
		if (s->slept && s->slept != s->current)
			charge_to(s, s->slept, now); /* the other would not have had to come back */
		s->slept = NULL;
		s->undisturbed = now + least;
		set_limit(s);
		switch (vcpu_run(v, &s->limit)) {
		case RUN_HALTED:
			s->current->runnable = false;
			s->slept = s->current;
			break;
		case RUN_STOPPED:
			s->current->runnable = false;
			vmm_stopped(v->vm);
			break;
		case RUN_EXPIRED:
			break;
		}
	}
}
