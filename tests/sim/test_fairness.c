/* Who gets how much of the CPUs, over ten seconds. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "tests/sim/sim.h"
#include "tests/unit/rng.h"

#define SECONDS 10
#define PART_IN 0.02 /* of what is due to one */

static double worst_lag; /* slices that one was behind or ahead of what was due to it */

/* All compute; looks each 50 ms at how far each is from what is due to it. */
static void expect_shares(const uint32_t *weights, uint32_t n, uint32_t ncpus, double part)
{
	struct sim *s = sim_new(ncpus);
	double due[64];

	sim_ideal(weights, n, ncpus, due);
	for (uint32_t i = 0; i < n; i++)
		sim_add(s, weights[i], 0);
	s->check_idle = true;
	sim_wake_all(s);
	for (uint64_t t = SIM_PERIOD; t <= SECONDS * SIM_HZ; t += SIM_PERIOD) {
		sim_run(s, SIM_PERIOD);
		for (uint32_t i = 0; i < n; i++)
			worst_lag = fmax(worst_lag, fabs((double)sim_ran(&s->vcpus[i]) - due[i] * (double)t) / SIM_SLICE);
	}
	for (uint32_t i = 0; i < n; i++) {
		double got = (double)sim_ran(&s->vcpus[i]) / (SECONDS * SIM_HZ);

		if (fabs(got / due[i] - 1) > part)
			fail_msg("%u CPUs, %u vCPUs: number %u of weight %u got %.4f, due %.4f", ncpus, n, i, weights[i], got, due[i]);
	}
	assert_int_equal(s->wrongly_idle, 0);
	sim_free(s);
}

static void equal_weights(void **state)
{
	(void)state;
	worst_lag = 0;
	for (uint32_t cpus = 1; cpus <= 8; cpus++)
		for (uint32_t n = cpus; n <= 3 * cpus + 1; n++) {
			uint32_t weights[64];

			for (uint32_t i = 0; i < n; i++)
				weights[i] = 100;
			expect_shares(weights, n, cpus, PART_IN);
		}
	print_message("equal weights: at most %.1f slices from what is due\n", worst_lag);
	assert_true(worst_lag < 8);
}

static void mixed_weights(void **state)
{
	static const uint32_t some[] = { 50, 100, 100, 200, 300, 400, 800 };

	(void)state;
	worst_lag = 0;
	rng_state = 1;
	for (uint32_t cpus = 1; cpus <= 8; cpus++)
		for (uint32_t round = 0; round < 8; round++) {
			uint32_t weights[64], n = cpus + 1 + (uint32_t)(rng() % (3 * cpus));
			uint64_t seed = rng();

			for (uint32_t i = 0; i < n; i++)
				weights[i] = some[rng() % ARRAY_SIZE(some)];
			expect_shares(weights, n, cpus, PART_IN);
			rng_state = seed;
		}
	print_message("mixed weights: at most %.1f slices from what is due\n", worst_lag);
	assert_true(worst_lag < 16);
}

/* One that is worth more than a CPU gets one, and the others share the rest; what it cannot have it does not save up. */
static void more_than_a_cpu(void **state)
{
	static const uint32_t weights[] = { 10000, 100, 100 };
	struct sim *s = sim_new(2);
	struct sim_vcpu *v[4];
	uint64_t before[4];

	(void)state;
	expect_shares(weights, 3, 2, PART_IN);
	for (int i = 0; i < 4; i++)
		v[i] = sim_add(s, i == 0 ? 10000 : 100, 0);
	for (int i = 0; i < 3; i++)
		sim_wake(v[i]);
	sim_run(s, 10 * SIM_HZ);
	sim_wake(v[3]); /* a newcomer among the light ones has its share at once */
	for (int i = 0; i < 4; i++)
		before[i] = sim_ran(v[i]);
	sim_run(s, SIM_HZ);
	for (int i = 1; i < 4; i++) {
		double got = (double)(sim_ran(v[i]) - before[i]) / SIM_HZ;

		if (fabs(got - 1. / 3) > 0.05)
			fail_msg("number %d got %.3f", i, got);
	}
	sim_free(s);
}

/* Two that are alone with a CPU, and others that have the rest: no clock is right for both. */
static void parted_cpus(void **state)
{
	struct sim *s = sim_new(2);
	struct sim_vcpu *a = sim_add(s, 100, 1), *b = sim_add(s, 200, 1), *c[8], *free_one = sim_add(s, 100, 0);

	(void)state;
	for (int i = 0; i < 8; i++)
		c[i] = sim_add(s, 100, 2);
	sim_wake_all(s);
	sim_stop(free_one);
	sim_run(s, 10 * SIM_HZ);
	assert_true(fabs((double)sim_ran(b) / (double)sim_ran(a) - 2) < 0.05);
	for (int i = 0; i < 8; i++)
		assert_true(fabs((double)sim_ran(c[i]) / (10. * SIM_HZ) * 8 - 1) < 0.03);
	/* One that may go anywhere gets where it is worth most, and starves nowhere. */
	uint64_t before = sim_ran(free_one);
	free_one->run = 0;
	sim_wake(free_one);
	sim_run(s, 10 * SIM_HZ);
	double got = (double)(sim_ran(free_one) - before) / (10. * SIM_HZ);
	print_message("the one that may go anywhere: %.3f of a CPU\n", got);
	assert_true(got > 0.11 && got < 0.27);
	sim_free(s);
}

/* Those that sleep now and then get what they want as long as it is less than their share. */
static void sleepers(void **state)
{
	struct sim *s = sim_new(2);

	(void)state;
	for (int i = 0; i < 4; i++) {
		struct sim_vcpu *v = sim_add(s, 100, 0);

		v->run = 1 * SIM_MS;
		v->sleep = 9 * SIM_MS;
		v->vary = true;
	}
	for (int i = 0; i < 4; i++)
		sim_add(s, 100, 0);
	s->check_idle = true;
	sim_wake_all(s);
	sim_run(s, SECONDS * SIM_HZ);
	for (int i = 0; i < 8; i++) {
		const struct sim_vcpu *v = &s->vcpus[i];
		double got = (double)sim_ran(v) / (SECONDS * SIM_HZ);

		if (i < 4)
			print_message("sleeper: %.4f of a CPU, late by %.0f us, at worst %.0f us\n", got,
				      (double)v->late / (double)v->wakes / SIM_US, (double)v->worst / SIM_US);
		else
			assert_true(fabs(got - sim_ran(&s->vcpus[7]) / (double)(SECONDS * SIM_HZ)) < 0.02);
		assert_true(i >= 4 || got > 0.085);
	}
	assert_int_equal(s->wrongly_idle, 0);
	assert_true(s->cpus[0].resumes > 0 && s->cpus[0].picks > 0); /* by their timers, and by decisions */
	sim_free(s);
}

/* The vCPUs of one VM spin for each other all the time: they run beside each other, but have no more than their shares. */
static void spinners(void **state)
{
	(void)state;
	for (uint32_t cpus = 2; cpus <= 4; cpus++)
		for (uint32_t n = 2; n <= 8; n++) {
			struct sim *s = sim_new(cpus);
			uint32_t weights[16];
			double due[16];

			for (uint32_t i = 0; i < n + cpus; i++) {
				weights[i] = 100;
				sim_add(s, 100, 0)->vm = i < n;
			}
			sim_ideal(weights, n + cpus, cpus, due);
			sim_wake_all(s);
			sim_run(s, SECONDS * SIM_HZ);
			for (uint32_t i = 0; i < n + cpus; i++) {
				double got = (double)sim_ran(&s->vcpus[i]) / (SECONDS * SIM_HZ);

				if (fabs(got / due[i] - 1) > PART_IN)
					fail_msg("%u CPUs, %u spin: number %u got %.4f, due %.4f", cpus, n, i, got, due[i]);
			}
			sim_free(s);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(equal_weights), cmocka_unit_test(mixed_weights),
					    cmocka_unit_test(more_than_a_cpu), cmocka_unit_test(parted_cpus),
					    cmocka_unit_test(sleepers), cmocka_unit_test(spinners) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
