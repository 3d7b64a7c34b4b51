/*
 * What is to be done about IA32_FEATURE_CONTROL, which says whether VMXON works (SDM 3C, "Enabling and Entering VMX
 * Operation"). Pure.
 */
#pragma once
#include <tf/types.h>

#define FEATURE_CONTROL_LOCK    BIT(0) /* no further write until the next reset */
#define FEATURE_CONTROL_VMX_SMX BIT(1) /* VMXON works inside SMX operation */
#define FEATURE_CONTROL_VMX     BIT(2) /* and outside */

enum feature_control_verdict { FEATURE_CONTROL_OK, FEATURE_CONTROL_WRITE, FEATURE_CONTROL_REFUSE };

struct feature_control {
	enum feature_control_verdict verdict;
	uint64_t value;               /* WRITE: what to write */
	const char *missing, *advice; /* REFUSE: for people */
};

/*
 * `value`: the MSR as the firmware left it; `has_smx`: CPUID.1:ECX.SMX. Trefoil runs outside SMX operation: its boot
 * loaders make no measured launch.
 */
struct feature_control feature_control_decide(uint64_t value, bool has_smx);
