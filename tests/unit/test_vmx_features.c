/* Which features of VT-x are used, and what is done about IA32_FEATURE_CONTROL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/config.h"
#include "vmx/caps.h"
#include "vmx/feature_control.h"
#include "vmx/fields.h"

#define MAY(bits)   ((uint64_t)(bits) << 32)
#define EVERYTHING  (~0ull << 32)
#define PIN_DEFAULT 0x16u /* SDM 3D, "Reserved Controls and Default Settings": must be 1 */

static struct vmx_caps full(void)
{
	struct vmx_caps c = {
		.pin = EVERYTHING | PIN_DEFAULT, .proc = EVERYTHING, .proc2 = EVERYTHING, .exit = EVERYTHING, .entry = EVERYTHING,
		.ept_vpid = ~0ull, .misc = 5,
	};

	vmx_caps_derive(&c);
	return c;
}

static void everything_is_used(void **state)
{
	struct vmx_caps c = full();

	(void)state;
	assert_true(c.preemption_timer && c.vpid && c.tpr_shadow && c.apic_access && c.apic_registers && c.virtual_intr &&
		    c.x2apic && c.xsaves && c.rdtscp && c.invpcid && c.ept_ad);
	assert_int_equal(c.preemption_shift, 5);
	assert_false(c.preemption_inexact);
}

static void nothing_is_used(void **state)
{
	struct vmx_caps c = { 0 };

	(void)state;
	vmx_caps_derive(&c);
	assert_false(c.preemption_timer || c.vpid || c.tpr_shadow || c.apic_access || c.apic_registers || c.virtual_intr ||
		     c.x2apic || c.xsaves || c.rdtscp || c.invpcid || c.ept_ad);
}

/* VPIDs are of use only with an INVVPID that flushes one or all of them. */
static void vpid_needs_invvpid(void **state)
{
	struct vmx_caps c = full();

	(void)state;
	c.ept_vpid = EPTCAP_INVVPID;
	vmx_caps_derive(&c);
	assert_false(c.vpid);
	c.ept_vpid = EPTCAP_INVVPID | EPTCAP_INVVPID_ALL;
	vmx_caps_derive(&c);
	assert_true(c.vpid);
	c.ept_vpid = EPTCAP_INVVPID_ALL;
	vmx_caps_derive(&c);
	assert_false(c.vpid);
}

/* SDM 3C, "Checks on VMX Controls": the rest of APIC virtualisation needs the TPR shadow. */
static void apic_virtualisation_builds_up(void **state)
{
	struct vmx_caps c = full();

	(void)state;
	c.proc &= ~MAY(PROC_TPR_SHADOW);
	vmx_caps_derive(&c);
	assert_false(c.tpr_shadow || c.apic_access || c.apic_registers || c.virtual_intr || c.x2apic);
	c = full();
	c.pin &= ~MAY(PIN_POSTED_INTR);
	vmx_caps_derive(&c);
	assert_true(c.apic_registers);
	assert_false(c.virtual_intr);
}

static void each_feature_alone(void **state)
{
	(void)state;
	for (unsigned f = 0; f < VMX_FEATURES; f++) {
		struct vmx_caps c = full();

		vmx_caps_disable(&c, (uint32_t)BIT(f));
		bool apic = f != VMX_FEATURE_TPR_SHADOW;
		assert_int_equal(c.vpid, f != VMX_FEATURE_VPID);
		assert_int_equal(vmx_may(c.proc2, PROC2_VPID), f != VMX_FEATURE_VPID);
		assert_int_equal(c.preemption_timer, f != VMX_FEATURE_PREEMPTION_TIMER);
		assert_int_equal(c.tpr_shadow, apic);
		assert_int_equal(c.apic_access, apic);
		assert_int_equal(c.apic_registers, apic && f != VMX_FEATURE_APICV);
		assert_int_equal(c.virtual_intr, apic && f != VMX_FEATURE_APICV);
		assert_int_equal(c.x2apic, apic && f != VMX_FEATURE_X2APIC);
		assert_int_equal(!!(c.ept_vpid & EPTCAP_2M), f != VMX_FEATURE_EPT_2M);
		assert_int_equal(!!(c.ept_vpid & EPTCAP_1G), f != VMX_FEATURE_EPT_1G);
		assert_int_equal(c.ept_ad, f != VMX_FEATURE_EPT_AD);
		assert_true(c.xsaves && c.rdtscp && c.invpcid && (c.ept_vpid & EPTCAP_WB));
	}
}

static void nothing_disabled_changes_nothing(void **state)
{
	struct vmx_caps c = full(), same = full();

	(void)state;
	vmx_caps_disable(&c, 0);
	assert_memory_equal(&c, &same, sizeof(c));
	/* Bits of no feature neither. */
	vmx_caps_disable(&c, ~0u << VMX_FEATURES);
	assert_memory_equal(&c, &same, sizeof(c));
}

/* A control that must be 1 cannot be taken away: the word for the VMCS would not fit. */
static void what_must_be_stays(void **state)
{
	struct vmx_caps c = full();
	uint32_t v;

	(void)state;
	c.pin |= PIN_PREEMPTION_TIMER;
	vmx_caps_disable(&c, BIT(VMX_FEATURE_PREEMPTION_TIMER));
	assert_true(c.preemption_timer);
	assert_int_equal(vmx_ctl_fit(0, c.pin, &v), TF_OK);
	assert_int_equal(v, PIN_DEFAULT | PIN_PREEMPTION_TIMER);
}

static void wishes_fit(void **state)
{
	uint64_t cap = MAY(0x17) | 0x11;
	uint32_t v = 0;

	(void)state;
	assert_int_equal(vmx_ctl_fit(0x2, cap, &v), TF_OK);
	assert_int_equal(v, 0x13);
	assert_int_equal(vmx_ctl_fit(0x8, cap, &v), TF_ENODEV);
}

static void errata_by_signature(void **state)
{
	static const struct { uint32_t signature; bool inexact, no_ad; } cpus[] = {
		{ 0x20652, true, false },  /* Westmere */
		{ 0x20655, true, false },
		{ 0x306a8, true, false },  /* Ivy Bridge */
		{ 0x306a9, false, false }, /* its next stepping */
		{ 0x406d8, false, true },  /* Avoton */
		{ 0x406d0, false, true },
		{ 0x406c3, false, false }, /* the Atom models around it */
		{ 0x506d8, false, false },
		{ 0x306c3, false, false }, /* Haswell */
		{ 0x806f8, false, false }, /* Sapphire Rapids */
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cpus); i++) {
		struct vmx_caps c = full();

		vmx_caps_errata(&c, cpus[i].signature);
		assert_int_equal(c.preemption_inexact, cpus[i].inexact);
		assert_int_equal(c.ept_ad, !cpus[i].no_ad);
	}
}

static void no_error(void *ctx, unsigned line, const char *vm, const char *key, const char *expected)
{
	(void)ctx;
	fail_msg("line %u: vm=%s key=%s expected %s", line, vm, key, expected);
}

/* The words of `disable` are the features' names. */
static void words_are_names(void **state)
{
	const struct config_report report = { NULL, no_error };
	static struct config config;
	char text[128];

	(void)state;
	for (unsigned f = 0; f < VMX_FEATURES; f++) {
		snprintf(text, sizeof(text), "[trefoil]\ndisable = %s\n[vm a]\nkernel = k\nmemory = 8M\n", vmx_feature_name(f));
		assert_int_equal(config_parse(text, strlen(text), &config, &report), TF_OK);
		assert_int_equal(config.disable, BIT(f));
	}
}

enum { LOCK = 1, SMX = 2, VMX = 4, SENTER = 0x7f00, SGX = 1 << 18, LMCE = 1 << 20 };

static void feature_control_open(void **state)
{
	static const struct { uint64_t value; bool smx; uint64_t written; } cases[] = {
		{ 0, false, LOCK | VMX },
		{ 0, true, LOCK | SMX | VMX },
		{ VMX, false, LOCK | VMX },
		{ SMX | VMX, true, LOCK | SMX | VMX },
		{ SENTER | SGX | LMCE, true, SENTER | SGX | LMCE | LOCK | SMX | VMX }, /* what is not ours stays */
		{ LMCE, false, LMCE | LOCK | VMX },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct feature_control d = feature_control_decide(cases[i].value, cases[i].smx);

		assert_int_equal(d.verdict, FEATURE_CONTROL_WRITE);
		assert_int_equal(d.value, cases[i].written);
	}
}

static void feature_control_locked(void **state)
{
	(void)state;
	for (unsigned smx = 0; smx < 2; smx++) {
		assert_int_equal(feature_control_decide(LOCK | VMX, smx).verdict, FEATURE_CONTROL_OK);
		assert_int_equal(feature_control_decide(LOCK | VMX | SMX | SENTER, smx).verdict, FEATURE_CONTROL_OK);
		struct feature_control off = feature_control_decide(LOCK | SGX, smx);
		assert_int_equal(off.verdict, FEATURE_CONTROL_REFUSE);
		assert_non_null(strstr(off.missing, "locked off"));
		assert_non_null(strstr(off.advice, "Virtualization Technology"));
	}
	struct feature_control inside = feature_control_decide(LOCK | SMX | SENTER, true);
	assert_int_equal(inside.verdict, FEATURE_CONTROL_REFUSE);
	assert_non_null(strstr(inside.missing, "outside SMX"));
	assert_non_null(strstr(inside.advice, "TXT"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_is_used), cmocka_unit_test(nothing_is_used), cmocka_unit_test(vpid_needs_invvpid),
		cmocka_unit_test(apic_virtualisation_builds_up), cmocka_unit_test(each_feature_alone),
		cmocka_unit_test(nothing_disabled_changes_nothing), cmocka_unit_test(what_must_be_stays),
		cmocka_unit_test(wishes_fit), cmocka_unit_test(errata_by_signature), cmocka_unit_test(words_are_names),
		cmocka_unit_test(feature_control_open), cmocka_unit_test(feature_control_locked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
