#include "vmx/cpu.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/frames.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/symbols.h"
#include "arch/x86_64/trap.h"
#include "vmx/vcpu.h"
#include <tf/assert.h>
#include <tf/log.h>
#include <tf/panic.h>

/* SDM 3C, "VMX Instruction Reference": CF = VMfailInvalid, ZF = VMfailValid */
#define VMX_INSN_MEM(insn, operand, fail)                                                     \
	__asm__ goto(insn " %0\n\tjbe %l[" #fail "]" : : "m"(operand) : "cc", "memory" : fail)

/* The function that has called one of the two below. */
static const char *caller(const void *return_address, char name[SYMBOL_MAX])
{
	uint64_t offset;

	return symbol_lookup((uint64_t)return_address - 1, name, &offset) ? name : "?";
}

void vmcs_read_failed(uint32_t field)
{
	char name[SYMBOL_MAX];

	panic("vmx: VMREAD of field %04xh failed in %s", field, caller(__builtin_return_address(0), name));
}

void vmcs_write_failed(uint32_t field, uint64_t value)
{
	char name[SYMBOL_MAX];

	panic("vmx: VMWRITE of %lxh to field %04xh failed in %s", value, field, caller(__builtin_return_address(0), name));
}

void vmx_vmclear(hpa_t vmcs)
{
	uint64_t operand = test_hook_vmx("vmclear", vmcs.v);

	VMX_INSN_MEM("vmclear", operand, failed);
	return;
failed:
	panic("vmx: VMCLEAR of %lxh failed", vmcs.v);
}

void vmx_vmptrld(hpa_t vmcs)
{
	uint64_t operand = test_hook_vmx("vmptrld", vmcs.v);

	VMX_INSN_MEM("vmptrld", operand, failed);
	return;
failed:
	panic("vmx: VMPTRLD of %lxh failed", vmcs.v);
}

enum tf_err vmx_cpu_enable(void)
{
	struct cpu *c = this_cpu();
	struct vmx_cpu *vc = (struct vmx_cpu *)c->vmx_room;

	_Static_assert(sizeof(*vc) <= sizeof(c->vmx_room), "struct vmx_cpu has its room in struct cpu");
	write_cr0((read_cr0() | vmx_caps.cr0_fixed0) & vmx_caps.cr0_fixed1);
	write_cr4((read_cr4() | CR4_VMXE | vmx_caps.cr4_fixed0) & vmx_caps.cr4_fixed1);
	enum tf_err e = frame_alloc_zero(&vc->vmxon);
	if (e)
		return e;
	*(uint32_t *)phys_to_virt(vc->vmxon) = vmx_caps.revision;
	uint64_t operand = test_hook_vmx("vmxon", vc->vmxon.v);
	/* It faults where IA32_FEATURE_CONTROL or a hypervisor below does not allow it after all. */
	__asm__ goto("1:\tvmxon %0\n\tjbe %l[failed]\n\t" FIXUP("1b", "%l[failed]")
		     : : "m"(operand) : "cc", "memory" : failed);
	c->vmx = vc;
	/* The firmware, or whoever ran before, may have left translations under our tags. */
	if (vmx_caps.ept_vpid & EPTCAP_INVEPT_ALL)
		vmx_flush_ept(0);
	if (vmx_caps.vpid && (vmx_caps.ept_vpid & EPTCAP_INVVPID_ALL))
		vmx_flush_vpid(0);
	return TF_OK;
failed:
	log_error("vmx", "event=vmxon-failed cpu=%u region=%lxh", c->id, vc->vmxon.v);
	frame_free(vc->vmxon, 0);
	return TF_EIO;
}

enum { INV_SINGLE = 1, INV_ALL = 2 };

/* Single-context where the CPU has it, else all contexts. */
void vmx_flush_ept(uint64_t eptp)
{
	struct { uint64_t eptp, zero; } d = { eptp, 0 };
	uint64_t type = eptp && (vmx_caps.ept_vpid & EPTCAP_INVEPT_SINGLE) ? INV_SINGLE : INV_ALL;

	__asm__ goto("invept %0, %1\n\tjbe %l[failed]" : : "m"(d), "r"(test_hook_vmx("invept", type)) : "cc", "memory" : failed);
	return;
failed:
	panic("vmx: INVEPT type %lu of %lxh failed", type, eptp);
}

void vmx_flush_vpid(uint16_t vpid)
{
	struct { uint64_t vpid, linear; } d = { vpid, 0 };
	uint64_t type = vpid && (vmx_caps.ept_vpid & EPTCAP_INVVPID_SINGLE) ? INV_SINGLE : INV_ALL;

	__asm__ goto("invvpid %0, %1\n\tjbe %l[failed]" : : "m"(d), "r"(test_hook_vmx("invvpid", type)) : "cc", "memory" : failed);
	return;
failed:
	panic("vmx: INVVPID type %lu of %u failed", type, vpid);
}
