/* The CPUs beside the boot CPU: how they are started, and how CPUs ask things of each other. */
#pragma once
#include "arch/x86_64/percpu.h"

/* CPUs that run, the boot CPU included: they have the ids 0 to smp_cpus() - 1, and `cpus[]` has them. */
uint32_t smp_cpus(void);

/* How many of an APIC ID's low bits number the threads of a core (SDM 2A, "CPUID", leaf 0Bh). */
unsigned smp_thread_bits(void);

struct smp_boot {
	const uint32_t *apic_ids; /* of all CPUs; the one that this runs on is skipped */
	uint32_t n;
	uint32_t max;             /* CPUs to run at most, the boot CPU included */
	hpa_t lapic_base;
	bool (*low_page_free)(uint64_t start, uint64_t end); /* physical addresses: may this be overwritten? */
	/* Run by each new CPU, with its structures loaded and its local APIC on: prepares the rest. NULL, or why it cannot be used. */
	const char *(*prepare)(void);
	/* Run by it at last. */
	void __noreturn (*run)(void);
};
/*
 * Starts them one by one (SDM 3A, "MP Initialization Protocol Algorithm"), with a start-up page below 1 MiB. One that does
 * not answer, whose TSC cannot be brought to agree or that `prepare` refuses is reported, sent back to wait, and left out.
 */
void smp_start(const struct smp_boot *b);

typedef void (*smp_fn)(void *ctx);
/*
 * Runs fn(ctx) on that CPU, with interrupts off, and waits until it is done; at once if it is this one. fn runs between
 * any two instructions of that CPU at which it lets interrupts in: in an exit, in its idle HLT, or while it waits here
 * itself. The caller holds no lock, and fn takes none that a caller of smp_call() may hold.
 */
void smp_call(uint32_t cpu, smp_fn fn, void *ctx);
/*
 * Holds all other CPUs where they let interrupts in, until smp_release(): nothing changes but by this one. Each runs `before`
 * first and `after` at last. One CPU at a time, without locks; nobody can be asked anything meanwhile.
 */
void smp_hold(smp_fn before, smp_fn after, void *ctx);
void smp_release(void);
/* Makes that CPU leave its guest, or its idle HLT. It need not be there. Not for this CPU. */
void smp_kick(uint32_t cpu);
#ifdef TF_TEST_HOOKS
/* Is this CPU to be silent when it is started, or to differ from the others? tests/hooks/faults.c */
bool test_hook_cpu_silent(void);
bool test_hook_cpu_differs(void);
#else
static inline bool test_hook_cpu_silent(void) { return false; }
static inline bool test_hook_cpu_differs(void) { return false; }
#endif
