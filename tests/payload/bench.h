/* What an operation costs, in ticks of the TSC. bench.c takes the samples, bench_*.c are the operations by subject. */
#pragma once
#include "payload.h"

#define BENCH_SAMPLES 200

struct operation {
	const char *name;
	void (*op)(void);
	bool (*present)(void);    /* NULL: on every machine */
	void (*before)(void);     /* around each sample, not part of it */
	void (*after)(void);
	uint64_t (*sample)(void); /* in place of op: measures by itself */
};

/* Each ends with one that has no name. */
extern const struct operation bench_cpu[], bench_io[], bench_apic[], bench_timer[], bench_memory[], bench_x2apic[];
void bench_apic_init(void);
void bench_timer_init(void);

/* bench_report.c: sorts the samples and prints "bench name=... median=... p99=... max=... n=...". */
void bench_report(const char *name, uint64_t *samples, unsigned n);

/* bench_io.c: one instruction for all reads of device memory, and one for all writes, as drivers have them. So it does not
 * matter to an emulator that keeps instructions which it has decoded where in memory they are. */
uint32_t bench_read(uint64_t address);
void bench_write(uint64_t address, uint32_t value);
