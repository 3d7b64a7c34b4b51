/* What the two halves of a hardware task switch share: leaving the old task (task_switch.c), entering the new (task_load.c). */
#pragma once
#include "guest/exit.h"

/* SDM 3A, "Segment Selectors", "Error Code" */
#define SELECTOR_RPL(s)    ((s) & 3u)
#define SELECTOR_TI(s)     ((s) & 4u)
#define SELECTOR_OFFSET(s) ((s) & 0xfff8u)
#define SELECTOR_ERROR(s)  ((s) & 0xfffcu)
#define SELECTOR_NULL(s)   (SELECTOR_ERROR(s) == 0)
#define ERROR_EXT          1u

/* SDM 3A, "Segment Descriptors": 8 bytes */
#define DESC_ACCESS_BYTE 5
#define DESC_ACCESSED    BIT(40)
#define DESC_G           BIT(55)
#define TSS_BUSY         2u
#define TSS16_BUSY       0x3u
#define TSS32_BUSY       0xbu
static inline uint32_t desc_base(uint64_t d) { return (uint32_t)(d >> 16 & 0xffffff) | (uint32_t)(d >> 56 << 24); }
static inline uint32_t desc_ar(uint64_t d) { return d >> 40 & 0xf0ff; }
static inline uint32_t desc_limit(uint64_t d)
{
	uint32_t l = (uint32_t)((d & 0xffff) | (d >> 32 & 0xf0000));

	return d & DESC_G ? l << 12 | 0xfff : l;
}

/* SDM 3C, "Exit Qualification for Task Switches" */
enum task_source { TASK_CALL, TASK_IRET, TASK_JMP, TASK_GATE };

struct task_tss { uint16_t sel; bool wide; uint32_t base, limit, ar; };
struct task_state { uint32_t cr3, eip, eflags, gpr[8]; uint16_t sel[6], ldt; bool trap; };

struct task_switch {
	struct vcpu *v;
	enum task_source source;
	bool external;          /* for an event from outside of the program: EXT in error codes */
	uint32_t insn_len;      /* of the instruction that the old task is to go on behind; 0 if there is none */
	struct task_tss old, new;
	struct task_state state;
	enum action act;        /* what to do after a step that returned false */
};

/* An exception about a selector. */
enum action task_fault(struct task_switch *t, enum x86_vector vec, uint16_t selector);
/* A supervisor's access. Absent memory reads as ones and loses writes. False: a page fault was injected. */
bool task_copy(struct task_switch *t, uint64_t linear, void *buf, uint64_t len, uint32_t access);
/* Loads t->state into the vCPU. False: an exception in the new task was injected, with what was loaded before it. */
bool task_load(struct task_switch *t);
