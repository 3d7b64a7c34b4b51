/*
 * Random instruction sequences. A sequence follows from mode, seed and number alone, so that it is the same on every machine:
 * random_gen.c makes its instructions, random_items.c and random_system.c those that need more than an opcode; a kernel (random.c,
 * random32.c, random_real.c) lays out the sandbox, runs the sequence there, and folds what is seen of it into a digest.
 */
#pragma once
#include "payload.h"

/* Pages of the sandbox, from its base. What is not named is not mapped. */
#define BOX_CODE    0x0000u  /* read-only */
#define BOX_DATA    0x2000u  /* two pages that can be written */
#define BOX_RO      0x4000u
#define BOX_SUPER   0x5000u  /* the supervisor's, writable */
#define BOX_CLEAN   0x6000u  /* neither accessed nor dirty */
#define BOX_ABSENT  0x7000u
#define BOX_STACK   0x8000u  /* two pages */
#define BOX_BAD     0xb000u  /* a reserved bit is set in its entry */
#define BOX_PAGES   16u
#define BOX_DEVICE  0x1a5b6000u /* two pages without RAM, where nothing gets to by mistake */
#define BOX_STACK_TOP (BOX_STACK + 0x1800u)

#define ABSENT_PHYS 0xd0000000u

#define MAX_ITEMS   16u
#define MAX_EVENTS  40u      /* in one sequence */

/* Interrupts that mean something. Ring 3 may raise them. */
#define VEC_STEP    0x30u    /* a far transfer has arrived */
#define VEC_SYSTEM  0x31u    /* SYSCALL or SYSENTER has */
#define VEC_END     0x32u
#define VEC_USER    0x33u
#define VEC_ABSENT  0x40u    /* their gates: not present, a trap gate, of no valid type, to a bad selector */
#define VEC_TRAPGATE 0x41u
#define VEC_BADTYPE 0x42u
#define VEC_BADSEL  0x43u

enum kind { KIND_LONG, KIND_LEGACY, KIND_V86, KIND_REAL };

/* A mode of the CPU, and what a sequence may use in it. */
struct mode {
	const char *name;
	enum kind kind;
	uint8_t bits, cpl;
	uint16_t cs, ss, ds;
	uint32_t code, data;          /* what code and data pointers add to an offset in the sandbox */
	uint32_t cr4_clear, cr4_set;  /* of the usual CR4 */
	uint64_t eflags;
};

/* What both kernels tell the generator. */
struct machine {
	uint64_t cr0, cr3, cr4;
	const uint16_t *selectors, *far;
	unsigned nselectors, nfar;
	uint16_t io_byte, io_absent;
	uint64_t gdt_base, idt_base;
	uint16_t gdt_limit, idt_limit;
	bool nx;
};

struct gen {
	uint64_t state;
	const struct mode *m;
	const struct machine *k;
	uint8_t *out;
	unsigned at;
	bool opsize, addrsize;        /* of the instruction being made: the prefixes */
	uint8_t rex;
	bool raw;
	uint8_t iopl;
	uint16_t start[MAX_ITEMS + 1]; /* of each item, then the end */
	unsigned nitems;
	struct { uint16_t at; uint8_t size, item; } jumps[2 * MAX_ITEMS];
	unsigned njumps;
};

uint32_t rnd(struct gen *g);
uint32_t below(struct gen *g, uint32_t n);
static inline bool chance(struct gen *g, unsigned percent) { return below(g, 100) < percent; }
uint64_t random_value(struct gen *g);
uint32_t random_pointer(struct gen *g);

void emit(struct gen *g, unsigned byte);
void emit_n(struct gen *g, uint64_t value, unsigned bytes);
/* MOV r32, imm32 */
void emit_mov(struct gen *g, unsigned reg, uint32_t value);
/* PUSH of the mode's width */
void emit_push(struct gen *g, uint32_t value);
/* ModRM and what follows; imm: bytes of an immediate behind it. */
void emit_modrm(struct gen *g, unsigned reg, bool memory_only, unsigned imm);
void gen_general(struct gen *g);
void gen_special(struct gen *g);

/* A sequence at `out` (a page); bit n of keep: whether item n is there. */
void gen_sequence(struct gen *g, uint64_t seed, uint32_t number, uint32_t keep);

/* Digest: order matters. */
static inline uint64_t fold(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15ull;
	return h ^ h >> 29;
}
