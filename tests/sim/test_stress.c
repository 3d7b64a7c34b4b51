/*
 * Threads in the place of CPUs, under ThreadSanitizer: machines are created, run, their vCPUs wake each other, yield, move, and
 * all is destroyed again, for a million decisions.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "core/runq.h"

#define MACHINES  10
#define CPUS      4
#define VCPUS     24
#define DECISIONS 25000 /* of each CPU of each machine */
#define SLICE     500000
#define STEP      60000

_Thread_local unsigned locks_held;

struct vcpu {
	struct runq_entity e;
	uint64_t deadline, ran, waited;
	uint32_t requests;     /* atomic, as in guest/vcpu.h: it must not sleep with one */
	int32_t on_cpu;        /* atomic */
	uint64_t registers;    /* whose CPU alone touches them: what ThreadSanitizer is to see */
	uint64_t served;
};

struct machine;
struct cpu_thread {
	struct machine *m;
	struct runq q;
	struct heap_node *slots[RUNQ_HEAPS * VCPUS];
	bool look;             /* atomic: kicked */
	uint64_t seed, moves;
	pthread_t thread;
};

struct machine {
	struct runqs all;
	struct cpu_thread cpus[CPUS];
	struct vcpu vcpus[VCPUS];
	uint64_t clock;        /* atomic */
	bool end;              /* atomic */
};

static uint64_t moves, decisions;

static uint64_t draw(struct cpu_thread *c)
{
	c->seed ^= c->seed << 13;
	c->seed ^= c->seed >> 7;
	c->seed ^= c->seed << 17;
	return c->seed;
}

static uint64_t now_of(struct machine *m) { return __atomic_add_fetch(&m->clock, STEP / CPUS, __ATOMIC_RELAXED); }

static void look_at(struct machine *m, uint32_t cpu)
{
	if (cpu < CPUS)
		__atomic_store_n(&m->cpus[cpu].look, true, __ATOMIC_SEQ_CST);
}

/* As guest/irq.c and core/sched.c do it. */
static void signal_to(struct machine *m, struct vcpu *v)
{
	__atomic_fetch_or(&v->requests, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&v->on_cpu, __ATOMIC_SEQ_CST) < 0)
		look_at(m, runq_wake(&m->all, &v->e, now_of(m)));
}

static void run_timers(struct cpu_thread *c)
{
	struct runq_entity *e = NULL;
	uint64_t now = now_of(c->m);
	uint32_t look;

	if (!runq_timer_waits(&c->q, now))
		return;
	for (;;) {
		e = runq_timer_next(&c->q, e, now, now_of(c->m), &look);
		look_at(c->m, look);
		if (!e)
			return;
		struct vcpu *v = container_of(e, struct vcpu, e);
		v->registers++;
		__atomic_store_n(&v->deadline, RUNQ_NEVER, __ATOMIC_RELEASE);
		signal_to(c->m, v);
	}
}

static void go_to_sleep(struct cpu_thread *c, struct vcpu *v)
{
	struct machine *m = c->m;

	if (draw(c) % 2) {
		__atomic_store_n(&v->deadline, now_of(m) + draw(c) % (4 * SLICE), __ATOMIC_RELEASE);
		look_at(m, runq_deadline(&m->all, &v->e));
	}
	runq_sleep(&c->q, now_of(m));
	if (__atomic_load_n(&v->requests, __ATOMIC_SEQ_CST))
		look_at(m, runq_wake(&m->all, &v->e, now_of(m)));
}

static void run(struct cpu_thread *c, struct vcpu *v)
{
	struct machine *m = c->m;
	int32_t none = -1;

	/* Nobody else runs it. */
	ASSERT(__atomic_compare_exchange_n(&v->on_cpu, &none, (int32_t)c->q.cpu, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
	if (runq_has_culprit(&c->q))
		runq_switched(&c->q, now_of(m));
	v->registers++;
	v->served += __atomic_exchange_n(&v->requests, 0, __ATOMIC_SEQ_CST);
	uint64_t what = draw(c) % 16;
	struct vcpu *other = &m->vcpus[draw(c) % VCPUS];
	if (what < 6)
		signal_to(m, other);
	else if (what == 6 && other != v)
		(void)runq_yield_to(&c->q, &other->e);
	else if (what == 7)
		look_at(m, runq_summon(&c->q, &other->e, (uint32_t)(draw(c) % m->all.n), now_of(m)));
	else if (what == 8) {
		__atomic_store_n(&other->deadline, now_of(m) + draw(c) % SLICE, __ATOMIC_RELEASE);
		look_at(m, runq_deadline(&m->all, &other->e));
	}
	__atomic_store_n(&v->on_cpu, -1, __ATOMIC_SEQ_CST);
	if (what >= 9 && what < 13)
		go_to_sleep(c, v);
}

static void *cpu_main(void *arg)
{
	struct cpu_thread *c = arg;
	struct machine *m = c->m;
	struct runq_entity *last = NULL;
	uint64_t made = 0;
	uint32_t look;

	while (made < DECISIONS) {
		__atomic_store_n(&c->look, false, __ATOMIC_SEQ_CST);
		run_timers(c);
		if (!runq_goes_on(&c->q, now_of(m))) {
			struct runq_entity *e = runq_pick(&c->q, now_of(m), &look);

			made++;
			look_at(m, look);
			c->moves += e && e != last;
			last = e;
			if (!e) {
				signal_to(m, &m->vcpus[draw(c) % VCPUS]); /* something happens in the machine */
				continue;
			}
		}
		run(c, container_of(c->q.current, struct vcpu, e));
	}
	/* What it has goes back, so that others can end. */
	if (c->q.current)
		runq_sleep(&c->q, now_of(m));
	return NULL;
}

static void create(struct machine *m, uint64_t seed)
{
	runq_setup(&m->all, SLICE, 10 * SLICE);
	m->all.n = CPUS;
	m->clock = 1000 * SLICE;
	for (uint32_t i = 0; i < CPUS; i++) {
		struct cpu_thread *c = &m->cpus[i];

		c->m = m;
		c->seed = seed * CPUS + i + 1;
		runq_init(&c->q, &m->all, i);
		(void)runq_room(&c->q, c->slots, VCPUS);
	}
	for (uint32_t i = 0; i < VCPUS; i++) {
		struct vcpu *v = &m->vcpus[i];

		v->deadline = RUNQ_NEVER;
		v->on_cpu = -1;
		v->e = (struct runq_entity){ .weight = 1 + i * 40, .cap = i % 5 == 1 ? 20 : 0, .reservation = i % 5 == 2 ? 10 : 0,
					     .low = i % 5 == 3, .deadline = &v->deadline, .ran = &v->ran, .waited = &v->waited };
		v->e.allowed.bits[0] = i % 4 ? BIT(CPUS) - 1 : 1 + (i / 4) % (BIT(CPUS) - 1);
		uint32_t home = 0;
		while (!runq_has(&v->e.allowed, home))
			home++;
		runq_attach(&m->all, &v->e, home);
	}
}

static void a_million_decisions(void **state)
{
	(void)state;
	for (uint64_t round = 0; round < MACHINES; round++) {
		struct machine *m = calloc(1, sizeof(*m));

		create(m, round + 1);
		for (uint32_t i = 0; i < VCPUS; i++)
			signal_to(m, &m->vcpus[i]);
		for (uint32_t i = 0; i < CPUS; i++)
			assert_int_equal(pthread_create(&m->cpus[i].thread, NULL, cpu_main, &m->cpus[i]), 0);
		for (uint32_t i = 0; i < CPUS; i++) {
			assert_int_equal(pthread_join(m->cpus[i].thread, NULL), 0);
			moves += m->cpus[i].moves;
			decisions += DECISIONS;
		}
		/* Each vCPU is in the place that its state says, and nowhere else. */
		for (uint32_t i = 0; i < VCPUS; i++) {
			const struct runq_entity *e = &m->vcpus[i].e;

			assert_int_not_equal(e->state, RUNQ_RUNNING);
			assert_int_equal(heap_holds(&e->run), e->state == RUNQ_QUEUED);
			assert_int_equal(heap_holds(&e->hold), e->state == RUNQ_THROTTLED);
			assert_true(e->state == RUNQ_ASLEEP || !heap_holds(&e->timer));
			assert_false(e->busy);
		}
		free(m);
	}
	print_message("%lu decisions, %lu changes of who runs\n", decisions, moves);
	assert_true(decisions >= 1000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(a_million_decisions) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
