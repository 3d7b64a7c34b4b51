/* KVM's paravirtual interface: CPUID, MSRs, hypercalls, the scheduler's part, with a guest that means no good, too. */
#include "vtx_fixture.h"
#include "arch/x86_64/tsc.h"
#include "guest/kvm_pv.h"

#define AT_TIME  0x7f80u
#define AT_STEAL 0x7fc0u
#define AT_TIME1 0x8000u
#define AT_EOI   0x7f00u
#define ON       KVM_MSR_ENABLED
#define ICR_NMI  (APIC_NMI << 8)
#define NO_MSR   0x4b564d02u /* asynchronous page faults */

static uint64_t *gpr(void) { return machine.v->vmx.gpr; }
static struct kvm_time *time_at(uint64_t gpa) { return machine_ram(gpa, sizeof(struct kvm_time)); }
static struct kvm_steal *steal(void) { return machine_ram(AT_STEAL, sizeof(struct kvm_steal)); }

static void start_kvm(enum machine_mode mode, uint32_t vcpus)
{
	machine_init(MACHINE_VPID | MACHINE_KVM);
	while (machine.vm.nvcpus < vcpus)
		machine_add_vcpu();
	for (uint32_t i = vcpus; i-- > 0;) {
		machine_choose(i);
		machine.v->wait_sipi = false;
		machine.v->started = true;
		machine_mode(mode);
		vlapic_write(&machine.v->lapic, APIC_SVR, 0x1ff);
	}
	machine.run = one_exit;
}

static void msr_exit(uint32_t kind, uint32_t msr, uint64_t value)
{
	CPU_SET(VMCS_GUEST_RIP, AT_CODE);
	machine.v->vmx.pending_event = 0;
	gpr()[RCX] = msr;
	gpr()[RAX] = (uint32_t)value;
	gpr()[RDX] = value >> 32;
	exit_with(kind, 0);
}

static bool write_msr(uint32_t msr, uint64_t value)
{
	msr_exit(EXIT_WRMSR, msr, value);
	return !machine.v->vmx.pending_event;
}

static uint64_t read_msr(uint32_t msr)
{
	msr_exit(EXIT_RDMSR, msr, 0);
	assert_int_equal(machine.v->vmx.pending_event, 0);
	return gpr()[RDX] << 32 | gpr()[RAX];
}

static int64_t call(uint64_t number, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3)
{
	uint64_t before[16];

	CPU_SET(VMCS_GUEST_RIP, AT_CODE);
	gpr()[RAX] = number;
	gpr()[RBX] = a0;
	gpr()[RCX] = a1;
	gpr()[RDX] = a2;
	gpr()[RSI] = a3;
	memcpy(before, gpr(), sizeof(before));
	exit_with(EXIT_VMCALL, 0);
	assert_int_equal(machine.v->vmx.pending_event, 0);
	assert_int_equal(CPU_GET(VMCS_GUEST_RIP), AT_CODE + 2);
	before[RAX] = gpr()[RAX];
	assert_memory_equal(before, gpr(), sizeof(before));
	return (int64_t)gpr()[RAX];
}

static struct cpuid_regs leaf(uint32_t n)
{
	struct cpuid_regs r;

	cpuid_guest(machine.v, n, 0, &r);
	return r;
}

static void only_where_asked_for(void **state)
{
	(void)state;
	start(LONG);
	assert_int_equal(leaf(KVM_CPUID_BASE).ebx, 0x66657254);
	exit_with(EXIT_VMCALL, 0);
	assert_fault(FAULT(VEC_UD), 0);
	start(LONG);
	assert_false(write_msr(MSR_KVM_SYSTEM_TIME, AT_TIME | ON));
	assert_fault(FAULT_ERROR(VEC_GP), 0);
	assert_false(write_msr(MSR_KVM_STEAL_TIME, 0));
	msr_exit(EXIT_RDMSR, MSR_KVM_WALL_CLOCK, 0);
	assert_fault(FAULT_ERROR(VEC_GP), 0);
}

static void cpuid_says_what_is_there(void **state)
{
	(void)state;
	start_kvm(LONG, 1);
	struct cpuid_regs r = leaf(KVM_CPUID_BASE);
	assert_int_equal(r.eax, KVM_CPUID_FEATURES);
	assert_memory_equal(&r.ebx, "KVMKVMKVM\0\0\0", 12);
	assert_true(leaf(1).ecx >> 31);
	r = leaf(KVM_CPUID_FEATURES);
	assert_int_equal(r.eax, 0x01002aea);
	assert_int_equal(r.ebx | r.ecx | r.edx, 0);
	machine.vm.cfg.core = VM_CORE_DEDICATED;
	assert_int_equal(leaf(KVM_CPUID_FEATURES).edx, 1);
	assert_int_equal(leaf(0x40000010).eax, leaf(leaf(0).eax).eax); /* beyond the last */
	machine.vm.cfg.apicv = true; /* EOIs cost nothing then */
	assert_int_equal(leaf(KVM_CPUID_FEATURES).eax, 0x01002aaa);
	assert_false(write_msr(MSR_KVM_PV_EOI, AT_EOI | ON));
}

/* RAM is 64 KiB in two blocks. What is named lies within one page of it. */
static void addresses_are_checked(void **state)
{
	static const struct { uint32_t msr; uint64_t value; bool ok; } t[] = {
		{ MSR_KVM_SYSTEM_TIME, ON, true }, { MSR_KVM_SYSTEM_TIME, 0xfffe0 | ON, false },
		{ MSR_KVM_SYSTEM_TIME, 0xffe0 | ON, true }, { MSR_KVM_SYSTEM_TIME, 0xffe4 | ON, false },
		{ MSR_KVM_SYSTEM_TIME, 0x4fdc | ON, true }, { MSR_KVM_SYSTEM_TIME, 0x4fe0 | ON, true }, { MSR_KVM_SYSTEM_TIME, 0x4ff0 | ON, false },
		{ MSR_KVM_SYSTEM_TIME, AT_TIME | 2 | ON, false }, { MSR_KVM_SYSTEM_TIME, AT_TIME | 2, false },
		{ MSR_KVM_SYSTEM_TIME, 0x10000 | ON, false }, { MSR_KVM_SYSTEM_TIME, 0xfee00000 | ON, false },
		{ MSR_KVM_SYSTEM_TIME, ~2ull, false }, { MSR_KVM_SYSTEM_TIME, 1ull << 63 | ON, false },
		{ MSR_KVM_SYSTEM_TIME, 0xfffffffffffffff0, true }, /* off, wherever it points */
		{ MSR_KVM_STEAL_TIME, AT_STEAL | ON, true }, { MSR_KVM_STEAL_TIME, 0xffc0 | ON, true },
		{ MSR_KVM_STEAL_TIME, 0xffe0 | ON, false }, { MSR_KVM_STEAL_TIME, AT_STEAL | 2, false },
		{ MSR_KVM_STEAL_TIME, AT_STEAL | 0x20 | ON, false }, { MSR_KVM_STEAL_TIME, 0x10000 | ON, false },
		{ MSR_KVM_STEAL_TIME, ~0ull << 6 | ON, false }, { MSR_KVM_STEAL_TIME, ~0ull << 6, true },
		{ MSR_KVM_WALL_CLOCK, 0xfff4, true }, { MSR_KVM_WALL_CLOCK, 0xfff8, false },
		{ MSR_KVM_WALL_CLOCK, 0x7ff8, false }, { MSR_KVM_WALL_CLOCK, AT_TIME | 1, false },
		{ MSR_KVM_WALL_CLOCK, AT_TIME | 2, false }, { MSR_KVM_WALL_CLOCK, ~3ull, false }, { MSR_KVM_WALL_CLOCK, 0, true },
		{ MSR_KVM_PV_EOI, AT_EOI | ON, true }, { MSR_KVM_PV_EOI, 0xfffc | ON, true }, { MSR_KVM_PV_EOI, 0x10000 | ON, false },
		{ MSR_KVM_PV_EOI, AT_EOI | 2 | ON, false }, { MSR_KVM_PV_EOI, 2, false }, { MSR_KVM_PV_EOI, ~3ull, true },
		{ NO_MSR, 0, false }, { MSR_KVM_BASE + 5, 0, false }, { MSR_KVM_BASE + 0xff, 0, false },
		{ MSR_KVM_BASE + 0x100, 0, false }, { MSR_KVM_BASE - 1, 0, false }, { 0x11, AT_TIME, false },
		{ 0x12, AT_TIME | ON, false },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		start_kvm(LONG, 1);
		if (write_msr(t[i].msr, t[i].value) != t[i].ok)
			fail_msg("case %u: MSR %x = %llx", i, t[i].msr, (unsigned long long)t[i].value);
		if (t[i].ok)
			assert_true(read_msr(t[i].msr) == t[i].value);
		else
			assert_fault(FAULT_ERROR(VEC_GP), 0);
	}
}

/* What is refused leaves what was. */
static void a_refused_address_changes_nothing(void **state)
{
	(void)state;
	start_kvm(LONG, 1);
	assert_true(write_msr(MSR_KVM_STEAL_TIME, AT_STEAL | ON));
	assert_false(write_msr(MSR_KVM_STEAL_TIME, 0x10000 | ON));
	assert_int_equal(read_msr(MSR_KVM_STEAL_TIME), AT_STEAL | ON);
	assert_ptr_equal(machine.v->kvm.steal, steal());
}

static uint64_t clock_of(uint32_t vcpu, uint64_t gpa, uint64_t now)
{
	const struct kvm_time *t = time_at(gpa);

	assert_int_equal(t->version & 1, 0);
	return t->system_time + kvm_scale_ns((struct kvm_scale){ t->mul, t->shift },
					     now + machine.vm.vcpus[vcpu]->tsc_offset - t->tsc_timestamp);
}

static void two_clocks(void)
{
	start_kvm(LONG, 2);
	machine_choose(1);
	assert_true(write_msr(MSR_KVM_SYSTEM_TIME, AT_TIME1 | ON));
	machine_choose(0);
	assert_true(write_msr(MSR_KVM_SYSTEM_TIME, AT_TIME | ON));
}

static void one_time_for_all(void **state)
{
	(void)state;
	tsc_hz = 2399998734;
	two_clocks();
	for (uint64_t later = 1; later < 1ull << 50; later *= 3) {
		uint64_t now = machine.vm.start_tsc + later, ns = clock_of(0, AT_TIME, now);
		uint64_t exact = (uint64_t)((unsigned __int128)later * 1000000000 / tsc_hz);

		assert_true(ns <= exact && exact - ns <= (exact >> 31) + 2);
		assert_true(clock_of(1, AT_TIME1, now) == ns);
	}
	assert_int_equal(time_at(AT_TIME)->flags, KVM_TIME_STABLE);
	assert_int_equal(time_at(AT_TIME1)->flags, KVM_TIME_STABLE);
	tsc_hz = 2400000000;
}

/* The clock goes on as if nothing had been; but it is no longer read without asking which vCPU one is on. */
static void a_moved_tsc_does_not_move_time(void **state)
{
	static const uint64_t moves[] = { 1, 1ull << 40, ~0ull << 30, 1ull << 63 };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(moves); i++) {
		two_clocks();
		uint64_t now = machine.now + 1000000, ns = clock_of(0, AT_TIME, now);
		uint32_t version = time_at(AT_TIME1)->version;

		machine_choose(1);
		assert_true(write_msr(MSR_IA32_TSC_ADJUST, moves[i]));
		assert_true(clock_of(1, AT_TIME1, now) == ns && clock_of(0, AT_TIME, now) == ns);
		assert_int_equal(time_at(AT_TIME1)->flags, 0);
		assert_true(time_at(AT_TIME1)->version > version);
		machine_choose(0);
		assert_true(machine.v->requests & REQ_CLOCK);
		(void)read_msr(MSR_IA32_TSC); /* any exit */
		assert_int_equal(time_at(AT_TIME)->flags, 0);
		machine_choose(1);
		assert_true(write_msr(MSR_IA32_TSC_ADJUST, 0));
		assert_int_equal(time_at(AT_TIME1)->flags, KVM_TIME_STABLE);
		assert_true(clock_of(1, AT_TIME1, now) == ns);
	}
}

static void the_wall_clock_is_of_the_start(void **state)
{
	const struct kvm_wall *wall;

	(void)state;
	start_kvm(LONG, 1);
	machine.vm.start_unix = 1700000000;
	assert_true(write_msr(MSR_KVM_WALL_CLOCK, AT_TIME + 4));
	wall = machine_ram(AT_TIME + 4, sizeof(*wall));
	assert_int_equal(wall->sec, 1700000000);
	assert_int_equal(wall->version, 2);
}

static enum run_result halt(void)
{
	reason = EXIT_HLT;
	limit.end = limit.until = UINT64_MAX;
	CPU_SET(VMCS_EXIT_INSN_LEN, 1);
	return vcpu_run(machine.v, &limit);
}

static void turn_off(uint64_t waited)
{
	kvm_pv_switch_out(machine.v);
	machine.v->waited += waited;
}

static void waiting_is_stolen(void **state)
{
	(void)state;
	start_kvm(LONG, 1);
	machine.v->waited = 999; /* before the guest asked */
	steal()->steal = 5000;   /* of an earlier life */
	assert_true(write_msr(MSR_KVM_STEAL_TIME, AT_STEAL | ON));
	assert_true(steal()->steal == 5000);
	uint32_t version = steal()->version;
	turn_off(2400000); /* a millisecond */
	assert_int_equal(steal()->preempted, KVM_PREEMPTED);
	assert_true(steal()->steal == 5000);
	kvm_pv_switch_in(machine.v);
	assert_int_equal(steal()->preempted, 0);
	assert_in_range(steal()->steal, 5000 + 999998, 5000 + 1000000);
	assert_int_equal(steal()->version, version + 2);
	steal()->steal = 12; /* the guest's memory, but our sum */
	steal()->version = 7;
	turn_off(2400000);
	kvm_pv_switch_in(machine.v);
	assert_in_range(steal()->steal, 5000 + 1999998, 5000 + 2000000);
	assert_int_equal(steal()->version & 1, 0);
	assert_true(write_msr(MSR_KVM_STEAL_TIME, AT_STEAL | ON)); /* time is up */
	assert_int_equal(steal()->preempted, KVM_PREEMPTED);
	assert_int_equal(halt(), RUN_HALTED);
	assert_int_equal(steal()->preempted, 0);
	machine.v->halted = false;
	assert_true(write_msr(MSR_KVM_STEAL_TIME, 0));
	memset(steal(), 0x77, sizeof(*steal()));
	turn_off(1000000);
	kvm_pv_switch_in(machine.v);
	assert_int_equal(steal()->preempted, 0x77);
	assert_int_equal(steal()->version, 0x77777777);
}

static void a_flush_waits_for_the_vcpu(void **state)
{
	(void)state;
	start_kvm(LONG, 1);
	assert_true(write_msr(MSR_KVM_STEAL_TIME, AT_STEAL | ON));
	turn_off(1);
	uint32_t flushes = machine.flushes;
	kvm_pv_switch_in(machine.v);
	assert_int_equal(machine.flushes, flushes);
	turn_off(1);
	steal()->preempted |= KVM_FLUSH_TLB;
	turn_off(1); /* moved in the queue */
	kvm_pv_switch_in(machine.v);
	assert_int_equal(machine.flushes, flushes + 1);
	assert_int_equal(steal()->preempted, 0);
	turn_off(1);
	steal()->preempted = 0xff;
	kvm_pv_switch_in(machine.v);
	assert_int_equal(steal()->preempted, 0);
}

static void nothing_is_written_after_a_reset(void **state)
{
	(void)state;
	for (unsigned how = 0; how < 2; how++) {
		two_clocks();
		assert_true(write_msr(MSR_KVM_STEAL_TIME, AT_STEAL | ON));
		turn_off(1);
		if (how)
			vcpu_init_signal(machine.v);
		else
			vcpu_reset(machine.v);
		machine_choose(0);
		memset(time_at(AT_TIME), 0x55, 0x80);
		turn_off(1);
		kvm_pv_switch_in(machine.v);
		kvm_pv_update_clock(machine.v);
		for (unsigned i = 0; i < 0x80; i++)
			assert_int_equal(((uint8_t *)time_at(AT_TIME))[i], 0x55);
	}
}

/* A spin lock that sleeps: HLT with interrupts off, ended by the one that gives the lock. */
static void a_kick_ends_hlt(void **state)
{
	(void)state;
	start_kvm(LONG, 2);
	machine_choose(1);
	CPU_SET(VMCS_GUEST_RFLAGS, RFLAGS_RSV1);
	assert_int_equal(halt(), RUN_HALTED);
	assert_false(vcpu_has_event(machine.v));
	machine_choose(0);
	uint32_t wakes = machine.wakes;
	assert_int_equal(call(KVM_HC_KICK_CPU, 0, 1, 0, 0), 0);
	assert_true(machine.wakes > wakes);
	machine_choose(1);
	assert_true(vcpu_has_event(machine.v));
	assert_int_equal(halt(), RUN_HALTED); /* it has gone on to the next, which is for the next kick */
	assert_false(machine.v->kvm.unhalt);
	assert_int_equal(halt(), RUN_HALTED);
}

/* The kick comes before HLT, and another vCPU runs in between. */
static void an_early_kick_is_not_lost(void **state)
{
	(void)state;
	start_kvm(LONG, 2);
	assert_int_equal(call(KVM_HC_KICK_CPU, 0, 1, 0, 0), 0);
	machine_choose(1);
	kvm_pv_switch_out(machine.v);
	assert_int_equal(halt(), RUN_EXPIRED);
	assert_int_equal(halt(), RUN_HALTED);
}

static void kicks_for_nobody(void **state)
{
	static const uint64_t ids[] = { 2, 63, 64, 0xff, UINT32_MAX, 1ull << 32, ~0ull };

	(void)state;
	start_kvm(LONG, 2);
	for (unsigned i = 0; i < ARRAY_SIZE(ids); i++) {
		assert_int_equal(call(KVM_HC_KICK_CPU, ~0ull, ids[i], 0, 0), 0);
		assert_int_equal(call(KVM_HC_SCHED_YIELD, ids[i], 0, 0, 0), 0);
	}
	assert_false(machine.vm.vcpus[0]->kvm.unhalt || machine.vm.vcpus[1]->kvm.unhalt);
	assert_int_equal(machine.yields, 0);
}

static void who_may_call_what(void **state)
{
	static const uint64_t unknown[] = { 0, 2, 3, 4, 6, 9, 12, 13, 0x1000, KVM_HC_KICK_CPU | 1ull << 32, ~0ull };

	(void)state;
	start_kvm(LONG, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(unknown); i++)
		assert_int_equal(call(unknown[i], ~0ull, ~0ull, ~0ull, ~0ull), -KVM_ENOSYS);
	assert_int_equal(call(KVM_HC_VAPIC_POLL_IRQ, 1, 2, 3, 4), 0);
	start_kvm(PROTECTED, 1); /* 32 bits count; what the others are then is undefined */
	assert_int_equal((int32_t)call(~0ull, 0, 0, 0, 0), -KVM_ENOSYS);
	assert_int_equal(call(KVM_HC_VAPIC_POLL_IRQ | 7ull << 32, 0, 0, 0, 0), 0);
	for (unsigned s = SEG_ES; s <= SEG_GS; s++)
		CPU_SET(VMCS_GUEST_AR(s), CPU_GET(VMCS_GUEST_AR(s)) | 0x60);
	assert_int_equal((int32_t)call(KVM_HC_VAPIC_POLL_IRQ, 0, 0, 0, 0), -KVM_EPERM);
	assert_int_equal((int32_t)call(KVM_HC_KICK_CPU, 0, 0, 0, 0), -KVM_EPERM);
	assert_false(machine.v->kvm.unhalt);
	start_kvm(V8086, 1);
	assert_int_equal((int32_t)call(KVM_HC_KICK_CPU, 0, 0, 0, 0), -KVM_EPERM);
}

static uint32_t who_has(uint8_t vector)
{
	uint32_t who = 0;

	for (uint32_t i = 0; i < machine.vm.nvcpus; i++)
		who |= (uint32_t)vcpu_requested(machine.vm.vcpus[i], vector) << i;
	return who;
}

static void interrupts_for_many(void **state)
{
	static const struct { uint64_t low, high, first, icr; int64_t result; uint32_t who; } t[] = {
		{ 7, 0, 0, 0x40, 3, 7 }, { 5, 0, 0, 0x4040, 2, 5 }, { 6, 0, 0, 0x40, 2, 6 }, { 1, 0, 2, 0x40, 1, 4 },
		{ ~0ull, ~0ull, 0, 0x40, 3, 7 }, { ~0ull, ~0ull, 1, 0x40, 2, 6 }, { ~0ull, ~0ull, 3, 0x40, 0, 0 },
		{ ~0ull, ~0ull, 64, 0x40, 0, 0 }, { ~0ull, ~0ull, UINT32_MAX, 0x40, 0, 0 }, { ~0ull, ~0ull, ~0ull, 0x40, 0, 0 },
		{ 0, 0, 0, 0x40, 0, 0 }, { 0, 7, 0, 0x40, 0, 0 },
		{ 7, 0, 0, 0x0f, -KVM_EINVAL, 0 }, { 7, 0, 0, 0x140, -KVM_EINVAL, 0 }, { 7, 0, 0, 0x240, -KVM_EINVAL, 0 },
		{ 7, 0, 0, 0x340, -KVM_EINVAL, 0 }, { 7, 0, 0, 0x500, -KVM_EINVAL, 0 }, { 7, 0, 0, 0x640, -KVM_EINVAL, 0 },
		{ 7, 0, 0, 0x740, -KVM_EINVAL, 0 }, { 7, 0, 0, 0x840, -KVM_EINVAL, 0 }, { 7, 0, 0, 0x8040, -KVM_EINVAL, 0 },
		{ 7, 0, 0, 0x40040, -KVM_EINVAL, 0 }, { 7, 0, 0, 0xc0040, -KVM_EINVAL, 0 }, { 7, 0, 0, 1ull << 32 | 0x40, -KVM_EINVAL, 0 },
		{ 7, 0, 0, ~0ull, -KVM_EINVAL, 0 },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		start_kvm(LONG, 3);
		int64_t result = call(KVM_HC_SEND_IPI, t[i].low, t[i].high, t[i].first, t[i].icr);
		if (result != t[i].result || who_has(0x40) != t[i].who)
			fail_msg("case %u: %lld, %x", i, (long long)result, who_has(0x40));
	}
	start_kvm(LONG, 3);
	assert_int_equal(call(KVM_HC_SEND_IPI, 6, 0, 0, ICR_NMI), 2);
	assert_false(machine.vm.vcpus[0]->nmi_pending);
	assert_true(machine.vm.vcpus[1]->nmi_pending && machine.vm.vcpus[2]->nmi_pending);
}

/* Where registers have 32 bits, the map's second half begins at bit 32. */
static void interrupts_from_32_bits(void **state)
{
	(void)state;
	start_kvm(PROTECTED, 3);
	assert_int_equal(call(KVM_HC_SEND_IPI, 1ull << 33, ~0ull, 0, 0x40), 0);
	assert_int_equal(who_has(0x40), 0);
	assert_int_equal(call(KVM_HC_SEND_IPI, 0xffffffff00000002, 0, 0xffffffff00000000, 0xffffffff00000040), 1);
	assert_int_equal(who_has(0x40), 2);
}

static void a_yield_is_for_one_that_waits(void **state)
{
	(void)state;
	start_kvm(LONG, 2);
	assert_int_equal(call(KVM_HC_SCHED_YIELD, 1, 0, 0, 0), 0);
	assert_int_equal(machine.yields, 0);
	kvm_pv_switch_out(machine.vm.vcpus[1]);
	assert_int_equal(call(KVM_HC_SCHED_YIELD, 1, 0, 0, 0), 0);
	assert_int_equal(machine.yields, 1);
	assert_int_equal(call(KVM_HC_SCHED_YIELD, 0, 0, 0, 0), 0); /* oneself */
	assert_int_equal(machine.yields, 1);
}

/* An interrupt for the guest, taken at the next entry; what the guest does in its handler is `exit_with`. */
static void take(uint8_t vector, bool level)
{
	CPU_SET(VMCS_GUEST_RFLAGS, RFLAGS_RSV1 | RFLAGS_IF);
	CPU_SET(VMCS_GUEST_INTERRUPTIBILITY, 0);
	CPU_SET(VMCS_ENTRY_INTR_INFO, 0); /* what came before has been delivered */
	vlapic_inject(&machine.v->lapic, vector, level);
	exit_with(EXIT_PREEMPTION, 0);
	machine.v->vmx.pending_event = 0;
}

static uint32_t *eoi(void) { return machine_ram(AT_EOI, sizeof(uint32_t)); }

static void start_eoi(void)
{
	start_kvm(LONG, 1);
	*eoi() = 0xa5a5a5a4;
	assert_true(write_msr(MSR_KVM_PV_EOI, AT_EOI | ON));
	assert_int_equal(*eoi(), 0xa5a5a5a4);
}

static void an_eoi_in_memory(void **state)
{
	(void)state;
	start_eoi();
	take(0x41, false);
	assert_int_equal(vlapic_highest_isr(&machine.v->lapic), 0x41);
	assert_int_equal(*eoi(), 0xa5a5a5a5);
	exit_with(EXIT_PREEMPTION, 0); /* an exit in the handler */
	assert_int_equal(vlapic_highest_isr(&machine.v->lapic), 0x41);
	assert_int_equal(*eoi(), 0xa5a5a5a5);
	*eoi() &= ~1u;
	exit_with(EXIT_PREEMPTION, 0);
	assert_int_equal(vlapic_highest_isr(&machine.v->lapic), -1);
	*eoi() |= 1; /* a guest that plays with it */
	exit_with(EXIT_PREEMPTION, 0);
	*eoi() &= ~1u;
	exit_with(EXIT_PREEMPTION, 0);
	take(0x42, false);
	assert_int_equal(vlapic_highest_isr(&machine.v->lapic), 0x42);
	assert_int_equal(*eoi() & 1, 1);
}

static void an_eoi_that_others_wait_for(void **state)
{
	(void)state;
	start_eoi();
	take(0x61, false);
	assert_int_equal(*eoi() & 1, 1);
	take(0x41, false); /* waits for the end of the first */
	assert_int_equal(*eoi() & 1, 0);
	assert_int_equal(vlapic_highest_isr(&machine.v->lapic), 0x61);
	exit_with(EXIT_PREEMPTION, 0); /* the cleared bit was ours: nothing has ended */
	assert_int_equal(vlapic_highest_isr(&machine.v->lapic), 0x61);
	vlapic_write(&machine.v->lapic, APIC_EOI, 0);
	exit_with(EXIT_PREEMPTION, 0);
	assert_int_equal(vlapic_highest_isr(&machine.v->lapic), 0x41);
	assert_int_equal(*eoi() & 1, 1);
	machine.v->vmx.pending_event = 0;
	take(0x81, false); /* on top of it */
	assert_int_equal(vlapic_highest_isr(&machine.v->lapic), 0x81);
	assert_int_equal(*eoi() & 1, 0);
}

static void an_eoi_for_devices(void **state)
{
	(void)state;
	start_eoi();
	take(0x51, true);
	assert_int_equal(vlapic_highest_isr(&machine.v->lapic), 0x51);
	assert_int_equal(*eoi() & 1, 0);
}

/* It may end an interrupt by the register all the same, turn this off meanwhile, or be reset. */
static void an_eoi_by_register(void **state)
{
	(void)state;
	start_eoi();
	take(0x41, false);
	vlapic_write(&machine.v->lapic, APIC_EOI, 0);
	exit_with(EXIT_PREEMPTION, 0);
	assert_int_equal(vlapic_highest_isr(&machine.v->lapic), -1);
	take(0x42, false);
	assert_true(write_msr(MSR_KVM_PV_EOI, 0));
	assert_int_equal(*eoi() & 1, 0);
	assert_int_equal(vlapic_highest_isr(&machine.v->lapic), 0x42);
	start_eoi();
	take(0x43, false);
	vcpu_init_signal(machine.v);
	machine_mode(LONG);
	*eoi() = 0;
	exit_with(EXIT_PREEMPTION, 0);
	assert_false(machine.v->kvm.eoi_left);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(only_where_asked_for, end),
		cmocka_unit_test_teardown(cpuid_says_what_is_there, end),
		cmocka_unit_test_teardown(addresses_are_checked, end),
		cmocka_unit_test_teardown(a_refused_address_changes_nothing, end),
		cmocka_unit_test_teardown(one_time_for_all, end),
		cmocka_unit_test_teardown(a_moved_tsc_does_not_move_time, end),
		cmocka_unit_test_teardown(the_wall_clock_is_of_the_start, end),
		cmocka_unit_test_teardown(waiting_is_stolen, end),
		cmocka_unit_test_teardown(a_flush_waits_for_the_vcpu, end),
		cmocka_unit_test_teardown(nothing_is_written_after_a_reset, end),
		cmocka_unit_test_teardown(a_kick_ends_hlt, end),
		cmocka_unit_test_teardown(an_early_kick_is_not_lost, end),
		cmocka_unit_test_teardown(kicks_for_nobody, end),
		cmocka_unit_test_teardown(who_may_call_what, end),
		cmocka_unit_test_teardown(interrupts_for_many, end),
		cmocka_unit_test_teardown(interrupts_from_32_bits, end),
		cmocka_unit_test_teardown(a_yield_is_for_one_that_waits, end),
		cmocka_unit_test_teardown(an_eoi_in_memory, end),
		cmocka_unit_test_teardown(an_eoi_that_others_wait_for, end),
		cmocka_unit_test_teardown(an_eoi_for_devices, end),
		cmocka_unit_test_teardown(an_eoi_by_register, end),
	};

	return cmocka_run_group_tests_name("kvm_pv", tests, NULL, NULL);
}
