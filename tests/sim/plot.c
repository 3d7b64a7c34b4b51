/*
 * Data for the plots of docs/scheduling.md, for gnuplot:   plot shares|latency
 *   shares: seconds, and of each of five vCPUs how many slices it is ahead of what is due to it
 *   latency: percent of wake-ups, and within how many microseconds a CPU was there: normal, and with low latency
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/sim/sim.h"

static void shares(void)
{
	static const uint32_t weights[] = { 400, 200, 100, 100, 100 };
	enum { N = ARRAY_SIZE(weights), CPUS = 2 };
	struct sim *s = sim_new(CPUS);
	double due[N];

	sim_ideal(weights, N, CPUS, due);
	for (int i = 0; i < N; i++)
		sim_add(s, weights[i], 0);
	sim_wake_all(s);
	for (uint64_t t = SIM_SLICE; t <= SIM_HZ; t += SIM_SLICE) {
		sim_run(s, SIM_SLICE);
		printf("%.3f", (double)t / SIM_HZ);
		for (int i = 0; i < N; i++)
			printf(" %.3f", ((double)sim_ran(&s->vcpus[i]) - due[i] * (double)t) / SIM_SLICE);
		printf("\n");
	}
	sim_free(s);
}

enum { WAKES = 4000 };

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* How late one wakes that wants nearly its share, beside eight that compute on two CPUs. */
static void wake_times(bool low, uint64_t late[WAKES])
{
	struct sim *s = sim_new(2);
	struct sim_vcpu *v = sim_add_rates(s, 100, 0, 0, 0, low);

	v->run = 2 * SIM_MS;
	v->sleep = 8 * SIM_MS;
	v->vary = true;
	for (int i = 0; i < 8; i++)
		sim_add(s, 100, 0);
	sim_wake_all(s);
	sim_run(s, SIM_HZ);
	for (uint64_t n = 0; n < WAKES;) {
		uint64_t wakes = v->wakes, sum = v->late;

		sim_run(s, SIM_MS / 10);
		if (v->wakes > wakes)
			late[n++] = (v->late - sum) / (v->wakes - wakes);
	}
	qsort(late, WAKES, sizeof(*late), by_size);
	sim_free(s);
}

static void latency(void)
{
	static uint64_t late[2][WAKES];

	wake_times(false, late[0]);
	wake_times(true, late[1]);
	for (int i = 0; i < WAKES; i++)
		printf("%.3f %.2f %.2f\n", 100. * (i + 1) / WAKES, (double)late[0][i] / SIM_US, (double)late[1][i] / SIM_US);
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "shares"))
		shares();
	else if (argc == 2 && !strcmp(argv[1], "latency"))
		latency();
	else
		return fprintf(stderr, "plot shares|latency\n"), 2;
	return 0;
}
