#include "tests/sim/sim.h"
#include "tests/unit/rng.h"
#include <stdlib.h>
#include <string.h>

#define UNDISTURBED (100 * SIM_US) /* as core/sched.c */

_Thread_local unsigned locks_held;

struct sim *sim_new(uint32_t ncpus)
{
	struct sim *s = calloc(1, sizeof(*s));

	rng_state = 88172645463325252ull;
	s->cpus = calloc(ncpus, sizeof(*s->cpus));
	s->vcpus = calloc(SIM_VCPUS, sizeof(*s->vcpus));
	s->ncpus = ncpus;
	s->now = SIM_HZ; /* any time */
	runq_setup(&s->all, SIM_SLICE, SIM_PERIOD);
	s->all.n = ncpus;
	heap_init(&s->events, s->slots, MAX_CPUS);
	for (uint32_t i = 0; i < ncpus; i++) {
		struct sim_cpu *c = &s->cpus[i];

		runq_init(&c->q, &s->all, i);
		(void)runq_room(&c->q, c->slots, SIM_VCPUS);
		heap_node_init(&c->event);
		heap_set(&s->events, &c->event, s->now);
		c->idle_since = RUNQ_NEVER;
	}
	return s;
}

void sim_free(struct sim *s)
{
	free(s->cpus);
	free(s->vcpus);
	free(s);
}

struct sim_vcpu *sim_add_rates(struct sim *s, uint32_t weight, uint64_t cpus, uint32_t cap, uint32_t reservation, bool low)
{
	struct sim_vcpu *v = &s->vcpus[s->nvcpus];
	uint32_t home = s->nvcpus++ % s->ncpus;

	*v = (struct sim_vcpu){ .sim = s, .deadline = RUNQ_NEVER, .woken = RUNQ_NEVER, .queued = RUNQ_NEVER, .last = -1 };
	v->e = (struct runq_entity){ .weight = weight, .cap = cap, .reservation = reservation, .low = low,
				     .deadline = &v->deadline, .ran = &v->ran, .waited = &v->waited };
	for (uint32_t i = 0; i < s->ncpus; i++)
		if (!cpus || (i < 64 && (cpus & BIT(i))))
			v->e.allowed.bits[i / 64] |= BIT(i % 64);
	while (!runq_has(&v->e.allowed, home))
		home = (home + 1) % s->ncpus;
	runq_attach(&s->all, &v->e, home);
	return v;
}

struct sim_vcpu *sim_add(struct sim *s, uint32_t weight, uint64_t cpus)
{
	return sim_add_rates(s, weight, cpus, 0, 0, false);
}

static void event_at(struct sim *s, struct sim_cpu *c, uint64_t at)
{
	if (!heap_holds(&c->event) || at < c->event.key)
		heap_set(&s->events, &c->event, at);
}

static void look_at(struct sim *s, uint32_t cpu)
{
	if (cpu < s->ncpus && &s->cpus[cpu] != s->stepping)
		event_at(s, &s->cpus[cpu], s->now + SIM_KICK);
}

static uint64_t drawn(const struct sim_vcpu *v, uint64_t ticks) { return v->vary ? 1 + rng() % (2 * ticks) : ticks; }

static void begin_work(struct sim_vcpu *v)
{
	v->woken = v->sim->now;
	v->left = v->run ? drawn(v, v->run) : RUNQ_NEVER;
}

void sim_wake(struct sim_vcpu *v)
{
	struct sim *s = v->sim;

	if (v->e.state != RUNQ_ASLEEP)
		return;
	begin_work(v);
	look_at(s, runq_wake(&s->all, &v->e, s->now));
}

void sim_wake_all(struct sim *s)
{
	for (uint32_t i = 0; i < s->nvcpus; i++)
		sim_wake(&s->vcpus[i]);
}

void sim_stop(struct sim_vcpu *v)
{
	v->run = 1;
	v->left = 1;
	v->sleep = 0;
}

uint64_t sim_ran(const struct sim_vcpu *v)
{
	const struct sim_cpu *c = &v->sim->cpus[v->e.cpu];

	return v->ran + (c->running == v ? v->sim->now - c->q.charged : 0);
}

/* As yield() of core/sched.c does it. */
static void spin(struct sim *s, struct sim_cpu *c, const struct sim_vcpu *v)
{
	struct sim_cpu *other = NULL;

	for (uint32_t i = 0; i < s->ncpus && !other; i++)
		if (s->cpus[i].running && s->cpus[i].running->vm != v->vm)
			other = &s->cpus[i];
	for (uint32_t i = 0; i < s->nvcpus; i++) {
		struct sim_vcpu *to = &s->vcpus[i];

		if (to->vm != v->vm || to->e.state != RUNQ_QUEUED)
			continue;
		look_at(s, runq_summon(&c->q, &to->e, other ? other->q.cpu : c->q.cpu, s->now));
		return;
	}
}

/* What has run until now, and whether it wants to sleep. */
static void leave_guest(struct sim *s, struct sim_cpu *c)
{
	struct sim_vcpu *v = c->running;
	uint64_t spent = s->now - MIN(c->resumed, s->now);

	c->running = NULL;
	if (!v)
		return;
	if (v->vm)
		spin(s, c, v);
	v->left = v->left == RUNQ_NEVER ? v->left : v->left - MIN(v->left, spent);
	if (v->left)
		return;
	if (v->sleep)
		v->deadline = s->now + drawn(v, v->sleep);
	runq_sleep(&c->q, s->now);
}

static void run_timers(struct sim *s, struct sim_cpu *c)
{
	struct runq_entity *e = NULL;
	uint32_t look;

	if (!runq_timer_waits(&c->q, s->now))
		return;
	for (;;) {
		e = runq_timer_next(&c->q, e, s->now, s->now, &look);
		look_at(s, look);
		if (!e)
			return;
		struct sim_vcpu *v = container_of(e, struct sim_vcpu, e);
		v->deadline = RUNQ_NEVER;
		sim_wake(v);
	}
}

/* As resume() of core/sched.c does it. */
static bool resume(struct sim *s, struct sim_cpu *c)
{
	const struct runq_entity *last = c->q.current;
	uint32_t look;

	if (!runq_timer_waits(&c->q, s->now))
		return false;
	struct runq_entity *e = runq_resume(&c->q, s->now, s->now, &look);
	if (!e)
		return false;
	struct sim_vcpu *v = container_of(e, struct sim_vcpu, e);
	v->deadline = RUNQ_NEVER;
	begin_work(v);
	c->resumes++;
	c->switches += e != last;
	look_at(s, look);
	return true;
}

static void enter_guest(struct sim *s, struct sim_cpu *c)
{
	struct sim_vcpu *v = container_of(c->q.current, struct sim_vcpu, e);
	uint64_t end = MIN(c->q.slice_end, MAX(c->q.next_timer, s->now + UNDISTURBED));

	if (runq_has_culprit(&c->q))
		runq_switched(&c->q, s->now);
	if (v->last >= 0 && (uint32_t)v->last != c->q.cpu)
		v->migrations++;
	v->last = (int32_t)c->q.cpu;
	if (v->woken != RUNQ_NEVER) {
		uint64_t late = s->now - v->woken;

		v->wakes++;
		v->late += late;
		v->worst = MAX(v->worst, late);
		v->woken = RUNQ_NEVER;
	}
	c->running = v;
	c->resumed = s->now;
	if (v->vm)
		end = MIN(end, s->now + SIM_SPIN);
	if (v->left != RUNQ_NEVER)
		end = MIN(end, s->now + v->left);
	heap_set(&s->events, &c->event, c->q.resched ? s->now : MAX(end, s->now));
}

static void step(struct sim *s, struct sim_cpu *c)
{
	uint32_t offer;

	s->stepping = c;
	if (c->idle_since != RUNQ_NEVER)
		c->idle += s->now - c->idle_since;
	c->idle_since = RUNQ_NEVER;
	leave_guest(s, c);
	bool resumed = resume(s, c);
	if (!resumed)
		run_timers(s, c);
	if (!resumed && !runq_goes_on(&c->q, s->now)) {
		struct runq_entity *last = c->q.current, *e = runq_pick(&c->q, s->now, &offer);

		c->picks++;
		c->switches += e != last;
		look_at(s, offer);
	}
	if (c->q.current) {
		enter_guest(s, c);
	} else {
		uint64_t next = runq_next_event(&c->q);

		c->idle_since = s->now;
		heap_remove(&s->events, &c->event);
		if (next != RUNQ_NEVER)
			event_at(s, c, MAX(next, s->now));
	}
	s->stepping = NULL;
}

/* Has a CPU slept for longer than kicks take, while another made somebody wait that it could have run? */
static bool wrongly_idle(struct sim *s)
{
	uint64_t while_ago = s->now - 2 * SIM_KICK;

	for (uint32_t k = 0; k < s->nvcpus; k++) {
		struct sim_vcpu *v = &s->vcpus[k];

		v->queued = v->e.state == RUNQ_QUEUED ? MIN(v->queued, s->now) : RUNQ_NEVER;
	}
	for (uint32_t i = 0; i < s->ncpus; i++) {
		const struct sim_cpu *c = &s->cpus[i];

		if (c->running || c->idle_since > while_ago)
			continue;
		for (uint32_t k = 0; k < s->nvcpus; k++) {
			const struct runq_entity *e = &s->vcpus[k].e;

			if (s->vcpus[k].queued <= while_ago && runq_has(&e->allowed, i))
				return true;
		}
	}
	return false;
}

void sim_run(struct sim *s, uint64_t ticks)
{
	uint64_t end = s->now + ticks;

	while (heap_top(&s->events) && heap_top(&s->events)->key <= end) {
		struct sim_cpu *c = container_of(heap_top(&s->events), struct sim_cpu, event);

		s->now = c->event.key;
		step(s, c);
		if (s->check_idle)
			s->wrongly_idle += wrongly_idle(s);
	}
	s->now = end;
}

void sim_ideal(const uint32_t *weights, uint32_t n, uint32_t ncpus, double *shares)
{
	double left = ncpus, sum = 0;
	bool full[SIM_VCPUS] = { false };

	for (uint32_t i = 0; i < n; i++)
		sum += weights[i];
	for (bool again = true; again;) {
		again = false;
		for (uint32_t i = 0; i < n; i++) {
			if (full[i] || weights[i] * left <= sum)
				continue;
			full[i] = again = true;
			left -= 1;
			sum -= weights[i];
		}
	}
	for (uint32_t i = 0; i < n; i++)
		shares[i] = full[i] ? 1 : weights[i] * left / sum;
}
