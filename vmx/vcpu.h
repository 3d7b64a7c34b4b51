/* One virtual CPU as VT-x sees it: a VMCS, the registers it does not hold, and its execution controls. */
#pragma once
#include "vmx/caps.h"
#include "vmx/exit.h"
#include "vmx/vmcs.h"

enum gpr { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };

struct cpu;

/* In vmx/entry.asm too. */
#define ENTER_LAUNCHED  BIT(0) /* VMRESUME, not VMLAUNCH */
#define ENTER_VERW      BIT(1)
#define ENTER_SPEC_CTRL BIT(2) /* load the guest's */
#define LEAVE_SAVE_SPEC BIT(0) /* save the guest's IA32_SPEC_CTRL, load ours if it differs */
#define LEAVE_LOAD_SPEC BIT(1) /* load ours in any case */
#define LEAVE_RSB       BIT(2)
#define LEAVE_RSB_ONE   BIT(3)
#define LEAVE_BHB       BIT(4)

struct vmx_vcpu {
	uint64_t gpr[16];       /* gpr[RSP] is only a copy: the VMCS holds the real one */
	uint64_t host_rsp;      /* what VMCS_HOST_RSP holds; 0: unknown */
	uint8_t entry_flags, exit_flags; /* ENTER_*, LEAVE_*: what vmx/entry.asm does besides */
	uint64_t spec_ctrl;     /* IA32_SPEC_CTRL of the guest, and of the hypervisor */
	uint64_t host_spec_ctrl;
	bool spec_ctrl_native;  /* the guest uses the MSR, without exits */
	struct vm_exit exit;    /* the last exit */
	uint32_t entry_error;   /* VM-instruction error of a failed entry */

	hpa_t vmcs;
	struct cpu *cpu;        /* where the VMCS is active; NULL: nowhere */
	uint16_t vpid;          /* 0: none */
	hpa_t msr_bitmap;
	uint32_t pin, proc, proc2; /* copies of the controls in the VMCS */
	uint32_t pending_event; /* VM-entry interruption information to be written at the next entry; 0: none */
	uint32_t pending_error, pending_len;
	uint32_t tpr_threshold;
	bool exact_timer;       /* the preemption timer is all that it takes to bound its time in the guest */
	bool pause_exits;       /* without pause-loop exiting: each PAUSE may be made to exit, by PROC_PAUSE_EXIT */
};

/* How the local APIC is virtualised now. */
enum vmx_apic_mode { VMX_APIC_OFF, VMX_APIC_XAPIC, VMX_APIC_X2APIC };

/* Of VMCS_GUEST_INTR_STATUS: the highest requested vector. */
#define INTR_STATUS_RVI(s)              ((s) & 0xffu)
#define INTR_STATUS_WITH_RVI(s, vector) ((uint16_t)(((s) & 0xff00u) | (unsigned)(vector)))

struct vmx_vcpu_setup {
	uint64_t eptp;
	uint16_t vpid;
	hpa_t io_bitmap_a, io_bitmap_b;  /* shared by the VM's vCPUs */
	hpa_t virtual_apic, apic_access; /* frames; used if use_apic */
	bool use_apic;                   /* TPR shadow and what of APIC virtualisation the CPU has */
	hpa_t posted;                    /* posted-interrupt descriptor, 64 bytes; used with virtual-interrupt delivery */
	bool pause_loops;                /* loops of PAUSE exit; see pause_exits where the CPU does not notice them */
};

/* Turns VMX operation on for this CPU (VMXON region, CR0 and CR4 fixed bits). TF_EIO if VMXON fails. */
__must_check enum tf_err vmx_cpu_enable(void);

/*
 * Allocates VMCS and MSR bitmap (all MSRs intercepted) and writes all controls and the host state; the guest state is
 * the caller's to write, with the VMCS left loaded. TF_ENOMEM, TF_ENODEV where the CPU lacks a control it must have.
 */
__must_check enum tf_err vmx_vcpu_init(struct vmx_vcpu *v, const struct vmx_vcpu_setup *s);
void vmx_vcpu_destroy(struct vmx_vcpu *v);
/* Makes v the current VMCS of this CPU. It must not be active on another. Cheap if it is current already. */
void vmx_vcpu_load(struct vmx_vcpu *v);
/* Takes it off this CPU (VMCLEAR), before another CPU may load it. */
void vmx_vcpu_unload(struct vmx_vcpu *v);

void vmx_set_pin(struct vmx_vcpu *v, uint32_t set, uint32_t clear);
void vmx_set_proc(struct vmx_vcpu *v, uint32_t set, uint32_t clear);
void vmx_set_proc2(struct vmx_vcpu *v, uint32_t set, uint32_t clear);
/* Switches the APIC-virtualisation controls (no effect without use_apic). x2APIC MSRs are opened in the MSR bitmap to match. */
void vmx_set_apic_mode(struct vmx_vcpu *v, enum vmx_apic_mode mode);

/* MSR bitmap: what is not opened here is intercepted. Only 0 to 1FFFh and C0000000h to C0001FFFh have bits. */
void vmx_msr_open(struct vmx_vcpu *v, uint32_t msr, bool read, bool write);

/*
 * The TSC ticks, fewer than 2^32, until the preemption timer makes the guest exit; must be set before each entry (if the CPU
 * has the timer).
 */
static inline void vmx_arm_preemption(uint64_t ticks)
{
	vmcs_vmwrite(VMCS_PREEMPTION_TIMER.enc, ticks >> vmx_caps.preemption_shift);
}

/* Flushes this CPU's cached translations of one guest-physical space. */
void vmx_flush_ept(uint64_t eptp);
/* Flushes this CPU's cached linear translations of one vCPU; 0: of all. */
void vmx_flush_vpid(uint16_t vpid);
/* The same for `v`. Where the CPU has no VPIDs each entry and exit flushes. */
static inline void vmx_vcpu_flush(const struct vmx_vcpu *v)
{
	if (v->vpid)
		vmx_flush_vpid(v->vpid);
}

/* Names of a VM-instruction error (SDM 3C, "VM-Instruction Error Numbers") and of a basic exit reason. */
const char *vmx_error_name(uint32_t error);
const char *vmx_exit_name(uint32_t reason);
