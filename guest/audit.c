#include "guest/audit.h"
#include "arch/x86_64/paging.h"
#include "guest/fpu.h"
#include <tf/math.h>
#include <tf/string.h>

#define EPTE_TYPE_SHIFT 3
#define EPTE_TYPE_MASK  7
/* SDM 3C, "MSR-Bitmap Address": which bit of the four bitmaps is which MSR's */
#define MSRBIT_NUMBER   0x1fffu
#define MSRBIT_HIGH     0x2000u
#define MSRBIT_WRITE    0x4000u
#define MSR_HIGH        0xc0000000u
#define X2APIC_TPR      (MSR_X2APIC_BASE + 0x08)
#define X2APIC_EOI      (MSR_X2APIC_BASE + 0x0b)
#define X2APIC_SELF_IPI (MSR_X2APIC_BASE + 0x3f)
#define X2APIC_END      (MSR_X2APIC_BASE + 0x100)

static void each(frames_fn fn, void *ctx, const char *what, hpa_t start, unsigned order)
{
	if (start.v)
		fn(ctx, what, start.v, start.v + (PAGE_SIZE << order));
}

void vm_each_frames(const struct vm *vm, frames_fn fn, void *ctx)
{
	hpa_t spare = vm->spare_tables;

	each(fn, ctx, "state", virt_to_phys(vm), frame_order(sizeof(*vm)));
	for (uint32_t i = 0; i < vm->mem.nslots; i++)
		each(fn, ctx, "RAM", vm->mem.slots[i].hpa, vm->mem.slots[i].order);
	each(fn, ctx, "I/O bitmap", vm->io_bitmap, IO_BITMAP_ORDER);
	each(fn, ctx, "APIC-access page", vm->apic_access, 0);
	each(fn, ctx, "empty ROM", vm->empty_rom, 0);
	while (spare.v) {
		each(fn, ctx, "spare table", spare, 0);
		spare = HPA(*(uint64_t *)phys_to_virt(spare));
	}
	for (uint32_t i = 0; i < vm->nvcpus; i++) {
		const struct vcpu *v = vm->vcpus[i];

		each(fn, ctx, "vCPU", virt_to_phys(v), frame_order(sizeof(*v)));
		each(fn, ctx, "virtual-APIC page", v->apic_page, 0);
		each(fn, ctx, "XSAVE area", v->fpu_frame, fpu_order());
		each(fn, ctx, "VMCS", v->vmx.vmcs, 0);
		each(fn, ctx, "MSR bitmap", v->vmx.msr_bitmap, 0);
	}
}

const char *vm_page_wrong(struct vm *vm, const struct table_leaf *leaf, bool *foreign)
{
	uint64_t gpa = leaf->addr, may = EPT_RWX;
	const void *ram = mem_at(&vm->mem, GPA(gpa), leaf->size);
	hpa_t own = HPA(0);

	if (ram)
		own = virt_to_phys(ram);
	else if (gpa >= OPTION_ROM_BASE && gpa < OPTION_ROM_END && leaf->size == PAGE_SIZE)
		own = vm->empty_rom, may = EPT_R;
	else if (gpa == APIC_DEFAULT_BASE && leaf->size == PAGE_SIZE)
		own = vm->apic_access, may = EPT_R | EPT_W;
	*foreign = !own.v || own.v != leaf->frame;
	if (*foreign)
		return "the guest can reach a frame that is not the one it has there";
	if (leaf->rights & ~may)
		return "the guest can write or execute what is read-only or data";
	if ((leaf->entry >> EPTE_TYPE_SHIFT & EPTE_TYPE_MASK) != MT_WB)
		return "RAM with another memory type than write-back";
	return NULL;
}

/* What may be open without an exit: MSRs that are switched with the guest, commands, and what the virtual-APIC page answers. */
static bool may_open(const struct vmx_vcpu *v, uint32_t msr, bool write)
{
	bool x2apic = v->proc2 & PROC2_X2APIC;

	switch (msr) {
	case MSR_IA32_SPEC_CTRL:
	case MSR_IA32_SYSENTER_CS ... MSR_IA32_SYSENTER_EIP:
	case MSR_IA32_FS_BASE ... MSR_IA32_KERNEL_GS_BASE:
		return true;
	case MSR_IA32_STAR ... MSR_IA32_FMASK:
	case MSR_IA32_TSC_AUX:
	case MSR_IA32_TSC:
	case MSR_IA32_EFER:
	case MSR_IA32_PAT:
		return !write;
	case MSR_IA32_PRED_CMD:
	case MSR_IA32_FLUSH_CMD:
		return write;
	case X2APIC_TPR:
		return x2apic;
	case X2APIC_EOI:
	case X2APIC_SELF_IPI:
		return write && x2apic && (v->proc2 & PROC2_VIRTUAL_INTR);
	}
	return msr >= MSR_X2APIC_BASE && msr < X2APIC_END && !write && x2apic && (v->proc2 & PROC2_APIC_REGISTERS);
}

static bool msrs_open(const struct vmx_vcpu *v)
{
	const uint64_t *closed = phys_to_virt(v->msr_bitmap);

	for (uint32_t i = 0; i < PAGE_SIZE / sizeof(*closed); i++)
		for (uint64_t open = ~closed[i]; open; open &= open - 1) {
			uint32_t bit = i * 64 + bit_lowest(open);

			if (!may_open(v, (bit & MSRBIT_HIGH ? MSR_HIGH : 0) | (bit & MSRBIT_NUMBER), bit & MSRBIT_WRITE))
				return true;
		}
	return false;
}

/* Of ports none may be. */
static bool ports_open(const struct vm *vm)
{
	const uint64_t *bits = phys_to_virt(vm->io_bitmap);

	for (size_t i = 0; i < (PAGE_SIZE << IO_BITMAP_ORDER) / sizeof(*bits); i++)
		if (bits[i] != UINT64_MAX)
			return true;
	return false;
}

const char *vm_vmcs_wrong(const struct vm *vm, struct vcpu *v, uint64_t host_cr3)
{
	const uint32_t proc_must = PROC_IO_BITMAPS | PROC_MSR_BITMAPS | PROC_SECONDARY, proc2_must = PROC2_EPT;

	vmx_vcpu_load(&v->vmx);
	uint32_t proc = vmcs_read(VMCS_PROC_CTL), proc2 = vmcs_read(VMCS_PROC2_CTL);
	if ((proc & proc_must) != proc_must || (proc2 & proc2_must) != proc2_must || proc != v->vmx.proc || proc2 != v->vmx.proc2 ||
	    vmcs_read(VMCS_PIN_CTL) != v->vmx.pin)
		return "VMCS: the execution controls are not ours";
	if (vmcs_read(VMCS_EPT_POINTER) != vm->eptp || (vm->eptp & TABLE_ADDR) != vm->ept.root.v)
		return "VMCS: the EPT pointer is not the VM's";
	if (vmcs_read(VMCS_IO_BITMAP_A) != vm->io_bitmap.v || vmcs_read(VMCS_IO_BITMAP_B) != vm->io_bitmap.v + PAGE_SIZE ||
	    vmcs_read(VMCS_MSR_BITMAP) != v->vmx.msr_bitmap.v)
		return "VMCS: a bitmap is not the VM's";
	if (ports_open(vm))
		return "an I/O port is open to the guest";
	if (msrs_open(&v->vmx))
		return "an MSR is open to the guest";
	if ((proc & PROC_TPR_SHADOW) && (vmcs_read(VMCS_VIRTUAL_APIC) != v->apic_page.v ||
					 (vmx_caps.apic_access && vmcs_read(VMCS_APIC_ACCESS) != vm->apic_access.v)))
		return "VMCS: an APIC page is not the VM's";
	if ((vmcs_read(VMCS_PIN_CTL) & PIN_POSTED_INTR) && vmcs_read(VMCS_POSTED_INTR_DESC) != virt_to_phys(&v->posted).v)
		return "VMCS: the posted-interrupt descriptor is not the vCPU's";
	if ((proc2 & PROC2_VPID) && (!v->vmx.vpid || vmcs_read(VMCS_VPID) != v->vmx.vpid))
		return "VMCS: the VPID is not the vCPU's";
	if (vmcs_read(VMCS_EXIT_MSR_STORE_COUNT) || vmcs_read(VMCS_EXIT_MSR_LOAD_COUNT) || vmcs_read(VMCS_ENTRY_MSR_LOAD_COUNT))
		return "VMCS: a list of MSRs that nobody made";
	if (vmcs_read(VMCS_LINK_POINTER) != ~0ull)
		return "VMCS: a linked VMCS that nobody made";
	if (vmcs_read(VMCS_HOST_CR3) != host_cr3)
		return "VMCS: the host's page tables are not ours";
	return NULL;
}
