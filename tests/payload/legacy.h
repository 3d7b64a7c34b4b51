/* The 32-bit payloads' own: descriptors, task states and traps of protected mode. The printing and the end are shared. */
#pragma once
#include "payload.h"

struct frame32 {
	uint32_t gs, fs, es, ds, edi, esi, ebp, esp_unused, ebx, edx, ecx, eax;
	uint32_t vector, error, eip, cs, eflags, esp, ss, v86_es, v86_ds, v86_fs, v86_gs;
};

struct tss32 {
	uint32_t link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags;
	uint32_t eax, ecx, edx, ebx, esp, ebp, esi, edi, es, cs, ss, ds, fs, gs, ldt;
	uint16_t t, iomap;
};
struct tss16 {
	uint16_t link, sp0, ss0, sp1, ss1, sp2, ss2, ip, flags, ax, cx, dx, bx, sp, bp, si, di, es, cs, ss, ds, ldt;
};

/* Selectors; from SEL_FREE on they are the payload's. 8 and 10h as in payload.h. */
#define SEL_UCODE32 0x1b
#define SEL_UDATA32 0x23
#define SEL_MAIN    0x28
#define SEL_FREE    0x30
#define GDT_SLOTS   64

/* Access bytes, and the flags of a segment's fourth word */
#define ACC_DATA   0x93
#define ACC_CODE   0x9b
#define ACC_TSS    0x89
#define ACC_BUSY   0x02
#define ACC_TSS16  0x81
#define ACC_LDT    0x82
#define ACC_TASK   0x85 /* task gate */
#define ACC_P      0x80
#define ACC_DPL3   0x60
#define FLAG_G     0x8
#define FLAG_DB    0x4
#define GATE_INT32 0x8e
#define GATE_INT16 0x86

#define EF_CF   BIT(0)
#define EF_TF   BIT(8)
#define EF_IF   BIT(9)
#define EF_IOPL 0x3000u
#define EF_NT   BIT(14)
#define EF_RF   BIT(16)
#define EF_VM   BIT(17)

extern uint64_t gdt32[GDT_SLOTS], idt32[256];
extern struct tss32 main_tss;
void legacy_segments(void);
/* The descriptor behind a selector. */
void set_descriptor(unsigned selector, uint32_t base, uint32_t limit, unsigned access, unsigned flags);
void set_task_gate(unsigned vector, unsigned selector, unsigned access);
/* The stub of this vector again. */
void set_stub(unsigned vector, unsigned access);
uint8_t *access_byte(unsigned selector);

/* Called first for every exception and interrupt; true: continue at frame->eip. */
extern bool (*volatile legacy_hook)(struct frame32 *);

#define ADDRESS(p) ((uint32_t)(p))
static inline uint32_t flags32(void) { uint32_t v; __asm__ volatile("pushfl; pop %0" : "=r"(v) :: "memory"); return v; }
static inline uint16_t task_register(void) { uint16_t v; __asm__ volatile("str %0" : "=r"(v)); return v; }
static inline uint16_t ldt_register(void) { uint16_t v; __asm__ volatile("sldt %0" : "=r"(v)); return v; }
#define REGISTER32(name, reg) \
	static inline uint32_t get_##name(void) { uint32_t v; __asm__ volatile("mov %%" reg ", %0" : "=r"(v) :: "memory"); return v; } \
	static inline void put_##name(uint32_t v) { __asm__ volatile("mov %0, %%" reg :: "r"(v) : "memory"); }
REGISTER32(cr0, "cr0") REGISTER32(cr2, "cr2") REGISTER32(cr3, "cr3") REGISTER32(cr4, "cr4")
REGISTER32(dr0, "dr0") REGISTER32(dr6, "dr6") REGISTER32(dr7, "dr7")
#define CR0_PE 1u
#define CR0_TS 8u
#define CR0_WP 0x10000u
#define CR0_PG 0x80000000u
#define CR4_PSE 0x10u
#define CR4_PAE 0x20u
