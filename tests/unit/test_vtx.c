/* What VM exits do to the guest, on a machine whose VT-x is data (tests/vtx): the fuzzers' ground, and the SDM's examples. */
#include "vtx_fixture.h"

#define TASK_JMP_TO(sel)    (2ull << 30 | (sel))
#define TASK_CALL_TO(sel)   (0ull << 30 | (sel))
#define PD32                0x9000u /* of PAGED */
#define PT                  0x7000u /* of LONG and PAE: maps the RAM */

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

static void device_access(uint64_t gpa, const void *code, size_t len)
{
	memcpy(machine_ram(AT_CODE, len), code, len);
	machine.v->vmx.gpr[RAX] = gpa;
	CPU_SET(VMCS_GUEST_LINEAR, gpa);
	CPU_SET(VMCS_GUEST_PHYS, gpa);
	exit_with(EXIT_EPT_VIOLATION, EPTV_READ | EPTV_LINEAR_VALID | EPTV_TRANSLATED);
}

/* Code that only the TLB still knows: the guest would come back with it for ever. */
static void stale_code_is_fetched_again(void **state)
{
	static const uint8_t load[] = { 0x8b, 0x00 }; /* mov (%rax), %eax */

	(void)state;
	start(LONG);
	*(uint8_t *)machine_ram(PT + 8 * (AT_CODE / PAGE_SIZE), 1) = 0;
	device_access(APIC_DEFAULT_BASE + APIC_TIMER_ICR, load, sizeof(load));
	assert_fault(FAULT_ERROR(VEC_PF), CPU_GET(VMCS_GUEST_EFER) & EFER_NXE ? PF_I : 0);
	assert_int_equal(read_cr2(), AT_CODE);
}

/* Code that has changed behind its first bytes. */
static void an_instruction_is_known_by_all_of_its_bytes(void **state)
{
	const uint32_t at = APIC_DEFAULT_BASE + APIC_TIMER_ICR;
	uint8_t store[10] = { 0xc7, 0x05 }; /* MOV [disp32], imm32 */

	(void)state;
	memcpy(store + 2, &at, sizeof(at));
	start(PROTECTED);
	for (uint32_t high = 0; high < 2; high++) {
		uint32_t value = 0x1234 | high << 16;

		CPU_SET(VMCS_GUEST_RIP, AT_CODE);
		memcpy(store + 6, &value, sizeof(value));
		device_access(at, store, sizeof(store));
		assert_int_equal(vlapic_read(&machine.v->lapic, APIC_TIMER_ICR), value);
	}
}

/* SDM 3B, "Instruction-Breakpoint Exception Condition": RF lasts for one instruction, wherever that one goes. */
static void a_jump_to_itself_is_complete(void **state)
{
	static const uint8_t jump[] = { 0xff, 0x20 }; /* jmp *(%rax) */

	(void)state;
	start(LONG);
	vlapic_write(&machine.v->lapic, APIC_TIMER_ICR, AT_CODE);
	CPU_SET(VMCS_GUEST_RFLAGS, CPU_GET(VMCS_GUEST_RFLAGS) | RFLAGS_RF);
	device_access(APIC_DEFAULT_BASE + APIC_TIMER_ICR, jump, sizeof(jump));
	assert_int_equal(machine.v->vmx.pending_event, 0);
	assert_int_equal(CPU_GET(VMCS_GUEST_RIP), AT_CODE);
	assert_false(CPU_GET(VMCS_GUEST_RFLAGS) & RFLAGS_RF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_mode_can_be_entered), cmocka_unit_test(faults_have_the_mode_s_error_code),
		cmocka_unit_test(a_jump_switches_tasks), cmocka_unit_test(a_bad_task_changes_nothing),
		cmocka_unit_test(a_task_is_in_the_gdt), cmocka_unit_test(x2apic_registers_are_msrs),
		cmocka_unit_test(a_string_faults_before_the_port), cmocka_unit_test(faults_in_delivery_combine),
		cmocka_unit_test(stale_code_is_fetched_again), cmocka_unit_test(a_jump_to_itself_is_complete),
		cmocka_unit_test(an_instruction_is_known_by_all_of_its_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, end);
}
