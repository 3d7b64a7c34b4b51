/* CR0, CR4, CR8, LMSW and CLTS where the guest does not own the bits. */
#include "arch/x86_64/cpu.h"
#include "guest/exit.h"

#define AR_TSS16_BUSY 3
#define LMSW_CLEARS   (CR0_MP | CR0_EM | CR0_TS) /* it can set PE too, but not clear it */
#define CR0_RESERVED (~(CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG))

/*
 * Ours: caching is the machine's, NE is demanded by VMX operation. With an unrestricted guest PE and PG are its own.
 * ET and the reserved bits, which ignore what is written, too: below another hypervisor they would keep it.
 */
static uint64_t cr0_mask(void)
{
	uint64_t fixed = (vmx_caps.cr0_fixed0 | ~vmx_caps.cr0_fixed1) & ~(CR0_PE | CR0_PG);

	return fixed | CR0_CD | CR0_NW | CR0_ET | CR0_RESERVED;
}

/*
 * MCE is the machine's: a machine check while it is 0 shuts the processor down, guest or not (SDM 3B, "Machine-Check
 * Architecture"). The guest has its own in the shadow, and no machine checks.
 */
static uint64_t cr4_mask(const struct vcpu *v)
{
	return vmx_caps.cr4_fixed0 | ~vmx_caps.cr4_fixed1 | v->vm->cpuid.cr4_reserved | CR4_MCE;
}

void cr_set(struct vcpu *v, uint64_t cr0, uint64_t cr4)
{
	uint64_t m0 = cr0_mask(), m4 = cr4_mask(v);

	vmcs_write(VMCS_CR0_MASK, m0);
	vmcs_write(VMCS_CR0_SHADOW, cr0);
	vmcs_write(VMCS_GUEST_CR0, (cr0 & ~(CR0_CD | CR0_NW)) | (vmx_caps.cr0_fixed0 & ~(CR0_PE | CR0_PG)));
	vmcs_write(VMCS_CR4_MASK, m4);
	vmcs_write(VMCS_CR4_SHADOW, cr4);
	vmcs_write(VMCS_GUEST_CR4, (cr4 & ~CR4_MCE) | vmx_caps.cr4_fixed0 | (read_cr4() & CR4_MCE));
}

static uint64_t guest_cr0(void)
{
	uint64_t m = vmcs_read(VMCS_CR0_MASK);

	return (vmcs_read(VMCS_CR0_SHADOW) & m) | (vmcs_read(VMCS_GUEST_CR0) & ~m);
}

static uint64_t guest_cr4(void)
{
	uint64_t m = vmcs_read(VMCS_CR4_MASK);

	return (vmcs_read(VMCS_CR4_SHADOW) & m) | (vmcs_read(VMCS_GUEST_CR4) & ~m);
}

/* Loads the four PDPTEs as MOV to a control register does; false: one has a reserved bit set (#GP). */
static bool load_pdptes(struct vcpu *v)
{
	uint64_t reserved = ~(BIT(v->vm->cpuid.phys_bits) - 1) | PDPTE_RESERVED;
	gpa_t at = GPA(vmcs_read(VMCS_GUEST_CR3) & CR3_PAE_TABLE);
	uint64_t pdpte[4];

	if (mem_read(&v->vm->mem, at, pdpte, sizeof(pdpte)))
		return false;
	for (unsigned i = 0; i < 4; i++)
		if ((pdpte[i] & PDPTE_P) && (pdpte[i] & reserved))
			return false;
	for (unsigned i = 0; i < 4; i++)
		vmcs_write(VMCS_GUEST_PDPTE(i), pdpte[i]);
	return true;
}

/* SDM 2B, "MOV--Move to/from Control Registers": what raises #GP, and what switching paging does. */
static enum action write_cr0_guest(struct vcpu *v, uint64_t value)
{
	uint64_t old = guest_cr0(), efer = vmcs_read(VMCS_GUEST_EFER), cr4 = guest_cr4();

	if ((value >> 32) || ((value & CR0_PG) && !(value & CR0_PE)) || ((value & CR0_NW) && !(value & CR0_CD)))
		return vcpu_gp(v);
	value = (value & ~CR0_RESERVED) | CR0_ET;
	if ((value & CR0_PG) && !(old & CR0_PG)) {
		if (efer & EFER_LME) {
			/* "IA-32e Mode": not with a 16-bit TSS in TR, which an entry refuses too */
			if (!(cr4 & CR4_PAE) || (vmcs_read(VMCS_GUEST_AR(SEG_CS)) & AR_L) ||
			    AR_TYPE(vmcs_read(VMCS_GUEST_AR(SEG_TR))) == AR_TSS16_BUSY)
				return vcpu_gp(v);
			vmcs_write(VMCS_GUEST_EFER, efer | EFER_LMA);
			vcpu_enter_ia32e(true);
		} else if ((cr4 & CR4_PAE) && !load_pdptes(v)) {
			return vcpu_gp(v);
		}
	} else if (!(value & CR0_PG) && (old & CR0_PG)) {
		if ((cr4 & CR4_PCIDE) || vcpu_code64())
			return vcpu_gp(v);
		if (efer & EFER_LMA) {
			vmcs_write(VMCS_GUEST_EFER, efer & ~EFER_LMA);
			vcpu_enter_ia32e(false);
		}
	} else if ((value & CR0_PG) && (cr4 & CR4_PAE) && !(efer & EFER_LMA) && ((old ^ value) & (CR0_CD | CR0_NW)) &&
		   !load_pdptes(v)) {
		return vcpu_gp(v);
	}
	if ((old ^ value) & (CR0_PG | CR0_WP | CR0_PE))
		vmx_vcpu_flush(&v->vmx);
	cr_set(v, value, cr4);
	return ACT_NEXT;
}

static enum action write_cr4_guest(struct vcpu *v, uint64_t value)
{
	uint64_t old = guest_cr4(), changed = old ^ value, efer = vmcs_read(VMCS_GUEST_EFER);
	uint64_t cr0 = guest_cr0();

	if (value & v->vm->cpuid.cr4_reserved)
		return vcpu_gp(v);
	if ((efer & EFER_LMA) && !(value & CR4_PAE))
		return vcpu_gp(v);
	if ((changed & value & CR4_PCIDE) && (!(efer & EFER_LMA) || (vmcs_read(VMCS_GUEST_CR3) & 0xfff)))
		return vcpu_gp(v);
	if ((cr0 & CR0_PG) && (value & CR4_PAE) && !(efer & EFER_LMA) &&
	    (changed & (CR4_PAE | CR4_PSE | CR4_PGE | CR4_SMEP)) && !load_pdptes(v))
		return vcpu_gp(v);
	if (changed & (CR4_PAE | CR4_PSE | CR4_PGE | CR4_SMEP | CR4_SMAP | CR4_PCIDE | CR4_PKE))
		vmx_vcpu_flush(&v->vmx);
	cr_set(v, cr0, value);
	return ACT_NEXT;
}

static enum action access_cr8(struct vcpu *v, const struct exit_cr *x, uint64_t *reg)
{
	if (x->op == CR_OP_READ) {
		*reg = vlapic_read(&v->lapic, APIC_TPR) >> 4;
		return ACT_NEXT;
	}
	if (*reg & ~0xfull)
		return vcpu_gp(v);
	vlapic_write(&v->lapic, APIC_TPR, (uint32_t)*reg << 4);
	vcpu_request(v, REQ_EVENT);
	return ACT_NEXT;
}

bool cr3_set(struct vcpu *v, uint64_t value, bool flush)
{
	uint64_t old = vmcs_read(VMCS_GUEST_CR3);

	if (vcpu_long_mode() && (value & ~(BIT(v->vm->cpuid.phys_bits) - 1)))
		return false;
	vmcs_write(VMCS_GUEST_CR3, value);
	if ((guest_cr0() & CR0_PG) && (guest_cr4() & CR4_PAE) && !vcpu_long_mode() && !load_pdptes(v)) {
		vmcs_write(VMCS_GUEST_CR3, old);
		return false;
	}
	if (flush)
		vmx_vcpu_flush(&v->vmx);
	return true;
}

static enum action write_cr3_guest(struct vcpu *v, uint64_t value)
{
	bool no_flush = (guest_cr4() & CR4_PCIDE) && (value & BIT(63));

	return cr3_set(v, no_flush ? value & ~BIT(63) : value, !no_flush) ? ACT_NEXT : vcpu_gp(v);
}

enum action exit_cr_access(struct vcpu *v)
{
	struct exit_cr x = exit_cr();
	uint64_t rsp = 0, *reg = &v->vmx.gpr[x.reg];

	if (x.reg == RSP) {
		rsp = vmcs_read(VMCS_GUEST_RSP);
		reg = &rsp;
	}
	if (x.op == CR_OP_LMSW)
		return write_cr0_guest(v, (guest_cr0() & ~LMSW_CLEARS) | (x.lmsw & (LMSW_CLEARS | CR0_PE)));
	if (x.op == CR_OP_CLTS)
		return write_cr0_guest(v, guest_cr0() & ~CR0_TS);
	uint64_t value = vcpu_code64() ? *reg : (uint32_t)*reg;
	enum action act = ACT_STOP;
	if (x.cr == 8)
		act = access_cr8(v, &x, reg);
	else if (x.cr == 3 && x.op == CR_OP_READ)
		*reg = vmcs_read(VMCS_GUEST_CR3), act = ACT_NEXT;
	else if (x.cr == 3)
		act = write_cr3_guest(v, value);
	else if (x.cr == 0)
		act = write_cr0_guest(v, value);
	else if (x.cr == 4)
		act = write_cr4_guest(v, value);
	else
		vm_stop_report(v, VM_STOP_ERROR, "access to CR%u", x.cr);
	if (x.reg == RSP && x.op == CR_OP_READ)
		vmcs_write(VMCS_GUEST_RSP, rsp);
	return act;
}
