/* Beside another of itself on one CPU: how long its turns are, and how long those that are not its own, as it sees both. */
#include "bench.h"

#define ABSENT 20000 /* ticks: more than any exit, fewer than any slice */

void payload_main(void)
{
	static uint64_t runs[BENCH_SAMPLES], gaps[BENCH_SAMPLES];
	uint64_t last = rdtsc(), start = last;

	for (unsigned n = 0; n <= BENCH_SAMPLES;) {
		uint64_t now = rdtsc();

		if (now - last > ABSENT) {
			if (n) { /* the first turn began before this */
				runs[n - 1] = last - start;
				gaps[n - 1] = now - last;
			}
			n++;
			start = now;
		}
		last = now;
	}
	bench_report("turn", runs, BENCH_SAMPLES);
	bench_report("gap", gaps, BENCH_SAMPLES);
}
