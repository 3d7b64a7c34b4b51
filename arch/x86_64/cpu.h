/* Privileged and special instructions of this CPU, as inline functions with the instruction's name. */
#pragma once
#include <tf/x86.h>

static inline uint64_t rdtsc(void)
{
	uint64_t lo, hi; /* the instruction clears the upper halves */
	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return hi << 32 | lo;
}
static inline uint64_t rdmsr(uint32_t msr)
{
	uint32_t lo, hi;
	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
	return (uint64_t)hi << 32 | lo;
}
static inline void wrmsr(uint32_t msr, uint64_t v)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory");
}
struct cpuid { uint32_t eax, ebx, ecx, edx; };
static inline struct cpuid cpuid(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid r;
	__asm__ volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(subleaf));
	return r;
}
#define CR_ACCESSORS(n)                                                                                        \
	static inline uint64_t read_cr##n(void)                                                                \
	{                                                                                                      \
		uint64_t v;                                                                                    \
		__asm__ volatile("mov %%cr" #n ", %0" : "=r"(v));                                              \
		return v;                                                                                      \
	}                                                                                                      \
	static inline void write_cr##n(uint64_t v) { __asm__ volatile("mov %0, %%cr" #n : : "r"(v) : "memory"); }
CR_ACCESSORS(0)
CR_ACCESSORS(2)
CR_ACCESSORS(3)
CR_ACCESSORS(4)
#undef CR_ACCESSORS
#define DR_ACCESSORS(n)                                                                                        \
	static inline uint64_t read_dr##n(void)                                                                \
	{                                                                                                      \
		uint64_t v;                                                                                    \
		__asm__ volatile("mov %%dr" #n ", %0" : "=r"(v));                                              \
		return v;                                                                                      \
	}                                                                                                      \
	static inline void write_dr##n(uint64_t v) { __asm__ volatile("mov %0, %%dr" #n : : "r"(v)); }
DR_ACCESSORS(0)
DR_ACCESSORS(1)
DR_ACCESSORS(2)
DR_ACCESSORS(3)
DR_ACCESSORS(6)
DR_ACCESSORS(7)
#undef DR_ACCESSORS

static inline uint8_t inb(uint16_t port)
{
	uint8_t v;
	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}
static inline uint16_t inw(uint16_t port)
{
	uint16_t v;
	__asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}
static inline uint32_t inl(uint16_t port)
{
	uint32_t v;
	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}
static inline void outb(uint16_t port, uint8_t v) { __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port)); }
static inline void outw(uint16_t port, uint16_t v) { __asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(port)); }
static inline void outl(uint16_t port, uint32_t v) { __asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port)); }

static inline void cli(void) { __asm__ volatile("cli" : : : "memory"); }
static inline void sti(void) { __asm__ volatile("sti" : : : "memory"); }
/* Lets the machine's pending interrupts in, where neither a guest's run nor a HLT would. */
static inline void interrupt_window(void) { __asm__ volatile("sti; nop; cli" : : : "memory"); }
static inline void pause(void) { __asm__ volatile("pause" : : : "memory"); }
static inline void sfence(void) { __asm__ volatile("sfence" : : : "memory"); }
static inline void wbinvd(void) { __asm__ volatile("wbinvd" : : : "memory"); }
static inline void invlpg(const void *p) { __asm__ volatile("invlpg (%0)" : : "r"(p) : "memory"); }
static inline uint64_t xgetbv(uint32_t i)
{
	uint32_t lo, hi;
	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(i));
	return (uint64_t)hi << 32 | lo;
}
static inline void xsetbv(uint32_t i, uint64_t v)
{
	__asm__ volatile("xsetbv" : : "c"(i), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)));
}

/* Protection-key rights; only while CR4.PKE is set. */
static inline uint32_t rdpkru(void)
{
	uint32_t v;
	__asm__ volatile("rdpkru" : "=a"(v) : "c"(0) : "rdx");
	return v;
}

/* RDMSR that survives a #GP (by the fixup table, arch/x86_64/trap.c): false if the MSR is not there. */
__must_check bool rdmsr_safe(uint32_t msr, uint64_t *v);
/* WRMSR that survives a #GP: false if the MSR is not there or does not take the value. */
__must_check bool wrmsr_safe(uint32_t msr, uint64_t v);
