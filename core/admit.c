/* Which VMs can have what they ask for, and where their vCPUs begin. */
#include "arch/x86_64/frames.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/smp.h"
#include "core/sched.h"
#include "core/sched_internal.h"
#include "guest/vm.h"
#include <tf/math.h>
#include <tf/panic.h>
#include <tf/string.h>

_Static_assert(VM_MAX_CPUS == MAX_CPUS, "struct runq_cpus");

#define POOL_ORDER 1 /* entities are allocated by so many frames */

static struct sched_vcpu *all, *spare;
static uint32_t known, spares;
/* Of all, kept so that to admit a VM does not take the longer the more there are. */
static struct runq_cpus taken;      /* what dedicated vCPUs have for themselves */
static uint64_t load[MAX_CPUS];     /* weights, by where they begin */
static uint64_t reserved;           /* by those that share */

/* --- sets of CPUs */

static uint32_t count(const struct runq_cpus *s)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < ARRAY_SIZE(s->bits); i++)
		for (uint64_t bits = s->bits[i]; bits; bits &= bits - 1)
			n++;
	return n;
}

static struct runq_cpus without(struct runq_cpus a, const struct runq_cpus *b)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(a.bits); i++)
		a.bits[i] &= ~b->bits[i];
	return a;
}

static bool within(const struct runq_cpus *a, const struct runq_cpus *b)
{
	struct runq_cpus rest = without(*a, b);

	return count(&rest) == 0;
}

static void add(struct runq_cpus *s, uint32_t cpu) { s->bits[cpu / 64] |= BIT(cpu % 64); }

/* Those of the machine that the configuration names. */
static struct runq_cpus named(const struct vm_config *cfg)
{
	struct runq_cpus s = { 0 };
	bool any = true;

	for (uint32_t i = 0; i < ARRAY_SIZE(s.bits); i++)
		any &= !cfg->cpus[i];
	for (uint32_t cpu = 0; cpu < smp_cpus(); cpu++)
		if (any || (cfg->cpus[cpu / 64] & BIT(cpu % 64)))
			add(&s, cpu);
	return s;
}

/* With all threads of its core. */
static void add_core(struct runq_cpus *s, uint32_t of)
{
	unsigned bits = smp_thread_bits();

	for (uint32_t cpu = 0; cpu < smp_cpus(); cpu++)
		if (cpus[cpu]->apic_id >> bits == cpus[of]->apic_id >> bits)
			add(s, cpu);
}

static bool dedicated(const struct sched_vcpu *s) { return s->v->vm->cfg.core == VM_CORE_DEDICATED; }

/* --- admission */

/* Would each vCPU that shares still have a CPU without those? */
static bool leaves_some(const struct runq_cpus *gone)
{
	for (const struct sched_vcpu *o = all; o; o = o->next)
		if (!dedicated(o) && within(&o->e.allowed, gone))
			return false;
	return true;
}

/* The last CPU whose core a vCPU may have for itself, which is then *gone. The boot CPU, which is none: there is not any. */
static uint32_t take_core(const struct runq_cpus *from, struct runq_cpus *gone)
{
	for (uint32_t cpu = smp_cpus(); --cpu > 0;) {
		struct runq_cpus core = { 0 }, with = *gone;

		add_core(&core, cpu);
		add_core(&with, cpu);
		if (!runq_has(from, cpu) || runq_has(gone, cpu) || runq_has(&core, 0) || !leaves_some(&with))
			continue;
		*gone = with;
		return cpu;
	}
	return 0;
}

static bool take_cores(const struct runq_cpus *from, uint32_t n, struct runq_cpus *gone)
{
	while (n > 0 && take_core(from, gone))
		n--;
	return n == 0;
}

/* What those reserve that may run nowhere but on these CPUs. */
static uint64_t reserved_inside(const struct runq_cpus *on)
{
	uint64_t sum = 0;

	for (const struct sched_vcpu *o = all; o; o = o->next)
		if (!dedicated(o) && within(&o->e.allowed, on))
			sum += o->e.reservation;
	return sum;
}

/* Is there so much time on these CPUs, without those that are gone? */
static bool fits(uint64_t sum, const struct runq_cpus *on, const struct runq_cpus *gone)
{
	struct runq_cpus left = without(*on, gone);

	return sum <= 100ull * count(&left);
}

static bool reservations_fit(const struct runq_cpus *gone, const struct runq_cpus *allowed, uint64_t more)
{
	struct runq_cpus machine = named(&(struct vm_config){ 0 });

	if (reserved + more == 0)
		return true;
	if (!fits(reserved + more, &machine, gone) || !fits(reserved_inside(allowed) + more, allowed, gone))
		return false;
	for (const struct sched_vcpu *o = all; o; o = o->next)
		if (o->v->id == 0 && !dedicated(o) &&
		    !fits(o->inside + (within(allowed, &o->e.allowed) ? more : 0), &o->e.allowed, gone))
			return false;
	return true;
}

/* Room for so many more vCPUs, here and in the queues of all CPUs. */
static enum tf_err make_room(uint32_t more)
{
	hpa_t frame;

	for (; spares < more; spares += (uint32_t)((PAGE_SIZE << POOL_ORDER) / sizeof(struct sched_vcpu))) {
		if (frame_alloc(POOL_ORDER, &frame))
			return TF_ENOMEM;
		struct sched_vcpu *pool = phys_to_virt(frame);
		memset(pool, 0, PAGE_SIZE << POOL_ORDER);
		for (uint32_t i = 0; i < (PAGE_SIZE << POOL_ORDER) / sizeof(*pool); i++) {
			pool[i].next = spare;
			spare = &pool[i];
		}
	}
	return sched_make_room(known + more);
}

/* TF_OK, or what of the configuration asks for too much. */
static enum tf_err judge(const struct vm_config *cfg, const char **key, const char **why)
{
	struct runq_cpus on = named(cfg), gone = taken;

	*key = "cpus";
	*why = "the machine has none of these CPUs";
	if (count(&on) == 0)
		return TF_ENODEV;
	on = without(on, &gone);
	*why = "these CPUs are dedicated to other vCPUs";
	if (count(&on) == 0)
		return TF_ENODEV;
	*key = "core";
	*why = "too few cores besides the first can be dedicated";
	if (cfg->core == VM_CORE_DEDICATED && !take_cores(&on, cfg->vcpus, &gone))
		return TF_ENODEV;
	*key = "reservation";
	*why = "the CPUs have not so much time that is not reserved yet";
	return reservations_fit(&gone, &on, (uint64_t)cfg->reservation * cfg->vcpus) ? TF_OK : TF_ENODEV;
}

enum tf_err sched_admit(const struct vm_config *cfg, const char **key, const char **why)
{
	enum tf_err e = judge(cfg, key, why);

	if (e)
		return e;
	*key = "vcpus";
	*why = "no memory for the run queues";
	return make_room(cfg->vcpus);
}

/* --- where they begin */

static uint32_t least_loaded(const struct runq_cpus *from)
{
	uint64_t least = UINT64_MAX;
	uint32_t best = 0;

	for (uint32_t cpu = 0; cpu < smp_cpus(); cpu++) {
		if (!runq_has(from, cpu) || load[cpu] >= least)
			continue;
		least = load[cpu];
		best = cpu;
	}
	return best;
}

/* These CPUs are one vCPU's alone from now on. Nothing has run yet. */
static void clear_out(const struct runq_cpus *gone)
{
	for (struct sched_vcpu *o = all; o; o = o->next) {
		struct runq_cpus rest = without(o->e.allowed, gone);

		if (dedicated(o))
			continue;
		uint32_t to = runq_has(gone, o->e.cpu) ? least_loaded(&rest) : o->e.cpu;
		load[o->e.cpu] -= o->e.weight;
		load[to] += o->e.weight;
		runq_resettle(&sched_queues, &o->e, &rest, to);
		o->v->home = to;
	}
	for (struct sched_vcpu *o = all; reserved && o; o = o->next)
		o->inside = reserved_inside(&o->e.allowed);
}

static uint32_t choose_home(struct sched_vcpu *s, const struct vm_config *cfg)
{
	struct runq_cpus on = named(cfg);

	s->e.allowed = on = without(on, &taken);
	if (cfg->core != VM_CORE_DEDICATED)
		return least_loaded(&on);
	uint32_t cpu = take_core(&on, &taken);
	ASSERT(cpu > 0);
	clear_out(&taken);
	s->e.allowed = (struct runq_cpus){ 0 };
	add(&s->e.allowed, cpu);
	return cpu;
}

/* A new one that shares: what it reserves is inside of what others may use, and the other way round. */
static void reserve(struct sched_vcpu *s)
{
	reserved += s->e.reservation;
	s->inside = s->e.reservation + (reserved ? reserved_inside(&s->e.allowed) : 0);
	for (struct sched_vcpu *o = all; s->e.reservation && o; o = o->next)
		if (within(&s->e.allowed, &o->e.allowed))
			o->inside += s->e.reservation;
}

void sched_add(struct vcpu *v)
{
	const struct vm_config *cfg = &v->vm->cfg;

	ASSERT(spare && spares > 0);
	struct sched_vcpu *s = spare;
	spare = s->next;
	spares--;
	*s = (struct sched_vcpu){ .v = v };
	s->e = (struct runq_entity){
		.weight = cfg->weight, .cap = cfg->cap, .reservation = cfg->reservation, .low = cfg->latency == VM_LATENCY_LOW,
		.deadline = &v->next_deadline, .ran = &v->ran, .waited = &v->waited,
	};
	v->home = choose_home(s, cfg);
	load[v->home] += s->e.weight;
	if (!dedicated(s))
		reserve(s);
	s->next = all;
	all = s;
	known++;
	v->sched = s;
	runq_attach(&sched_queues, &s->e, v->home);
	if (cfg->core == VM_CORE_DEDICATED)
		runq_dedicate(&sched_queues, &s->e);
}
