/* What the parts of the payload `tasks` share. */
#pragma once
#include "legacy.h"

enum {
	SEL_A = SEL_FREE, SEL_B = SEL_A + 8, SEL_HANDLER = SEL_B + 8, SEL_T16 = SEL_HANDLER + 8,
	SEL_SHORT = SEL_T16 + 8, SEL_GONE = SEL_SHORT + 8, SEL_CS16 = SEL_GONE + 8, SEL_SS16 = SEL_CS16 + 8,
	SEL_LDT_A = SEL_SS16 + 8, SEL_NO_DATA = SEL_LDT_A + 8, SEL_NO_CODE = SEL_NO_DATA + 8,
	SEL_READ_ONLY = SEL_NO_CODE + 8, SEL_EXEC_ONLY = SEL_READ_ONLY + 8, SEL_SMALL_CODE = SEL_EXEC_ONLY + 8,
	SEL_SMALL_STACK = SEL_SMALL_CODE + 8, SEL_GATE = SEL_SMALL_STACK + 8, SEL_BEYOND = GDT_SLOTS * 8,
};
#define TSS_LIMIT (sizeof(struct tss32) - 1)
#define FLAGS_SEEN (EF_TF | EF_IF | EF_IOPL | EF_NT | EF_RF | EF_VM)
#define ABSENT 0x40000000u /* with paging: a page table of our own, empty at first */

extern struct tss32 task_a, task_b, task_handler;
extern struct tss16 task_16;
extern uint32_t page_table[1024];

/* tasks_entry.asm: call EBX, IRET, and again; the second pops an error code first, and passes it. */
extern uint8_t task_entry[], task_error_entry[], task16_entry[], task16_error_entry[];
struct snapshot { uint32_t eax, ecx, edx, ebx, esp, ebp, esi, edi, eflags, es, cs, ss, ds, fs, gs, tr, ldt, error; };
extern struct snapshot snapshot16;
extern volatile uint32_t nest16; /* the 16-bit task calls task A before it returns */

void task_init(struct tss32 *t, unsigned selector, const void *entry, const void *fn);
/* The registers that a switch changes, as they are now. */
void show_state(const char *where);
void show_busy(void);
void page_on(void);
void page_off(void);

#define TASK_CALL(sel) __asm__ volatile("lcall %0, $0" :: "i"(sel) : "memory", "cc")
#define TASK_JMP(sel) __asm__ volatile("ljmp %0, $0" :: "i"(sel) : "memory", "cc")
/* From a handler, when TR is not ours: back along the link. */
#define TASK_RETURN() __asm__ volatile("pushfl; orl $0x4000, (%%esp); popfl; iret" ::: "memory", "cc")

/* One instruction that faults: where, and where to go on. */
extern volatile uint32_t fault_at, resume_at;
#define FAULTING(insn) __asm__ volatile("movl $1f, fault_at; movl $2f, resume_at\n1: " insn "\n2:" ::: "eax", "ecx", "edx", "memory", "cc")

void tasks_faults(void);
