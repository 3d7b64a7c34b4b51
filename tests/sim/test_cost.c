/*
 * What a decision costs with many vCPUs. Counted in basic blocks of all code here (clang's coverage callbacks), which is the same in
 * each run and on each machine.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "tests/sim/sim.h"
#include "tests/unit/rng.h"

#define DECISIONS 20000
#define GROWTH    3 /* from 16 vCPUs to 4096 */

static uint64_t blocks;
static bool counting;

void __sanitizer_cov_trace_pc_guard(uint32_t *guard);
void __sanitizer_cov_trace_pc_guard_init(uint32_t *start, uint32_t *stop);

__attribute__((no_sanitize("coverage"))) void __sanitizer_cov_trace_pc_guard(uint32_t *guard)
{
	(void)guard;
	blocks += counting;
}

__attribute__((no_sanitize("coverage"))) void __sanitizer_cov_trace_pc_guard_init(uint32_t *start, uint32_t *stop)
{
	(void)start;
	(void)stop;
}

struct cost { double slice, wake; };

/* Of the end of a slice; and of going to sleep, the decision that follows, and waking up again. */
static struct cost cost(uint32_t n, uint32_t ncpus)
{
	struct sim *s = sim_new(ncpus);
	struct cost c;
	uint32_t look;

	for (uint32_t i = 0; i < n; i++)
		sim_add(s, 1 + (uint32_t)(rng() % 1000), 0);
	sim_wake_all(s);
	sim_run(s, SIM_HZ);
	blocks = 0;
	for (uint32_t i = 0; i < DECISIONS; i++) {
		s->now += SIM_SLICE / ncpus;
		counting = true;
		(void)runq_pick(&s->cpus[i % ncpus].q, s->now, &look);
		counting = false;
	}
	c.slice = (double)blocks / DECISIONS;
	blocks = 0;
	for (uint32_t i = 0; i < DECISIONS; i++) {
		struct runq *q = &s->cpus[i % ncpus].q;
		struct runq_entity *e = q->current;

		s->now += SIM_SLICE / 10 / ncpus;
		counting = true;
		runq_sleep(q, s->now);
		(void)runq_pick(q, s->now, &look);
		(void)runq_wake(&s->all, e, s->now);
		counting = false;
	}
	c.wake = (double)blocks / DECISIONS;
	print_message("%u CPUs, %u vCPUs: %.0f blocks for the end of a slice, %.0f for sleeping and waking up\n", ncpus, n, c.slice,
		      c.wake);
	sim_free(s);
	return c;
}

static void grows_slowly(void **state)
{
	static const uint32_t ncpus[] = { 1, 2, 4, 8 };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(ncpus); i++) {
		struct cost few = cost(16, ncpus[i]), many = cost(4096, ncpus[i]);

		assert_true(many.slice <= GROWTH * few.slice);
		assert_true(many.wake <= GROWTH * few.wake);
	}
}

static void many_cpus(void **state)
{
	struct cost few = cost(4 * 8, 8), many = cost(4 * 256, 256);

	(void)state;
	assert_true(many.slice <= GROWTH * few.slice);
	assert_true(many.wake <= GROWTH * few.wake);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(grows_slowly), cmocka_unit_test(many_cpus) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
