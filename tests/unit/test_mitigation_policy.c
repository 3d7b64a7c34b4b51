/* What is decided for real CPUs, with old and with new microcode: Intel's table of affected processors and SDM 4. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <tf/x86.h>
#include "vmx/mitigation_policy.h"

#define RTM     CPUID_7_EBX_RTM
#define MD      CPUID_7_EDX_MD_CLEAR
#define SRBDS   CPUID_7_EDX_SRBDS_CTRL
#define NEW     (CPUID_7_EDX_IBRS_IBPB | CPUID_7_EDX_STIBP | CPUID_7_EDX_L1D_FLUSH | CPUID_7_EDX_SSBD)
#define CAPS    CPUID_7_EDX_ARCH_CAP
#define LEGACY  (MITIGATE_IBPB | MITIGATE_IBRS_EXIT | MITIGATE_RSB)
#define IBRS    SPEC_CTRL_IBRS
#define MMIO_NO (ARCH_CAP_SBDR_SSDP_NO | ARCH_CAP_FBSDP_NO | ARCH_CAP_PSDP_NO)
/* Sapphire Rapids as it came */
#define SPR     (ARCH_CAP_RDCL_NO | ARCH_CAP_IBRS_ALL | ARCH_CAP_SKIP_L1DFL | ARCH_CAP_MDS_NO | ARCH_CAP_IF_PSCHANGE_MC_NO | \
		 ARCH_CAP_TAA_NO | MMIO_NO)

static const struct { const char *name; struct mitigation_cpu cpu; const char *states; uint32_t flags; uint64_t spec_ctrl; } cases[] = {
	/* The states of L1D flush, VERW, IBPB, IBRS, RSB, BHI, multihit, SRBDS, GDS: - not needed, + on, m no microcode */
	{ "Westmere EP, old", { .signature = 0x206c2 }, "mmmmm-+--", MITIGATE_SPLIT, 0 },
	{ "Westmere EP, new", { .signature = 0x206c2, .cpuid7_edx = NEW | MD }, "+++++-+--",
	  MITIGATE_L1D | MITIGATE_VERW | LEGACY | MITIGATE_SPLIT, IBRS },
	{ "Sandy Bridge, old", { .signature = 0x206a7 }, "mmmmm-+--", MITIGATE_SPLIT, 0 },
	{ "Ivy Bridge, 2018", { .signature = 0x306a9, .cpuid7_edx = NEW }, "+m+++-+m-", MITIGATE_L1D | LEGACY | MITIGATE_SPLIT, IBRS },
	{ "Haswell, old", { .signature = 0x306c3, .cpuid7_ebx = RTM }, "mmmmm-+m-", MITIGATE_SPLIT, 0 },
	{ "Haswell, 2018", { .signature = 0x306c3, .cpuid7_edx = NEW }, "+m+++-+m-", MITIGATE_L1D | LEGACY | MITIGATE_SPLIT, IBRS },
	{ "Haswell, new", { .signature = 0x306c3, .cpuid7_edx = NEW | MD | SRBDS }, "+++++-++-",
	  MITIGATE_L1D | MITIGATE_VERW | LEGACY | MITIGATE_SPLIT, IBRS },
	{ "Skylake-SP, old", { .signature = 0x50654, .cpuid7_ebx = RTM }, "mmmmm-+-m", MITIGATE_SPLIT, 0 },
	{ "Skylake-SP, new", { .signature = 0x50654, .cpuid7_ebx = RTM, .cpuid7_edx = NEW | MD | CAPS,
			       .arch_caps = ARCH_CAP_RSBA | ARCH_CAP_GDS_CTRL }, "+++++-+-+",
	  MITIGATE_L1D | MITIGATE_VERW | LEGACY | MITIGATE_SPLIT, IBRS },
	{ "Cascade Lake", { .signature = 0x50657, .cpuid7_ebx = RTM, .cpuid7_edx = NEW | MD | CAPS,
			    .arch_caps = ARCH_CAP_RDCL_NO | ARCH_CAP_IBRS_ALL | ARCH_CAP_SKIP_L1DFL | ARCH_CAP_MDS_NO |
					 ARCH_CAP_IF_PSCHANGE_MC_NO | ARCH_CAP_GDS_CTRL },
	  "-+++++--+", MITIGATE_VERW | MITIGATE_IBPB | MITIGATE_RSB_ONE | MITIGATE_BHB, IBRS }, /* TAA */
	{ "Cascade Lake, TSX off", { .signature = 0x50657, .cpuid7_edx = NEW | MD | CAPS,
				     .arch_caps = ARCH_CAP_RDCL_NO | ARCH_CAP_IBRS_ALL | ARCH_CAP_MDS_NO |
						  ARCH_CAP_IF_PSCHANGE_MC_NO | ARCH_CAP_GDS_CTRL | ARCH_CAP_PBRSB_NO },
	  "--++-+--+", MITIGATE_IBPB | MITIGATE_BHB, IBRS },
	{ "Whiskey Lake, last stepping", { .signature = 0x806ec, .cpuid7_edx = NEW | MD | CAPS,
					   .arch_caps = ARCH_CAP_RDCL_NO | ARCH_CAP_IBRS_ALL | ARCH_CAP_MDS_NO },
	  "--+++++-m", MITIGATE_IBPB | MITIGATE_RSB_ONE | MITIGATE_BHB | MITIGATE_SPLIT, IBRS },
	{ "Ice Lake-SP, guests with devices", { .signature = 0x606a6, .cpuid7_edx = NEW | MD | CAPS, .guest_mmio = true,
						.arch_caps = (SPR & ~MMIO_NO) | ARCH_CAP_FB_CLEAR | ARCH_CAP_GDS_CTRL },
	  "-+++++--+", MITIGATE_VERW | MITIGATE_IBPB | MITIGATE_RSB_ONE | MITIGATE_BHB, IBRS },
	{ "Ice Lake-SP", { .signature = 0x606a6, .cpuid7_edx = NEW | MD | CAPS,
			   .arch_caps = (SPR & ~MMIO_NO) | ARCH_CAP_FB_CLEAR | ARCH_CAP_GDS_CTRL },
	  "--++++--+", MITIGATE_IBPB | MITIGATE_RSB_ONE | MITIGATE_BHB, IBRS },
	{ "Tiger Lake", { .signature = 0x806c1, .cpuid7_edx = NEW | MD | CAPS, .arch_caps = SPR }, "--++++--m",
	  MITIGATE_IBPB | MITIGATE_RSB_ONE | MITIGATE_BHB, IBRS },
	{ "Alder Lake, old", { .signature = 0x906a3, .cpuid7_edx = NEW | MD | CAPS, .arch_caps = SPR }, "-m+++m---",
	  MITIGATE_IBPB | MITIGATE_RSB_ONE, IBRS },
	{ "Alder Lake, new", { .signature = 0x906a3, .cpuid7_edx = NEW | MD | CAPS, .cpuid7_2_edx = CPUID_7_2_EDX_BHI_CTRL,
			       .arch_caps = SPR | ARCH_CAP_RFDS_CLEAR | ARCH_CAP_PBRSB_NO },
	  "-+++-+---", MITIGATE_VERW | MITIGATE_IBPB, IBRS | SPEC_CTRL_BHI_DIS_S },
	{ "Sapphire Rapids", { .signature = 0x806f8, .cpuid7_edx = NEW | MD | CAPS, .cpuid7_2_edx = CPUID_7_2_EDX_BHI_CTRL,
			       .arch_caps = SPR | ARCH_CAP_PBRSB_NO | ARCH_CAP_GDS_NO },
	  "--++-+---", MITIGATE_IBPB, IBRS | SPEC_CTRL_BHI_DIS_S },
	{ "one with nothing left", { .signature = 0xc0662, .cpuid7_edx = NEW | CAPS,
				     .arch_caps = SPR | ARCH_CAP_PBRSB_NO | ARCH_CAP_BHI_NO | ARCH_CAP_GDS_NO | ARCH_CAP_RFDS_NO },
	  "--++-----", MITIGATE_IBPB, IBRS },
	{ "Silvermont", { .signature = 0x30678, .cpuid7_edx = NEW }, "-m+++----", LEGACY, IBRS },
	{ "Goldmont", { .signature = 0x506c9, .cpuid7_edx = NEW | CAPS, .arch_caps = ARCH_CAP_RFDS_CLEAR }, "-++++----",
	  MITIGATE_VERW | LEGACY, IBRS },
	{ "Tremont, no RFDS microcode", { .signature = 0x906c0, .cpuid7_edx = NEW | MD | CAPS, .arch_caps = SPR },
	  "-m++-+---", MITIGATE_IBPB | MITIGATE_BHB, IBRS },
	{ "below KVM, which flushes", { .signature = 0x50654, .cpuid7_edx = NEW | MD | CAPS,
					.arch_caps = ARCH_CAP_SKIP_L1DFL | ARCH_CAP_IF_PSCHANGE_MC_NO | ARCH_CAP_GDS_NO },
	  "-++++----", MITIGATE_VERW | LEGACY, IBRS },
	{ "unknown, of another family", { .signature = 0x400f10 }, "mmmmm-+--", MITIGATE_SPLIT, 0 },
	/* one VERW is possible, another lacks its microcode: what can be done is done, and not called enough */
	{ "half", { .signature = 0x906a3, .cpuid7_edx = MD, .arch_caps = SPR & ~ARCH_CAP_MDS_NO }, "-mmmm----", MITIGATE_VERW, 0 },
};

static char letter(enum mitigation_state s)
{
	return s == MITIGATION_NOT_NEEDED ? '-' : s == MITIGATION_ON ? '+' : s == MITIGATION_NO_MICROCODE ? 'm' : 'o';
}

static void decide(const struct mitigation_cpu *cpu, bool enabled, struct mitigation_plan *p, char *states)
{
	memset(p, 0xa5, sizeof(*p));
	mitigation_decide(cpu, enabled, p);
	for (unsigned k = 0; k < NMITIGATIONS; k++)
		states[k] = letter(p->state[k]);
	states[NMITIGATIONS] = '\0';
}

static void test_cpus(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char states[NMITIGATIONS + 1];
		struct mitigation_plan p;

		decide(&cases[i].cpu, true, &p, states);
		if (strcmp(states, cases[i].states) || p.flags != cases[i].flags || p.host_spec_ctrl != cases[i].spec_ctrl)
			fail_msg("%s: %s flags %x IA32_SPEC_CTRL %lx", cases[i].name, states, p.flags, (unsigned long)p.host_spec_ctrl);
	}
}

/* mitigations = off: nothing is done, and what is needed is said; what the microcode does, it does. */
static void test_off(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char states[NMITIGATIONS + 1];
		struct mitigation_plan p;

		decide(&cases[i].cpu, false, &p, states);
		assert_int_equal(p.flags, 0);
		assert_int_equal(p.host_spec_ctrl, 0);
		for (unsigned k = 0; k < NMITIGATIONS; k++) {
			char on = cases[i].states[k];

			assert_int_equal(states[k], on == '-' || k == MITIGATION_SRBDS || k == MITIGATION_GDS ? on : 'o');
		}
	}
}

/* MSRs are written only where CPUID has them. */
static void test_no_msr_without_cpuid(void **state)
{
	(void)state;
	for (uint32_t n = 0; n < 1u << 12; n++) {
		struct mitigation_cpu c = { .signature = n & 1 ? 0x906a3 : 0x50654, .guest_mmio = n & 2,
					    .cpuid7_ebx = n & 4 ? (uint32_t)RTM : 0, .cpuid7_edx = n & 8 ? (uint32_t)MD : 0,
					    .cpuid7_2_edx = n & 16 ? (uint32_t)CPUID_7_2_EDX_BHI_CTRL : 0 };
		struct mitigation_plan p;

		for (unsigned k = 0; k < 7; k++)
			if (n >> (5 + k) & 1)
				c.arch_caps |= BIT(k == 6 ? 20 : k);
		mitigation_decide(&c, true, &p);
		assert_int_equal(p.flags & ~(MITIGATE_VERW | MITIGATE_SPLIT), 0);
		assert_int_equal(p.host_spec_ctrl, 0);
		c.cpuid7_edx |= (uint32_t)CPUID_7_EDX_IBRS_IBPB;
		mitigation_decide(&c, true, &p);
		assert_int_equal(p.flags & MITIGATE_L1D, 0);
		assert_int_equal(p.host_spec_ctrl & IBRS, IBRS);
		/* returns are never left alone unless IBRS protects them */
		assert_int_equal(!(p.flags & MITIGATE_IBRS_EXIT), !(p.flags & MITIGATE_RSB));
	}
}

/* A guest is not told of controls that it has not: TSX_CTRL, MCU_CONTROL, MISC_PACKAGE_CTLS and their like. */
static void test_guest_capabilities(void **state)
{
	static const unsigned controls[] = { 7, 9, 10, 11, 12, 16, 18, 21, 22, 23, 25 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(controls); i++)
		assert_false(ARCH_CAP_GUEST & BIT(controls[i]));
	assert_true(ARCH_CAP_GUEST & ARCH_CAP_RDCL_NO);
	assert_string_equal(mitigation_state_name(MITIGATION_NO_MICROCODE), "no-microcode");
	assert_string_equal(mitigation_state_name((enum mitigation_state)77), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cpus),
		cmocka_unit_test(test_off),
		cmocka_unit_test(test_no_msr_without_cpuid),
		cmocka_unit_test(test_guest_capabilities),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
