/* What a CPU keeps of a vCPU when others come to it: guest/switch.c, guest/exit_msr.c. */
#include "tests/unit/vtx_fixture.h"

enum { ENTRY = 0x5678, OTHER_ENTRY = 0x9abc, GARBAGE = 0xbad };

static uint64_t *cpu_msr(uint32_t msr) { return &machine.native_msrs[msr - MSR_IA32_EFER]; }

static void write_msr(uint32_t msr, uint64_t value)
{
	uint64_t *g = machine.v->vmx.gpr;

	g[RCX] = msr;
	g[RAX] = (uint32_t)value;
	g[RDX] = value >> 32;
	exit_with(EXIT_WRMSR, 0);
}

static void start_two(void)
{
	start(LONG);
	machine_add_vcpu();
	machine.v->vm->vcpus[1]->wait_sipi = false;
	machine_choose(0);
}

static void what_is_written_is_on_the_cpu(void **state)
{
	(void)state;
	start_two();
	write_msr(MSR_IA32_LSTAR, ENTRY);
	assert_int_equal(*cpu_msr(MSR_IA32_LSTAR), ENTRY);
	assert_int_equal(CPU_GET(VMCS_GUEST_RIP), AT_CODE + 2);
	machine_choose(1);
	assert_int_equal(*cpu_msr(MSR_IA32_LSTAR), 0);
	machine_choose(0);
	assert_int_equal(*cpu_msr(MSR_IA32_LSTAR), ENTRY);
}

static void the_cpu_checks_what_is_written(void **state)
{
	(void)state;
	start_two();
	write_msr(MSR_IA32_LSTAR, ENTRY);
	CPU_SET(VMCS_GUEST_RIP, AT_CODE);
	write_msr(MSR_IA32_LSTAR, BIT(60));
	assert_fault(FAULT_ERROR(VEC_GP), 0);
	machine_choose(1);
	machine_choose(0);
	assert_int_equal(*cpu_msr(MSR_IA32_LSTAR), ENTRY);
}

static void what_is_alike_is_not_written(void **state)
{
	(void)state;
	start_two();
	machine_choose(1);
	uint32_t before = machine.msrs_written;
	machine_choose(0);
	machine_choose(1);
	assert_int_equal(machine.msrs_written, before);
	machine_choose(0);
	write_msr(MSR_IA32_CSTAR, ENTRY);
	before = machine.msrs_written;
	machine_choose(1);
	assert_int_equal(machine.msrs_written, before + 1);
	assert_int_equal(*cpu_msr(MSR_IA32_CSTAR), 0);
}

/* SWAPGS and MOV DR do not exit. */
static void what_the_guest_changes_by_itself_is_kept(void **state)
{
	(void)state;
	start_two();
	*cpu_msr(MSR_IA32_KERNEL_GS_BASE) = ENTRY;
	host_register[HOST_DR3] = ENTRY;
	machine_choose(1);
	assert_int_equal(*cpu_msr(MSR_IA32_KERNEL_GS_BASE), 0);
	assert_int_equal(host_register[HOST_DR3], 0);
	host_register[HOST_DR6] ^= BIT(0);
	host_register[HOST_CR2] = OTHER_ENTRY;
	uint64_t dr6 = host_register[HOST_DR6];
	machine_choose(0);
	assert_int_equal(*cpu_msr(MSR_IA32_KERNEL_GS_BASE), ENTRY);
	assert_int_equal(host_register[HOST_DR3], ENTRY);
	assert_int_equal(host_register[HOST_DR6], DR6_RESET);
	machine_choose(1);
	assert_int_equal(host_register[HOST_DR6], dr6);
	assert_int_equal(host_register[HOST_CR2], OTHER_ENTRY);
}

/* Where nobody's registers are (the vCPU has gone to another CPU, or its VM has ended) there may be anything. */
static void behind_nobody_all_is_written(void **state)
{
	(void)state;
	start_two();
	write_msr(MSR_IA32_FMASK, 0x700);
	vcpu_release(machine.v);
	for (size_t i = 0; i < ARRAY_SIZE(machine.native_msrs); i++)
		machine.native_msrs[i] = GARBAGE;
	for (unsigned r = HOST_DR0; r <= HOST_DR6; r++)
		host_register[r] = GARBAGE;
	machine_choose(1);
	for (uint32_t msr = MSR_IA32_STAR; msr <= MSR_IA32_FMASK; msr++)
		assert_int_equal(*cpu_msr(msr), 0);
	assert_int_equal(*cpu_msr(MSR_IA32_KERNEL_GS_BASE), 0);
	assert_int_equal(host_register[HOST_DR0], 0);
	assert_int_equal(host_register[HOST_DR6], DR6_RESET);
	machine_choose(0);
	assert_int_equal(*cpu_msr(MSR_IA32_FMASK), 0x700);
}

static void a_new_life_has_nothing_of_the_last(void **state)
{
	(void)state;
	start_two();
	write_msr(MSR_IA32_STAR, ENTRY);
	host_register[HOST_DR0] = ENTRY;
	vcpu_reset(machine.v);
	vcpu_switch_in(machine.v);
	assert_int_equal(*cpu_msr(MSR_IA32_STAR), 0);
	assert_int_equal(host_register[HOST_DR0], 0);
	machine_choose(1);
	machine_choose(0);
	assert_int_equal(*cpu_msr(MSR_IA32_STAR), 0);
}

/* INIT clears the debug registers and leaves the MSRs. */
static void init_keeps_msrs(void **state)
{
	(void)state;
	start_two();
	write_msr(MSR_IA32_LSTAR, ENTRY);
	*cpu_msr(MSR_IA32_KERNEL_GS_BASE) = OTHER_ENTRY;
	host_register[HOST_DR0] = ENTRY;
	vcpu_init_signal(machine.v);
	assert_int_equal(*cpu_msr(MSR_IA32_LSTAR), ENTRY);
	assert_int_equal(*cpu_msr(MSR_IA32_KERNEL_GS_BASE), OTHER_ENTRY);
	assert_int_equal(host_register[HOST_DR0], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(what_is_written_is_on_the_cpu, end),
		cmocka_unit_test_teardown(the_cpu_checks_what_is_written, end),
		cmocka_unit_test_teardown(what_is_alike_is_not_written, end),
		cmocka_unit_test_teardown(what_the_guest_changes_by_itself_is_kept, end),
		cmocka_unit_test_teardown(behind_nobody_all_is_written, end),
		cmocka_unit_test_teardown(a_new_life_has_nothing_of_the_last, end),
		cmocka_unit_test_teardown(init_keeps_msrs, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
