/*
 * Which speculative-execution faults this CPU has, and what is done about them for guests next to guests. Pure.
 * Sources: SDM 4, "IA32_ARCH_CAPABILITIES"; Intel's guidance on each ("Deep Dive" articles); docs/mitigations.md.
 */
#pragma once
#include <tf/types.h>

/* What the CPU says of itself, and what its guests are given. */
struct mitigation_cpu {
	uint32_t signature;            /* CPUID.1:EAX */
	uint32_t cpuid7_ebx, cpuid7_edx, cpuid7_2_edx;
	uint64_t arch_caps;            /* IA32_ARCH_CAPABILITIES; 0 where it is absent */
	bool guest_mmio;               /* guests reach registers of real devices */
};

enum mitigation {
	MITIGATION_L1D_FLUSH, /* L1TF: data of others is flushed from the L1 data cache */
	MITIGATION_VERW,      /* MDS, TAA, MMIO stale data, RFDS: buffers are cleared before each entry */
	MITIGATION_IBPB,      /* Spectre variant 2 between vCPUs: a barrier when the CPU changes hands */
	MITIGATION_IBRS,      /* the same from a guest to the hypervisor */
	MITIGATION_RSB,       /* returns of the hypervisor that a guest has trained */
	MITIGATION_BHI,       /* branch history that a guest has made */
	MITIGATION_MULTIHIT,  /* machine check on page size change: executable EPT pages are of 4 KiB */
	MITIGATION_SRBDS,     /* special registers (RDRAND) from another core; done by microcode */
	MITIGATION_GDS,       /* gather; done by microcode */
	NMITIGATIONS,
};

enum mitigation_state {
	MITIGATION_NOT_NEEDED,
	MITIGATION_ON,
	MITIGATION_NO_MICROCODE, /* needed, but this CPU's microcode is too old for it */
	MITIGATION_OFF,          /* needed, but the configuration says no */
};

/* What there is to do. */
#define MITIGATE_L1D        BIT(0) /* IA32_FLUSH_CMD when the data of others has been touched */
#define MITIGATE_VERW       BIT(1) /* VERW as the last instruction before an entry */
#define MITIGATE_IBPB       BIT(2) /* IA32_PRED_CMD, and the return stack buffer filled, at a change of vCPU */
#define MITIGATE_IBRS_EXIT  BIT(3) /* IA32_SPEC_CTRL written after each exit, whatever it held */
#define MITIGATE_RSB        BIT(4) /* the return stack buffer filled after each exit */
#define MITIGATE_RSB_ONE    BIT(5) /* one call retired after each exit */
#define MITIGATE_BHB        BIT(6) /* the branch history overwritten after each exit */
#define MITIGATE_SPLIT      BIT(7) /* large EPT pages are not executable */
#define MITIGATE_ALL        (BIT(8) - 1)

struct mitigation_plan {
	enum mitigation_state state[NMITIGATIONS];
	uint32_t flags;          /* MITIGATE_* */
	uint64_t host_spec_ctrl; /* IA32_SPEC_CTRL while the hypervisor runs */
};

/* `enabled` is the configuration's word. */
void mitigation_decide(const struct mitigation_cpu *cpu, bool enabled, struct mitigation_plan *out);

/* The bits of IA32_ARCH_CAPABILITIES that hold for a guest too: properties of the CPU, not controls that a guest has not. */
#define ARCH_CAP_GUEST (ARCH_CAP_RDCL_NO | ARCH_CAP_IBRS_ALL | ARCH_CAP_RSBA | ARCH_CAP_SKIP_L1DFL | ARCH_CAP_SSB_NO | \
			ARCH_CAP_MDS_NO | ARCH_CAP_IF_PSCHANGE_MC_NO | ARCH_CAP_TAA_NO | ARCH_CAP_SBDR_SSDP_NO | \
			ARCH_CAP_FBSDP_NO | ARCH_CAP_PSDP_NO | ARCH_CAP_FB_CLEAR | ARCH_CAP_RRSBA | ARCH_CAP_BHI_NO | \
			ARCH_CAP_PBRSB_NO | ARCH_CAP_GDS_NO | ARCH_CAP_RFDS_NO | ARCH_CAP_RFDS_CLEAR)

/* Words for the log. */
const char *mitigation_state_name(enum mitigation_state s);
