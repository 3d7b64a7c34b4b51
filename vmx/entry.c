/* What vmx/entry.asm knows of the struct, and an entry that has failed. */
#include "arch/x86_64/cpu.h"
#include "vmx/run.h"

_Static_assert(offsetof(struct vmx_vcpu, gpr) == 0, "GPR in vmx/entry.asm");
_Static_assert(offsetof(struct vmx_vcpu, host_rsp) == 128, "HOST_RSP in vmx/entry.asm");
_Static_assert(offsetof(struct vmx_vcpu, entry_flags) == 136, "ENTRY_FLAGS in vmx/entry.asm");
_Static_assert(offsetof(struct vmx_vcpu, exit_flags) == 137, "EXIT_FLAGS in vmx/entry.asm");
_Static_assert(offsetof(struct vmx_vcpu, spec_ctrl) == 144, "SPEC_CTRL in vmx/entry.asm");
_Static_assert(offsetof(struct vmx_vcpu, host_spec_ctrl) == 152, "HOST_SPEC_CTRL in vmx/entry.asm");
_Static_assert(ENTER_LAUNCHED == 1 && ENTER_VERW == 2 && ENTER_SPEC_CTRL == 4, "ENTER_* in vmx/entry.asm");
_Static_assert(LEAVE_SAVE_SPEC == 1 && LEAVE_LOAD_SPEC == 2 && LEAVE_RSB == 4 && LEAVE_RSB_ONE == 8 && LEAVE_BHB == 16,
	       "LEAVE_* in vmx/entry.asm");
_Static_assert(RSI == 6 && R15 == 15, "register order in vmx/entry.asm");

enum { VMFAIL_VALID = 1 };

enum tf_err vmx_entry_failed(struct vmx_vcpu *v, unsigned how)
{
	if (v->entry_flags & ENTER_SPEC_CTRL)
		wrmsr(MSR_IA32_SPEC_CTRL, v->host_spec_ctrl);
	v->exit.reason = EXIT_NONE;
	v->entry_error = how == VMFAIL_VALID ? vmcs_read(VMCS_INSTRUCTION_ERROR) : 0;
	return TF_EIO;
}
