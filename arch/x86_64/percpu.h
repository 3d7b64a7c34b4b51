/* One CPU's own data, reached through GS. What other rooms keep per CPU hangs on the typed-as-void pointers. */
#pragma once
#include <tf/types.h>

struct gdt_tables;
struct cpu {
	struct cpu *self;     /* must be first: read as gs:0 */
	uint32_t id;          /* 0 is the boot CPU */
	uint32_t apic_id;
	struct gdt_tables *gdt; /* GDT and TSS, arch/x86_64/gdt.c */
	uint64_t stack_top;   /* the hypervisor stack that VM exits and the scheduler run on */
	void *vmx;            /* struct vmx_cpu, owned by vmx/ */
	void *sched;          /* struct sched_cpu, owned by core/ */
};

#define MAX_CPUS 256
extern struct cpu *cpus[MAX_CPUS]; /* by id; NULL where not started */

static inline struct cpu *this_cpu(void)
{
	struct cpu *c;
	__asm__("movq %%gs:0, %0" : "=r"(c));
	return c;
}
/*
 * Loads the boot CPU's structures: control registers, GDT, TSS, GS, IDT. They are static, so that this is the first
 * thing that boot_start() does: locks and the panic report work from then on.
 */
void percpu_init_boot(void);
/* Sets CR0, CR4 and EFER of the CPU that runs this to what the hypervisor runs with; VMXE is left to vmx/. */
void cpu_control_init(void);
