/* Events on their way into a guest: which ones combine, what an exit in the middle of a delivery leaves, what blocks NMIs. */
#include "vtx_fixture.h"

#define BLOCKED() (CPU_GET(VMCS_GUEST_INTERRUPTIBILITY) & BLOCK_NMI)
#define IRET_UNBLOCKED BIT(12)    /* of an EPT violation's qualification */
#define IOAPIC         0xfec00000

/* SDM 3A, "Interrupt 8--Double Fault Exception (#DF)", the tables of classes and of their combinations */
enum class { BENIGN, CONTRIBUTORY, PAGE_FAULT };

static enum class class_of(uint8_t vector)
{
	switch (vector) {
	case 0: case 10: case 11: case 12: case 13: case 21: return CONTRIBUTORY;
	case 14: case 20: return PAGE_FAULT;
	default: return BENIGN;
	}
}

static bool makes_double_fault(uint8_t first, uint8_t second)
{
	return (class_of(first) == CONTRIBUTORY && class_of(second) == CONTRIBUTORY) ||
	       (class_of(first) == PAGE_FAULT && class_of(second) != BENIGN);
}

static void two_faults_combine_by_their_classes(void **state)
{
	struct vmx_vcpu *v;

	(void)state;
	start(LONG);
	v = &machine.v->vmx;
	for (uint8_t first = 0; first < 22; first++)
		for (uint8_t second = 0; second < 22; second++) {
			if (first == VEC_NMI || first == VEC_DF || second == VEC_NMI || second == VEC_DF)
				continue;
			v->pending_event = FAULT(first);
			assert_true(vmx_inject_exception(v, second, true, 0x18));
			assert_int_equal(v->pending_event, makes_double_fault(first, second) ? FAULT_ERROR(VEC_DF) : FAULT_ERROR(second));
			assert_int_equal(v->pending_error, makes_double_fault(first, second) ? 0 : 0x18);
		}
	for (uint8_t second = 0; second < 22; second++) {
		const uint32_t others[] = { INTR_TYPE_EXT | VEC_GP, INTR_TYPE_SW | VEC_PF, INTR_TYPE_SWEXC | VEC_OF,
					    INTR_TYPE_PRIVSW | VEC_DB };

		for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
			v->pending_event = INTR_VALID | others[i];
			assert_true(vmx_inject_exception(v, second, false, 0));
			assert_int_equal(v->pending_event, FAULT(second));
		}
	}
	v->pending_event = FAULT_ERROR(VEC_DF);
	assert_false(vmx_inject_exception(v, VEC_GP, true, 0)); /* shutdown */
}

/* SDM 3C, "Information for VM Exits During Event Delivery", and what the next entry needs of it */
static void an_interrupted_delivery_is_done_again(void **state)
{
	static const struct { uint32_t info; bool has_len; } t[] = {
		{ INTR_VALID | INTR_TYPE_EXT | 0x30, false }, { FAULT(VEC_UD), false }, { FAULT_ERROR(VEC_GP), false },
		{ INTR_VALID | INTR_TYPE_SW | 0x80, true }, { INTR_VALID | INTR_TYPE_SWEXC | VEC_BP, true },
		{ INTR_VALID | INTR_TYPE_PRIVSW | VEC_DB, true }, { INTR_VALID | INTR_TYPE_NMI | VEC_NMI, false },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		start(LONG);
		CPU_SET(VMCS_IDT_VECTORING_INFO, t[i].info);
		CPU_SET(VMCS_IDT_VECTORING_ERROR, 0x1234);
		CPU_SET(VMCS_EXIT_INSN_LEN, 3);
		CPU_SET(VMCS_ENTRY_INSN_LEN, 0);
		vmx_requeue_event(&machine.v->vmx);
		vmx_commit_event(&machine.v->vmx);
		assert_int_equal(CPU_GET(VMCS_ENTRY_INTR_INFO), t[i].info);
		if (t[i].info & INTR_ERROR_CODE)
			assert_int_equal(CPU_GET(VMCS_ENTRY_ERROR_CODE), 0x1234);
		assert_int_equal(CPU_GET(VMCS_ENTRY_INSN_LEN), t[i].has_len ? 3 : 0);
	}
	start(LONG);
	CPU_SET(VMCS_IDT_VECTORING_INFO, 0x30); /* not valid */
	vmx_requeue_event(&machine.v->vmx);
	assert_int_equal(machine.v->vmx.pending_event, 0);
}

/* The entry that injects an NMI begins the blocking, and the VMCS must not have it by then. */
static void an_nmi_blocks_others_once_it_is_delivered(void **state)
{
	(void)state;
	start(LONG);
	CPU_SET(VMCS_GUEST_INTERRUPTIBILITY, BLOCK_NMI);
	CPU_SET(VMCS_IDT_VECTORING_INFO, INTR_VALID | INTR_TYPE_NMI | VEC_NMI);
	vmx_requeue_event(&machine.v->vmx);
	assert_false(BLOCKED());
	/* If its delivery ends in a fault, that is what is injected. */
	assert_true(vmx_inject_exception(&machine.v->vmx, VEC_GP, true, 0));
	assert_true(BLOCKED());
}

/* SDM 3C, "NMI Unblocking Due to IRET": the IRET is executed once more; not if it was an event's delivery that exited. */
static void an_iret_that_exits_has_not_unblocked_nmis(void **state)
{
	static const uint8_t load[] = { 0x8b, 0x00 }; /* MOV EAX, [RAX] */

	(void)state;
	for (unsigned iret = 0; iret < 2; iret++) {
		start(LONG);
		memcpy(machine_ram(AT_CODE, sizeof(load)), load, sizeof(load));
		machine.v->vmx.gpr[RAX] = IOAPIC;
		CPU_SET(VMCS_GUEST_LINEAR, IOAPIC);
		CPU_SET(VMCS_GUEST_PHYS, IOAPIC);
		exit_with(EXIT_EPT_VIOLATION, EPTV_READ | EPTV_LINEAR_VALID | EPTV_TRANSLATED | (iret ? IRET_UNBLOCKED : 0));
		assert_int_equal(!!BLOCKED(), iret);
	}
}

/* SDM 3A, "Priorities Among Simultaneous Events": traps of the last instruction, then NMIs, then interrupts. */
static void what_an_interrupt_waits_for(void **state)
{
	struct vmx_vcpu *v;

	(void)state;
	start(LONG);
	v = &machine.v->vmx;
	CPU_SET(VMCS_GUEST_RFLAGS, RFLAGS_RSV1);
	assert_false(vmx_interrupt_allowed(v));
	assert_true(vmx_nmi_allowed(v));
	CPU_SET(VMCS_GUEST_RFLAGS, RFLAGS_RSV1 | RFLAGS_IF);
	assert_true(vmx_interrupt_allowed(v));
	CPU_SET(VMCS_GUEST_INTERRUPTIBILITY, BLOCK_NMI);
	assert_true(vmx_interrupt_allowed(v));
	assert_false(vmx_nmi_allowed(v));
	for (uint32_t shadow = BLOCK_STI; shadow <= BLOCK_MOV_SS; shadow <<= 1) {
		CPU_SET(VMCS_GUEST_INTERRUPTIBILITY, shadow);
		assert_false(vmx_interrupt_allowed(v));
	}
	CPU_SET(VMCS_GUEST_INTERRUPTIBILITY, 0);
	CPU_SET(VMCS_GUEST_PENDING_DEBUG, BIT(14));
	assert_false(vmx_interrupt_allowed(v) || vmx_nmi_allowed(v));
	CPU_SET(VMCS_GUEST_PENDING_DEBUG, 0);
	v->pending_event = FAULT(VEC_UD);
	assert_false(vmx_interrupt_allowed(v) || vmx_nmi_allowed(v));
}

/* SDM 3C, "Virtualized EOI": the CPU exits for the vectors whose bit says so, and those of level-triggered interrupts need it. */
static void an_eoi_of_a_level_exits(void **state)
{
	enum { VECTOR = 0x51, WORD = VECTOR / 64, SVR_ON = 0x1ff };

	(void)state;
	machine_init(MACHINE_APICV);
	machine_mode(LONG);
	machine.run = one_exit;
	vlapic_write(&machine.v->lapic, APIC_SVR, SVR_ON);
	for (unsigned n = 0; n < 3; n++) {
		bool level = n == 1;

		vlapic_inject(&machine.v->lapic, VECTOR, level);
		exit_with(EXIT_PREEMPTION, 0);
		assert_int_equal(CPU_GET(VMCS_EOI_EXIT(WORD)), level ? BIT(VECTOR % 64) : 0);
		assert_int_equal(CPU_GET(VMCS_GUEST_INTR_STATUS) & 0xff, VECTOR);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_faults_combine_by_their_classes), cmocka_unit_test(an_interrupted_delivery_is_done_again),
		cmocka_unit_test(an_nmi_blocks_others_once_it_is_delivered),
		cmocka_unit_test(an_iret_that_exits_has_not_unblocked_nmis), cmocka_unit_test(what_an_interrupt_waits_for),
		cmocka_unit_test(an_eoi_of_a_level_exits),
	};

	return cmocka_run_group_tests(tests, NULL, end);
}
