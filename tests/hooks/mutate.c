/*
 * `mutate = COUNT:SEED:RUN` in a VM's section. RUN 0: COUNT entries with mutated state and controls, each checked by
 * vmx_check and then tried, with the preemption timer at 0, so that no instruction runs; what the two disagree about is
 * logged, and the VM stops. RUN 1: each of the VM's first COUNT starts begins with one mutated state, and runs with it for
 * RUN_US; then the guest is started again, and the one start more is without.
 */
#include "tests/hooks/mutate.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/irq.h"
#include "arch/x86_64/tsc.h"
#include "guest/exit.h"
#include "tests/hooks/mutate_fields.h"
#include "vmx/check.h"
#include "vmx/run.h"
#include <tf/assert.h>
#include <tf/log.h>
#include <tf/string.h>

#define BATCH     64 /* entries between two looks at what the machine wants */
#define KINDS_MAX 24
#define RUN_US    5000
#define TEXT_MAX  160
#define MUTATED_VMS 64

static struct {
	bool parsed;
	uint64_t count, seed, run, starts, until;
	uint64_t tried, entered, refused, disagreed;
} all[MUTATED_VMS];

/* What checker and CPU disagree about, once each. */
static struct kind { const char *rule; uint32_t field; bool entered; uint64_t count; } kinds[KINDS_MAX];
static unsigned nkinds;
static uint64_t nruns, nlasted; /* of all VMs; all have the same kernel, and so start with the same state */

static const char *describe(const struct mutation *m, char text[TEXT_MAX])
{
	int n = tf_snprintf(text, TEXT_MAX, "state=%u fields=", m->from);

	for (unsigned i = 0; i < m->n; i++)
		n += tf_snprintf(text + n, (size_t)(TEXT_MAX - n), "%s%x:%lx", i ? "," : "", m->fields[i].field, m->fields[i].value);
	return text;
}

/* Everything that can end an entry at once without failing: what is the machine's is served. */
static void serve_exit(struct vcpu *v)
{
	if (exit_kind(&v->vmx.exit) == EXIT_EXTINT)
		irq_dispatch(vmcs_read(VMCS_EXIT_INTR_INFO) & INTR_VECTOR);
	else if (exit_kind(&v->vmx.exit) == EXIT_EXCEPTION_NMI && (vmcs_read(VMCS_EXIT_INTR_INFO) & INTR_TYPE_MASK) == INTR_TYPE_NMI)
		__asm__ volatile("int $2" : : : "memory");
}

/* True if the CPU took the state. */
static bool enter(struct vcpu *v)
{
	vmx_arm_preemption(0);
	if (vmx_run(&v->vmx) || (v->vmx.exit.reason & EXIT_ENTRY_FAILED))
		return false;
	serve_exit(v);
	return true;
}

static void disagreement(const struct vcpu *v, const struct mutation *m, const char *rule, uint32_t field, bool entered)
{
	char text[TEXT_MAX];
	unsigned i = 0;

	if (!rule)
		field = m->fields[0].field;
	while (i < nkinds && (kinds[i].rule != rule || kinds[i].field != field || kinds[i].entered != entered))
		i++;
	ASSERT(i < KINDS_MAX);
	if (i == nkinds)
		kinds[nkinds++] = (struct kind){ .rule = rule, .field = field, .entered = entered };
	if (!kinds[i].count++)
		log_error("test", "vm=%s event=mutate-disagree cpu=%s qualification=%lx %s field=%04x rule=%s", v->vm->cfg.name,
			  entered ? "entered" : "refused", entered ? 0 : vmcs_read(VMCS_EXIT_QUALIFICATION), describe(m, text),
			  field, rule ? rule : "none");
}

/* Bochs does not know the rule that IA-32e mode needs paging, and ends where it even lacks protection. */
static bool ends_the_emulator(void)
{
	return (vmcs_read(VMCS_ENTRY_CTL) & ENTRY_IA32E) && !(vmcs_read(VMCS_GUEST_CR0) & CR0_PE);
}

static void check_batch(struct vcpu *v, unsigned id)
{
	uint32_t event = v->vmx.pending_event;

	if (!all[id].tried) {
		mutate_remember();
		bool entered = enter(v);
		ASSERT(entered);
	}
	v->vmx.pending_event = 0; /* nothing but what is mutated is injected */
	for (unsigned n = 0; n < BATCH && all[id].tried < all[id].count; n++, all[id].tried++) {
		struct vmx_broken broken = { 0 };
		struct mutation m;

		mutate_apply(&all[id].seed, &m);
		bool valid = vmx_check_current(&broken);
		if (!valid && ends_the_emulator()) {
			all[id].refused++;
			continue;
		}
		bool entered = enter(v);

		all[id].entered += entered;
		all[id].refused += !entered;
		if (valid != entered) {
			all[id].disagreed++;
			disagreement(v, &m, valid ? NULL : broken.rule, broken.field, entered);
		}
	}
	mutate_restore();
	v->vmx.pending_event = event;
	vmx_arm_preemption(0); /* what was injected has left its traces in the guest, so that it must not go on */
	if (all[id].tried < all[id].count)
		return;
	log_info("test", "vm=%s event=mutate-done tried=%lu entered=%lu refused=%lu disagreed=%lu", v->vm->cfg.name,
		 all[id].tried, all[id].entered, all[id].refused, all[id].disagreed);
	vm_stop(v->vm, VM_STOP_REQUEST);
}

static void run_mutated(struct vcpu *v, unsigned id)
{
	if (v->vm->starts != all[id].starts) {
		struct vmx_broken broken;
		struct mutation m;

		all[id].starts = v->vm->starts;
		all[id].until = rdtsc() + tsc_from_us(RUN_US);
		if (!nruns)
			mutate_remember();
		mutate_restore(); /* a guest can change only some of these fields, so that a reset does not write all */
		if (all[id].starts > all[id].count)
			return;
		nruns++;
		v->vmx.pending_event = 0;
		do /* every other state is one that the CPU takes */
			mutate_apply(&all[id].seed, &m);
		while (ends_the_emulator() || (nruns % 2 && !vmx_check_current(&broken)));
	} else if (rdtsc() >= all[id].until) {
		vmx_arm_preemption(0);
		if (all[id].starts <= all[id].count) {
			nlasted++;
			vm_stop(v->vm, VM_STOP_RESET);
			return;
		}
		log_info("test", "vm=%s event=mutate-over starts=%lu runs=%lu lasted=%lu", v->vm->cfg.name, all[id].starts, nruns,
			 nlasted);
		vm_stop(v->vm, VM_STOP_REQUEST);
	}
}

void test_hook_mutate(struct vcpu *v)
{
	unsigned id = v->vm->id;
	const char *text = v->vm->cfg.mutate;

	if (!*text)
		return;
	ASSERT(id < MUTATED_VMS && vmx_caps.preemption_timer);
	if (!all[id].parsed) {
		text = test_hook_number(text, ':', &all[id].count);
		text = test_hook_number(text, ':', &all[id].seed);
		test_hook_number(text, ':', &all[id].run);
		all[id].seed |= BIT(60);
		all[id].parsed = true;
	}
	if (all[id].run)
		run_mutated(v, id);
	else if (v->vm->state == VM_RUNNING)
		check_batch(v, id);
}
