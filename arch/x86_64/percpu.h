/* One CPU's own data, reached through GS. What other rooms keep per CPU hangs on the typed-as-void pointers. */
#pragma once
#include <tf/err.h>

struct gdt_tables;
struct trace_ring;
/* What another CPU asks of this one, arch/x86_64/smp.c. */
struct smp_work { struct smp_work *next; void (*fn)(void *ctx); void *ctx; bool done; };
struct cpu {
	struct cpu *self;     /* must be first: read as gs:0 */
	uint32_t id;          /* 0 is the boot CPU */
	uint32_t apic_id;
	struct gdt_tables *gdt; /* GDT and TSS, arch/x86_64/gdt.c */
	uint64_t stack_top;   /* the hypervisor stack that VM exits and the scheduler run on */
	bool tsc_deadline;    /* how its local APIC's timer is armed, arch/x86_64/lapic.c */
	struct smp_work *mail; /* the last one first; atomic */
	struct smp_work hold;
	void *vmx;            /* struct vmx_cpu, owned by vmx/ */
	uint64_t vmx_room[4]; /* where it is */
	void *guest;          /* the struct vcpu whose registers it holds, or NULL; owned by guest/ */
	void *sched;          /* struct sched_cpu, owned by core/ */
	struct trace_ring *trace_ring, *trace; /* its own, or NULL; and that while the trace is on: core/tracing.c */
	uint32_t locks;       /* ranks of the locks that it holds (arch/x86_64/lock.h) */
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
/* A further CPU's structures, not in use yet: stacks, GDT, TSS. They are never given back. TF_ENOMEM. */
__must_check enum tf_err percpu_create(uint32_t id, uint32_t apic_id, struct cpu **out);
/* Loads them, on that CPU. */
void percpu_init(struct cpu *c);
/* Sets CR0, CR4 and EFER of the CPU that runs this to what the hypervisor runs with; VMXE is left to vmx/. */
void cpu_control_init(void);
