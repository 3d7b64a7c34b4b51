#include "vmx/mitigation_policy.h"
#include <tf/string.h>
#include <tf/x86.h>

#define FAMILY_CORE 6 /* every Intel CPU that Trefoil runs on, so far */

/* Faults that CPUs without a bit for it have, or have not, by their model. */
#define NO_L1TF      BIT(0)
#define NO_MDS       BIT(1)
#define NO_MULTIHIT  BIT(2)
#define NO_PBRSB     BIT(3)
#define HAS_SRBDS    BIT(4)
#define HAS_GDS      BIT(5)
#define HAS_RFDS     BIT(6)
#define HAS_MMIO     BIT(7)
#define LONG_HISTORY BIT(8) /* of branches: 194 instead of at most 66, too much to overwrite at each exit */

/* Intel, "Affected Processors: Transient Execution Attacks & Related Security Issues by CPU". */
static const struct { uint8_t model; uint16_t faults; } models[] = {
	/* Silvermont and Airmont; Knights Landing and Mill */
	{ 0x37, NO_L1TF | NO_MULTIHIT }, { 0x4a, NO_L1TF | NO_MULTIHIT }, { 0x4d, NO_L1TF | NO_MULTIHIT },
	{ 0x4c, NO_L1TF | NO_MULTIHIT }, { 0x5a, NO_L1TF | NO_MULTIHIT }, { 0x5d, NO_L1TF | NO_MULTIHIT },
	{ 0x75, NO_L1TF | NO_MULTIHIT }, { 0x57, NO_L1TF | NO_MULTIHIT }, { 0x85, NO_L1TF | NO_MULTIHIT },
	/* Goldmont, Goldmont D, Goldmont Plus; Tremont */
	{ 0x5c, NO_L1TF | NO_MDS | NO_MULTIHIT | HAS_RFDS },
	{ 0x5f, NO_L1TF | NO_MDS | NO_MULTIHIT | HAS_RFDS },
	{ 0x7a, NO_L1TF | NO_MDS | NO_MULTIHIT | NO_PBRSB | HAS_RFDS },
	{ 0x86, NO_MULTIHIT | NO_PBRSB | HAS_RFDS | HAS_MMIO },
	{ 0x96, NO_PBRSB | HAS_RFDS | HAS_MMIO }, { 0x9c, NO_PBRSB | HAS_RFDS | HAS_MMIO },
	/* Ivy Bridge, Haswell, Broadwell */
	{ 0x3a, HAS_SRBDS }, { 0x3c, HAS_SRBDS }, { 0x45, HAS_SRBDS }, { 0x46, HAS_SRBDS }, { 0x3f, HAS_MMIO },
	{ 0x3d, HAS_SRBDS }, { 0x47, HAS_SRBDS }, { 0x4f, HAS_MMIO }, { 0x56, HAS_MMIO },
	/* Skylake to Comet Lake */
	{ 0x4e, HAS_SRBDS | HAS_GDS | HAS_MMIO }, { 0x5e, HAS_SRBDS | HAS_GDS | HAS_MMIO },
	{ 0x8e, HAS_SRBDS | HAS_GDS | HAS_MMIO }, { 0x9e, HAS_SRBDS | HAS_GDS | HAS_MMIO }, { 0x55, HAS_GDS | HAS_MMIO },
	{ 0xa5, HAS_GDS | HAS_MMIO }, { 0xa6, HAS_GDS | HAS_MMIO },
	/* Ice Lake, Tiger Lake, Rocket Lake, Lakefield */
	{ 0x7e, HAS_GDS | HAS_MMIO }, { 0x6a, HAS_GDS | HAS_MMIO }, { 0x6c, HAS_GDS | HAS_MMIO },
	{ 0x8c, HAS_GDS }, { 0x8d, HAS_GDS }, { 0xa7, HAS_GDS | HAS_MMIO }, { 0x8a, HAS_MMIO },
	/* Alder Lake, Raptor Lake, Gracemont; Sapphire Rapids, Emerald Rapids, Meteor Lake */
	{ 0x97, HAS_RFDS | LONG_HISTORY }, { 0x9a, HAS_RFDS | LONG_HISTORY }, { 0xb7, HAS_RFDS | LONG_HISTORY },
	{ 0xba, HAS_RFDS | LONG_HISTORY }, { 0xbf, HAS_RFDS | LONG_HISTORY }, { 0xbe, HAS_RFDS },
	{ 0x8f, LONG_HISTORY }, { 0xcf, LONG_HISTORY }, { 0xaa, LONG_HISTORY }, { 0xac, LONG_HISTORY },
};

/* SDM 2A, "CPUID--CPU Identification": version information; the extended model counts in family 6. */
static uint32_t faults_of_model(uint32_t signature)
{
	uint32_t family = signature >> 8 & 0xf, model = (signature >> 4 & 0xf) | (signature >> 12 & 0xf0);

	for (size_t i = 0; family == FAMILY_CORE && i < ARRAY_SIZE(models); i++)
		if (models[i].model == model)
			return models[i].faults;
	return 0;
}

static enum mitigation_state needed(bool affected, bool available)
{
	return !affected ? MITIGATION_NOT_NEEDED : available ? MITIGATION_ON : MITIGATION_NO_MICROCODE;
}

/* VERW: for each of several faults, if the microcode clears its buffers. */
static void decide_verw(const struct mitigation_cpu *c, uint32_t faults, struct mitigation_plan *p)
{
	const uint64_t mmio_no = ARCH_CAP_SBDR_SSDP_NO | ARCH_CAP_FBSDP_NO | ARCH_CAP_PSDP_NO;
	bool md_clear = c->cpuid7_edx & CPUID_7_EDX_MD_CLEAR, mds_no = c->arch_caps & ARCH_CAP_MDS_NO;
	bool mds = !mds_no && !(faults & NO_MDS);
	bool taa = (c->cpuid7_ebx & CPUID_7_EBX_RTM) && !(c->arch_caps & ARCH_CAP_TAA_NO);
	const struct { bool affected, cleared; } reasons[] = {
		{ mds || taa, md_clear },
		/* On CPUs with MDS the clearing for MDS reaches the fill buffers too. */
		{ c->guest_mmio && (faults & HAS_MMIO) && (c->arch_caps & mmio_no) != mmio_no,
		  (c->arch_caps & ARCH_CAP_FB_CLEAR) || (md_clear && !mds_no) },
		{ (faults & HAS_RFDS) && !(c->arch_caps & ARCH_CAP_RFDS_NO), c->arch_caps & ARCH_CAP_RFDS_CLEAR },
	};
	bool affected = false, all = true;

	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		if (!reasons[i].affected)
			continue;
		affected = true;
		if (reasons[i].cleared)
			p->flags |= MITIGATE_VERW;
		else
			all = false;
	}
	p->state[MITIGATION_VERW] = needed(affected, all);
}

/*
 * Spectre variant 2. The hypervisor has indirect branches and is not compiled with retpolines: IBRS protects them, set
 * once and for all where it is the enhanced one, else after each exit. With the enhanced one the return stack buffer is
 * the hypervisor's own but for its first entry, and what is left is the history of branches.
 */
static void decide_branches(const struct mitigation_cpu *c, uint32_t faults, struct mitigation_plan *p)
{
	bool ibrs = c->cpuid7_edx & CPUID_7_EDX_IBRS_IBPB, enhanced = ibrs && (c->arch_caps & ARCH_CAP_IBRS_ALL);
	bool history = enhanced && !(c->arch_caps & ARCH_CAP_BHI_NO);
	bool one = enhanced && !(c->arch_caps & ARCH_CAP_PBRSB_NO) && !(faults & NO_PBRSB);

	p->state[MITIGATION_IBPB] = p->state[MITIGATION_IBRS] = needed(true, ibrs);
	p->state[MITIGATION_RSB] = needed(one || !enhanced, ibrs);
	p->flags |= ibrs ? MITIGATE_IBPB : 0;
	p->flags |= ibrs && !enhanced ? MITIGATE_IBRS_EXIT | MITIGATE_RSB : 0;
	p->flags |= one ? MITIGATE_RSB_ONE : 0;
	p->host_spec_ctrl = ibrs ? SPEC_CTRL_IBRS : 0;
	bool control = c->cpuid7_2_edx & CPUID_7_2_EDX_BHI_CTRL, overwrite = !(faults & LONG_HISTORY);
	p->state[MITIGATION_BHI] = needed(history, control || overwrite);
	if (history && control)
		p->host_spec_ctrl |= SPEC_CTRL_BHI_DIS_S;
	else if (history && overwrite)
		p->flags |= MITIGATE_BHB;
}

void mitigation_decide(const struct mitigation_cpu *c, bool enabled, struct mitigation_plan *p)
{
	uint32_t faults = faults_of_model(c->signature);
	uint64_t caps = c->arch_caps;
	bool l1tf = !(caps & (ARCH_CAP_RDCL_NO | ARCH_CAP_SKIP_L1DFL)) && !(faults & NO_L1TF);
	bool multihit = !(caps & ARCH_CAP_IF_PSCHANGE_MC_NO) && !(faults & NO_MULTIHIT);
	/* The last steppings of Kaby Lake's models are free of it: those without MDS, if they have no TSX. */
	bool srbds = (faults & HAS_SRBDS) && !((caps & ARCH_CAP_MDS_NO) && !(c->cpuid7_ebx & CPUID_7_EBX_RTM));

	memset(p, 0, sizeof(*p));
	p->state[MITIGATION_L1D_FLUSH] = needed(l1tf, c->cpuid7_edx & CPUID_7_EDX_L1D_FLUSH);
	p->state[MITIGATION_MULTIHIT] = needed(multihit, true);
	p->state[MITIGATION_SRBDS] = needed(srbds, c->cpuid7_edx & CPUID_7_EDX_SRBDS_CTRL);
	p->state[MITIGATION_GDS] = needed((faults & HAS_GDS) && !(caps & ARCH_CAP_GDS_NO), caps & ARCH_CAP_GDS_CTRL);
	p->flags |= p->state[MITIGATION_L1D_FLUSH] == MITIGATION_ON ? MITIGATE_L1D : 0;
	p->flags |= multihit ? MITIGATE_SPLIT : 0;
	decide_verw(c, faults, p);
	decide_branches(c, faults, p);
	if (enabled)
		return;
	p->flags = 0;
	p->host_spec_ctrl = 0;
	for (unsigned i = 0; i < MITIGATION_SRBDS; i++) /* the others are the microcode's, whatever we say */
		if (p->state[i] != MITIGATION_NOT_NEEDED)
			p->state[i] = MITIGATION_OFF;
}

const char *mitigation_state_name(enum mitigation_state s)
{
	static const char *const names[] = { "not-needed", "on", "no-microcode", "off" };

	return (unsigned)s < ARRAY_SIZE(names) ? names[s] : "unknown";
}
