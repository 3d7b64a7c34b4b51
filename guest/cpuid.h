/*
 * What CPUID tells a guest: this CPU, less what is not virtualised. Made once per VM, so that an exit is a table
 * look-up. Unknown features are not passed on.
 */
#pragma once
#include "guest/vmconfig.h"
#include <tf/types.h>

#define CPUID_BASIC_LEAVES    0x17
/* Basic leaves that are not always what the table says. */
#define CPUID_BASIC_VARIES    (BIT(1) | BIT(4) | BIT(7) | BIT(0xb) | BIT(0xd))
#define CPUID_EXTENDED_LEAVES 9
#define CPUID_CACHE_LEAVES    8
#define CPUID_XSAVE_LEAVES    64

struct cpuid_regs { uint32_t eax, ebx, ecx, edx; };

struct cpuid_table {
	uint32_t max_basic, max_extended;
	enum vm_hypervisor hypervisor;
	uint32_t vcpus;
	unsigned id_bits;                   /* of an APIC ID: what the numbers of vCPUs need */
	unsigned phys_bits;
	uint64_t xcr0;                      /* the XCR0 bits that a guest may set */
	struct cpuid_regs basic[CPUID_BASIC_LEAVES];
	struct cpuid_regs extended[CPUID_EXTENDED_LEAVES];
	struct cpuid_regs cache[CPUID_CACHE_LEAVES];  /* leaf 4 */
	struct cpuid_regs features1, features2;       /* leaf 7, subleaves 1 and 2 */
	struct cpuid_regs xsave[CPUID_XSAVE_LEAVES];  /* leaf Dh */
	struct cpuid_regs timing;                     /* leaf 40000010h */
	uint64_t cr4_reserved;              /* CR4 bits that a guest may not set */
	uint64_t efer_allowed;
};

__attribute__((cold)) void cpuid_table_init(struct cpuid_table *t, enum vm_hypervisor hypervisor, uint32_t vcpus, uint64_t tsc_hz);

struct vcpu;
/* The registers that CPUID with EAX = leaf and ECX = subleaf gives this vCPU now. */
void cpuid_guest(struct vcpu *v, uint32_t leaf, uint32_t subleaf, struct cpuid_regs *out);
/* Does the guest's CPUID have bit `bit` of a register of basic leaf `leaf`? */
#define CPUID_HAS(t, leaf, reg, bit) (((t)->basic[leaf].reg & BIT(bit)) != 0)
/* The local APIC timer's input clock, as leaf 15h tells it: the TSC's frequency divided by this. */
#define LAPIC_TSC_SHIFT 2
