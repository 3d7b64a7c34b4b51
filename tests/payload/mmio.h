/* What the payloads about device memory share. */
#pragma once
#include "payload.h"

#define FLAGS_ARITH 0x8d5 /* OF SF ZF AF PF CF */
#define FLAGS_LOGIC 0x8c5 /* AF is undefined */
#define ABSENT      0xd0000000ull
#define TPR         (LAPIC + LAPIC_TPR)

/* One instruction: RBX holds the address, RAX the operand `init`, RDX the index, CL 5; `start` is put into the register first. */
#define OP(insn, addr, start, init, mask) do { \
	uint64_t a_ = (init), f_, d_ = 4, c_ = 5; \
	mmio_write(addr, start); \
	__asm__ volatile("pushq $2; popfq; " insn "; pushfq; pop %1" : "+a"(a_), "=&r"(f_), "+d"(d_), "+c"(c_) \
			 : "b"(addr) : "memory", "cc"); \
	print("%s: rax %lx rdx %lx flags %lx reg %x\n", insn, a_, d_, f_ & (mask), mmio_read(addr)); \
} while (0)

/* A string instruction; prints how far it came. */
#define STRING(insn, dst, src, count, init) do { \
	uint64_t d_ = (uint64_t)(dst), s_ = (uint64_t)(src), c_ = (count), a_ = (init), f_; \
	__asm__ volatile(insn "; pushfq; pop %4; cld" : "+D"(d_), "+S"(s_), "+c"(c_), "+a"(a_), "=r"(f_) :: "memory", "cc"); \
	print("%s: rdi %ld rsi %ld rcx %lx rax %lx\n", insn, d_ - (uint64_t)(dst), s_ - (uint64_t)(src), c_, a_); \
} while (0)
/* The same of a comparison, with its flags. */
#define COMPARE(insn, dst, src, count, init) do { \
	uint64_t d_ = (uint64_t)(dst), s_ = (uint64_t)(src), c_ = (count), a_ = (init), f_; \
	__asm__ volatile(insn "; pushfq; pop %4; cld" : "+D"(d_), "+S"(s_), "+c"(c_), "+a"(a_), "=r"(f_) :: "memory", "cc"); \
	print("%s: rdi %ld rsi %ld rcx %lx flags %lx\n", insn, d_ - (uint64_t)(dst), s_ - (uint64_t)(src), c_, f_ & FLAGS_ARITH); \
} while (0)

void access_faults(void);
