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

/* "VM-Instruction Error Numbers": these two are about the VMCS, the others about the moment and the state it is in. */
enum { ERROR_CONTROLS = 7, ERROR_HOST_STATE = 8 };

void vcpu_entry_refused(struct vcpu *v)
{
	uint32_t error = v->vmx.entry_error;

	if (error == ERROR_CONTROLS || error == ERROR_HOST_STATE)
		report(v, vmx_error_name(error), 0);
	else
		vm_stop_report(v, VM_STOP_ERROR, "\"%s\" error=%u section=\"VM-Instruction Error Numbers\"",
			       error ? vmx_error_name(error) : "VM entry without a current VMCS", error);
}

static void report_msr(struct vcpu *v, uint64_t n)
{
	const char *what = "VM entry with an MSR that cannot be loaded";
	struct vmx_broken b;

	if (vmx_check_current_msr_load(n, &b))
		vm_stop_report(v, VM_STOP_ERROR, "\"%s\" entry=%lu rule=\"MSR: one that the CPU has, and a value that it takes\" "
			       "section=\"Loading MSRs\"", what, n);
	else
		vm_stop_report(v, VM_STOP_ERROR, "\"%s\" entry=%lu rule=\"%s\" section=\"%s\" msr=%x value=%lx", what, n,
			       b.rule, b.section, b.field, b.value);
}

enum action exit_entry_failure(struct vcpu *v)
{
	uint64_t qualification = vmcs_read(VMCS_EXIT_QUALIFICATION);

	switch (v->vmx.exit.reason & 0xffff) {
	case EXIT_BAD_MSR_LOAD:
		report_msr(v, qualification);
		break;
	case EXIT_MACHINE_CHECK:
		vm_stop_report(v, VM_STOP_ERROR, "\"machine check during VM entry\" qualification=%lx", qualification);
		__asm__ volatile("int $18" : : : "memory"); /* the machine's, and no exception tells us again */
		break;
	default:
		report(v, "VM entry with invalid guest state", qualification);
	}
	return ACT_STOP;
}
