/* What a vCPU is promised besides its share: caps, reservations, low latency, CPUs of its own; and that no CPU sleeps in vain. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "tests/sim/sim.h"
#include "tests/unit/rng.h"

static double part(const struct sim_vcpu *v, uint64_t before, uint64_t ticks)
{
	return (double)(sim_ran(v) - before) / (double)ticks;
}

/* In each second, and over ten. */
static void expect_caps(uint32_t cap, uint32_t rivals, uint32_t ncpus, bool sleepy)
{
	struct sim *s = sim_new(ncpus);
	struct sim_vcpu *v = sim_add_rates(s, 1000, 0, cap, 0, false);
	double all = 0;

	for (uint32_t i = 0; i < rivals; i++)
		sim_add(s, 100, 0);
	if (sleepy) {
		v->run = 3 * SIM_MS;
		v->sleep = SIM_MS;
		v->vary = true;
	}
	s->check_idle = true;
	sim_wake_all(s);
	for (int i = 0; i < 10; i++) {
		uint64_t before = sim_ran(v);

		sim_run(s, SIM_HZ);
		double got = part(v, before, SIM_HZ);
		all += got / 10;
		if (got > cap / 100. + (double)SIM_PERIOD / SIM_HZ)
			fail_msg("cap %u got %.4f of a second", cap, got);
	}
	if (all > cap / 100. + 0.002 || (!sleepy && all < cap / 100. - 0.02))
		fail_msg("cap %u, %u rivals on %u CPUs: %.4f over ten seconds", cap, rivals, ncpus, all);
	assert_int_equal(s->wrongly_idle, 0);
	sim_free(s);
}

static void caps_are_hard(void **state)
{
	(void)state;
	for (uint32_t cap = 1; cap <= 99; cap += 7) {
		expect_caps(cap, 0, 1, false);
		expect_caps(cap, 0, 2, false);
		expect_caps(cap, 3, 2, true);
		expect_caps(cap, 4, 4, false);
	}
	expect_caps(50, 1, 1, false);
}

static void reservations_are_met(void **state)
{
	(void)state;
	for (uint32_t ncpus = 1; ncpus <= 4; ncpus++)
		for (uint32_t reserved = 5; reserved <= 90; reserved += 17) {
			struct sim *s = sim_new(ncpus);
			uint32_t n = MAX(1u, 95 * ncpus / reserved);

			for (uint32_t i = 0; i < n; i++)
				sim_add_rates(s, 1, 0, 0, reserved, false);
			for (uint32_t i = 0; i < 4 * ncpus; i++)
				sim_add(s, 1000, 0);
			s->check_idle = true;
			sim_wake_all(s);
			sim_run(s, SIM_HZ);
			for (int second = 0; second < 5; second++) {
				uint64_t before[SIM_VCPUS];

				for (uint32_t i = 0; i < n; i++)
					before[i] = sim_ran(&s->vcpus[i]);
				sim_run(s, SIM_HZ);
				for (uint32_t i = 0; i < n; i++)
					if (part(&s->vcpus[i], before[i], SIM_HZ) < reserved / 100. - 0.02)
						fail_msg("%u CPUs, %u reserved for %u: number %u got %.4f", ncpus, reserved, n, i,
							 part(&s->vcpus[i], before[i], SIM_HZ));
			}
			assert_int_equal(s->wrongly_idle, 0);
			sim_free(s);
		}
}

/* Beside many that compute, one with low latency has a CPU at once, as long as it wants less than its share. */
static void low_latency(void **state)
{
	(void)state;
	for (uint32_t ncpus = 1; ncpus <= 8; ncpus++) {
		struct sim *s = sim_new(ncpus);
		struct sim_vcpu *low[16];
		uint64_t worst = 0, sum = 0, wakes = 0;
		int n = 2 * (int)ncpus;

		for (int i = 0; i < n; i++) {
			low[i] = sim_add_rates(s, 100, 0, 0, 0, true);
			low[i]->run = SIM_MS / 5;
			low[i]->sleep = 4 * SIM_MS;
			low[i]->vary = true;
		}
		for (uint32_t i = 0; i < 4 * ncpus; i++)
			sim_add(s, 300, 0);
		sim_wake_all(s);
		sim_run(s, SIM_HZ);
		for (int i = 0; i < n; i++)
			low[i]->worst = low[i]->late = low[i]->wakes = 0;
		sim_run(s, 20 * SIM_HZ);
		for (int i = 0; i < n; i++) {
			worst = MAX(worst, low[i]->worst);
			sum += low[i]->late;
			wakes += low[i]->wakes;
		}
		print_message("%u CPUs, %d of these: late by %.0f us at worst, %.1f us mostly\n", ncpus, n, (double)worst / SIM_US,
			      (double)sum / (double)wakes / SIM_US);
		assert_true(worst <= SIM_MS);
		sim_free(s);
	}
}

/* It cannot take more than its share by being early. */
static void low_latency_has_no_more(void **state)
{
	struct sim *s = sim_new(1);
	struct sim_vcpu *greedy = sim_add_rates(s, 100, 0, 0, 0, true), *other = sim_add(s, 100, 0);

	(void)state;
	greedy->run = 2 * SIM_MS;
	greedy->sleep = SIM_US;
	sim_wake_all(s);
	sim_run(s, 10 * SIM_HZ);
	print_message("the other one got %.4f\n", part(other, 0, 10 * SIM_HZ));
	assert_true(part(other, 0, 10 * SIM_HZ) > 0.49);
	sim_free(s);
}

static void dedicated(void **state)
{
	struct sim *s = sim_new(4);
	struct sim_vcpu *v = sim_add(s, 100, 8);

	(void)state;
	for (int i = 0; i < 9; i++)
		sim_add(s, 100, 7);
	runq_dedicate(&s->all, &v->e);
	s->check_idle = true;
	sim_wake_all(s);
	sim_run(s, SIM_SLICE);
	uint64_t picks = s->cpus[3].picks;
	sim_run(s, 10 * SIM_HZ);
	assert_true(sim_ran(v) >= 10 * SIM_HZ);
	assert_int_equal(s->cpus[3].picks, picks); /* nothing has ended its turn */
	for (int i = 1; i < 10; i++)
		assert_true(fabs(part(&s->vcpus[i], 0, 10 * SIM_HZ) - 1. / 3) < 0.01);
	assert_int_equal(s->wrongly_idle, 0);
	sim_free(s);
}

/* Any number of CPUs, loads of all kinds, and some that may not run everywhere. */
static void no_cpu_sleeps_in_vain(void **state)
{
	static const uint32_t cpus[] = { 1, 2, 3, 4, 8, 16, 64, 100, 256 };

	(void)state;
	for (unsigned k = 0; k < ARRAY_SIZE(cpus); k++) {
		struct sim *s = sim_new(cpus[k]);
		uint32_t n = cpus[k] <= 16 ? 3 * cpus[k] : cpus[k] + cpus[k] / 2;
		uint64_t idle = 0, ran = 0, length = cpus[k] <= 16 ? 5 * SIM_HZ : SIM_HZ / 2;

		for (uint32_t i = 0; i < n; i++) {
			struct sim_vcpu *v = sim_add_rates(s, 1 + (uint32_t)(rng() % 500), i % 5 ? 0 : 1 + i % (BIT(MIN(cpus[k], 8u)) - 1),
							   i % 7 == 1 ? 30 : 0, i % 7 == 2 ? 10 : 0, i % 7 == 3);

			v->run = rng() % 3 ? (1 + rng() % 8000) * SIM_US : 0;
			v->sleep = (1 + rng() % 12000) * SIM_US;
			v->vary = i & 1;
		}
		s->check_idle = true;
		sim_wake_all(s);
		sim_run(s, length);
		for (uint32_t i = 0; i < cpus[k]; i++)
			idle += s->cpus[i].idle;
		for (uint32_t i = 0; i < n; i++)
			ran += sim_ran(&s->vcpus[i]);
		print_message("%u CPUs, %u vCPUs: %.1f %% idle\n", cpus[k], n, 100. * (double)idle / (double)(cpus[k] * length));
		assert_int_equal(s->wrongly_idle, 0);
		assert_true(ran <= cpus[k] * length);
		sim_free(s);
	}
}

/* A few that compute on fewer CPUs keep to where they are, as far as shares allow. */
static void warm_ones_stay(void **state)
{
	struct sim *s = sim_new(4);
	uint64_t moved = 0;

	(void)state;
	for (int i = 0; i < 8; i++)
		sim_add(s, 100, 0);
	sim_wake_all(s);
	sim_run(s, SIM_HZ);
	for (int i = 0; i < 8; i++)
		moved -= s->vcpus[i].migrations;
	sim_run(s, 10 * SIM_HZ);
	for (int i = 0; i < 8; i++)
		moved += s->vcpus[i].migrations;
	assert_int_equal(moved, 0);
	sim_free(s);
	s = sim_new(2);
	for (int i = 0; i < 3; i++)
		sim_add(s, 100, 0);
	sim_wake_all(s);
	sim_run(s, 10 * SIM_HZ);
	for (int i = 0; i < 3; i++)
		moved += s->vcpus[i].migrations;
	print_message("three on two CPUs: %lu moves in 4000 slices\n", moved);
	assert_true(moved < 1500);
	sim_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(caps_are_hard), cmocka_unit_test(reservations_are_met), cmocka_unit_test(low_latency),
		cmocka_unit_test(low_latency_has_no_more), cmocka_unit_test(dedicated), cmocka_unit_test(no_cpu_sleeps_in_vain),
		cmocka_unit_test(warm_ones_stay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
