/* On the host, in the place of arch/x86_64/cpu.h: what the guest layer asks of the CPU, answered by tests/vtx/machine.c. */
#pragma once
#include <tf/x86.h>

struct cpuid { uint32_t eax, ebx, ecx, edx; };

uint64_t rdtsc(void);
uint64_t rdmsr(uint32_t msr);
void wrmsr(uint32_t msr, uint64_t v);
__must_check bool rdmsr_safe(uint32_t msr, uint64_t *v);
__must_check bool wrmsr_safe(uint32_t msr, uint64_t v);
struct cpuid cpuid(uint32_t leaf, uint32_t subleaf);
/* The caller has checked the value: a #GP here would be the hypervisor's. */
void xsetbv(uint32_t i, uint64_t v);

enum host_register { HOST_CR0, HOST_CR2, HOST_CR3, HOST_CR4, HOST_DR0, HOST_DR1, HOST_DR2, HOST_DR3, HOST_DR6,
		     HOST_PKRU, HOST_REGISTERS };
extern uint64_t host_register[HOST_REGISTERS];
#define HOST_ACCESSORS(name, index)                                                   \
	static inline uint64_t read_##name(void) { return host_register[index]; }     \
	static inline void write_##name(uint64_t v) { host_register[index] = v; }
HOST_ACCESSORS(cr0, HOST_CR0)
HOST_ACCESSORS(cr2, HOST_CR2)
HOST_ACCESSORS(cr3, HOST_CR3)
HOST_ACCESSORS(cr4, HOST_CR4)
HOST_ACCESSORS(dr0, HOST_DR0)
HOST_ACCESSORS(dr1, HOST_DR1)
HOST_ACCESSORS(dr2, HOST_DR2)
HOST_ACCESSORS(dr3, HOST_DR3)
HOST_ACCESSORS(dr6, HOST_DR6)
#undef HOST_ACCESSORS

uint32_t rdpkru(void);
static inline void interrupt_window(void) {}
