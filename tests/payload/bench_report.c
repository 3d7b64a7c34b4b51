/* Samples in, one line out. */
#include "bench.h"

static void sort(uint64_t *v, unsigned n)
{
	for (unsigned i = 1; i < n; i++) {
		uint64_t x = v[i];
		unsigned k = i;

		for (; k && v[k - 1] > x; k--)
			v[k] = v[k - 1];
		v[k] = x;
	}
}

void bench_report(const char *name, uint64_t *v, unsigned n)
{
	sort(v, n);
	print("bench name=%s median=%lu p99=%lu max=%lu n=%u\n", name, v[n / 2], v[(n * 99 + 99) / 100 - 1], v[n - 1], n);
}
