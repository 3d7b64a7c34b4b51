/* SDM 3B, "Debug, Branch Profile, TSC, and Intel Resource Director Technology Features"; 3C, "Intel Processor Trace" */
#include "arch/x86_64/trace.h"
#include "arch/x86_64/cpu.h"
#include <tf/log.h>

#define MSR_IA32_PERF_GLOBAL_CTRL 0x38f
#define MSR_IA32_PEBS_ENABLE      0x3f1
#define MSR_IA32_RTIT_CTL         0x570
#define MSR_IA32_LBR_CTL          0x14ce

#define CPUID_1_EDX_DS            BIT(21)
#define CPUID_7_EBX_PT            BIT(25)
#define CPUID_7_EDX_ARCH_LBR      BIT(19)
#define CPUID_PERFMON             0xa
#define PERFMON_VERSION(eax)      ((eax) & 0xff)
#define MISC_ENABLE_NO_PEBS       BIT(12)

/* One that is not there, as in emulators that announce more than they have, is off. */
static bool stop(uint32_t msr)
{
	uint64_t v;

	return !rdmsr_safe(msr, &v) || !v || wrmsr_safe(msr, 0);
}

void trace_off(void)
{
	uint32_t max = cpuid(0, 0).eax;
	struct cpuid seven = max >= 7 ? cpuid(7, 0) : (struct cpuid){ 0 };
	uint32_t version = max >= CPUID_PERFMON ? PERFMON_VERSION(cpuid(CPUID_PERFMON, 0).eax) : 0;
	uint64_t misc;
	bool ok = stop(MSR_IA32_DEBUGCTL);

	if (version >= 2)
		ok &= stop(MSR_IA32_PERF_GLOBAL_CTRL);
	if (version && (cpuid(1, 0).edx & CPUID_1_EDX_DS) && rdmsr_safe(MSR_IA32_MISC_ENABLE, &misc) &&
	    !(misc & MISC_ENABLE_NO_PEBS))
		ok &= stop(MSR_IA32_PEBS_ENABLE);
	if (seven.ebx & CPUID_7_EBX_PT)
		ok &= stop(MSR_IA32_RTIT_CTL);
	if (seven.edx & CPUID_7_EDX_ARCH_LBR)
		ok &= stop(MSR_IA32_LBR_CTL);
	if (!ok)
		log_warn("cpu", "event=trace-left-on");
}
