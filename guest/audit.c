#include "guest/audit.h"
#include "arch/x86_64/paging.h"
#include "guest/fpu.h"
#include <tf/string.h>

#define EPTE_TYPE_SHIFT 3
#define EPTE_TYPE_MASK  7

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

/* Ports and MSRs that are open without an exit: of ports, none. */
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
	if ((proc & proc_must) != proc_must || (proc2 & proc2_must) != proc2_must || proc != v->vmx.proc || proc2 != v->vmx.proc2)
		return "VMCS: the execution controls are not ours";
	if (vmcs_read(VMCS_EPT_POINTER) != vm->eptp || (vm->eptp & TABLE_ADDR) != vm->ept.root.v)
		return "VMCS: the EPT pointer is not the VM's";
	if (vmcs_read(VMCS_IO_BITMAP_A) != vm->io_bitmap.v || vmcs_read(VMCS_IO_BITMAP_B) != vm->io_bitmap.v + PAGE_SIZE ||
	    vmcs_read(VMCS_MSR_BITMAP) != v->vmx.msr_bitmap.v)
		return "VMCS: a bitmap is not the VM's";
	if (ports_open(vm))
		return "an I/O port is open to the guest";
	if ((proc & PROC_TPR_SHADOW) && (vmcs_read(VMCS_VIRTUAL_APIC) != v->apic_page.v ||
					 (vmx_caps.apic_access && vmcs_read(VMCS_APIC_ACCESS) != vm->apic_access.v)))
		return "VMCS: an APIC page is not the VM's";
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
