/* Exceptions in the hypervisor. */
#pragma once
#include <tf/types.h>

struct trap_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
	uint64_t vector, error;
	uint64_t rip, cs, rflags, rsp, ss;
};

/*
 * For inline assembly: if the instruction at label `from` faults, execution goes on at label `to`. The general registers
 * are as they were before that instruction.
 */
#define FIXUP(from, to) ".pushsection .fixup, \"a\"\n\t.quad " from ", " to "\n\t.popsection\n"

/* Makes the IDT (all 256 vectors), which all CPUs share. Exceptions without a fixup go to panic_trap(), interrupts to
 * irq_dispatch(); an NMI returns, unless it is to stop the CPU: panic_nmi(). */
void idt_init(void);
/* Loads it on this CPU. */
void idt_load(void);
/* core/panic.c */
__noreturn void panic_trap(const struct trap_frame *f);
/* Does not return where another CPU panics. */
void panic_nmi(const struct trap_frame *f);
