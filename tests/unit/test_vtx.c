/* What VM exits do to the guest, on a machine whose VT-x is data (tests/vtx): the fuzzers' ground, and the SDM's examples. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "arch/x86_64/cpu.h"
#include "tests/vtx/machine.h"

#define FAULT(vector)       (INTR_VALID | INTR_TYPE_HW | (vector))
#define FAULT_ERROR(vector) (FAULT(vector) | INTR_ERROR_CODE)
#define TASK_JMP_TO(sel)    (2ull << 30 | (sel))
#define TASK_CALL_TO(sel)   (0ull << 30 | (sel))
#define PD32                0x9000u /* of PAGED */
#define PT                  0x7000u /* of LONG and PAE: maps the RAM */

static struct run_limit limit;
static uint32_t reason;

/* One exit, then the time is up. */
static uint32_t one_exit(struct machine *m)
{
	(void)m;
	limit.until = 0;
	return reason;
}

static void start(enum machine_mode mode)
{
	machine_init(MACHINE_VPID);
	machine_mode(mode);
	machine.run = one_exit;
}

static void exit_with(uint32_t kind, uint64_t qualification)
{
	reason = kind;
	limit.until = UINT64_MAX;
	CPU_SET(VMCS_EXIT_QUALIFICATION, qualification);
	CPU_SET(VMCS_EXIT_INSN_LEN, 2);
	assert_int_equal(vcpu_run(machine.v, &limit), RUN_EXPIRED);
}

static void assert_fault(uint32_t info, uint32_t error)
{
	assert_int_equal(machine.v->vmx.pending_event, info);
	assert_int_equal(machine.v->vmx.pending_error, error);
	assert_int_equal(CPU_GET(VMCS_GUEST_RIP), AT_CODE);
	assert_true(CPU_GET(VMCS_GUEST_RFLAGS) & RFLAGS_RF);
}

static uint32_t ram32(uint64_t at)
{
	uint32_t value;

	memcpy(&value, machine_ram(at, sizeof(value)), sizeof(value));
	return value;
}

/* Else the fuzzers would test less than they say. */
static void every_mode_can_be_entered(void **state)
{
	struct vmx_broken why = { 0 };

	(void)state;
	for (unsigned options = 0; options < 32; options++)
		for (enum machine_mode mode = 0; mode < NMODES; mode++) {
			machine_init(options);
			machine_mode(mode);
			if (!machine_entry_ok(&why))
				fail_msg("mode %u: %s", mode, why.rule);
			assert_int_equal(machine_changed_control(), 0);
			assert_int_equal(machine_open_msr(), 0);
		}
	CPU_SET(VMCS_GUEST_RFLAGS, 0);
	assert_false(machine_entry_ok(&why));
	CPU_SET(VMCS_IO_BITMAP_A, 0);
	assert_int_equal(machine_changed_control(), VMCS_IO_BITMAP_A.enc);
	vmx_msr_open(&machine.v->vmx, MSR_IA32_APIC_BASE, false, true);
	assert_int_equal(machine_open_msr(), MSR_IA32_APIC_BASE);
}

static void faults_have_the_mode_s_error_code(void **state)
{
	(void)state;
	start(LONG);
	machine.v->vmx.gpr[RCX] = 0x1234; /* no MSR */
	exit_with(EXIT_RDMSR, 0);
	assert_fault(FAULT_ERROR(VEC_GP), 0);
	start(REAL);
	machine.v->vmx.gpr[RCX] = 0x1234;
	exit_with(EXIT_RDMSR, 0);
	assert_fault(FAULT(VEC_GP), 0);
}

/* SDM 2B, "MOV--Move to/from Control Registers" */
static void cr0_keeps_its_rules(void **state)
{
	static const uint64_t bad[] = { CR0_PG, CR0_PE | CR0_NW, CR0_PE | BIT(32) };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		start(LONG);
		uint64_t before = CPU_GET(VMCS_GUEST_CR0);
		machine.v->vmx.gpr[RAX] = bad[i];
		exit_with(EXIT_CR, 0);
		assert_fault(FAULT_ERROR(VEC_GP), 0);
		assert_int_equal(CPU_GET(VMCS_GUEST_CR0), before);
	}
	start(PROTECTED);
	machine.v->vmx.gpr[RAX] = CR0_PE | CR0_CD | CR0_NW;
	exit_with(EXIT_CR, 0);
	assert_int_equal(CPU_GET(VMCS_GUEST_RIP), AT_CODE + 2);
	assert_int_equal(CPU_GET(VMCS_CR0_SHADOW) & (CR0_CD | CR0_NW), CR0_CD | CR0_NW);
	assert_int_equal(CPU_GET(VMCS_GUEST_CR0) & (CR0_CD | CR0_NW), 0);
}

/* SDM 3A, "Task Switching": what is saved, what is loaded, who is busy. */
static void a_jump_switches_tasks(void **state)
{
	(void)state;
	start(PROTECTED);
	machine.v->vmx.gpr[RBX] = 0x11223344;
	exit_with(EXIT_TASK_SWITCH, TASK_JMP_TO(SEL_TSS_B));
	assert_int_equal(machine.v->vmx.pending_event, 0);
	assert_int_equal(ram32(AT_TSS + 0x20), AT_CODE + 2);
	assert_int_equal(ram32(AT_TSS + 0x34), 0x11223344);
	assert_int_equal(ram32(AT_TSS + 0x4c) & 0xffff, SEL_K_CODE);
	assert_int_equal(ram32(AT_GDT + SEL_TSS_A + 4) >> 8 & 0xf, 9);
	assert_int_equal(ram32(AT_GDT + SEL_TSS_B + 4) >> 8 & 0xf, 0xb);
	assert_int_equal(CPU_GET(VMCS_GUEST_SEL(SEG_TR)), SEL_TSS_B);
	assert_int_equal(CPU_GET(VMCS_GUEST_RSP), AT_STACK);
	assert_true(CPU_GET(VMCS_GUEST_CR0) & CR0_TS);
	assert_false(CPU_GET(VMCS_GUEST_RFLAGS) & RFLAGS_NT);
	start(PROTECTED);
	exit_with(EXIT_TASK_SWITCH, TASK_CALL_TO(SEL_TSS_B));
	assert_int_equal(ram32(AT_TSS_B) & 0xffff, SEL_TSS_A);
	assert_int_equal(ram32(AT_GDT + SEL_TSS_A + 4) >> 8 & 0xf, 0xb);
	assert_true(CPU_GET(VMCS_GUEST_RFLAGS) & RFLAGS_NT);
}

static void a_bad_task_changes_nothing(void **state)
{
	(void)state;
	start(PROTECTED);
	*(uint8_t *)machine_ram(AT_GDT + SEL_TSS_B + 5, 1) &= 0x7f; /* not present */
	uint32_t ip = ram32(AT_TSS + 0x20);
	exit_with(EXIT_TASK_SWITCH, TASK_JMP_TO(SEL_TSS_B));
	assert_fault(FAULT_ERROR(VEC_NP), SEL_TSS_B);
	assert_int_equal(ram32(AT_TSS + 0x20), ip);
	start(PROTECTED);
	*(uint8_t *)machine_ram(AT_GDT + SEL_TSS_B, 1) = 0x66; /* limit: one too small */
	exit_with(EXIT_TASK_SWITCH, TASK_JMP_TO(SEL_TSS_B));
	assert_fault(FAULT_ERROR(VEC_TS), SEL_TSS_B);
	assert_int_equal(CPU_GET(VMCS_GUEST_SEL(SEG_TR)), SEL_TSS_A);
}

/* SDM 3A, "Task Switching": a TSS is described in the GDT alone. */
static void a_task_is_in_the_gdt(void **state)
{
	static const uint16_t bad[] = { SEL_TSS_B | 4, 0x800, SEL_K_DATA };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		start(PROTECTED);
		exit_with(EXIT_TASK_SWITCH, TASK_JMP_TO(bad[i]));
		assert_fault(FAULT_ERROR(VEC_GP), bad[i]);
	}
}

static void write_msr(uint32_t msr, uint64_t value)
{
	machine.v->vmx.gpr[RCX] = msr;
	machine.v->vmx.gpr[RAX] = (uint32_t)value;
	machine.v->vmx.gpr[RDX] = value >> 32;
	exit_with(EXIT_WRMSR, 0);
}

/* SDM 3A, "x2APIC Register Address Space": MSRs only in that mode. */
static void x2apic_registers_are_msrs(void **state)
{
	enum { X2APIC_TPR = 0x808, MODE_X2APIC = 0xfee00d00 };

	(void)state;
	start(PROTECTED);
	write_msr(X2APIC_TPR, 0x20);
	assert_fault(FAULT_ERROR(VEC_GP), 0);
	start(PROTECTED);
	write_msr(MSR_IA32_APIC_BASE, MODE_X2APIC);
	write_msr(X2APIC_TPR, 0x20);
	assert_int_equal(machine.v->vmx.pending_event, 0);
	assert_int_equal(CPU_GET(VMCS_GUEST_RIP), AT_CODE + 4);
	assert_int_equal(vlapic_read(&machine.v->lapic, APIC_TPR), 0x20);
	write_msr(X2APIC_TPR, 0x120);
	assert_int_equal(machine.v->vmx.pending_event, FAULT_ERROR(VEC_GP));
}

/* INSD at the end of a page, before a page that is not there: the port is not touched. */
static void a_string_faults_before_the_port(void **state)
{
	const uint64_t linear = 0xdffe;

	(void)state;
	start(LONG);
	*(uint8_t *)machine_ram(PT + 8 * 0xe, 1) = 0;
	memset(machine_ram(linear, 2), 0x55, 2);
	machine.v->vmx.gpr[RDI] = linear;
	CPU_SET(VMCS_EXIT_INSN_INFO, 2 << 7); /* 64-bit addresses */
	uint64_t absent = machine.vm.pio.absent;
	exit_with(EXIT_IO, 3 | BIT(3) | BIT(4) | 0x80ull << 16);
	assert_fault(FAULT_ERROR(VEC_PF), PF_W);
	assert_int_equal(read_cr2(), 0xe000);
	assert_int_equal(machine.v->vmx.gpr[RDI], linear);
	assert_int_equal(*(uint16_t *)machine_ram(linear, 2), 0x5555);
	assert_int_equal(machine.vm.pio.absent, absent);
	*(uint8_t *)machine_ram(PT + 8 * 0xe, 1) = 7;
	machine.v->vmx.pending_event = 0;
	exit_with(EXIT_IO, 3 | BIT(3) | BIT(4) | 0x80ull << 16);
	assert_int_equal(machine.v->vmx.gpr[RDI], linear + 4);
	assert_int_equal(*(uint16_t *)machine_ram(linear, 2), 0xffff);
	assert_int_equal(*(uint16_t *)machine_ram(linear + 2, 2), 0xffff);
}

/* SDM 3A, "Interrupt 8--Double Fault Exception": here of a stack whose page table would be outside of all memory. */
static void faults_in_delivery_combine(void **state)
{
	const uint32_t linear = 0x40000000, outside = 0x00800007;
	static const struct { uint32_t first, then; } t[] = {
		{ INTR_VALID | INTR_TYPE_EXT | 0x30, FAULT_ERROR(VEC_PF) },
		{ FAULT_ERROR(VEC_GP), FAULT_ERROR(VEC_PF) },
		{ FAULT_ERROR(VEC_PF), FAULT_ERROR(VEC_DF) },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		start(PAGED);
		memcpy(machine_ram(PD32 + 4 * (linear >> 22), 4), &outside, 4);
		CPU_SET(VMCS_IDT_VECTORING_INFO, t[i].first);
		CPU_SET(VMCS_GUEST_LINEAR, linear);
		CPU_SET(VMCS_GUEST_PHYS, outside & ~0xfffu);
		exit_with(EXIT_EPT_VIOLATION, EPTV_READ | EPTV_LINEAR_VALID);
		assert_int_equal(machine.v->vmx.pending_event, t[i].then);
		assert_int_equal(read_cr2(), linear);
	}
}

static int teardown(void **state)
{
	(void)state;
	machine_free();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_mode_can_be_entered), cmocka_unit_test(faults_have_the_mode_s_error_code),
		cmocka_unit_test(cr0_keeps_its_rules), cmocka_unit_test(a_jump_switches_tasks),
		cmocka_unit_test(a_bad_task_changes_nothing), cmocka_unit_test(a_task_is_in_the_gdt),
		cmocka_unit_test(x2apic_registers_are_msrs), cmocka_unit_test(a_string_faults_before_the_port),
		cmocka_unit_test(faults_in_delivery_combine),
	};

	return cmocka_run_group_tests(tests, NULL, teardown);
}
