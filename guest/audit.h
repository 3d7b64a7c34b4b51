/* What one VM has, and what it may reach, for the audit (core/audit.c). Changes nothing. */
#pragma once
#include "arch/x86_64/frames.h"
#include "guest/vm.h"
#include "lib/table_walk.h"

/* Calls fn for all frames of the VM but its EPT tables, which the walk finds. */
void vm_each_frames(const struct vm *vm, frames_fn fn, void *ctx);
/* Why the guest may not have this page of its EPT; NULL: it may. *foreign: it is not the frame that belongs there. */
const char *vm_page_wrong(struct vm *vm, const struct table_leaf *leaf, bool *foreign);
/* What a vCPU's VMCS says that would let the guest out; NULL: nothing. Loads the VMCS. */
const char *vm_vmcs_wrong(const struct vm *vm, struct vcpu *v, uint64_t host_cr3);
