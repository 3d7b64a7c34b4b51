/* SDM 3C, "Checks on the Guest State Area", without the segment registers. */
#include "vmx/check_internal.h"
#include <tf/x86.h>

#define DEBUGCTL_KNOWN     0xffc7ull
#define BNDCFGS_RESERVED   0xffcull
#define RFLAGS_RESERVED    0xffffffffffc08028ull
#define TABLE_LIMIT_MAX    0xffffu
#define MISC_ACTIVITY(m, state) ((m) & BIT(5 + (state))) /* HLT, shutdown and wait-for-SIPI in bits 6 to 8 */
#define BLOCK_KNOWN        (BLOCK_STI | BLOCK_MOV_SS | BLOCK_SMI | BLOCK_NMI | BLOCK_ENCLAVE)
#define PENDING_RTM        BIT(16)
#define PENDING_ENABLED    BIT(12)
#define PENDING_RESERVED   0xfffffffffffeaff0ull
#define LINK_NONE          ~0ull
#define LINK_SHADOW        BIT(31)
#define PDPTES             4u

static bool check_guest_msrs(struct check *c, uint64_t cr0)
{
	uint64_t efer = GET(VMCS_GUEST_EFER), bndcfgs = GET(VMCS_GUEST_BNDCFGS), ssp = GET(VMCS_GUEST_SSP);
	bool lma = efer & EFER_LMA, lme = efer & EFER_LME;

	RULE(canonical(c, GET(VMCS_GUEST_SYSENTER_ESP)), VMCS_GUEST_SYSENTER_ESP, "IA32_SYSENTER_ESP: canonical");
	RULE(canonical(c, GET(VMCS_GUEST_SYSENTER_EIP)), VMCS_GUEST_SYSENTER_EIP, "IA32_SYSENTER_EIP: canonical");
	RULE(!(c->entry & ENTRY_LOAD_PAT) || vmx_pat_ok(GET(VMCS_GUEST_PAT)), VMCS_GUEST_PAT, "IA32_PAT: memory types only");
	if (c->entry & ENTRY_LOAD_EFER) {
		RULE(!(efer & ~EFER_KNOWN), VMCS_GUEST_EFER, "IA32_EFER: reserved bits are 0");
		RULE(lma == c->ia32e, VMCS_GUEST_EFER, "IA32_EFER: LMA equals IA-32e mode guest");
		RULE(!(cr0 & CR0_PG) || lma == lme, VMCS_GUEST_EFER, "IA32_EFER: LMA equals LME if CR0.PG is 1");
	}
	RULE(!(c->entry & ENTRY_LOAD_BNDCFGS) || (canonical(c, bndcfgs) && !(bndcfgs & BNDCFGS_RESERVED)), VMCS_GUEST_BNDCFGS,
	     "IA32_BNDCFGS: canonical, bits 11:2 are 0");
	if (c->entry & ENTRY_LOAD_CET) {
		RULE(check_s_cet(c, GET(VMCS_GUEST_S_CET)), VMCS_GUEST_S_CET, "IA32_S_CET: canonical, reserved bits are 0");
		RULE(canonical(c, GET(VMCS_GUEST_SSP_TABLE)), VMCS_GUEST_SSP_TABLE, "IA32_INTERRUPT_SSP_TABLE_ADDR: canonical");
		RULE(!(ssp & 3) && canonical(c, ssp), VMCS_GUEST_SSP, "SSP: canonical, bits 1:0 are 0");
	}
	RULE(!(c->entry & ENTRY_LOAD_PKRS) || !(GET(VMCS_GUEST_PKRS) >> 32), VMCS_GUEST_PKRS, "IA32_PKRS: bits 63:32 are 0");
	RULE(!(c->entry & ENTRY_LOAD_UINV) || GET(VMCS_GUEST_UINV) <= 0xff, VMCS_GUEST_UINV, "UINV: bits 15:8 are 0");
	return true;
}

bool check_guest_registers(struct check *c)
{
	const struct vmx_caps *caps = c->view->caps;
	uint64_t cr0 = GET(VMCS_GUEST_CR0), cr4 = GET(VMCS_GUEST_CR4);

	RULE(fits(cr0, caps->cr0_fixed0 & ~(c->unrestricted ? CR0_PE | CR0_PG : 0), caps->cr0_fixed1), VMCS_GUEST_CR0,
	     "CR0: the fixed bits of VMX operation");
	RULE(!(cr0 & CR0_PG) || (cr0 & CR0_PE), VMCS_GUEST_CR0, "CR0: PE is 1 if PG is 1");
	RULE(fits(cr4, caps->cr4_fixed0, caps->cr4_fixed1), VMCS_GUEST_CR4, "CR4: the fixed bits of VMX operation");
	RULE(!(cr4 & CR4_CET) || (cr0 & CR0_WP), VMCS_GUEST_CR4, "CR4.CET: only with CR0.WP");
	RULE(!(c->entry & ENTRY_LOAD_DEBUG) || !(GET(VMCS_GUEST_DEBUGCTL) & ~DEBUGCTL_KNOWN), VMCS_GUEST_DEBUGCTL,
	     "IA32_DEBUGCTL: reserved bits are 0");
	RULE(!c->ia32e || (cr0 & CR0_PG), VMCS_GUEST_CR0, "CR0: PG is 1 in IA-32e mode");
	RULE(!c->ia32e || (cr4 & CR4_PAE), VMCS_GUEST_CR4, "CR4: PAE is 1 in IA-32e mode");
	RULE(c->ia32e || !(cr4 & CR4_PCIDE), VMCS_GUEST_CR4, "CR4: PCIDE is 0 outside IA-32e mode");
	RULE(cr3_fits(c, GET(VMCS_GUEST_CR3)), VMCS_GUEST_CR3, "CR3: within physical memory");
	RULE(!(c->entry & ENTRY_LOAD_DEBUG) || !(GET(VMCS_GUEST_DR7) >> 32), VMCS_GUEST_DR7, "DR7: bits 63:32 are 0");
	return check_guest_msrs(c, cr0);
}

bool check_guest_tables(struct check *c)
{
	RULE(canonical(c, GET(VMCS_GUEST_GDTR_BASE)), VMCS_GUEST_GDTR_BASE, "GDTR base: canonical");
	RULE(canonical(c, GET(VMCS_GUEST_IDTR_BASE)), VMCS_GUEST_IDTR_BASE, "IDTR base: canonical");
	RULE(GET(VMCS_GUEST_GDTR_LIMIT) <= TABLE_LIMIT_MAX, VMCS_GUEST_GDTR_LIMIT, "GDTR limit: bits 31:16 are 0");
	RULE(GET(VMCS_GUEST_IDTR_LIMIT) <= TABLE_LIMIT_MAX, VMCS_GUEST_IDTR_LIMIT, "IDTR limit: bits 31:16 are 0");
	return true;
}

static bool injects(uint32_t info, uint32_t type) { return (info & INTR_VALID) && INTR_TYPE_OF(info) == type; }

bool check_guest_rip(struct check *c)
{
	uint64_t rip = GET(VMCS_GUEST_RIP), rflags = GET(VMCS_GUEST_RFLAGS);
	bool code64 = c->ia32e && (GET(VMCS_GUEST_CS_AR) & AR_L);
	int64_t high = c->view->linear_bits < 64 ? (int64_t)rip >> c->view->linear_bits : 0;

	RULE(code64 || !(rip >> 32), VMCS_GUEST_RIP, "RIP: bits 63:32 are 0 outside 64-bit mode");
	RULE(!code64 || high == 0 || high == -1, VMCS_GUEST_RIP, "RIP: bits above the linear-address width are identical");
	RULE(!(rflags & RFLAGS_RESERVED), VMCS_GUEST_RFLAGS, "RFLAGS: reserved bits are 0");
	RULE(rflags & RFLAGS_RSV1, VMCS_GUEST_RFLAGS, "RFLAGS: bit 1 is 1");
	RULE(!(rflags & RFLAGS_VM) || (!c->ia32e && (GET(VMCS_GUEST_CR0) & CR0_PE)), VMCS_GUEST_RFLAGS,
	     "RFLAGS: VM is 0 in IA-32e mode and real-address mode");
	RULE((rflags & RFLAGS_IF) || !injects((uint32_t)GET(VMCS_ENTRY_INTR_INFO), INTR_TYPE_EXT), VMCS_GUEST_RFLAGS,
	     "RFLAGS: IF is 1 if an external interrupt is injected");
	return true;
}

/* May this event be injected into a CPU that is not active? */
static bool wakes(uint32_t info, uint64_t activity)
{
	uint32_t vector = info & INTR_VECTOR;
	bool nmi = injects(info, INTR_TYPE_NMI), exception = injects(info, INTR_TYPE_HW);

	switch (activity) {
	case ACTIVITY_HLT:
		return nmi || injects(info, INTR_TYPE_EXT) || (exception && (vector == VEC_DB || vector == VEC_MC)) ||
		       (injects(info, INTR_TYPE_OTHER) && vector == 0);
	case ACTIVITY_SHUTDOWN:
		return nmi || (exception && vector == VEC_MC);
	default:
		return activity == ACTIVITY_ACTIVE;
	}
}

static bool check_activity(struct check *c, uint32_t info)
{
	uint64_t activity = GET(VMCS_GUEST_ACTIVITY), blocking = GET(VMCS_GUEST_INTERRUPTIBILITY);

	RULE(activity == ACTIVITY_ACTIVE || (activity <= ACTIVITY_WAIT_SIPI && MISC_ACTIVITY(c->view->caps->misc, activity)),
	     VMCS_GUEST_ACTIVITY, "activity state: one that the CPU has");
	RULE(activity != ACTIVITY_HLT || AR_DPL(GET(VMCS_GUEST_SS_AR)) == 0, VMCS_GUEST_ACTIVITY,
	     "activity state: HLT only with an SS DPL of 0");
	RULE(activity == ACTIVITY_ACTIVE || !(blocking & (BLOCK_STI | BLOCK_MOV_SS)), VMCS_GUEST_ACTIVITY,
	     "activity state: active if STI or MOV SS blocks");
	RULE(!(info & INTR_VALID) || wakes(info, activity), VMCS_GUEST_ACTIVITY,
	     "activity state: one in which the injected event can be delivered");
	return true;
}

static bool check_interruptibility(struct check *c, uint32_t info)
{
	uint64_t blocking = GET(VMCS_GUEST_INTERRUPTIBILITY);
	bool nmi = injects(info, INTR_TYPE_NMI);

	RULE(!(blocking & ~BLOCK_KNOWN), VMCS_GUEST_INTERRUPTIBILITY, "interruptibility: bits 31:5 are 0");
	RULE(!(blocking & BLOCK_STI) || !(blocking & BLOCK_MOV_SS), VMCS_GUEST_INTERRUPTIBILITY,
	     "interruptibility: not both blocking by STI and by MOV SS");
	RULE(!(blocking & BLOCK_STI) || (GET(VMCS_GUEST_RFLAGS) & RFLAGS_IF), VMCS_GUEST_INTERRUPTIBILITY,
	     "interruptibility: blocking by STI only with RFLAGS.IF");
	RULE(!injects(info, INTR_TYPE_EXT) || !(blocking & (BLOCK_STI | BLOCK_MOV_SS)), VMCS_GUEST_INTERRUPTIBILITY,
	     "interruptibility: no blocking by STI or MOV SS if an external interrupt is injected");
	RULE(!nmi || !(blocking & BLOCK_MOV_SS), VMCS_GUEST_INTERRUPTIBILITY,
	     "interruptibility: no blocking by MOV SS if an NMI is injected");
	RULE(!(blocking & BLOCK_SMI), VMCS_GUEST_INTERRUPTIBILITY, "interruptibility: blocking by SMI only in SMM");
	RULE(!nmi || !(c->pin & PIN_VIRTUAL_NMI) || !(blocking & BLOCK_NMI), VMCS_GUEST_INTERRUPTIBILITY,
	     "interruptibility: no blocking by NMI if a virtual NMI is injected");
	RULE(!(blocking & BLOCK_ENCLAVE) || c->view->sgx, VMCS_GUEST_INTERRUPTIBILITY,
	     "interruptibility: an enclave interruption only on a CPU with SGX");
	RULE(!(blocking & BLOCK_ENCLAVE) || !(blocking & BLOCK_MOV_SS), VMCS_GUEST_INTERRUPTIBILITY,
	     "interruptibility: not both an enclave interruption and blocking by MOV SS");
	return true;
}

static bool check_pending_debug(struct check *c)
{
	uint64_t pending = GET(VMCS_GUEST_PENDING_DEBUG), blocking = GET(VMCS_GUEST_INTERRUPTIBILITY);
	bool single_step = (GET(VMCS_GUEST_RFLAGS) & RFLAGS_TF) && !(GET(VMCS_GUEST_DEBUGCTL) & DEBUGCTL_BTF);
	bool held = (blocking & (BLOCK_STI | BLOCK_MOV_SS)) || GET(VMCS_GUEST_ACTIVITY) == ACTIVITY_HLT;

	RULE(!(pending & PENDING_RESERVED), VMCS_GUEST_PENDING_DEBUG, "pending debug exceptions: reserved bits are 0");
	RULE(!held || single_step == !!(pending & PENDING_DEBUG_BS), VMCS_GUEST_PENDING_DEBUG,
	     "pending debug exceptions: BS as TF and BTF say, in HLT or if STI or MOV SS blocks");
	RULE(!(pending & PENDING_RTM) || (pending == (PENDING_RTM | PENDING_ENABLED) && !(blocking & BLOCK_MOV_SS)),
	     VMCS_GUEST_PENDING_DEBUG, "pending debug exceptions: RTM only with bit 12 and nothing else");
	RULE(!(pending & PENDING_RTM) || c->view->rtm, VMCS_GUEST_PENDING_DEBUG, "pending debug exceptions: RTM only on a CPU that has it");
	return true;
}

static bool check_link(struct check *c)
{
	uint64_t link = GET(VMCS_LINK_POINTER), first;
	uint32_t wanted = c->view->caps->revision | (c->proc2 & PROC2_SHADOWING ? (uint32_t)LINK_SHADOW : 0);

	if (link == LINK_NONE)
		return true;
	RULE(aligned_address(c, link, PAGE_SIZE), VMCS_LINK_POINTER, "VMCS link pointer: all ones, or a page address");
	if (c->view->read_mem && c->view->read_mem(c->view->ctx, link, &first))
		RULE((uint32_t)first == wanted, VMCS_LINK_POINTER,
		     "VMCS link pointer: the CPU's revision, and a shadow VMCS if and only if VMCS shadowing is on");
	RULE(link != c->view->vmcs, VMCS_LINK_POINTER, "VMCS link pointer: not the current VMCS");
	return true;
}

bool check_guest_state(struct check *c)
{
	uint32_t info = (uint32_t)GET(VMCS_ENTRY_INTR_INFO);

	return check_activity(c, info) && check_interruptibility(c, info) && check_pending_debug(c) && check_link(c);
}

bool check_guest_pdptes(struct check *c)
{
	static const char *const rules[PDPTES] = {
		"PDPTE0: reserved bits are 0 if present", "PDPTE1: reserved bits are 0 if present",
		"PDPTE2: reserved bits are 0 if present", "PDPTE3: reserved bits are 0 if present",
	};
	static const struct vmcs_f64 fields[PDPTES] = {
		VMCS_GUEST_PDPTE0, VMCS_GUEST_PDPTE1, VMCS_GUEST_PDPTE2, VMCS_GUEST_PDPTE3,
	};
	const uint64_t table = GET(VMCS_GUEST_CR3) & CR3_PAE_TABLE;
	bool ept = c->proc2 & PROC2_EPT;

	if (c->ia32e || !(GET(VMCS_GUEST_CR0) & CR0_PG) || !(GET(VMCS_GUEST_CR4) & CR4_PAE))
		return true;
	for (unsigned i = 0; i < PDPTES; i++) {
		uint64_t e = 0;

		if (ept)
			e = GET(fields[i]);
		else if (!c->view->read_mem || !c->view->read_mem(c->view->ctx, table + i * sizeof(e), &e))
			continue;
		if (!(e & PDPTE_P) || (!(e & PDPTE_RESERVED) && !beyond_phys(c, e)))
			continue;
		/* Without EPT it is an entry in memory, which CR3 leads to. */
		return check_broken(c, ept ? fields[i].enc : VMCS_GUEST_CR3.enc, rules[i]);
	}
	return true;
}
