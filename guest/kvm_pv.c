#include "guest/kvm_pv.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/tsc.h"
#include "guest/exit.h"

/* Bits of KVM_CPUID_FEATURES. Not there: the old clock MSRs (0), asynchronous page faults (4, 10, 14), which nothing here
 * would cause, polling (12), and what has to do with migration and encryption. */
#define FEATURE_NOP_IO_DELAY BIT(1) /* no device here needs a pause */
#define FEATURE_CLOCKSOURCE2 BIT(3)
#define FEATURE_STEAL_TIME   BIT(5)
#define FEATURE_PV_EOI       BIT(6)
#define FEATURE_PV_UNHALT    BIT(7)
#define FEATURE_TLB_FLUSH    BIT(9)
#define FEATURE_SEND_IPI     BIT(11)
#define FEATURE_SCHED_YIELD  BIT(13)
#define FEATURE_CLOCK_STABLE BIT(24)
#define FEATURES (FEATURE_NOP_IO_DELAY | FEATURE_CLOCKSOURCE2 | FEATURE_STEAL_TIME | FEATURE_PV_UNHALT | \
		  FEATURE_TLB_FLUSH | FEATURE_SEND_IPI | FEATURE_SCHED_YIELD | FEATURE_CLOCK_STABLE)
#define HINT_REALTIME        BIT(0) /* no vCPU ever loses its CPU */

#define TIME_RESERVED  BIT(1)
#define WALL_RESERVED  (BIT(0) | BIT(1))
#define STEAL_RESERVED 0x3eull
#define EOI_RESERVED   BIT(1)
#define ICR_ALLOWED    0x47ffull /* vector, delivery mode, level */
#define VECTOR_FIRST   16

static bool offered(const struct vm *vm) { return vm->cfg.hypervisor == VM_HYPERVISOR_KVM; }

/* With virtual registers a guest could read that an interrupt is in service which it has ended in memory. */
static bool eoi_offered(const struct vm *vm) { return !(vm->cfg.apicv && vmx_caps.apic_registers); }

void kvm_pv_cpuid(const struct vm *vm, uint32_t leaf, struct cpuid_regs *r)
{
	if (leaf == KVM_CPUID_BASE)
		*r = (struct cpuid_regs){ KVM_CPUID_FEATURES, 0x4b4d564b, 0x564b4d56, 0x4d }; /* "KVMKVMKVM\0\0\0" */
	else
		*r = (struct cpuid_regs){ .eax = FEATURES | (eoi_offered(vm) ? FEATURE_PV_EOI : 0),
					  .edx = vm->cfg.core == VM_CORE_DEDICATED ? HINT_REALTIME : 0 };
}

void kvm_pv_reset(struct vcpu *v) { v->kvm = (struct kvm_pv){ .scale = kvm_scale_of(tsc_hz) }; }

/* Guest RAM for good: it moves as little as the VM itself. What we write there is within a page. */
static void *ram(struct vcpu *v, uint64_t gpa, uint64_t size)
{
	return gpa % PAGE_SIZE > PAGE_SIZE - size ? NULL : mem_at(&v->vm->mem, GPA(gpa), size);
}

/* --- the clock */

/* All TSCs are as they were at the start, or will be when their vCPU starts. Who moves one asks the others to look again. */
static bool clocks_agree(const struct vm *vm)
{
	for (uint32_t i = 0; i < vm->nvcpus; i++) {
		const struct vcpu *v = vm->vcpus[i];

		if (v->started && __atomic_load_n(&v->tsc_offset, __ATOMIC_RELAXED) != -vm->start_tsc)
			return false;
	}
	return true;
}

/* The TSC runs evenly and its start is known: what the guest gets never changes, unless it moves a TSC itself. */
void kvm_pv_update_clock(struct vcpu *v)
{
	if (v->kvm.time)
		kvm_time_write(v->kvm.time, &v->kvm.time_version, v->kvm.scale, v->tsc_offset + v->vm->start_tsc,
			       clocks_agree(v->vm) ? KVM_TIME_STABLE : 0);
}

void kvm_pv_tsc_moved(struct vcpu *v)
{
	struct vm *vm = v->vm;

	if (!offered(vm))
		return;
	kvm_pv_update_clock(v);
	for (uint32_t i = 0; i < vm->nvcpus; i++)
		if (vm->vcpus[i] != v)
			vcpu_signal(vm->vcpus[i], REQ_CLOCK);
}

static enum tf_err set_time(struct vcpu *v, uint64_t value)
{
	struct kvm_time *time = NULL;

	if (value & TIME_RESERVED)
		return TF_EINVAL;
	if ((value & KVM_MSR_ENABLED) && !(time = ram(v, value & ~KVM_MSR_ENABLED, sizeof(*time))))
		return TF_EINVAL;
	v->kvm.time_msr = value;
	v->kvm.time = time;
	kvm_pv_update_clock(v);
	return TF_OK;
}

/* Written now and never again. With address 0 a guest asks for nothing. */
static enum tf_err set_wall(struct vcpu *v, uint64_t value)
{
	struct kvm_wall *wall = NULL;

	if ((value & WALL_RESERVED) || (value && !(wall = ram(v, value, sizeof(*wall)))))
		return TF_EINVAL;
	v->kvm.wall_msr = value;
	if (wall)
		kvm_wall_write(wall, (uint64_t)v->vm->start_unix);
	return TF_OK;
}

/* --- stolen time */

static void write_steal(struct kvm_pv *k, uint64_t ns)
{
	__atomic_store_n(&k->steal->version, k->steal_version + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	__atomic_store_n(&k->steal->steal, ns, __ATOMIC_RELAXED);
	__atomic_store_n(&k->steal->version, k->steal_version += 2, __ATOMIC_RELEASE);
}

/* From the exchange on, others send this vCPU interrupts to have its TLB flushed; what they asked for before is done here. */
static void show_running(struct vcpu *v)
{
	struct kvm_pv *k = &v->kvm;

	if (__atomic_exchange_n(&k->steal->preempted, 0, __ATOMIC_ACQ_REL) & KVM_FLUSH_TLB)
		vmx_vcpu_flush(&v->vmx);
	write_steal(k, k->steal_start + kvm_scale_ns(k->scale, v->waited - k->waited_start));
}

/* What stood there before goes on counting: a guest that turns a vCPU off and on keeps its sum. */
static enum tf_err set_steal(struct vcpu *v, uint64_t value)
{
	struct kvm_steal *steal = NULL;

	if (value & STEAL_RESERVED)
		return TF_EINVAL;
	if ((value & KVM_MSR_ENABLED) && !(steal = ram(v, value & ~KVM_MSR_ENABLED, sizeof(*steal))))
		return TF_EINVAL;
	v->kvm.steal_msr = value;
	v->kvm.steal = steal;
	if (steal) {
		v->kvm.steal_start = __atomic_load_n(&steal->steal, __ATOMIC_RELAXED);
		v->kvm.waited_start = v->waited;
		show_running(v);
	}
	return TF_OK;
}

void kvm_pv_switch_in(struct vcpu *v)
{
	struct kvm_pv *k = &v->kvm;

	if (likely(!k->preempted && k->waited_shown == v->waited))
		return;
	__atomic_store_n(&k->preempted, false, __ATOMIC_RELAXED);
	k->waited_shown = v->waited;
	if (k->steal)
		show_running(v);
}

void kvm_pv_switch_out(struct vcpu *v)
{
	__atomic_store_n(&v->kvm.preempted, true, __ATOMIC_RELAXED);
	if (v->kvm.steal)
		__atomic_fetch_or(&v->kvm.steal->preempted, KVM_PREEMPTED, __ATOMIC_ACQ_REL);
}

/* --- EOIs in memory */

/* The interrupt that is in service, if its EOI was left there, is ended by the APIC's register now. */
static void revoke_eoi(struct vcpu *v)
{
	if (v->kvm.eoi_left)
		__atomic_fetch_and(v->kvm.eoi, ~1u, __ATOMIC_RELAXED);
	v->kvm.eoi_left = false;
}

static enum tf_err set_eoi(struct vcpu *v, uint64_t value)
{
	uint32_t *eoi = NULL;

	if (!eoi_offered(v->vm))
		return TF_ENOENT;
	if (value & EOI_RESERVED)
		return TF_EINVAL;
	if ((value & KVM_MSR_ENABLED) && !(eoi = ram(v, value & ~KVM_MSR_ENABLED, sizeof(*eoi))))
		return TF_EINVAL;
	revoke_eoi(v);
	v->kvm.eoi_msr = value;
	v->kvm.eoi = eoi;
	return TF_OK;
}

void kvm_pv_leave_eoi(struct vcpu *v, uint8_t vector)
{
	if (!v->kvm.eoi)
		return;
	if (!vlapic_eoi_is_plain(&v->lapic, vector)) {
		revoke_eoi(v); /* of one below it: the next EOI is this one's */
		return;
	}
	__atomic_fetch_or(v->kvm.eoi, 1u, __ATOMIC_RELAXED);
	v->kvm.eoi_left = true;
}

void kvm_pv_take_eoi(struct vcpu *v)
{
	if (__atomic_load_n(v->kvm.eoi, __ATOMIC_RELAXED) & 1)
		return;
	v->kvm.eoi_left = false;
	vlapic_write(&v->lapic, APIC_EOI, 0);
}

void kvm_pv_want_eoi(struct vcpu *v)
{
	if (vlapic_highest_irr(&v->lapic) >= 0)
		revoke_eoi(v);
}

/* --- MSRs */

enum tf_err kvm_pv_rdmsr(struct vcpu *v, uint32_t msr, uint64_t *out)
{
	if (!offered(v->vm))
		return TF_ENOENT;
	switch (msr) {
	case MSR_KVM_WALL_CLOCK:
		*out = v->kvm.wall_msr;
		return TF_OK;
	case MSR_KVM_SYSTEM_TIME:
		*out = v->kvm.time_msr;
		return TF_OK;
	case MSR_KVM_STEAL_TIME:
		*out = v->kvm.steal_msr;
		return TF_OK;
	case MSR_KVM_PV_EOI:
		*out = v->kvm.eoi_msr;
		return eoi_offered(v->vm) ? TF_OK : TF_ENOENT;
	}
	return TF_ENOENT;
}

enum tf_err kvm_pv_wrmsr(struct vcpu *v, uint32_t msr, uint64_t value)
{
	if (!offered(v->vm))
		return TF_ENOENT;
	switch (msr) {
	case MSR_KVM_WALL_CLOCK:
		return set_wall(v, value);
	case MSR_KVM_SYSTEM_TIME:
		return set_time(v, value);
	case MSR_KVM_STEAL_TIME:
		return set_steal(v, value);
	case MSR_KVM_PV_EOI:
		return set_eoi(v, value);
	}
	return TF_ENOENT;
}

/* --- hypercalls */

static struct vcpu *by_apic_id(struct vm *vm, uint64_t id) { return id < vm->nvcpus ? vm->vcpus[id] : NULL; }

bool kvm_pv_take_kick(struct vcpu *v) { return __atomic_exchange_n(&v->kvm.unhalt, false, __ATOMIC_ACQ_REL); }

static int64_t kick(struct vm *vm, uint64_t apic_id)
{
	struct vcpu *to = by_apic_id(vm, apic_id);

	if (to) {
		__atomic_store_n(&to->kvm.unhalt, true, __ATOMIC_RELEASE);
		vcpu_signal(to, REQ_EVENT);
	}
	return 0;
}

/* Bit n of the map stands for APIC ID first + n. Fixed interrupts and NMIs; returns how many vCPUs there were. */
static int64_t send_ipi(struct vm *vm, const uint64_t map[2], uint64_t first, uint64_t icr, unsigned bits)
{
	struct apic_msg msg = { .delivery = icr >> 8 & 7, .vector = (uint8_t)icr };
	int64_t sent = 0;

	if ((icr & ~ICR_ALLOWED) || (msg.delivery != APIC_NMI && (msg.delivery != APIC_FIXED || msg.vector < VECTOR_FIRST)))
		return -KVM_EINVAL;
	for (uint64_t id = first; id < vm->nvcpus && id - first < 2 * bits; id++) {
		uint64_t n = id - first;

		if (!(map[n / bits] >> n % bits & 1))
			continue;
		msg.dest = (uint32_t)id;
		vm_send(vm, &msg);
		sent++;
	}
	return sent;
}

/* The caller waits for one that has lost its CPU. */
static int64_t yield_to(struct vcpu *v, uint64_t apic_id)
{
	struct vcpu *to = by_apic_id(v->vm, apic_id);

	if (to && to != v && __atomic_load_n(&to->kvm.preempted, __ATOMIC_RELAXED))
		v->vm->host->yield(v);
	return 0;
}

static __attribute__((noinline)) int64_t hypercall(struct vcpu *v)
{
	const uint64_t *g = v->vmx.gpr;
	bool code64 = vcpu_code64();
	uint64_t mask = code64 ? UINT64_MAX : UINT32_MAX;
	const uint64_t a[] = { g[RBX] & mask, g[RCX] & mask, g[RDX] & mask, g[RSI] & mask };

	switch (g[RAX] & mask) {
	case KVM_HC_VAPIC_POLL_IRQ: /* the exit was all it wanted */
		return 0;
	case KVM_HC_KICK_CPU:
		return kick(v->vm, a[1]);
	case KVM_HC_SEND_IPI:
		return send_ipi(v->vm, a, a[2], a[3], code64 ? 64 : 32);
	case KVM_HC_SCHED_YIELD:
		return yield_to(v, a[0]);
	}
	return -KVM_ENOSYS;
}

/* The result is of the size that the mode has: in others than 64-bit mode the upper half of RAX is undefined. */
enum action exit_vmcall(struct vcpu *v)
{
	uint64_t *rax = &v->vmx.gpr[RAX];

	if (!offered(v->vm))
		return vcpu_ud(v);
	if (vcpu_cpl())
		*rax = (uint64_t)-KVM_EPERM;
	else if ((uint32_t)*rax > KVM_HC_LAST) /* not what it is used for */
		*rax = (uint64_t)-KVM_ENOSYS;
	else
		*rax = (uint64_t)hypercall(v);
	return ACT_NEXT;
}
