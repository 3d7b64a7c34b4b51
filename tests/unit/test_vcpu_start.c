/* Power-up, INIT and startup: SDM 3A, "IA-32 and Intel 64 Processor States Following Power-up, Reset, or INIT". */
#include "vtx_fixture.h"

#define TSC_LATER 1000000000ull
#define MODE_X2APIC (APIC_BASE_ENABLE | APIC_BASE_X2APIC)

static uint64_t *gpr(void) { return machine.v->vmx.gpr; }

static void write_msr(uint32_t msr, uint64_t value)
{
	gpr()[RCX] = msr;
	gpr()[RAX] = (uint32_t)value;
	gpr()[RDX] = value >> 32;
	exit_with(EXIT_WRMSR, 0);
	assert_int_equal(machine.v->vmx.pending_event, 0);
}

static uint64_t read_msr(uint32_t msr)
{
	gpr()[RCX] = msr;
	exit_with(EXIT_RDMSR, 0);
	assert_int_equal(machine.v->vmx.pending_event, 0);
	return gpr()[RDX] << 32 | gpr()[RAX];
}

static void assert_at(uint16_t cs, uint64_t base, uint64_t rip)
{
	assert_int_equal(CPU_GET(VMCS_GUEST_SEL(SEG_CS)), cs);
	assert_int_equal(CPU_GET(VMCS_GUEST_BASE(SEG_CS)), base);
	assert_int_equal(CPU_GET(VMCS_GUEST_LIMIT(SEG_CS)), 0xffff);
	assert_int_equal(CPU_GET(VMCS_GUEST_RIP), rip);
}

static void assert_real_mode(void)
{
	struct vmx_broken why;

	assert_int_equal(CPU_GET(VMCS_GUEST_RFLAGS), RFLAGS_RSV1);
	assert_false(CPU_GET(VMCS_GUEST_CR0) & (CR0_PE | CR0_PG | CR0_TS | CR0_WP));
	assert_int_equal(CPU_GET(VMCS_CR4_SHADOW), 0);
	assert_int_equal(CPU_GET(VMCS_GUEST_CR3), 0);
	assert_int_equal(CPU_GET(VMCS_GUEST_EFER), 0);
	assert_false(CPU_GET(VMCS_ENTRY_CTL) & ENTRY_IA32E);
	assert_int_equal(CPU_GET(VMCS_GUEST_DR7), DR7_RESET);
	for (unsigned i = RAX; i <= R15; i++)
		assert_int_equal(gpr()[i], i == RDX ? machine.vm.cpuid.basic[1].eax : 0);
	assert_true(machine_entry_ok(&why));
}

static void the_first_runs_and_the_others_wait(void **state)
{
	(void)state;
	start(LONG);
	vcpu_reset(machine.v);
	assert_false(machine.v->wait_sipi);
	assert_at(0xf000, 0xffff0000, 0xfff0);
	assert_real_mode();
	assert_int_equal(vlapic_read(&machine.v->lapic, APIC_LVT_LINT0), APIC_EXTINT << 8);
	machine.v->id = 1;
	vcpu_reset(machine.v);
	assert_true(machine.v->wait_sipi);
	assert_int_equal(vlapic_read(&machine.v->lapic, APIC_LVT_LINT0), 0x10000);
	assert_false(machine.v->lapic.base_msr & APIC_BASE_BSP);
}

/* Everything that a kernel has set up, then INIT. */
static void init_leaves_msrs_and_time(void **state)
{
	(void)state;
	start(LONG);
	machine.v->id = 1;
	write_msr(MSR_IA32_TSC_ADJUST, 12345);
	write_msr(MSR_IA32_PAT, 0x0007010600070106);
	write_msr(MSR_IA32_MTRR_DEF_TYPE, 0x800);
	write_msr(MSR_IA32_MCG_STATUS, 4);
	write_msr(MSR_IA32_EFER, EFER_SCE | EFER_LME);
	write_msr(MSR_IA32_APIC_BASE, APIC_DEFAULT_BASE | MODE_X2APIC | APIC_BASE_BSP);
	CPU_SET(VMCS_GUEST_SYSENTER_EIP, 0x1234);
	machine.v->xcr0 = 7;
	vcpu_switch_out(machine.v); /* what the CPU held is in memory */
	machine.v->switched[SWITCH_LSTAR] = 0x5678;
	machine.now += TSC_LATER;
	memset(gpr(), 0x5a, 16 * sizeof(*gpr()));
	vmx_inject_nmi(&machine.v->vmx);
	machine.v->nmi_pending = machine.v->halted = true;
	vlapic_inject(&machine.v->lapic, 0x40, false);

	vcpu_init_signal(machine.v);
	assert_true(machine.v->wait_sipi);
	assert_false(machine.v->halted || machine.v->nmi_pending);
	assert_int_equal(machine.v->vmx.pending_event, 0);
	assert_int_equal(vlapic_highest_irr(&machine.v->lapic), -1);
	assert_at(0xf000, 0xffff0000, 0xfff0);
	assert_real_mode();
	assert_int_equal(machine.v->dr6, DR6_RESET);
	assert_int_equal(machine.v->xcr0, 7);
	assert_int_equal(machine.v->switched[SWITCH_LSTAR], 0x5678);
	assert_int_equal(CPU_GET(VMCS_GUEST_SYSENTER_EIP), 0x1234);
	machine.v->wait_sipi = false; /* or it would not execute what follows */
	assert_int_equal(read_msr(MSR_IA32_TSC_ADJUST), 12345);
	assert_true(read_msr(MSR_IA32_TSC) >= TSC_LATER + 12345);
	assert_int_equal(read_msr(MSR_IA32_PAT), 0x0007010600070106);
	assert_int_equal(read_msr(MSR_IA32_MTRR_DEF_TYPE), 0x800);
	assert_int_equal(read_msr(MSR_IA32_MCG_STATUS), 4);
	assert_int_equal(read_msr(MSR_IA32_APIC_BASE) & MODE_X2APIC, MODE_X2APIC);
	vcpu_reset(machine.v);
	machine.v->wait_sipi = false;
	assert_int_equal(read_msr(MSR_IA32_TSC_ADJUST), 0);
	assert_int_equal(read_msr(MSR_IA32_PAT), 0x0007040600070406);
	assert_int_equal(read_msr(MSR_IA32_MTRR_DEF_TYPE), 0xc06);
}

static void init_keeps_the_caches_as_they_are(void **state)
{
	(void)state;
	start(PROTECTED); /* CD and NW are 0 */
	vcpu_init_signal(machine.v);
	assert_int_equal(CPU_GET(VMCS_CR0_SHADOW) & (CR0_CD | CR0_NW | CR0_ET), CR0_ET);
	cr_set(machine.v, CR0_PE | CR0_CD | CR0_ET, 0);
	vcpu_init_signal(machine.v);
	assert_int_equal(CPU_GET(VMCS_CR0_SHADOW) & (CR0_CD | CR0_NW | CR0_ET), CR0_CD | CR0_ET);
}

static void init_restarts_the_first(void **state)
{
	(void)state;
	start(LONG);
	vcpu_init_signal(machine.v);
	assert_false(machine.v->wait_sipi);
	assert_at(0xf000, 0xffff0000, 0xfff0);
	assert_true(machine.v->lapic.base_msr & APIC_BASE_BSP);
	vcpu_startup(machine.v, 0x12); /* not for one that runs */
	assert_at(0xf000, 0xffff0000, 0xfff0);
}

static void a_startup_starts_once(void **state)
{
	struct vmx_broken why;

	(void)state;
	start(LONG);
	machine.v->id = 1;
	vcpu_init_signal(machine.v);
	vcpu_startup(machine.v, 0x9a);
	assert_false(machine.v->wait_sipi);
	assert_at(0x9a00, 0x9a000, 0);
	assert_true(machine_entry_ok(&why));
	vcpu_startup(machine.v, 0x12); /* the second of the universal start-up algorithm */
	assert_at(0x9a00, 0x9a000, 0);
	vcpu_init_signal(machine.v);
	vcpu_startup(machine.v, 0xff);
	assert_at(0xff00, 0xff000, 0);
}

/* The vCPUs of a VM, whenever they are reset, read one counter. */
static void time_is_the_vms(void **state)
{
	(void)state;
	start(LONG);
	machine.vm.start_tsc = machine.now;
	vcpu_reset(machine.v);
	uint64_t offset = machine.v->tsc_offset;
	machine.now += TSC_LATER;
	vcpu_reset(machine.v);
	assert_true(machine.v->tsc_offset == offset);
	assert_true(read_msr(MSR_IA32_TSC) - TSC_LATER < 10000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(the_first_runs_and_the_others_wait, end),
		cmocka_unit_test_teardown(init_leaves_msrs_and_time, end),
		cmocka_unit_test_teardown(init_keeps_the_caches_as_they_are, end),
		cmocka_unit_test_teardown(init_restarts_the_first, end),
		cmocka_unit_test_teardown(a_startup_starts_once, end),
		cmocka_unit_test_teardown(time_is_the_vms, end),
	};

	return cmocka_run_group_tests_name("vcpu_start", tests, NULL, NULL);
}
