/* GDT and TSS of one CPU. Selectors are shared with assembly and with the VMCS host state. */
#pragma once
#include "arch/x86_64/percpu.h"

#define SEL_CODE64 0x08
#define SEL_DATA   0x10
#define SEL_TSS    0x18

/* Stacks for #DF, NMI and #MC; a guard page is below each. The boot CPU's are static. */
enum ist { IST_NONE = 0, IST_DF = 1, IST_NMI = 2, IST_MC = 3, IST_COUNT = 3 };
#define IST_PAGES 2
extern uint8_t boot_ist_stacks[IST_COUNT][(1 + IST_PAGES) * PAGE_SIZE];

/* Makes GDT and TSS, with IST stacks and guard pages for #DF, NMI and #MC, of a CPU. The boot CPU's are static. */
void gdt_create_boot(struct cpu *c);
__must_check enum tf_err gdt_create(struct cpu *c);
/* Loads them, and GS base, on that CPU. */
void gdt_init(struct cpu *c);
uint64_t gdt_base(const struct cpu *c);
uint64_t gdt_tss_base(const struct cpu *c);
uint64_t idt_base(void); /* trap.c */
