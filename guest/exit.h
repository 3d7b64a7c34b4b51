/* What is done about each exit. The table is in exit.c, the handlers in exit_*.c by subject. */
#pragma once
#include "guest/vm.h"

extern const exit_fn exit_table[EXIT_NKINDS + 1]; /* the last one: for what has no number yet */
static inline enum action exit_handle(struct vcpu *v)
{
	uint32_t kind = exit_kind(&v->vmx.exit);

	return exit_table[likely(kind < EXIT_NKINDS) ? kind : EXIT_NKINDS](v);
}

enum action exit_cpuid(struct vcpu *v);
enum action exit_hlt(struct vcpu *v);
enum action exit_xsetbv(struct vcpu *v);
enum action exit_cr_access(struct vcpu *v);
enum action exit_rdmsr(struct vcpu *v);
enum action exit_wrmsr(struct vcpu *v);
enum action exit_port(struct vcpu *v);
enum action exit_string_port(struct vcpu *v, struct exit_io io);
enum action exit_ept_violation(struct vcpu *v);
enum action exit_ept_misconfig(struct vcpu *v);
enum action exit_apic_access(struct vcpu *v);
enum action exit_apic_write(struct vcpu *v);
enum action exit_virtual_eoi(struct vcpu *v);
enum action exit_exception(struct vcpu *v);
enum action exit_extint(struct vcpu *v);
enum action exit_triple_fault(struct vcpu *v);
enum action exit_entry_failure(struct vcpu *v);
enum action exit_task_switch(struct vcpu *v);
enum action exit_vmcall(struct vcpu *v);

/*
 * Between two iterations of a REP that goes on at the same RIP: shadows end, RF is set, so that a breakpoint at it is not
 * met again (SDM 3B, "Instruction-Breakpoint Exception Condition"), and with `step` (RFLAGS.TF) a single step traps. In guest/run.c.
 */
void vcpu_iterated(bool step);
/* Blocking by STI or MOV SS: an interrupt may come after the first iteration of a REP. */
static inline bool vcpu_in_shadow(void) { return vmcs_read(VMCS_GUEST_INTERRUPTIBILITY) & (BLOCK_STI | BLOCK_MOV_SS); }
/* One access to a port or to an address that is not RAM. The VM's lock is taken only if something is there. */
void vm_access(struct vm *vm, struct bus *b, struct bus_hints *h, struct dev_access *a);

/* MSR state that power-up sets and that INIT sets (guest/exit_msr.c), and the MSRs that run without an exit. */
void msr_reset(struct vcpu *v);
/* The time-stamp counter as the VM has it. */
void msr_set_tsc(struct vcpu *v);
void msr_init_signal(void);
void msr_open_native(struct vcpu *v);
/* Puts the MSRs that the CPU keeps across exits there. It has those of `held`; NULL: anything. */
void msr_switch_in(const struct vcpu *v, const struct vcpu *held);
/* CR0 and CR4 masks and shadows for a reset or a loader's values (guest/exit_cr.c). */
void cr_set(struct vcpu *v, uint64_t cr0, uint64_t cr4);
/* CR3 as MOV to CR3 or a task switch loads it, PDPTEs included. False: #GP is due, and nothing has changed. */
bool cr3_set(struct vcpu *v, uint64_t value, bool flush);
/* A segment register of the VMCS, SEG_ES to SEG_TR. */
void vcpu_set_segment(unsigned s, uint16_t sel, uint64_t base, uint32_t limit, uint32_t ar);
/* VMLAUNCH or VMRESUME failed without an exit: stops the VM with a report that names the broken rule. */
void vcpu_entry_refused(struct vcpu *v);
#ifdef TF_TEST_HOOKS
/* Before every entry: tests/hooks/break_vmcs.c. */
void test_hook_before_entry(struct vcpu *v);
#endif
/*
 * Data and I/O breakpoints on emulated accesses (guest/breakpoint.c): what an access hits, as pending debug exceptions, and
 * what an instruction that is complete has hit.
 */
static inline bool breakpoints_armed(void) { return vmcs_read(VMCS_GUEST_DR7) & DR7_ENABLED; }
uint64_t breakpoint_data(uint64_t linear, uint64_t size, bool write);
uint64_t breakpoint_port(uint16_t port, uint8_t size);
void breakpoint_pend(uint64_t hits);
/* A #DB of trap type for these bits of DR6. */
enum action vcpu_debug_trap(struct vcpu *v, uint64_t causes);
