/* What traps and interrupts come, in which order and behind which instruction: shared by the payloads about that. */
#pragma once
#include "payload.h"

#define VEC_DB  1
#define VEC_NMI 2
#define RF_TF   BIT(8)
#define RF_IF   BIT(9)
#define RF_RF   BIT(16)
#define VECTOR  0x71
#define DR6_CLEAR 0xffff0ff0

#define DR_FUNCTIONS(n) \
	static inline uint64_t rddr##n(void) { uint64_t v; __asm__ volatile("mov %%dr" #n ", %0" : "=r"(v)); return v; } \
	static inline void wrdr##n(uint64_t v) { __asm__ volatile("mov %0, %%dr" #n :: "r"(v) : "memory"); }
DR_FUNCTIONS(0) DR_FUNCTIONS(1) DR_FUNCTIONS(2) DR_FUNCTIONS(3) DR_FUNCTIONS(6) DR_FUNCTIONS(7)

#define MAX_EVENTS 48
struct step_event { uint8_t vector; uint32_t dr6; uint64_t rip; };
extern struct step_event step_events[MAX_EVENTS];
extern unsigned step_count;
extern uint64_t step_base; /* where the instruction under test begins */
extern unsigned step_limit; /* after so many #DB TF is cleared; 0: never */

/* Hooks #DB, NMI and the interrupt VECTOR, whose local APIC must be on. */
void steps_init(void);
/* Prints "name:" and each event as vector+offset, with DR6 for a #DB, and forgets them. */
void steps_print(const char *name);

/* Runs assembler, which may name its first instruction 0b; registers rax, rcx, rdx, rbx, rsi and rdi are its own. */
#define STEPS(name, insn, ...) do { \
	uint64_t a_ = 0, b_ = 0, c_ = 0, d_ = 0, si_ = 0, di_ = 0; \
	__VA_ARGS__; \
	__asm__ volatile("lea 0f(%%rip), %%r15; mov %%r15, step_base(%%rip)\n" insn "\n nop; nop" \
			 : "+a"(a_), "+b"(b_), "+c"(c_), "+d"(d_), "+S"(si_), "+D"(di_) :: "r15", "memory", "cc"); \
	steps_print(name); \
} while (0)
#define STEP_ON  "pushfq; orl $0x100, (%%rsp); popfq\n"
#define STEP_OFF "pushfq; andl $~0x100, (%%rsp); popfq\n"
