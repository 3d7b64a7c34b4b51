/* Writes to control registers that exit: SDM 2B, "MOV--Move to/from Control Registers", SDM 2A, "LMSW", "CLTS". */
#include "vtx_fixture.h"

#define WRITE_CR(n) (n)           /* from RAX */
#define READ_CR(n)  (BIT(4) | (n)) /* to RAX */
#define CLTS        BIT(5)
#define LMSW(value) (BIT(4) | BIT(5) | (uint64_t)(value) << 16)
#define PDPTES      0xb000u       /* of PAE */
#define CR3_PCID    5
#define PROTECTED_MODE (CR0_PE | CR0_ET | CR0_NE)

static void control(uint64_t qualification, uint64_t value)
{
	machine.v->vmx.gpr[RAX] = value;
	exit_with(EXIT_CR, qualification);
}

static void assert_done(void)
{
	assert_int_equal(machine.v->vmx.pending_event, 0);
	assert_int_equal(CPU_GET(VMCS_GUEST_RIP), AT_CODE + 2);
}

static uint64_t seen(struct vmcs_fnat guest, struct vmcs_fnat mask, struct vmcs_fnat shadow)
{
	return (CPU_GET(guest) & ~CPU_GET(mask)) | (CPU_GET(shadow) & CPU_GET(mask));
}

static uint64_t cr0(void) { return seen(VMCS_GUEST_CR0, VMCS_CR0_MASK, VMCS_CR0_SHADOW); }
static uint64_t cr4(void) { return seen(VMCS_GUEST_CR4, VMCS_CR4_MASK, VMCS_CR4_SHADOW); }

static void cr0_refuses(void **state)
{
	static const struct { enum machine_mode mode; uint64_t cr4, value; } t[] = {
		{ LONG, 0, CR0_PG }, { LONG, 0, PROTECTED_MODE }, { LONG, 0, PROTECTED_MODE | CR0_PG | CR0_NW },
		{ LONG, 0, PROTECTED_MODE | CR0_PG | BIT(32) }, { COMPAT, CR4_PCIDE, PROTECTED_MODE },
		{ PROTECTED, 0, PROTECTED_MODE | CR0_NW }, { PROTECTED, 0, CR0_PG | CR0_NE },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		start(t[i].mode);
		cr_set(machine.v, cr0(), cr4() | t[i].cr4);
		uint64_t before = cr0();
		control(WRITE_CR(0), t[i].value);
		assert_fault(FAULT_ERROR(VEC_GP), 0);
		assert_int_equal(cr0(), before);
	}
}

static void caching_is_the_guests_by_name_only(void **state)
{
	(void)state;
	start(PROTECTED);
	control(WRITE_CR(0), PROTECTED_MODE | CR0_CD | CR0_NW);
	assert_done();
	assert_int_equal(cr0() & (CR0_CD | CR0_NW), CR0_CD | CR0_NW);
	assert_int_equal(CPU_GET(VMCS_GUEST_CR0) & (CR0_CD | CR0_NW), 0);
}

/* SDM 3A, "Switching Out of IA-32e Mode Operation" */
static void compatibility_mode_ends_with_paging(void **state)
{
	(void)state;
	start(COMPAT);
	control(WRITE_CR(0), PROTECTED_MODE);
	assert_done();
	assert_int_equal(CPU_GET(VMCS_GUEST_EFER) & (EFER_LME | EFER_LMA), EFER_LME);
	assert_false(CPU_GET(VMCS_ENTRY_CTL) & ENTRY_IA32E);
}

/* SDM 3A, "PDPTE Registers": which writes load them, all four or none. */
static void pae_paging_loads_its_four_entries(void **state)
{
	static const struct { uint64_t cr, toggled; bool loads; } t[] = {
		{ 0, CR0_CD, true }, { 0, CR0_CD | CR0_NW, true }, { 0, CR0_TS, false }, { 4, CR4_PGE, true }, { 4, CR4_PSE, true },
		{ 4, CR4_SMEP, true }, { 4, CR4_MCE, false }, { 4, CR4_TSD, false }, { 3, 0, true },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(t); i++)
		for (unsigned reserved = 0; reserved < 2; reserved++) {
			uint64_t entry = 0x6000 | PDPTE_P | (reserved ? BIT(1) : 0), old;

			start(PAE);
			old = CPU_GET(VMCS_GUEST_PDPTE(1));
			memcpy(machine_ram(PDPTES + 8, sizeof(entry)), &entry, sizeof(entry));
			control(WRITE_CR(t[i].cr), (t[i].cr == 0 ? cr0() : t[i].cr == 4 ? cr4() : CPU_GET(VMCS_GUEST_CR3)) ^ t[i].toggled);
			if (t[i].loads && reserved)
				assert_fault(FAULT_ERROR(VEC_GP), 0);
			else
				assert_done();
			assert_int_equal(CPU_GET(VMCS_GUEST_PDPTE(1)), t[i].loads && !reserved ? entry : old);
		}
}

static void cr4_refuses(void **state)
{
	static const struct { enum machine_mode mode; uint64_t cr3, value; bool bad; } t[] = {
		{ LONG, 0, 0, true }, { LONG, 0, CR4_PAE | CR4_VMXE, true }, { LONG, 0, CR4_PAE | BIT(63), true },
		{ LONG, CR3_PCID, CR4_PAE | CR4_PCIDE, true }, { LONG, 0, CR4_PAE | CR4_PCIDE, false },
		{ PAE, 0, CR4_PAE | CR4_PCIDE, true }, { PROTECTED, 0, CR4_PCIDE, true }, { LONG, CR3_PCID, CR4_PAE | CR4_MCE, false },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		start(t[i].mode);
		CPU_SET(VMCS_GUEST_CR3, CPU_GET(VMCS_GUEST_CR3) | t[i].cr3);
		uint64_t before = cr4();
		control(WRITE_CR(4), t[i].value);
		if (t[i].bad)
			assert_fault(FAULT_ERROR(VEC_GP), 0);
		else
			assert_done();
		assert_int_equal(cr4(), t[i].bad ? before : t[i].value);
		assert_true(CPU_GET(VMCS_GUEST_CR4) & CR4_MCE); /* the machine's own */
	}
}

static void cr3_has_a_width_and_a_bit_that_is_no_address(void **state)
{
	(void)state;
	start(LONG);
	control(WRITE_CR(3), BIT(MACHINE_PHYS_BITS) | AT_PML4);
	assert_fault(FAULT_ERROR(VEC_GP), 0);
	start(LONG);
	control(WRITE_CR(3), BIT(63) | AT_PML4);
	assert_fault(FAULT_ERROR(VEC_GP), 0);
	start(LONG);
	cr_set(machine.v, cr0(), CR4_PAE | CR4_PCIDE);
	control(WRITE_CR(3), BIT(63) | AT_PML4 | CR3_PCID);
	assert_done();
	assert_int_equal(CPU_GET(VMCS_GUEST_CR3), AT_PML4 | CR3_PCID);
}

/* SDM 3A, "Task Priority in IA-32e Mode": bits 3:0 are the class of TPR, the others reserved. */
static void cr8_is_the_task_priority(void **state)
{
	(void)state;
	start(LONG);
	control(WRITE_CR(8), 0xa);
	assert_done();
	assert_int_equal(vlapic_read(&machine.v->lapic, APIC_TPR), 0xa0);
	start(LONG);
	vlapic_write(&machine.v->lapic, APIC_TPR, 0x5f);
	control(READ_CR(8), 0);
	assert_done();
	assert_int_equal(machine.v->vmx.gpr[RAX], 5);
	for (unsigned bit = 4; bit < 64; bit++) {
		start(LONG);
		control(WRITE_CR(8), BIT(bit));
		assert_fault(FAULT_ERROR(VEC_GP), 0);
	}
}

/* LMSW has bits 3:0, and does not clear PE; CLTS has TS. */
static void the_machine_status_word(void **state)
{
	const uint64_t low = CR0_MP | CR0_EM | CR0_TS;

	(void)state;
	for (uint64_t from = 0; from < 16; from += 2)
		for (uint64_t value = 0; value < 16; value++) {
			start(PROTECTED);
			cr_set(machine.v, PROTECTED_MODE | from, 0);
			control(LMSW(0xfff0 | value), 0);
			assert_done();
			assert_int_equal(cr0(), PROTECTED_MODE | (value & low));
		}
	start(REAL);
	control(LMSW(CR0_PE), 0);
	assert_done();
	assert_int_equal(cr0(), CR0_ET | CR0_NE | CR0_PE);
	start(PROTECTED);
	cr_set(machine.v, PROTECTED_MODE | low, 0);
	control(CLTS, 0);
	assert_done();
	assert_int_equal(cr0(), PROTECTED_MODE | CR0_MP | CR0_EM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cr0_refuses), cmocka_unit_test(caching_is_the_guests_by_name_only),
		cmocka_unit_test(compatibility_mode_ends_with_paging), cmocka_unit_test(pae_paging_loads_its_four_entries),
		cmocka_unit_test(cr4_refuses), cmocka_unit_test(cr3_has_a_width_and_a_bit_that_is_no_address),
		cmocka_unit_test(cr8_is_the_task_priority), cmocka_unit_test(the_machine_status_word),
	};

	return cmocka_run_group_tests(tests, NULL, end);
}
