#include "vmx/feature_control.h"

struct feature_control feature_control_decide(uint64_t value, bool has_smx)
{
	if (!(value & FEATURE_CONTROL_LOCK))
		/* The lock for both: without it VMXON faults, and whoever runs a measured launch later finds what it needs. */
		return (struct feature_control){
			.verdict = FEATURE_CONTROL_WRITE,
			.value = value | FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX | (has_smx ? FEATURE_CONTROL_VMX_SMX : 0),
		};
	if (value & FEATURE_CONTROL_VMX)
		return (struct feature_control){ .verdict = FEATURE_CONTROL_OK };
	if (value & FEATURE_CONTROL_VMX_SMX)
		return (struct feature_control){
			.verdict = FEATURE_CONTROL_REFUSE,
			.missing = "VT-x outside SMX (the firmware has locked it to measured launches in IA32_FEATURE_CONTROL)",
			.advice = "switch Intel TXT off in the firmware settings, leave Intel Virtualization Technology on, and switch "
				  "the machine off and on",
		};
	return (struct feature_control){
		.verdict = FEATURE_CONTROL_REFUSE,
		.missing = "VT-x (locked off by the firmware in IA32_FEATURE_CONTROL)",
		.advice = "enable Intel Virtualization Technology in the firmware settings and switch the machine off and on",
	};
}
