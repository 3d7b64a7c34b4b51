/* The VMCS checker: states of every mode that obey the manual pass, and one broken field is found, with its section. */
#include "tests/unit/vmcs_fake.h"

static void valid_states(void **state)
{
	(void)state;
	for (enum mode m = 0; m < NMODES; m++) {
		make(m);
		assert_valid();
	}
}

static void assert_broken(const struct broken_case *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct vmx_broken b = { .rule = NULL };

		make(cases[i].mode);
		fill_memory();
		assert_valid();
		for (size_t k = 0; k < SETS_MAX; k++)
			if (cases[i].sets[k].field || cases[i].sets[k].value || (!k && cases[i].field == VMCS_VPID.enc))
				set(cases[i].sets[k].field, cases[i].sets[k].value);
		if (vmx_check(&view, &b))
			fail_msg("case %zu: field %04x was not found", i, cases[i].field);
		if (strcmp(b.section, cases[i].section) || b.field != cases[i].field)
			fail_msg("case %zu: field %04x expected, but: %s (%s), field %04x value %llx", i, cases[i].field, b.rule,
				 b.section, b.field, (unsigned long long)b.value);
		assert_true(b.rule[0]);
		assert_true(b.value == read_field(&vmcs, b.field));
	}
}

static void broken_controls(void **state)
{
	const struct broken_case cases[] = {
		{ REAL, CONTROLS, F(PIN_CTL), WITH({ F(PIN_CTL), 0 }) },
		{ REAL, CONTROLS, F(PIN_CTL), WITH({ F(PIN_CTL), PIN | BIT(20) }) },
		{ REAL, CONTROLS, F(PROC_CTL), WITH({ F(PROC_CTL), BIT(31) }) },
		{ REAL, CONTROLS, F(PROC2_CTL), WITH({ F(PROC2_CTL), BIT(27) }) },
		{ REAL, CONTROLS, F(CR3_TARGET_COUNT), WITH({ F(CR3_TARGET_COUNT), 5 }) },
		{ REAL, CONTROLS, F(IO_BITMAP_A), WITH({ F(IO_BITMAP_A), 0x800 }) },
		{ REAL, CONTROLS, F(IO_BITMAP_B), WITH({ F(IO_BITMAP_B), HIGH }) },
		{ REAL, CONTROLS, F(MSR_BITMAP), WITH({ F(MSR_BITMAP), 1 }) },
		{ REAL, CONTROLS, F(VIRTUAL_APIC), WITH({ F(VIRTUAL_APIC), 0x10 }) },
		{ REAL, CONTROLS, F(TPR_THRESHOLD), WITH({ F(TPR_THRESHOLD), 0x10 }) },
		{ REAL, CONTROLS, F(TPR_THRESHOLD), WITH({ F(TPR_THRESHOLD), 1 }) }, /* VTPR is 0 */
		{ REAL, CONTROLS, F(TPR_THRESHOLD), WITH({ F(PROC2_CTL), PROC2_APIC_ACCESS }, { F(TPR_THRESHOLD), 0x10 }) },
		{ REAL, CONTROLS, F(PIN_CTL), WITH({ F(PIN_CTL), PIN | PIN_VIRTUAL_NMI }) },
		{ REAL, CONTROLS, F(PROC_CTL), WITH({ F(PIN_CTL), PIN }, { F(PROC_CTL), PROC | PROC_NMI_WINDOW }) },
		{ REAL, CONTROLS, F(APIC_ACCESS), WITH({ F(PROC2_CTL), PROC2_APIC_ACCESS }, { F(APIC_ACCESS), 4 }) },
		{ REAL, CONTROLS, F(PROC2_CTL), WITH({ F(PROC_CTL), PROC }, { F(PROC2_CTL), PROC2_X2APIC }) },
		{ REAL, CONTROLS, F(PROC2_CTL), WITH({ F(PROC_CTL), PROC }, { F(PROC2_CTL), PROC2_APIC_REGISTERS }) },
		{ REAL, CONTROLS, F(PROC2_CTL), WITH({ F(PROC2_CTL), PROC2_X2APIC | PROC2_APIC_ACCESS }) },
		{ REAL, CONTROLS, F(PROC2_CTL), WITH({ F(PIN_CTL), PIN }, { F(PROC2_CTL), PROC2_VIRTUAL_INTR }) },
		{ REAL, CONTROLS, F(PIN_CTL), WITH({ F(PIN_CTL), PIN | PIN_EXTINT_EXIT | PIN_POSTED_INTR }) },
		{ REAL, CONTROLS, F(POSTED_INTR_VECTOR), WITH({ F(PIN_CTL), PIN | PIN_EXTINT_EXIT | PIN_POSTED_INTR },
			{ F(PROC2_CTL), PROC2_VIRTUAL_INTR }, { F(POSTED_INTR_VECTOR), 0x100 }) },
		{ REAL, CONTROLS, F(POSTED_INTR_DESC), WITH({ F(PIN_CTL), PIN | PIN_EXTINT_EXIT | PIN_POSTED_INTR },
			{ F(PROC2_CTL), PROC2_VIRTUAL_INTR }, { F(POSTED_INTR_DESC), 0x20 }) },
		{ REAL, CONTROLS, F(PIN_CTL), WITH({ F(PIN_CTL), PIN | PIN_EXTINT_EXIT | PIN_POSTED_INTR },
			{ F(PROC2_CTL), PROC2_VIRTUAL_INTR }, { F(EXIT_CTL), EXITCTL }) },
		{ REAL, CONTROLS, F(VPID), WITH({ F(VPID), 0 }) },
		{ REAL, CONTROLS, F(EPT_POINTER), WITH({ F(EPT_POINTER), 3 << 3 | MT_WT }) },
		{ REAL, CONTROLS, F(EPT_POINTER), WITH({ F(EPT_POINTER), 3 << 3 | MT_UC }) }, /* this CPU only takes WB */
		{ REAL, CONTROLS, F(EPT_POINTER), WITH({ F(EPT_POINTER), 2 << 3 | MT_WB }) },
		{ REAL, CONTROLS, F(EPT_POINTER), WITH({ F(EPT_POINTER), 4 << 3 | MT_WB }) },
		{ REAL, CONTROLS, F(EPT_POINTER), WITH({ F(EPT_POINTER), 3 << 3 | MT_WB | BIT(7) }) },
		{ REAL, CONTROLS, F(EPT_POINTER), WITH({ F(EPT_POINTER), 3 << 3 | MT_WB | BIT(11) }) },
		{ REAL, CONTROLS, F(EPT_POINTER), WITH({ F(EPT_POINTER), 3 << 3 | MT_WB | HIGH }) },
		{ REAL, CONTROLS, F(PROC2_CTL), WITH({ F(PROC2_CTL), PROC2_PML }) },
		{ REAL, CONTROLS, F(PML), WITH({ F(PROC2_CTL), PROC2_PML | PROC2_EPT }, { F(PML), 8 }) },
		{ REAL, CONTROLS, F(PROC2_CTL), WITH({ F(PROC2_CTL), PROC2_UNRESTRICTED }) },
		{ REAL, CONTROLS, F(PROC2_CTL), WITH({ F(PROC2_CTL), PROC2_MODE_BASED }) },
		{ REAL, CONTROLS, F(PROC2_CTL), WITH({ F(PROC2_CTL), PROC2_SPP }) },
		{ REAL, CONTROLS, F(SPP_TABLE), WITH({ F(PROC2_CTL), PROC2_SPP | PROC2_EPT }, { F(SPP_TABLE), 1 }) },
		{ REAL, CONTROLS, F(VMFUNC_CTL), WITH({ F(PROC2_CTL), PROC2_VMFUNC }, { F(VMFUNC_CTL), 1 }) },
		{ REAL, CONTROLS, F(EPTP_LIST), WITH({ F(PROC2_CTL), PROC2_VMFUNC | PROC2_EPT }, { F(VMFUNC_CTL), 1 }, { F(EPTP_LIST), 1 }) },
		{ REAL, CONTROLS, F(VMREAD_BITMAP), WITH({ F(PROC2_CTL), PROC2_SHADOWING }, { F(VMREAD_BITMAP), 1 }) },
		{ REAL, CONTROLS, F(VMWRITE_BITMAP), WITH({ F(PROC2_CTL), PROC2_SHADOWING }, { F(VMWRITE_BITMAP), HIGH }) },
		{ REAL, CONTROLS, F(VE_INFO), WITH({ F(PROC2_CTL), PROC2_VE }, { F(VE_INFO), 1 }) },
		{ REAL, CONTROLS, F(TSC_MULTIPLIER), WITH({ F(PROC2_CTL), PROC2_TSC_SCALING }) },
		{ REAL, CONTROLS, F(PROC2_CTL), WITH({ F(PROC2_CTL), PROC2_PT_GPA | PROC2_EPT }) },
		{ REAL, EXITS, F(EXIT_CTL), WITH({ F(EXIT_CTL), 0 }) },
		{ REAL, EXITS, F(EXIT_CTL), WITH({ F(EXIT_CTL), EXITCTL | EXIT_SAVE_PREEMPTION }) },
		{ REAL, EXITS, F(EXIT_MSR_STORE), WITH({ F(EXIT_MSR_STORE_COUNT), 1 }, { F(EXIT_MSR_STORE), 8 }) },
		{ REAL, EXITS, F(EXIT_MSR_LOAD), WITH({ F(EXIT_MSR_LOAD_COUNT), 2 }, { F(EXIT_MSR_LOAD), BIT(40) - 16 }) },
		{ REAL, ENTRIES, F(ENTRY_CTL), WITH({ F(ENTRY_CTL), 0 }) },
		{ REAL, ENTRIES, F(ENTRY_INTR_INFO), WITH({ F(ENTRY_INTR_INFO), EVENT(0x100, 0) }) },
		{ REAL, ENTRIES, F(ENTRY_INTR_INFO), WITH({ F(ENTRY_INTR_INFO), EVENT(INTR_TYPE_NMI, 3) }) },
		{ REAL, ENTRIES, F(ENTRY_INTR_INFO), WITH({ F(ENTRY_INTR_INFO), EVENT(INTR_TYPE_HW, 32) }) },
		{ REAL, ENTRIES, F(ENTRY_INTR_INFO), WITH({ F(ENTRY_INTR_INFO), EVENT(INTR_TYPE_OTHER, 1) }) },
		{ REAL, ENTRIES, F(ENTRY_INTR_INFO), WITH({ F(ENTRY_INTR_INFO), EVENT(INTR_TYPE_HW, VEC_GP) | INTR_ERROR_CODE }) },
		{ LONG, ENTRIES, F(ENTRY_INTR_INFO), WITH({ F(ENTRY_INTR_INFO), EVENT(INTR_TYPE_HW, VEC_GP) }) },
		{ LONG, ENTRIES, F(ENTRY_INTR_INFO), WITH({ F(ENTRY_INTR_INFO), EVENT(INTR_TYPE_HW, VEC_UD) | INTR_ERROR_CODE }) },
		{ LONG, ENTRIES, F(ENTRY_INTR_INFO), WITH({ F(ENTRY_INTR_INFO), EVENT(INTR_TYPE_EXT, VEC_GP) | INTR_ERROR_CODE }) },
		{ LONG, ENTRIES, F(ENTRY_INTR_INFO), WITH({ F(ENTRY_INTR_INFO), EVENT(INTR_TYPE_HW, VEC_UD) | BIT(12) }) },
		{ LONG, ENTRIES, F(ENTRY_ERROR_CODE), WITH({ F(ENTRY_INTR_INFO), EVENT(INTR_TYPE_HW, VEC_GP) | INTR_ERROR_CODE },
			{ F(ENTRY_ERROR_CODE), 0x10000 }) },
		{ LONG, ENTRIES, F(ENTRY_INSN_LEN), WITH({ F(ENTRY_INTR_INFO), EVENT(INTR_TYPE_SW, 0x80) }, { F(ENTRY_INSN_LEN), 16 }) },
		{ LONG, ENTRIES, F(ENTRY_INSN_LEN), WITH({ F(ENTRY_INTR_INFO), EVENT(INTR_TYPE_SWEXC, 3) }) },
		{ REAL, ENTRIES, F(ENTRY_MSR_LOAD), WITH({ F(ENTRY_MSR_LOAD_COUNT), 1 }, { F(ENTRY_MSR_LOAD), HIGH }) },
		{ REAL, ENTRIES, F(ENTRY_CTL), WITH({ F(ENTRY_CTL), ENTRYCTL | ENTRY_TO_SMM }) },
	};

	(void)state;
	assert_broken(cases, ARRAY_SIZE(cases));
}

static void broken_host(void **state)
{
	const struct broken_case cases[] = {
		{ LONG, HOST, F(HOST_CR0), WITH({ F(HOST_CR0), CR0_PE | CR0_PG }) },
		{ LONG, HOST, F(HOST_CR0), WITH({ F(HOST_CR0), CR0_PE | CR0_PG | CR0_NE | BIT(32) }) },
		{ LONG, HOST, F(HOST_CR4), WITH({ F(HOST_CR4), CR4_PAE }) },
		{ LONG, HOST, F(HOST_CR4), WITH({ F(HOST_CR4), CR4_PAE | CR4_VMXE | CR4_CET }, { F(HOST_CR0), CR0_PE | CR0_PG | CR0_NE }) },
		{ LONG, HOST, F(HOST_CR3), WITH({ F(HOST_CR3), HIGH }) },
		{ LONG, HOST, F(HOST_SYSENTER_ESP), WITH({ F(HOST_SYSENTER_ESP), NONCANON }) },
		{ LONG, HOST, F(HOST_SYSENTER_EIP), WITH({ F(HOST_SYSENTER_EIP), BIT(63) }) },
		{ LONG, HOST, F(HOST_PAT), WITH({ F(HOST_PAT), 3ull << 56 }) },
		{ LONG, HOST, F(HOST_EFER), WITH({ F(HOST_EFER), EFER_LME | EFER_LMA | BIT(1) }) },
		{ LONG, HOST, F(HOST_EFER), WITH({ F(HOST_EFER), EFER_LME }) },
		{ LONG, HOST, F(HOST_S_CET), WITH({ F(EXIT_CTL), EXITCTL | EXIT_LOAD_CET }, { F(HOST_S_CET), BIT(6) }) },
		{ LONG, HOST, F(HOST_SSP), WITH({ F(EXIT_CTL), EXITCTL | EXIT_LOAD_CET }, { F(HOST_SSP), 2 }) },
		{ LONG, HOST, F(HOST_SSP_TABLE), WITH({ F(EXIT_CTL), EXITCTL | EXIT_LOAD_CET }, { F(HOST_SSP_TABLE), NONCANON }) },
		{ LONG, HOST, F(HOST_PKRS), WITH({ F(EXIT_CTL), EXITCTL | EXIT_LOAD_PKRS }, { F(HOST_PKRS), BIT(32) }) },
		{ LONG, HOST_SEG, F(HOST_SS_SEL), WITH({ F(HOST_SS_SEL), 3 }) },
		{ LONG, HOST_SEG, F(HOST_TR_SEL), WITH({ F(HOST_TR_SEL), 0x2c }) },
		{ LONG, HOST_SEG, F(HOST_TR_SEL), WITH({ F(HOST_TR_SEL), 0 }) },
		{ LONG, HOST_SEG, F(HOST_CS_SEL), WITH({ F(HOST_CS_SEL), 0 }) },
		{ LONG, HOST_SEG, F(HOST_SS_SEL), WITH({ F(EXIT_CTL), 0x36dfb }) },
		{ LONG, HOST_SEG, F(HOST_FS_BASE), WITH({ F(HOST_FS_BASE), NONCANON }) },
		{ LONG, HOST_SEG, F(HOST_IDTR_BASE), WITH({ F(HOST_IDTR_BASE), NONCANON }) },
		{ LONG, HOST_SEG, F(HOST_TR_BASE), WITH({ F(HOST_TR_BASE), 0xffff000000000000 }) },
		{ LONG, SIZE, F(EXIT_CTL), WITH({ F(EXIT_CTL), 0x36dfb & ~EXIT_HOST_64 }, { F(HOST_SS_SEL), 16 }) },
		{ LONG, SIZE, F(HOST_CR4), WITH({ F(HOST_CR4), CR4_VMXE }) },
		{ LONG, SIZE, F(HOST_RIP), WITH({ F(HOST_RIP), NONCANON }) },
	};

	(void)state;
	assert_broken(cases, ARRAY_SIZE(cases));
}

#define LONG_CTL (ENTRYCTL | ENTRY_IA32E)
static void broken_registers(void **state)
{
	const struct broken_case cases[] = {
		{ PROTECTED, GUEST, F(GUEST_CR0), WITH({ F(GUEST_CR0), CR0_PE }) },
		{ PROTECTED, GUEST, F(GUEST_CR0), WITH({ F(GUEST_CR0), CR0_PE | CR0_NE | BIT(40) }) },
		{ PROTECTED, GUEST, F(GUEST_CR0), WITH({ F(GUEST_CR0), CR0_NE | CR0_PG }) },
		{ OLD, GUEST, F(GUEST_CR0), WITH({ F(GUEST_CR0), CR0_NE | CR0_PE }) }, /* paging must be on */
		{ PROTECTED, GUEST, F(GUEST_CR4), WITH({ F(GUEST_CR4), 0 }) },
		{ PROTECTED, GUEST, F(GUEST_CR4), WITH({ F(GUEST_CR4), CR4_VMXE | BIT(15) }) },
		{ PROTECTED, GUEST, F(GUEST_CR4), WITH({ F(GUEST_CR4), CR4_VMXE | CR4_CET }) },
		{ PROTECTED, GUEST, F(GUEST_DEBUGCTL), WITH({ F(GUEST_DEBUGCTL), BIT(4) }) },
		{ LONG, GUEST, F(GUEST_CR0), WITH({ F(GUEST_CR0), CR0_PE | CR0_NE }) },
		{ LONG, GUEST, F(GUEST_CR4), WITH({ F(GUEST_CR4), CR4_VMXE }) },
		{ PAE, GUEST, F(GUEST_CR4), WITH({ F(GUEST_CR4), CR4_VMXE | CR4_PAE | CR4_PCIDE }) },
		{ LONG, GUEST, F(GUEST_CR3), WITH({ F(GUEST_CR3), BIT(40) }) },
		{ LONG, GUEST, F(GUEST_DR7), WITH({ F(GUEST_DR7), BIT(32) }) },
		{ LONG, GUEST, F(GUEST_SYSENTER_ESP), WITH({ F(GUEST_SYSENTER_ESP), NONCANON }) },
		{ LONG, GUEST, F(GUEST_SYSENTER_EIP), WITH({ F(GUEST_SYSENTER_EIP), NONCANON }) },
		{ LONG, GUEST, F(GUEST_PAT), WITH({ F(GUEST_PAT), 8 }) },
		{ LONG, GUEST, F(GUEST_EFER), WITH({ F(GUEST_EFER), EFER_LME | EFER_LMA | BIT(9) }) },
		{ LONG, GUEST, F(GUEST_EFER), WITH({ F(GUEST_EFER), 0 }) },
		{ LONG, GUEST, F(GUEST_EFER), WITH({ F(GUEST_EFER), EFER_LMA }) },
		{ PROTECTED, GUEST, F(GUEST_EFER), WITH({ F(GUEST_EFER), EFER_LMA }) },
		{ PAE, GUEST, F(GUEST_EFER), WITH({ F(GUEST_EFER), EFER_LME }) },
		{ LONG, GUEST, F(GUEST_BNDCFGS), WITH({ F(ENTRY_CTL), LONG_CTL | ENTRY_LOAD_BNDCFGS }, { F(GUEST_BNDCFGS), 4 }) },
		{ LONG, GUEST, F(GUEST_S_CET), WITH({ F(ENTRY_CTL), LONG_CTL | ENTRY_LOAD_CET }, { F(GUEST_S_CET), 3 << 10 }) },
		{ LONG, GUEST, F(GUEST_SSP_TABLE), WITH({ F(ENTRY_CTL), LONG_CTL | ENTRY_LOAD_CET }, { F(GUEST_SSP_TABLE), NONCANON }) },
		{ LONG, GUEST, F(GUEST_SSP), WITH({ F(ENTRY_CTL), LONG_CTL | ENTRY_LOAD_CET }, { F(GUEST_SSP), 2 }) },
		{ LONG, GUEST, F(GUEST_PKRS), WITH({ F(ENTRY_CTL), LONG_CTL | ENTRY_LOAD_PKRS }, { F(GUEST_PKRS), BIT(63) }) },
		{ LONG, GUEST, F(GUEST_UINV), WITH({ F(ENTRY_CTL), LONG_CTL | ENTRY_LOAD_UINV }, { F(GUEST_UINV), 0x100 }) },
		{ LONG, TABLES, F(GUEST_GDTR_BASE), WITH({ F(GUEST_GDTR_BASE), NONCANON }) },
		{ REAL, TABLES, F(GUEST_IDTR_BASE), WITH({ F(GUEST_IDTR_BASE), NONCANON }) },
		{ LONG, TABLES, F(GUEST_GDTR_LIMIT), WITH({ F(GUEST_GDTR_LIMIT), 0x10000 }) },
		{ LONG, TABLES, F(GUEST_IDTR_LIMIT), WITH({ F(GUEST_IDTR_LIMIT), ~0u }) },
		{ PROTECTED, FLAGS, F(GUEST_RIP), WITH({ F(GUEST_RIP), BIT(32) }) },
		{ COMPAT, FLAGS, F(GUEST_RIP), WITH({ F(GUEST_RIP), BIT(32) }) },
		{ LONG, FLAGS, F(GUEST_RIP), WITH({ F(GUEST_RIP), BIT(48) }) },
		{ LONG, FLAGS, F(GUEST_RFLAGS), WITH({ F(GUEST_RFLAGS), 2 | BIT(3) }) },
		{ LONG, FLAGS, F(GUEST_RFLAGS), WITH({ F(GUEST_RFLAGS), 2 | BIT(22) }) },
		{ LONG, FLAGS, F(GUEST_RFLAGS), WITH({ F(GUEST_RFLAGS), 0 }) },
		{ V8086, FLAGS, F(GUEST_RFLAGS), WITH({ F(ENTRY_CTL), LONG_CTL }, { F(GUEST_CR4), CR4_VMXE | CR4_PAE }) },
		{ V8086, FLAGS, F(GUEST_RFLAGS), WITH({ F(GUEST_CR0), CR0_NE }) },
		{ LONG, FLAGS, F(GUEST_RFLAGS), WITH({ F(ENTRY_INTR_INFO), EVENT(INTR_TYPE_EXT, 0x30) }) },
	};

	(void)state;
	assert_broken(cases, ARRAY_SIZE(cases));
}

static void broken_segments(void **state)
{
	const struct broken_case cases[] = {
		{ LONG, SEGMENTS, SEGF(SEL, TR), WITH({ SEGF(SEL, TR), 0x2c }) },
		{ PROTECTED, SEGMENTS, SEGF(SEL, LDTR), WITH({ SEGF(AR, LDTR), 0x82 }, { SEGF(SEL, LDTR), 4 }) },
		{ OLD, SEGMENTS, SEGF(SEL, SS), WITH({ SEGF(SEL, SS), 0x13 }) },
		{ V8086, SEGMENTS, SEGF(BASE, GS), WITH({ SEGF(BASE, GS), 0 }) },
		{ V8086, SEGMENTS, SEGF(LIMIT, ES), WITH({ SEGF(LIMIT, ES), 0xfffff }) },
		{ V8086, SEGMENTS, SEGF(AR, CS), WITH({ SEGF(AR, CS), 0xfb }) },
		{ V8086, SEGMENTS, SEGF(AR, TR), WITH({ SEGF(AR, TR), 0x89 }) },
		{ LONG, SEGMENTS, SEGF(BASE, TR), WITH({ SEGF(BASE, TR), NONCANON }) },
		{ LONG, SEGMENTS, SEGF(BASE, FS), WITH({ SEGF(BASE, FS), NONCANON }) },
		{ LONG, SEGMENTS, SEGF(BASE, GS), WITH({ SEGF(BASE, GS), NONCANON }, { SEGF(AR, GS), AR_UNUSABLE }) },
		{ LONG, SEGMENTS, SEGF(BASE, CS), WITH({ SEGF(BASE, CS), BIT(32) }) },
		{ LONG, SEGMENTS, SEGF(BASE, DS), WITH({ SEGF(BASE, DS), BIT(32) }) },
		{ LONG, SEGMENTS, SEGF(AR, CS), WITH({ SEGF(AR, CS), 0xa09a }) },
		{ OLD, SEGMENTS, SEGF(AR, CS), WITH({ SEGF(AR, CS), 0xc093 }) }, /* data: only for an unrestricted guest */
		{ PROTECTED, SEGMENTS, SEGF(AR, SS), WITH({ SEGF(AR, SS), 0xc09b }) },
		{ PROTECTED, SEGMENTS, SEGF(AR, DS), WITH({ SEGF(AR, DS), 0xc092 }) },
		{ PROTECTED, SEGMENTS, SEGF(AR, ES), WITH({ SEGF(AR, ES), 0xc099 }) },
		{ PROTECTED, SEGMENTS, SEGF(AR, FS), WITH({ SEGF(AR, FS), 0xc083 }) },
		{ PROTECTED, SEGMENTS, SEGF(AR, CS), WITH({ SEGF(AR, CS), 0xc08b }) },
		{ PROTECTED, SEGMENTS, SEGF(AR, CS), WITH({ SEGF(AR, CS), 0xc0fb }) }, /* DPL 3 over an SS of DPL 0 */
		{ PROTECTED, SEGMENTS, SEGF(AR, CS), WITH({ SEGF(AR, CS), 0xc0bf }) }, /* conforming, above SS */
		{ REAL, SEGMENTS, SEGF(AR, CS), WITH({ SEGF(AR, CS), 0xf3 }, { SEGF(AR, SS), 0xf3 }) },
		{ OLD, SEGMENTS, SEGF(AR, SS), WITH({ SEGF(AR, SS), 0xc0f3 }, { SEGF(AR, CS), 0xc0fb }) }, /* RPL 0 */
		{ REAL, SEGMENTS, SEGF(AR, SS), WITH({ SEGF(AR, SS), 0xf3 }, { SEGF(AR, CS), 0xfb }) },
		{ OLD, SEGMENTS, SEGF(AR, DS), WITH({ SEGF(SEL, DS), 0x13 }) },
		{ PROTECTED, SEGMENTS, SEGF(AR, CS), WITH({ SEGF(AR, CS), 0xc01b }) },
		{ PROTECTED, SEGMENTS, SEGF(AR, GS), WITH({ SEGF(AR, GS), 0xc013 }) },
		{ PROTECTED, SEGMENTS, SEGF(AR, DS), WITH({ SEGF(AR, DS), 0xc193 }) },
		{ PROTECTED, SEGMENTS, SEGF(AR, SS), WITH({ SEGF(AR, SS), 0x2c093 }) },
		{ LONG, SEGMENTS, SEGF(AR, CS), WITH({ SEGF(AR, CS), 0xe09b }) },
		{ PROTECTED, SEGMENTS, SEGF(AR, DS), WITH({ SEGF(LIMIT, DS), 0xffffe }) },
		{ PROTECTED, SEGMENTS, SEGF(AR, ES), WITH({ SEGF(AR, ES), 0x4093 }) },
		{ PROTECTED, SEGMENTS, SEGF(AR, TR), WITH({ SEGF(AR, TR), 0x89 }) },
		{ LONG, SEGMENTS, SEGF(AR, TR), WITH({ SEGF(AR, TR), 0x83 }) },
		{ PROTECTED, SEGMENTS, SEGF(AR, TR), WITH({ SEGF(AR, TR), 0x9b }) },
		{ PROTECTED, SEGMENTS, SEGF(AR, TR), WITH({ SEGF(AR, TR), 0x0b }) },
		{ PROTECTED, SEGMENTS, SEGF(AR, TR), WITH({ SEGF(AR, TR), 0x808b }) },
		{ PROTECTED, SEGMENTS, SEGF(AR, TR), WITH({ SEGF(AR, TR), 0x1008b }) },
		{ PROTECTED, SEGMENTS, SEGF(AR, LDTR), WITH({ SEGF(AR, LDTR), 0x83 }) },
		{ PROTECTED, SEGMENTS, SEGF(AR, LDTR), WITH({ SEGF(AR, LDTR), 0x92 }) },
		{ PROTECTED, SEGMENTS, SEGF(AR, LDTR), WITH({ SEGF(AR, LDTR), 0x02 }) },
		{ LONG, SEGMENTS, SEGF(BASE, LDTR), WITH({ SEGF(AR, LDTR), 0x82 }, { SEGF(BASE, LDTR), NONCANON }) },
	};

	(void)state;
	assert_broken(cases, ARRAY_SIZE(cases));
}

#define IF_SET (RFLAGS_RSV1 | RFLAGS_IF)
#define TF_SET (RFLAGS_RSV1 | RFLAGS_IF | RFLAGS_TF)
static void broken_others(void **state)
{
	const struct broken_case cases[] = {
		{ LONG, OTHER, F(GUEST_ACTIVITY), WITH({ F(GUEST_ACTIVITY), 4 }) },
		{ PROTECTED, OTHER, F(GUEST_ACTIVITY), WITH({ F(GUEST_ACTIVITY), ACTIVITY_HLT }, { SEGF(AR, SS), 0xc0f3 },
			{ SEGF(AR, CS), 0xc0fb }) },
		{ LONG, OTHER, F(GUEST_ACTIVITY), WITH({ F(GUEST_ACTIVITY), ACTIVITY_HLT }, { F(GUEST_INTERRUPTIBILITY), BLOCK_MOV_SS }) },
		{ LONG, OTHER, F(GUEST_ACTIVITY), WITH({ F(GUEST_ACTIVITY), ACTIVITY_HLT }, { F(ENTRY_INTR_INFO), EVENT(INTR_TYPE_HW, VEC_UD) }) },
		{ LONG, OTHER, F(GUEST_ACTIVITY), WITH({ F(GUEST_ACTIVITY), ACTIVITY_SHUTDOWN }, { F(GUEST_RFLAGS), IF_SET },
			{ F(ENTRY_INTR_INFO), EVENT(INTR_TYPE_EXT, 0x30) }) },
		{ LONG, OTHER, F(GUEST_ACTIVITY), WITH({ F(GUEST_ACTIVITY), ACTIVITY_WAIT_SIPI }, { F(ENTRY_INTR_INFO), EVENT(INTR_TYPE_NMI, 2) }) },
		{ LONG, OTHER, F(GUEST_INTERRUPTIBILITY), WITH({ F(GUEST_INTERRUPTIBILITY), BIT(5) }) },
		{ LONG, OTHER, F(GUEST_INTERRUPTIBILITY), WITH({ F(GUEST_INTERRUPTIBILITY), BLOCK_STI | BLOCK_MOV_SS }, { F(GUEST_RFLAGS), IF_SET }) },
		{ LONG, OTHER, F(GUEST_INTERRUPTIBILITY), WITH({ F(GUEST_INTERRUPTIBILITY), BLOCK_STI }) },
		{ LONG, OTHER, F(GUEST_INTERRUPTIBILITY), WITH({ F(GUEST_INTERRUPTIBILITY), BLOCK_STI }, { F(GUEST_RFLAGS), IF_SET },
			{ F(ENTRY_INTR_INFO), EVENT(INTR_TYPE_EXT, 0x30) }) },
		{ LONG, OTHER, F(GUEST_INTERRUPTIBILITY), WITH({ F(GUEST_INTERRUPTIBILITY), BLOCK_MOV_SS },
			{ F(ENTRY_INTR_INFO), EVENT(INTR_TYPE_NMI, 2) }) },
		{ LONG, OTHER, F(GUEST_INTERRUPTIBILITY), WITH({ F(GUEST_INTERRUPTIBILITY), BLOCK_NMI },
			{ F(ENTRY_INTR_INFO), EVENT(INTR_TYPE_NMI, 2) }) },
		{ LONG, OTHER, F(GUEST_INTERRUPTIBILITY), WITH({ F(GUEST_INTERRUPTIBILITY), BLOCK_SMI }) },
		{ LONG, OTHER, F(GUEST_INTERRUPTIBILITY), WITH({ F(GUEST_INTERRUPTIBILITY), BLOCK_ENCLAVE | BLOCK_MOV_SS }) },
		{ LONG, OTHER, F(GUEST_PENDING_DEBUG), WITH({ F(GUEST_PENDING_DEBUG), BIT(4) }) },
		{ LONG, OTHER, F(GUEST_PENDING_DEBUG), WITH({ F(GUEST_PENDING_DEBUG), BIT(17) }) },
		{ LONG, OTHER, F(GUEST_PENDING_DEBUG), WITH({ F(GUEST_INTERRUPTIBILITY), BLOCK_STI }, { F(GUEST_RFLAGS), TF_SET }) },
		{ LONG, OTHER, F(GUEST_PENDING_DEBUG), WITH({ F(GUEST_ACTIVITY), ACTIVITY_HLT }, { F(GUEST_PENDING_DEBUG), PENDING_DEBUG_BS }) },
		{ LONG, OTHER, F(GUEST_PENDING_DEBUG), WITH({ F(GUEST_PENDING_DEBUG), BIT(16) | 1 }) },
		{ LONG, OTHER, F(LINK_POINTER), WITH({ F(LINK_POINTER), 0x10 }) },
		{ LONG, OTHER, F(LINK_POINTER), WITH({ F(LINK_POINTER), HIGH }) },
		{ LONG, OTHER, F(LINK_POINTER), WITH({ F(LINK_POINTER), PAGE(10) }) }, /* its revision is 0 */
		{ LONG, OTHER, F(LINK_POINTER), WITH({ F(LINK_POINTER), VMCS_AT }) },
		{ PAE, PDPTES, F(GUEST_PDPTE0), WITH({ F(GUEST_PDPTE0), PAGE(1) | 3 }) },
		{ PAE, PDPTES, F(GUEST_PDPTE3), WITH({ F(GUEST_PDPTE3), HIGH | 1 }) },
		{ PAE, PDPTES, F(GUEST_PDPTE1), WITH({ F(GUEST_PDPTE1), 1 | BIT(8) }) },
		/* without EPT they are in memory: page 11 holds one that is bad */
		{ OLD, PDPTES, F(GUEST_CR3), WITH({ F(GUEST_CR4), CR4_VMXE | CR4_PAE }, { F(GUEST_CR3), PAGE(11) }) },
	};

	(void)state;
	assert_broken(cases, ARRAY_SIZE(cases));
}

/* What is looked at only if a control says so, and states at the edge of what is allowed. */
static void assert_still_valid(enum mode mode, const struct pair *sets, size_t n)
{
	make(mode);
	fill_memory();
	for (size_t i = 0; i < n; i++)
		set(sets[i].field, sets[i].value);
	assert_valid();
}
#define ALLOWED(mode, ...) \
	assert_still_valid(mode, (const struct pair[]){ __VA_ARGS__ }, sizeof((struct pair[]){ __VA_ARGS__ }) / sizeof(struct pair))

static void allowed(void **state)
{
	(void)state;
	ALLOWED(OLD, { F(PROC_CTL), PROC & ~BIT(31) }, { F(PROC2_CTL), ~0u }, { F(IO_BITMAP_A), 1 }, { F(MSR_BITMAP), 1 });
	ALLOWED(LONG, { F(GUEST_BNDCFGS), ~0ull }, { F(GUEST_S_CET), ~0ull }, { F(HOST_SSP), 1 }, { F(POSTED_INTR_VECTOR), 0xfff });
	ALLOWED(LONG, { F(ENTRY_CTL), LONG_CTL }, { F(GUEST_PAT), 2 }, { F(GUEST_EFER), ~0ull }, { F(GUEST_DR7), BIT(40) });
	ALLOWED(LONG, { F(GUEST_RIP), NONCANON }); /* bits 63:48 are identical */
	ALLOWED(LONG, { SEGF(AR, ES), AR_UNUSABLE }, { SEGF(AR, DS), AR_UNUSABLE }, { SEGF(BASE, DS), BIT(40) });
	ALLOWED(LONG, { SEGF(AR, SS), AR_UNUSABLE }, { SEGF(SEL, SS), 0 });
	ALLOWED(PROTECTED, { SEGF(AR, CS), 0xc09f });
	ALLOWED(PROTECTED, { SEGF(AR, SS), 0xc097 }, { SEGF(AR, ES), 0xc09b });
	ALLOWED(PROTECTED, { SEGF(AR, TR), 0x83 }, { SEGF(AR, LDTR), 0x82 });
	ALLOWED(PROTECTED, { SEGF(AR, CS), 0xc093 }); /* an unrestricted guest's CS after a switch from real mode */
	ALLOWED(PROTECTED, { SEGF(SEL, SS), 0x13 });
	ALLOWED(PROTECTED, { SEGF(LIMIT, DS), 0xfffff }, { SEGF(AR, DS), 0x4093 });
	ALLOWED(REAL, { F(ENTRY_INTR_INFO), EVENT(INTR_TYPE_HW, VEC_GP) });
	ALLOWED(LONG, { F(ENTRY_INTR_INFO), EVENT(INTR_TYPE_HW, VEC_PF) | INTR_ERROR_CODE }, { F(ENTRY_ERROR_CODE), 0x8001 });
	ALLOWED(LONG, { F(ENTRY_INTR_INFO), EVENT(INTR_TYPE_SW, 0x80) }, { F(ENTRY_INSN_LEN), 15 });
	ALLOWED(LONG, { F(ENTRY_INTR_INFO), EVENT(INTR_TYPE_EXT, 0xff) }, { F(GUEST_RFLAGS), IF_SET });
	ALLOWED(LONG, { F(ENTRY_INTR_INFO), ~INTR_VALID });
	ALLOWED(LONG, { F(GUEST_ACTIVITY), ACTIVITY_HLT }, { F(ENTRY_INTR_INFO), EVENT(INTR_TYPE_NMI, 2) });
	ALLOWED(LONG, { F(GUEST_ACTIVITY), ACTIVITY_SHUTDOWN }, { F(ENTRY_INTR_INFO), EVENT(INTR_TYPE_HW, VEC_MC) });
	ALLOWED(LONG, { F(GUEST_INTERRUPTIBILITY), BLOCK_STI }, { F(GUEST_RFLAGS), TF_SET },
		{ F(GUEST_PENDING_DEBUG), PENDING_DEBUG_BS });
	ALLOWED(LONG, { F(GUEST_INTERRUPTIBILITY), BLOCK_STI }, { F(GUEST_RFLAGS), TF_SET },
		{ F(GUEST_DEBUGCTL), BIT(1) });
	ALLOWED(LONG, { F(GUEST_PENDING_DEBUG), BIT(16) | BIT(12) });
	ALLOWED(LONG, { F(EXIT_MSR_STORE_COUNT), 1 }, { F(EXIT_MSR_STORE), BIT(40) - 16 });
	ALLOWED(LONG, { F(PROC2_CTL), PROC2_APIC_ACCESS }, { F(TPR_THRESHOLD), 0xf });
	ALLOWED(LONG, { F(PROC2_CTL), PROC2_VIRTUAL_INTR }, { F(TPR_THRESHOLD), ~0u });
	ALLOWED(PROTECTED, { F(GUEST_PDPTE0), ~0ull }, { F(GUEST_EFER), EFER_LME });
	ALLOWED(LONG, { F(GUEST_PDPTE0), ~0ull });
}

/* The same state on CPUs that differ. */
static void capabilities(void **state)
{
	struct vmx_broken b;

	(void)state;
	make(LONG);
	SET(VMCS_GUEST_ACTIVITY, ACTIVITY_SHUTDOWN);
	assert_valid();
	caps.misc &= ~BIT(7);
	assert_false(vmx_check(&view, &b));
	assert_int_equal(b.field, VMCS_GUEST_ACTIVITY.enc);

	make(LONG);
	SET(VMCS_ENTRY_INTR_INFO, EVENT(INTR_TYPE_SWEXC, 3));
	caps.misc |= BIT(30);
	assert_valid();

	make(LONG);
	SET(VMCS_ENTRY_INTR_INFO, EVENT(INTR_TYPE_HW, VEC_GP));
	caps.any_error_code = true;
	assert_valid();

	make(LONG);
	caps.ept_vpid &= ~EPTCAP_AD;
	assert_false(vmx_check(&view, &b));
	assert_int_equal(b.field, VMCS_EPT_POINTER.enc);

	make(LONG);
	SET(VMCS_GUEST_BASE(FS), NONCANON);
	struct vmcs_view wide = view;
	wide.linear_bits = 57;
	assert_false(vmx_check(&view, &b));
	assert_true(vmx_check(&wide, &b));

	make(LONG);
	SET(VMCS_TPR_THRESHOLD, 1);
	struct vmcs_view blind = view;
	blind.read_mem = NULL;
	assert_true(vmx_check(&blind, &b));
	assert_false(vmx_check(&view, &b));
}

/* The first rule in the manual's order is the one that is named. */
static void order(void **state)
{
	struct vmx_broken b;

	(void)state;
	make(PAE);
	SET(VMCS_GUEST_PDPTE0, 3);
	assert_false(vmx_check(&view, &b));
	assert_string_equal(b.section, PDPTES);
	SET(VMCS_GUEST_ACTIVITY, 9);
	assert_false(vmx_check(&view, &b));
	assert_string_equal(b.section, OTHER);
	SET(VMCS_GUEST_RFLAGS, 0);
	assert_false(vmx_check(&view, &b));
	assert_string_equal(b.section, FLAGS);
	SET(VMCS_GUEST_GDTR_LIMIT, ~0u);
	assert_false(vmx_check(&view, &b));
	assert_string_equal(b.section, TABLES);
	SET(VMCS_GUEST_AR(TR), 0);
	assert_false(vmx_check(&view, &b));
	assert_string_equal(b.section, SEGMENTS);
	SET(VMCS_GUEST_CR4, 0);
	assert_false(vmx_check(&view, &b));
	assert_string_equal(b.section, GUEST);
	SET(VMCS_HOST_RIP, NONCANON);
	assert_false(vmx_check(&view, &b));
	assert_string_equal(b.section, SIZE);
	SET(VMCS_HOST_CS_SEL, 0);
	assert_false(vmx_check(&view, &b));
	assert_string_equal(b.section, HOST_SEG);
	SET(VMCS_HOST_CR0, 0);
	assert_false(vmx_check(&view, &b));
	assert_string_equal(b.section, HOST);
	SET(VMCS_ENTRY_CTL, 0);
	assert_false(vmx_check(&view, &b));
	assert_string_equal(b.section, ENTRIES);
	SET(VMCS_EXIT_CTL, 0);
	assert_false(vmx_check(&view, &b));
	assert_string_equal(b.section, EXITS);
	SET(VMCS_PIN_CTL, 0);
	assert_false(vmx_check(&view, &b));
	assert_string_equal(b.section, CONTROLS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(valid_states), cmocka_unit_test(broken_controls), cmocka_unit_test(broken_host),
		cmocka_unit_test(broken_registers), cmocka_unit_test(broken_segments), cmocka_unit_test(broken_others),
		cmocka_unit_test(allowed), cmocka_unit_test(capabilities), cmocka_unit_test(order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
