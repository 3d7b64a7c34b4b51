#include "vmx/event.h"
#include "vmx/vcpu.h"
#include <tf/assert.h>

unsigned vmx_enter(struct vmx_vcpu *v, bool launched); /* vmx/entry.asm */

/* What vmx/entry.asm knows of the struct. */
_Static_assert(offsetof(struct vmx_vcpu, gpr) == 0, "GPR in vmx/entry.asm");
_Static_assert(offsetof(struct vmx_vcpu, host_rsp) == 128, "HOST_RSP in vmx/entry.asm");
_Static_assert(RSI == 6 && R15 == 15, "register order in vmx/entry.asm");

enum { VMFAIL_VALID = 1 };

enum tf_err vmx_run(struct vmx_vcpu *v)
{
	if (v->pending_event)
		vmx_commit_event(v);
	unsigned failed = vmx_enter(v, v->launched);
	if (unlikely(failed)) {
		v->exit.reason = EXIT_NONE;
		v->entry_error = failed == VMFAIL_VALID ? vmcs_read(VMCS_INSTRUCTION_ERROR) : 0;
		return TF_EIO;
	}
	v->exit.reason = vmcs_read(VMCS_EXIT_REASON);
	v->exit.kind = v->exit.reason & (EXIT_ENTRY_FAILED | 0xffff);
	v->launched = true;
	return TF_OK;
}
