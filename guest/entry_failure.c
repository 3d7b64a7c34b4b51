/* VM entries that fail: our fault, but it costs only this VM, and the report says which rule of the manual is broken. */
#include "guest/exit.h"
#include "vmx/check.h"

static void report(struct vcpu *v, const char *what, uint64_t qualification)
{
	struct vmx_broken b;

	if (vmx_check_current(&b))
		vm_stop_report(v, VM_STOP_ERROR, "\"%s\" qualification=%lx rule=unknown", what, qualification);
	else
		vm_stop_report(v, VM_STOP_ERROR, "\"%s\" qualification=%lx rule=\"%s\" section=\"%s\" field=%04x value=%lx",
			       what, qualification, b.rule, b.section, b.field, b.value);
}

void vcpu_entry_refused(struct vcpu *v)
{
	report(v, vmx_error_name(v->vmx.entry_error), 0);
}

enum action exit_entry_failure(struct vcpu *v)
{
	uint64_t qualification = vmcs_read(VMCS_EXIT_QUALIFICATION);

	switch (v->vmx.exit.reason & 0xffff) {
	case EXIT_BAD_MSR_LOAD:
		vm_stop_report(v, VM_STOP_ERROR, "\"VM entry with an MSR that cannot be loaded\" entry=%lu "
			       "section=\"Loading MSRs\"", qualification);
		break;
	case EXIT_MACHINE_CHECK:
		vm_stop_report(v, VM_STOP_ERROR, "\"machine check during VM entry\" qualification=%lx", qualification);
		break;
	default:
		report(v, "VM entry with invalid guest state", qualification);
	}
	return ACT_STOP;
}
