/*
 * Why a VM entry failed: the checks that the CPU makes, in the manual's order (SDM 3C, chapter "VM Entries"), over any
 * set of VMCS fields. Pure. Honours the controls that are set, and takes a broken VMCS as it is.
 *
 * Not checked, since neither the VMCS nor vmx_caps says which bits are reserved: IA32_PERF_GLOBAL_CTRL, IA32_RTIT_CTL,
 * IA32_LBR_CTL. Nor the state of FRED, which needs a CR4 bit that Trefoil never sets.
 */
#pragma once
#include "vmx/caps.h"

struct vmcs_view {
	void *ctx;
	uint64_t (*read)(void *ctx, uint32_t field);                /* 0 for a field that the CPU lacks */
	bool (*read_mem)(void *ctx, uint64_t addr, uint64_t *out);  /* 8 bytes of host-physical memory; NULL or false: */
	                                                            /* rules about memory are passed over */
	const struct vmx_caps *caps;
	unsigned phys_bits, linear_bits;                            /* CPUID.80000008H:EAX */
	bool lam, sgx, rtm;                                         /* CPUID.7.1:EAX[26], CPUID.7.0:EBX[2], EBX[11] */
	uint64_t vmcs;                                              /* address of this VMCS */
};

struct vmx_broken {
	const char *rule;    /* what must hold */
	const char *section; /* title in SDM 3C */
	uint32_t field;      /* encoding and value of the field that does not obey it */
	uint64_t value;
};

/* True if every rule holds. Else false, and *out is the first rule that does not; on true, *out is untouched. */
__must_check bool vmx_check(const struct vmcs_view *view, struct vmx_broken *out);

/*
 * The same for entry `n`, from 1, of the VM-entry MSR-load area: exit reason 34 has its number. True if all rules hold
 * that can be told without the MSR; on false, field and value in *out are the MSR's number and the value for it.
 */
__must_check bool vmx_check_msr_load(const struct vmcs_view *view, uint64_t n, struct vmx_broken *out);

/* Is each of the eight fields of an IA32_PAT value a memory type? */
bool vmx_pat_ok(uint64_t pat);

/* The same for this CPU's current VMCS. Not pure: vmx/check_current.c. */
__must_check bool vmx_check_current(struct vmx_broken *out);
__must_check bool vmx_check_current_msr_load(uint64_t n, struct vmx_broken *out);
