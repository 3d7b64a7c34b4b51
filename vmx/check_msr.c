/* SDM 3C, "Loading MSRs": entries of the VM-entry MSR-load area that no CPU takes. */
#include "vmx/check_internal.h"
#include <tf/x86.h>

#define ENTRY_SIZE          16u
#define MSR_SMM_MONITOR_CTL 0x9bu
#define MSR_SMBASE          0x9eu
#define X2APIC_MSRS(msr)    ((msr) >> 8 == MSR_X2APIC_BASE >> 8)

bool vmx_check_msr_load(const struct vmcs_view *view, uint64_t n, struct vmx_broken *out)
{
	uint64_t at = view->read(view->ctx, VMCS_ENTRY_MSR_LOAD.enc) + (n - 1) * ENTRY_SIZE, head, value;
	const char *rule = NULL;

	if (!n || n > view->read(view->ctx, VMCS_ENTRY_MSR_LOAD_COUNT.enc) || !view->read_mem ||
	    !view->read_mem(view->ctx, at, &head) || !view->read_mem(view->ctx, at + sizeof(head), &value))
		return true;
	uint32_t msr = (uint32_t)head;
	if (msr == MSR_IA32_FS_BASE || msr == MSR_IA32_GS_BASE)
		rule = "MSR: not IA32_FS_BASE or IA32_GS_BASE, which have fields of their own";
	else if (X2APIC_MSRS(msr))
		rule = "MSR: not one of the x2APIC's registers";
	else if (msr == MSR_SMM_MONITOR_CTL || msr == MSR_SMBASE)
		rule = "MSR: not one that can only be written in SMM";
	else if (msr == MSR_IA32_BIOS_UPDT_TRIG || msr == MSR_IA32_BIOS_SIGN_ID)
		rule = "MSR: not one of the microcode update's";
	else if (head >> 32)
		rule = "entry: bits 63:32 are 0";
	if (rule)
		*out = (struct vmx_broken){ .rule = rule, .section = "Loading MSRs", .field = msr, .value = value };
	return !rule;
}
