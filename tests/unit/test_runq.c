/* core/runq*.c, one decision at a time. What comes of many is in tests/sim. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "core/runq.c"
#include "core/runq_pick.c"
#include "core/runq_wake.c"
#include "core/runq_yield.c"

#define CPUS   3
#define VCPUS  8
#define SLICE  500000ull
#define PERIOD (10 * SLICE)

_Thread_local unsigned locks_held;

static struct runqs all;
static struct runq q[CPUS];
static struct heap_node *slots[CPUS][RUNQ_HEAPS * VCPUS];
static struct vcpu { struct runq_entity e; uint64_t deadline, ran, waited; } vcpus[VCPUS];
static uint32_t nvcpus, look;
static uint64_t now;

static void machine(uint32_t ncpus)
{
	nvcpus = 0;
	now = 1000 * SLICE;
	runq_setup(&all, SLICE, PERIOD);
	all.n = ncpus;
	for (uint32_t i = 0; i < ncpus; i++) {
		runq_init(&q[i], &all, i);
		(void)runq_room(&q[i], slots[i], VCPUS);
	}
}

/* Asleep on its first CPU. cpus: a bit each. */
static struct runq_entity *vcpu(uint32_t weight, uint64_t cpus, struct runq_entity more)
{
	struct vcpu *v = &vcpus[nvcpus++];
	uint32_t home = (uint32_t)bit_lowest(cpus);

	*v = (struct vcpu){ .e = more, .deadline = RUNQ_NEVER };
	v->e.weight = weight;
	v->e.deadline = &v->deadline;
	v->e.ran = &v->ran;
	v->e.waited = &v->waited;
	v->e.allowed.bits[0] = cpus;
	runq_attach(&all, &v->e, home);
	return &v->e;
}

static struct runq_entity *plain(uint32_t weight, uint64_t cpus) { return vcpu(weight, cpus, (struct runq_entity){ 0 }); }

static struct runq_entity *pick(uint32_t cpu, uint64_t later)
{
	now += later;
	return runq_pick(&q[cpu], now, &look);
}

static void idle_at_first(void **state)
{
	(void)state;
	machine(1);
	assert_null(pick(0, 0));
	assert_int_equal(look, RUNQ_NOBODY);
	assert_int_equal(runq_next_event(&q[0]), RUNQ_NEVER);
	struct runq_entity *a = plain(100, 1);
	assert_int_equal(runq_wake(&all, a, now), 0);
	assert_int_equal(runq_wake(&all, a, now), RUNQ_AWAKE);
	assert_ptr_equal(pick(0, 10), a);
	assert_int_equal(q[0].slice_end, RUNQ_NEVER); /* alone */
	assert_int_equal(vcpus[0].waited, 10);
	assert_true(runq_goes_on(&q[0], now + 100 * SLICE));
	runq_sleep(&q[0], now += 70);
	assert_int_equal(vcpus[0].ran, 70);
	assert_null(pick(0, 5));
	assert_int_equal(vcpus[0].ran, 75); /* up to where it was seen that nobody else wants the CPU */
}

static void by_weight(void **state)
{
	struct runq_entity *a, *b;
	unsigned turns[2] = { 0 };

	(void)state;
	machine(1);
	a = plain(300, 1);
	b = plain(100, 1);
	(void)runq_wake(&all, a, now);
	(void)runq_wake(&all, b, now);
	for (int i = 0; i < 400; i++)
		turns[pick(0, SLICE) == b]++;
	assert_in_range(turns[0], 298, 302);
	assert_in_range(vcpus[1].ran / SLICE, 98, 102);
	assert_in_range(vcpus[1].waited / SLICE, 296, 304);
}

static void who_slept_comes_first(void **state)
{
	struct runq_entity *a, *b;

	(void)state;
	machine(1);
	a = plain(100, 1);
	b = plain(100, 1);
	(void)runq_wake(&all, a, now);
	assert_ptr_equal(pick(0, 0), a);
	for (int i = 0; i < 50; i++)
		assert_ptr_equal(pick(0, SLICE), a);
	now += 50 * SLICE; /* nothing has to be decided, and nothing is charged */
	assert_int_equal(runq_wake(&all, b, now), 0);
	assert_true(q[0].resched);
	assert_ptr_equal(pick(0, 0), b);
	/* It has earned a slice by its sleep, not fifty. */
	assert_ptr_equal(pick(0, SLICE), a);
	assert_ptr_equal(pick(0, SLICE), b);
}

static void one_that_was_alone_gets_a_slice(void **state)
{
	struct runq_entity *a, *b;

	(void)state;
	machine(1);
	a = plain(100, 1);
	b = plain(100, 1);
	(void)runq_wake(&all, b, now);
	assert_ptr_equal(pick(0, 0), b);
	runq_sleep(&q[0], now += 3 * SLICE); /* it is ahead */
	(void)runq_wake(&all, a, now);
	assert_ptr_equal(pick(0, 0), a);
	assert_int_equal(q[0].slice_end, RUNQ_NEVER);
	assert_int_equal(runq_wake(&all, b, now += 10), 0);
	assert_false(q[0].resched);
	assert_int_equal(q[0].slice_end, now + SLICE);
}

static void wakes_where_there_is_room(void **state)
{
	struct runq_entity *a, *b, *c;

	(void)state;
	machine(2);
	a = plain(100, 3);
	b = plain(100, 3);
	c = plain(100, 1);
	assert_null(pick(1, 0)); /* idle */
	(void)runq_wake(&all, a, now);
	assert_ptr_equal(pick(0, 0), a);
	b->vtime += 2 * SLICE; /* it would not have the CPU at home */
	assert_int_equal(runq_wake(&all, b, now), 1);
	assert_ptr_equal(pick(1, 0), b);
	assert_int_equal(b->cpu, 1);
	c->vtime += 2 * SLICE;
	assert_int_equal(runq_wake(&all, c, now), RUNQ_NOBODY); /* it may run nowhere else */
	assert_ptr_equal(pick(0, SLICE), a);
	runq_sleep(&q[1], now);
	assert_null(pick(1, 0));
}

static void idle_takes_who_waits(void **state)
{
	struct runq_entity *a, *b;

	(void)state;
	machine(2);
	a = plain(100, 3);
	b = plain(100, 3);
	(void)runq_wake(&all, a, now);
	(void)runq_wake(&all, b, now);
	assert_ptr_equal(pick(0, 0), a);
	assert_ptr_equal(pick(1, 0), b);
	assert_int_equal(b->state, RUNQ_RUNNING);
	assert_int_equal(b->cpu, 1);
	assert_int_equal(q[0].run[0].n, 0);
}

static void moves_only_for_more_than_a_slice(void **state)
{
	struct runq_entity *a, *b, *c;
	unsigned stayed = 0;

	(void)state;
	machine(2);
	a = plain(100, 3);
	b = plain(100, 3);
	c = plain(100, 2);
	(void)runq_wake(&all, a, now);
	(void)runq_wake(&all, b, now);
	assert_ptr_equal(pick(0, 0), a);
	(void)runq_wake(&all, c, now);
	assert_ptr_equal(pick(1, 0), c);
	assert_int_equal(b->cpu, 0);
	while (pick(1, SLICE / 2) == c && stayed < 20)
		stayed++;
	assert_in_range(stayed, 1, 4);
	assert_ptr_equal(q[1].current, b);
}

static void a_cap_makes_it_wait(void **state)
{
	struct runq_entity *a;

	(void)state;
	machine(1);
	a = vcpu(100, 1, (struct runq_entity){ .cap = 50 });
	(void)runq_wake(&all, a, now);
	assert_ptr_equal(pick(0, 0), a);
	uint64_t end = q[0].slice_end;
	assert_in_range(end - now, PERIOD / 4, PERIOD);
	for (uint64_t at = now; pick(0, end - now); end = q[0].slice_end)
		assert_true(now - at <= PERIOD);
	assert_int_equal(a->state, RUNQ_THROTTLED);
	uint64_t again = runq_next_event(&q[0]);
	assert_in_range(again - now, PERIOD / 4, PERIOD);
	assert_int_equal(runq_wake(&all, a, now), RUNQ_AWAKE);
	assert_null(pick(0, again - now - 1));
	assert_ptr_equal(pick(0, 1), a);
}

static void a_reservation_goes_first(void **state)
{
	struct runq_entity *a, *b;
	unsigned turns = 0;

	(void)state;
	machine(1);
	a = vcpu(1, 1, (struct runq_entity){ .reservation = 40 });
	b = plain(10000, 1);
	(void)runq_wake(&all, a, now);
	(void)runq_wake(&all, b, now);
	for (int i = 0; i < 1000; i++)
		turns += pick(0, SLICE) == a;
	assert_in_range(turns, 395, 410);
}

static void low_latency_comes_first_for_a_while(void **state)
{
	struct runq_entity *a, *b;
	unsigned turns = 0;

	(void)state;
	machine(1);
	a = vcpu(100, 1, (struct runq_entity){ .low = true });
	b = plain(100, 1);
	(void)runq_wake(&all, b, now);
	assert_ptr_equal(pick(0, 0), b);
	a->vtime = b->vtime + 3 * SLICE;
	assert_int_equal(runq_wake(&all, a, now += 10), 0);
	assert_true(q[0].resched);
	assert_ptr_equal(pick(0, 0), a);
	assert_ptr_equal(pick(0, SLICE), b); /* and that was it */
	for (int i = 0; i < 100; i++)
		turns += pick(0, SLICE) == a;
	assert_in_range(turns, 45, 50);
}

static void dedicated_cpu(void **state)
{
	struct runq_entity *a, *b;

	(void)state;
	machine(2);
	a = plain(100, 2);
	b = plain(100, 1);
	runq_dedicate(&all, a);
	(void)runq_wake(&all, a, now);
	(void)runq_wake(&all, b, now);
	assert_ptr_equal(pick(1, 0), a);
	assert_int_equal(q[1].slice_end, RUNQ_NEVER);
	runq_sleep(&q[1], now);
	assert_null(pick(1, 0));
}

static void timers_wait_with_who_waits(void **state)
{
	struct runq_entity *a, *b, *e;

	(void)state;
	machine(1);
	a = plain(100, 1);
	b = plain(100, 1);
	vcpus[0].deadline = now + 1000;
	assert_int_equal(runq_deadline(&all, a), 0);
	assert_int_equal(runq_next_event(&q[0]), now + 1000);
	assert_false(runq_timer_waits(&q[0], now));
	(void)runq_wake(&all, b, now);
	assert_ptr_equal(pick(0, 0), b);
	(void)runq_wake(&all, a, now);
	assert_int_equal(runq_next_event(&q[0]), RUNQ_NEVER); /* it waits for its turn */
	assert_ptr_equal(pick(0, SLICE), a);
	assert_int_equal(runq_next_event(&q[0]), RUNQ_NEVER); /* who runs looks at it itself */
	runq_sleep(&q[0], now);
	assert_true(runq_timer_waits(&q[0], now));
	e = runq_timer_next(&q[0], NULL, now, now, &look);
	assert_ptr_equal(e, a);
	assert_true(a->busy);
	vcpus[0].deadline = 0; /* the past again: not in this series */
	assert_null(runq_timer_next(&q[0], e, now, now + 5, &look));
	assert_false(a->busy);
	assert_true(runq_timer_waits(&q[0], now + 1));
}

static struct runq_entity *resume(uint64_t due) { return runq_resume(&q[0], now, due, &look); }

static void timer_of(unsigned i, uint64_t at)
{
	vcpus[i].deadline = at;
	(void)runq_deadline(&all, &vcpus[i].e);
}

/* Its timer is due: what would have been decided once it woke is done at once, with the same charges. */
static void who_has_a_timer_goes_on_with_it(void **state)
{
	(void)state;
	machine(1);
	struct runq_entity *a = plain(100, 1), *b = plain(100, 1);
	(void)runq_wake(&all, b, now);
	assert_ptr_equal(pick(0, 0), b);
	timer_of(0, now + 100);
	assert_null(resume(now)); /* not due */
	now += SLICE;
	assert_ptr_equal(resume(now), a);
	assert_int_equal(a->state, RUNQ_RUNNING);
	assert_int_equal(b->state, RUNQ_QUEUED);
	assert_false(runq_timer_waits(&q[0], RUNQ_NEVER - 1)); /* its own affair */
	assert_int_equal(vcpus[1].ran, SLICE);
	assert_int_equal(q[0].slice_end, now + SLICE);
	runq_sleep(&q[0], now += 300);
	assert_int_equal(vcpus[0].ran, 300);
	assert_ptr_equal(pick(0, 10), b);
	runq_switched(&q[0], now += 20);
	assert_int_equal(vcpus[0].ran, 330); /* and what it took to go on */
	assert_int_equal(vcpus[1].ran, SLICE);
	timer_of(0, now);
	runq_sleep(&q[0], now);
	assert_ptr_equal(resume(now), a);
	runq_sleep(&q[0], now += 40);
	assert_int_equal(vcpus[0].ran, 370); /* not the one that went to sleep just before */
	assert_int_equal(vcpus[1].ran, SLICE);
}

/* Where it would not have the CPU at once, or more than one thing is asked for, it is runq_pick()'s to decide. */
static void a_timer_decides_nothing(void **state)
{
	struct runq_entity *a, *b, *c;

	(void)state;
	for (unsigned why = 0; why < 6; why++) {
		machine(1);
		a = vcpu(100, 1, (struct runq_entity){ .low = why == 1 });
		b = vcpu(100, 1, (struct runq_entity){ .reservation = why == 2 ? 10 : 0 });
		c = plain(100, 1);
		if (why == 0) { /* it is ahead of who runs */
			(void)runq_wake(&all, a, now);
			assert_ptr_equal(pick(0, 0), a);
			runq_sleep(&q[0], now += 4 * SLICE);
		}
		(void)runq_wake(&all, b, now);
		assert_ptr_equal(pick(0, 0), b);
		runq_switched(&q[0], now);
		now += why == 0 ? 1 : SLICE;
		if (why == 3) { /* somebody waits who comes before it */
			(void)runq_wake(&all, c, now);
			a->vtime = c->vtime + 1;
		}
		if (why == 4) /* another timer */
			timer_of(2, now);
		if (why == 5) /* its CPU works on its timers */
			a->busy = true;
		timer_of(0, now);
		assert_null(resume(now));
		assert_ptr_equal(q[0].current, b);
		assert_int_equal(a->state, RUNQ_ASLEEP);
		assert_true(runq_timer_waits(&q[0], now));
	}
}

/* The one that loses the CPU by it is offered to one that is idle. */
static void who_loses_the_cpu_to_a_timer_is_offered(void **state)
{
	(void)state;
	machine(2);
	struct runq_entity *a = plain(100, 1), *b = plain(100, 3);
	assert_null(pick(1, 0));
	timer_of(0, now + SLICE);
	(void)runq_wake(&all, b, now);
	assert_ptr_equal(pick(0, 0), b);
	now += SLICE;
	assert_ptr_equal(resume(now), a);
	assert_int_equal(look, 1);
	assert_ptr_equal(pick(1, 0), b);
}

/* A storm of timers of one that sleeps: each is charged, and soon they wait until it is due. */
static void timers_of_a_sleeper_cost_it(void **state)
{
	struct runq_entity *a, *b;
	unsigned served = 0;

	(void)state;
	machine(1);
	a = plain(100, 1);
	b = plain(100, 1);
	(void)runq_wake(&all, b, now);
	assert_ptr_equal(pick(0, 0), b);
	vcpus[0].deadline = 0;
	(void)runq_deadline(&all, a);
	for (uint64_t end = now + 20 * SLICE; now < end; now += SLICE / 200) {
		struct runq_entity *e = NULL;

		while (runq_timer_waits(&q[0], now) && (e = runq_timer_next(&q[0], e, now, now, &look))) {
			now += SLICE / 100;
			served++;
		}
		if (e || runq_has_culprit(&q[0]))
			runq_switched(&q[0], now);
	}
	assert_in_range(vcpus[0].ran, 8 * SLICE, 11 * SLICE);
	assert_in_range(served, 800, 1100);
}

static void yields(void **state)
{
	struct runq_entity *a, *b, *c;

	(void)state;
	machine(2);
	a = plain(100, 1);
	b = plain(100, 1);
	c = plain(100, 1);
	assert_false(runq_yield_to(&q[0], b)); /* it sleeps */
	(void)runq_wake(&all, a, now);
	(void)runq_wake(&all, b, now);
	(void)runq_wake(&all, c, now);
	assert_ptr_equal(pick(0, 0), a);
	assert_true(runq_yield_to(&q[0], c));
	uint64_t end = q[0].slice_end, vtime = c->vtime;
	assert_ptr_equal(pick(0, 100), c);
	assert_int_equal(q[0].slice_end, end);
	assert_ptr_equal(pick(0, end - now), b);
	assert_int_equal(c->vtime, vtime); /* the other one has paid */
	assert_in_range(a->vtime - vtime, SLICE, SLICE + 100);
}

static void yields_to_one_elsewhere(void **state)
{
	struct runq_entity *a, *b, *c;

	(void)state;
	machine(2);
	a = plain(100, 1);
	b = plain(100, 3);
	c = plain(100, 2);
	runq_resettle(&all, b, &b->allowed, 1);
	(void)runq_wake(&all, a, now);
	(void)runq_wake(&all, c, now);
	assert_ptr_equal(pick(0, 0), a);
	assert_ptr_equal(pick(1, 0), c);
	b->vtime += 10;
	(void)runq_wake(&all, b, now);
	assert_int_equal(b->state, RUNQ_QUEUED);
	assert_int_equal(b->cpu, 1);
	assert_true(runq_yield_to(&q[0], b));
	assert_ptr_equal(pick(0, 100), b);
	assert_int_equal(b->cpu, 0);
}

/* `a` spins for `b`, which waits: behind `c` on the other CPU, or here. */
static void one_is_summoned_beside_another(void **state)
{
	struct runq_entity *a, *b, *c;

	(void)state;
	machine(2);
	a = plain(100, 1);
	b = plain(100, 3);
	c = plain(100, 2);
	runq_resettle(&all, b, &b->allowed, 1);
	(void)runq_wake(&all, a, now);
	(void)runq_wake(&all, c, now);
	assert_ptr_equal(pick(0, 0), a);
	assert_ptr_equal(pick(1, 0), c);
	assert_int_equal(runq_summon(&q[0], b, 1, now), RUNQ_NOBODY); /* it sleeps */
	b->vtime += 10;
	(void)runq_wake(&all, b, now);
	assert_int_equal(b->state, RUNQ_QUEUED);
	assert_int_equal(runq_summon(&q[0], b, 1, now), 1);
	assert_true(q[1].resched);
	assert_ptr_equal(pick(1, 100), b);
	assert_int_equal(c->state, RUNQ_QUEUED);
	assert_ptr_equal(pick(1, SLICE), c); /* it has paid for that itself */
	b->vtime += 2 * SLICE;
	assert_int_equal(runq_summon(&q[0], b, 1, now), RUNQ_NOBODY); /* and may not have more */
	assert_ptr_equal(pick(0, 0), a);
}

static void one_that_waits_here_is_summoned_elsewhere(void **state)
{
	struct runq_entity *a, *b, *c;

	(void)state;
	machine(2);
	a = plain(100, 1);
	b = plain(100, 3);
	c = plain(100, 2);
	(void)runq_wake(&all, a, now);
	(void)runq_wake(&all, c, now);
	assert_ptr_equal(pick(0, 0), a);
	assert_ptr_equal(pick(1, 0), c);
	b->vtime += 10;
	(void)runq_wake(&all, b, now);
	assert_int_equal(b->cpu, 0);
	assert_int_equal(runq_summon(&q[0], b, 0, now), RUNQ_NOBODY); /* beside it, not in its place */
	assert_int_equal(runq_summon(&q[0], b, 1, now), 1);
	assert_ptr_equal(pick(1, 100), b);
	assert_int_equal(b->cpu, 1);
	assert_ptr_equal(q[0].current, a);
}

static void clocks_stay_together(void **state)
{
	struct runq_entity *a, *b, *c;

	(void)state;
	machine(2);
	a = plain(10000, 1); /* its time passes slowly */
	b = plain(100, 2);
	c = plain(100, 2);
	(void)runq_wake(&all, a, now);
	(void)runq_wake(&all, b, now);
	(void)runq_wake(&all, c, now);
	(void)pick(1, 0);
	for (int i = 0; i < 1000; i++) {
		assert_ptr_equal(pick(0, SLICE / 2), a);
		(void)pick(1, SLICE / 2);
	}
	uint64_t slow = a->vtime + q[0].base, fast = MIN(b->vtime, c->vtime) + q[1].base;
	assert_true(fast > slow);
	assert_in_range(fast - slow, SLICE, (LAG_SLICES + 2) * SLICE);
}

/* Asleep on CPU 0, with a timer that is due in so many ticks. */
static struct runq_entity *sleeper(uint64_t due, struct runq_entity more)
{
	struct runq_entity *e = vcpu(100, 1, more);

	vcpus[nvcpus - 1].deadline = now + due;
	(void)runq_deadline(&all, e);
	return e;
}

static void resumes_for_a_timer(void **state)
{
	(void)state;
	machine(1);
	struct runq_entity *a = sleeper(1000, (struct runq_entity){ 0 });
	assert_null(pick(0, 0));
	assert_null(resume(now + 999));
	now += 900;
	assert_ptr_equal(resume(now + 100), a);
	assert_ptr_equal(q[0].current, a);
	assert_int_equal(a->state, RUNQ_RUNNING);
	assert_false(heap_holds(&a->timer));
	assert_true(runq_claimed(&q[0]) && !q[0].idle); /* and is not to be found idle any more */
	assert_int_equal(vcpus[0].ran, 0); /* the CPU was idle */
	assert_true(runq_goes_on(&q[0], now));
	assert_null(resume(now)); /* somebody runs */
	runq_sleep(&q[0], now += 50);
	assert_int_equal(vcpus[0].ran, 50);
	assert_int_equal(runq_next_event(&q[0]), now + 50);
}

static void decides_where_there_is_more(void **state)
{
	(void)state;
	machine(1); /* two timers */
	struct runq_entity *a = sleeper(10, (struct runq_entity){ 0 });
	(void)sleeper(20, (struct runq_entity){ 0 });
	assert_null(pick(0, 0));
	assert_null(resume(now + 20));
	assert_ptr_equal(resume(now + 19), a);
	machine(1); /* somebody waits */
	(void)sleeper(10, (struct runq_entity){ 0 });
	assert_null(pick(0, 0));
	(void)runq_wake(&all, plain(100, 1), now);
	assert_null(resume(now + 10));
	machine(1); /* another CPU has chosen this one for somebody who waits */
	(void)sleeper(10, (struct runq_entity){ 0 });
	assert_null(pick(0, 0));
	assert_true(unmark_idle(&all, 0));
	assert_null(resume(now + 10));
	machine(1); /* it has a cap */
	(void)sleeper(10, (struct runq_entity){ .cap = 50 });
	assert_null(pick(0, 0));
	assert_null(resume(now + 10));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(idle_at_first), cmocka_unit_test(by_weight), cmocka_unit_test(who_slept_comes_first),
		cmocka_unit_test(one_that_was_alone_gets_a_slice), cmocka_unit_test(wakes_where_there_is_room),
		cmocka_unit_test(idle_takes_who_waits), cmocka_unit_test(moves_only_for_more_than_a_slice),
		cmocka_unit_test(a_cap_makes_it_wait), cmocka_unit_test(a_reservation_goes_first),
		cmocka_unit_test(low_latency_comes_first_for_a_while), cmocka_unit_test(dedicated_cpu),
		cmocka_unit_test(timers_wait_with_who_waits), cmocka_unit_test(who_has_a_timer_goes_on_with_it),
		cmocka_unit_test(a_timer_decides_nothing), cmocka_unit_test(who_loses_the_cpu_to_a_timer_is_offered),
		cmocka_unit_test(timers_of_a_sleeper_cost_it),
		cmocka_unit_test(yields), cmocka_unit_test(yields_to_one_elsewhere),
		cmocka_unit_test(one_is_summoned_beside_another), cmocka_unit_test(one_that_waits_here_is_summoned_elsewhere),
		cmocka_unit_test(clocks_stay_together), cmocka_unit_test(resumes_for_a_timer),
		cmocka_unit_test(decides_where_there_is_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
