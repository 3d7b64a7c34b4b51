/* The VMCS checker on CPUs newer than the emulator's: tertiary and secondary controls, LAM, SGX; and the MSR-load area. */
#include "tests/unit/vmcs_fake.h"

#define PROC3_ALL (PROC3_HLAT | PROC3_PAGING_WRITE | PROC3_PAGING_VERIFY | PROC3_IPI)
#define EXIT2_ONE BIT(3)
#define PROC_3    (PROC_TPR | PROC_TERTIARY)
#define EXIT_2    (EXITCTL | (uint32_t)EXIT_SECONDARY)
#define AREA      PAGE(12)

static struct vmcs_view new_view;

/* This CPU has the third level, and leaves the rest of `make` as it is. */
static void make_newer(enum mode mode)
{
	make(mode);
	caps.proc |= (uint64_t)PROC_TERTIARY << 32;
	caps.exit |= (uint64_t)EXIT_SECONDARY << 32;
	caps.proc3 = PROC3_ALL;
	caps.exit2 = EXIT2_ONE;
	new_view = view;
}

static void check_case(const struct broken_case *x, bool holds)
{
	struct vmx_broken b = { .rule = NULL };

	make_newer(x->mode);
	fill_memory();
	for (size_t k = 0; k < SETS_MAX; k++)
		if (x->sets[k].field || x->sets[k].value)
			set(x->sets[k].field, x->sets[k].value);
	if (vmx_check(&new_view, &b) != holds)
		fail_msg("field %04x: %s", x->field, b.rule ? b.rule : "nothing was found");
	if (holds)
		return;
	assert_int_equal(b.field, x->field);
	assert_string_equal(b.section, x->section);
}

static void controls(void **state)
{
	const struct broken_case broken[] = {
		{ REAL, CONTROLS, F(PROC3_CTL), WITH({ F(PROC_CTL), PROC_3 }, { F(PROC3_CTL), BIT(40) }) },
		{ REAL, CONTROLS, F(PROC3_CTL), WITH({ F(PROC_CTL), PROC | PROC_TERTIARY }, { F(PROC3_CTL), PROC3_IPI }) },
		{ REAL, CONTROLS, F(PROC3_CTL), WITH({ F(PROC_CTL), PROC_3 }, { F(PROC2_CTL), 0 }, { F(PROC3_CTL), PROC3_HLAT }) },
		{ REAL, CONTROLS, F(PROC3_CTL), WITH({ F(PROC_CTL), PROC_3 }, { F(PROC2_CTL), 0 }, { F(PROC3_CTL), PROC3_PAGING_VERIFY }) },
		{ REAL, CONTROLS, F(HLAT_POINTER), WITH({ F(PROC_CTL), PROC_3 }, { F(PROC3_CTL), PROC3_HLAT }, { F(HLAT_POINTER), BIT(5) }) },
		{ REAL, CONTROLS, F(HLAT_POINTER), WITH({ F(PROC_CTL), PROC_3 }, { F(PROC3_CTL), PROC3_HLAT }, { F(HLAT_POINTER), HIGH }) },
		{ REAL, CONTROLS, F(PID_TABLE), WITH({ F(PROC_CTL), PROC_3 }, { F(PROC3_CTL), PROC3_IPI }, { F(PID_TABLE), 4 }) },
		{ REAL, CONTROLS, F(LAST_PID_INDEX), WITH({ F(PROC_CTL), PROC_3 }, { F(PROC3_CTL), PROC3_IPI }, { F(PID_TABLE), BIT(40) - 8 },
			{ F(LAST_PID_INDEX), 1 }) },
		{ REAL, CONTROLS, F(VMFUNC_CTL), WITH({ F(PROC2_CTL), PROC2_VMFUNC | PROC2_EPT }, { F(VMFUNC_CTL), 2 }) },
		{ REAL, CONTROLS, F(PASID_LOW), WITH({ F(PROC2_CTL), PROC2_PASID }, { F(PASID_LOW), 8 }) },
		{ REAL, CONTROLS, F(PASID_HIGH), WITH({ F(PROC2_CTL), PROC2_PASID }, { F(PASID_HIGH), HIGH }) },
		{ REAL, EXITS, F(EXIT2_CTL), WITH({ F(EXIT_CTL), EXIT_2 }, { F(EXIT2_CTL), EXIT2_ONE | 1 }) },
	};
	const struct broken_case fine[] = {
		{ REAL, NULL, 0, WITH({ F(PROC_CTL), PROC_3 }, { F(PROC3_CTL), PROC3_ALL }, { F(HLAT_POINTER), PAGE(3) | 0x18 }) },
		{ REAL, NULL, 0, WITH({ F(PROC_CTL), PROC_3 }, { F(PROC3_CTL), PROC3_IPI }, { F(PID_TABLE), BIT(40) - 8 }) },
		{ REAL, NULL, 0, WITH({ F(PROC3_CTL), ~0ull }, { F(EXIT2_CTL), ~0ull }, { F(VMFUNC_CTL), ~0ull }) }, /* not activated */
		{ REAL, NULL, 0, WITH({ F(EXIT_CTL), EXIT_2 }, { F(EXIT2_CTL), EXIT2_ONE }) },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(broken); i++)
		check_case(&broken[i], false);
	for (size_t i = 0; i < ARRAY_SIZE(fine); i++)
		check_case(&fine[i], true);
}

static void linear_address_masking(void **state)
{
	struct vmx_broken b;

	(void)state;
	make_newer(LONG);
	SET(VMCS_GUEST_CR3, PAGE(1) | 3ull << 61);
	SET(VMCS_HOST_CR3, PAGE(1) | 1ull << 61);
	new_view.lam = true;
	assert_true(vmx_check(&new_view, &b));
	SET(VMCS_GUEST_CR3, PAGE(1) | 1ull << 63);
	assert_false(vmx_check(&new_view, &b));
	assert_int_equal(b.field, VMCS_GUEST_CR3.enc);
	SET(VMCS_GUEST_CR3, PAGE(1) | 3ull << 61);
	new_view.lam = false;
	assert_false(vmx_check(&new_view, &b));
	assert_int_equal(b.field, VMCS_HOST_CR3.enc);
}

static void enclave_interruption(void **state)
{
	struct vmx_broken b;

	(void)state;
	make_newer(LONG);
	SET(VMCS_GUEST_INTERRUPTIBILITY, BLOCK_ENCLAVE);
	assert_false(vmx_check(&new_view, &b));
	assert_int_equal(b.field, VMCS_GUEST_INTERRUPTIBILITY.enc);
	new_view.sgx = true;
	assert_true(vmx_check(&new_view, &b));
	SET(VMCS_GUEST_INTERRUPTIBILITY, BLOCK_ENCLAVE | BLOCK_MOV_SS);
	assert_false(vmx_check(&new_view, &b));
}

static void transactional_debugging(void **state)
{
	struct vmx_broken b;

	(void)state;
	make_newer(LONG);
	SET(VMCS_GUEST_PENDING_DEBUG, BIT(16) | BIT(12));
	new_view.rtm = false;
	assert_false(vmx_check(&new_view, &b));
	assert_int_equal(b.field, VMCS_GUEST_PENDING_DEBUG.enc);
	new_view.rtm = true;
	assert_true(vmx_check(&new_view, &b));
	SET(VMCS_GUEST_INTERRUPTIBILITY, BLOCK_MOV_SS);
	assert_false(vmx_check(&new_view, &b));
}

static void nested_exceptions(void **state)
{
	struct vmx_broken b;

	(void)state;
	make_newer(LONG);
	SET(VMCS_ENTRY_INTR_INFO, EVENT(INTR_TYPE_HW, VEC_UD) | BIT(13));
	assert_false(vmx_check(&new_view, &b));
	caps.nested_exception = true;
	assert_true(vmx_check(&new_view, &b));
	SET(VMCS_ENTRY_INTR_INFO, EVENT(INTR_TYPE_NMI, VEC_NMI) | BIT(13));
	assert_false(vmx_check(&new_view, &b));
	SET(VMCS_ENTRY_INTR_INFO, EVENT(INTR_TYPE_HW, VEC_UD) | BIT(14));
	assert_false(vmx_check(&new_view, &b));
}

static void entry_msr(unsigned n, uint64_t head, uint64_t value)
{
	memcpy(vmcs.memory + AREA + (n - 1) * 16, &head, sizeof(head));
	memcpy(vmcs.memory + AREA + (n - 1) * 16 + 8, &value, sizeof(value));
}

static void msr_loads(void **state)
{
	static const struct { uint64_t head; bool holds; } cases[] = {
		{ MSR_IA32_FS_BASE, false }, { MSR_IA32_GS_BASE, false }, { MSR_IA32_KERNEL_GS_BASE, true },
		{ 0x800, false }, { 0x8ff, false }, { 0x7ff, true }, { 0x900, true }, { 0x9b, false }, { 0x9e, false },
		{ MSR_IA32_BIOS_UPDT_TRIG, false }, { MSR_IA32_BIOS_SIGN_ID, false },
		{ MSR_IA32_SPEC_CTRL, true }, { MSR_IA32_SPEC_CTRL | BIT(32), false },
	};
	struct vmx_broken b;

	(void)state;
	make_newer(LONG);
	SET(VMCS_ENTRY_MSR_LOAD, AREA);
	SET(VMCS_ENTRY_MSR_LOAD_COUNT, 2);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		entry_msr(1, MSR_IA32_SPEC_CTRL, 1);
		entry_msr(2, cases[i].head, 0x1234);
		assert_true(vmx_check_msr_load(&new_view, 1, &b));
		assert_true(vmx_check_msr_load(&new_view, 2, &b) == cases[i].holds);
		if (cases[i].holds)
			continue;
		assert_int_equal(b.field, (uint32_t)cases[i].head);
		assert_int_equal(b.value, 0x1234);
		assert_string_equal(b.section, "Loading MSRs");
	}
	/* What the CPU cannot have meant, and what cannot be read. */
	assert_true(vmx_check_msr_load(&new_view, 0, &b));
	assert_true(vmx_check_msr_load(&new_view, 3, &b));
	assert_true(vmx_check_msr_load(&new_view, ~0ull, &b));
	SET(VMCS_ENTRY_MSR_LOAD, HIGH);
	assert_true(vmx_check_msr_load(&new_view, 2, &b));
	new_view.read_mem = NULL;
	assert_true(vmx_check_msr_load(&new_view, 2, &b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(controls), cmocka_unit_test(linear_address_masking), cmocka_unit_test(enclave_interruption),
		cmocka_unit_test(transactional_debugging), cmocka_unit_test(nested_exceptions), cmocka_unit_test(msr_loads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
