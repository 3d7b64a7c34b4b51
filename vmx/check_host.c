/* SDM 3C, "Checks on Host Control Registers, MSRs, and SSP" to "Checks Related to Address-Space Size". */
#include "vmx/check_internal.h"
#include <tf/x86.h>

#define SEL_TI_RPL 7u

bool check_host_registers(struct check *c)
{
	const struct vmx_caps *caps = c->view->caps;
	uint64_t cr0 = GET(VMCS_HOST_CR0), cr4 = GET(VMCS_HOST_CR4), efer = GET(VMCS_HOST_EFER);
	uint64_t long_mode = c->exit & EXIT_HOST_64 ? EFER_LME | EFER_LMA : 0;

	RULE(fits(cr0, caps->cr0_fixed0, caps->cr0_fixed1), VMCS_HOST_CR0, "host CR0: the fixed bits of VMX operation");
	RULE(fits(cr4, caps->cr4_fixed0, caps->cr4_fixed1), VMCS_HOST_CR4, "host CR4: the fixed bits of VMX operation");
	RULE(!(cr4 & CR4_CET) || (cr0 & CR0_WP), VMCS_HOST_CR4, "host CR4.CET: only with CR0.WP");
	RULE(cr3_fits(c, GET(VMCS_HOST_CR3)), VMCS_HOST_CR3, "host CR3: within physical memory");
	RULE(canonical(c, GET(VMCS_HOST_SYSENTER_ESP)), VMCS_HOST_SYSENTER_ESP, "host IA32_SYSENTER_ESP: canonical");
	RULE(canonical(c, GET(VMCS_HOST_SYSENTER_EIP)), VMCS_HOST_SYSENTER_EIP, "host IA32_SYSENTER_EIP: canonical");
	RULE(!(c->exit & EXIT_LOAD_PAT) || vmx_pat_ok(GET(VMCS_HOST_PAT)), VMCS_HOST_PAT, "host IA32_PAT: memory types only");
	if (c->exit & EXIT_LOAD_EFER) {
		RULE(!(efer & ~EFER_KNOWN), VMCS_HOST_EFER, "host IA32_EFER: reserved bits are 0");
		RULE((efer & (EFER_LME | EFER_LMA)) == long_mode, VMCS_HOST_EFER,
		     "host IA32_EFER: LMA and LME equal the host address-space size");
	}
	if (c->exit & EXIT_LOAD_CET) {
		RULE(check_s_cet(c, GET(VMCS_HOST_S_CET)), VMCS_HOST_S_CET, "host IA32_S_CET: canonical, reserved bits are 0");
		RULE(canonical(c, GET(VMCS_HOST_SSP)) && !(GET(VMCS_HOST_SSP) & 3), VMCS_HOST_SSP,
		     "host SSP: canonical, bits 1:0 are 0");
		RULE(canonical(c, GET(VMCS_HOST_SSP_TABLE)), VMCS_HOST_SSP_TABLE, "host IA32_INTERRUPT_SSP_TABLE_ADDR: canonical");
	}
	RULE(!(c->exit & EXIT_LOAD_PKRS) || !(GET(VMCS_HOST_PKRS) >> 32), VMCS_HOST_PKRS, "host IA32_PKRS: bits 63:32 are 0");
	return true;
}

bool check_host_tables(struct check *c)
{
	static const struct { struct vmcs_f16 field; const char *rule; } selectors[] = {
		{ VMCS_HOST_CS_SEL, "host CS: TI and RPL are 0" }, { VMCS_HOST_SS_SEL, "host SS: TI and RPL are 0" },
		{ VMCS_HOST_DS_SEL, "host DS: TI and RPL are 0" }, { VMCS_HOST_ES_SEL, "host ES: TI and RPL are 0" },
		{ VMCS_HOST_FS_SEL, "host FS: TI and RPL are 0" }, { VMCS_HOST_GS_SEL, "host GS: TI and RPL are 0" },
		{ VMCS_HOST_TR_SEL, "host TR: TI and RPL are 0" },
	};
	static const struct { struct vmcs_fnat field; const char *rule; } bases[] = {
		{ VMCS_HOST_FS_BASE, "host FS base: canonical" }, { VMCS_HOST_GS_BASE, "host GS base: canonical" },
		{ VMCS_HOST_GDTR_BASE, "host GDTR base: canonical" }, { VMCS_HOST_IDTR_BASE, "host IDTR base: canonical" },
		{ VMCS_HOST_TR_BASE, "host TR base: canonical" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(selectors); i++)
		RULE(!(GET(selectors[i].field) & SEL_TI_RPL), selectors[i].field, selectors[i].rule);
	RULE(GET(VMCS_HOST_CS_SEL), VMCS_HOST_CS_SEL, "host CS: not 0");
	RULE(GET(VMCS_HOST_TR_SEL), VMCS_HOST_TR_SEL, "host TR: not 0");
	RULE((c->exit & EXIT_HOST_64) || GET(VMCS_HOST_SS_SEL), VMCS_HOST_SS_SEL, "host SS: not 0 with a 32-bit host");
	for (size_t i = 0; i < ARRAY_SIZE(bases); i++)
		RULE(canonical(c, GET(bases[i].field)), bases[i].field, bases[i].rule);
	return true;
}

/* We are in long mode, which is half of the rules. */
bool check_address_space(struct check *c)
{
	RULE(c->exit & EXIT_HOST_64, VMCS_EXIT_CTL, "host address-space size: 64 bits, as the CPU is in long mode");
	RULE(GET(VMCS_HOST_CR4) & CR4_PAE, VMCS_HOST_CR4, "host CR4.PAE: 1 with a 64-bit host");
	RULE(canonical(c, GET(VMCS_HOST_RIP)), VMCS_HOST_RIP, "host RIP: canonical");
	return true;
}
