#include "core/tracing.h"
#include "arch/x86_64/frames.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/smp.h"
#include "arch/x86_64/tsc.h"
#include "core/sched.h"
#include "core/vmm.h"
#include "lib/trace_ring.h"
#include <tf/log.h>
#include <tf/string.h>

static bool on, dumping; /* the boot CPU's: it does not run while it is dumped */
static bool toggled;     /* atomic */

static const char *const kinds[TRACE_KINDS] = {
	[TRACE_ENTRY] = "entry", [TRACE_EXIT] = "exit", [TRACE_INJECT] = "inject", [TRACE_SWITCH] = "switch",
	[TRACE_ARMED] = "armed", [TRACE_FIRED] = "fired", [TRACE_IPI] = "ipi",
};

void tracing_init(uint32_t kib)
{
	hpa_t room;

	if (!kib)
		return;
	unsigned order = frame_order(KiB(kib));
	for (uint32_t i = 0; i < smp_cpus(); i++) {
		if (frame_alloc(order, &room)) {
			log_warn("trace", "event=trace-missing cpu=%u reason=no memory", i);
			return;
		}
		cpus[i]->trace_ring = trace_ring_init(phys_to_virt(room), PAGE_SIZE << order);
	}
}

bool tracing_possible(void) { return cpus[0]->trace_ring; }

static void nothing(void *ctx) { (void)ctx; }

/* Nobody is in the middle of a record. A ring has no gaps: what was before it was off is gone. */
static void apply(void)
{
	smp_hold(nothing, nothing, NULL);
	for (uint32_t i = 0; i < smp_cpus(); i++) {
		cpus[i]->trace = on && !dumping ? cpus[i]->trace_ring : NULL;
		if (cpus[i]->trace)
			trace_ring_clear(cpus[i]->trace);
	}
	smp_release();
	sched_end_runs(); /* what a run traces is decided at its begin */
}

void tracing_toggle(void)
{
	__atomic_store_n(&toggled, true, __ATOMIC_RELEASE);
	sched_poke();
}

void tracing_work(void)
{
	if (!__atomic_exchange_n(&toggled, false, __ATOMIC_ACQUIRE))
		return;
	on = !on;
	apply();
	log_info("trace", "event=trace state=%s", on ? "on" : "off");
}

static int record_line(uint32_t cpu, const struct trace_ring *r, uint32_t i, char *out, size_t size)
{
	const struct trace_record *t = trace_ring_get(r, i);
	uint64_t before = i ? trace_ring_get(r, i - 1)->tsc : 0;

	return tf_snprintf(out, size, "trace: cpu%u %s %lx %x %x %lx %lx\n", cpu, kinds[t->kind], t->tsc - before, t->who, t->a,
			   t->b, t->c);
}

/* The clock; who is who; what reasons are called; and then the records of each CPU, from the oldest. */
int tracing_piece(uint32_t at, char *out, size_t size)
{
	if (!at) {
		dumping = true;
		apply();
		return tf_snprintf(out, size, "trace: hz %lu\n", tsc_hz);
	}
	if (--at < vmm_count())
		return tf_snprintf(out, size, "trace: vm %u %s\n", at, vmm_vm(at)->cfg.name);
	if ((at -= vmm_count()) < smp_cpus())
		return tf_snprintf(out, size, "trace: apic %u %u\n", cpus[at]->apic_id, at);
	if ((at -= smp_cpus()) < EXIT_NKINDS)
		return tf_snprintf(out, size, "trace: reason %u %s\n", at, vmx_exit_name(at));
	at -= EXIT_NKINDS;
	for (uint32_t cpu = 0; cpu < smp_cpus(); cpu++) {
		const struct trace_ring *r = cpus[cpu]->trace_ring;
		uint32_t n = r ? trace_ring_used(r) : 0;

		if (at < n)
			return record_line(cpu, r, at, out, size);
		at -= n;
	}
	dumping = false;
	apply();
	return -1;
}
