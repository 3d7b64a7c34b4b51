#include "arch/x86_64/percpu.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/frames.h"
#include "arch/x86_64/gdt.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/trap.h"

/* SDM 2A, "CPUID" */
#define CPUID_1_EDX_MCE    BIT(7)
#define CPUID_1_EDX_PGE    BIT(13)
#define CPUID_7_EBX_SMEP   BIT(7)
#define CPUID_7_EBX_SMAP   BIT(20)
#define CPUID_7_ECX_UMIP   BIT(2)

#define CPU_STACK_PAGES 8 /* as the boot CPU has them, boot/entry.asm */

static struct cpu boot_cpu;
struct cpu *cpus[MAX_CPUS];

/* The stack protector's canary, written by boot/entry.asm before the first function that looks at it. */
extern uint64_t __stack_chk_guard;
uint64_t __stack_chk_guard;

void cpu_control_init(void)
{
	struct cpuid one = cpuid(1, 0), seven = { 0 };
	/* The SSE bits are for the guests' state: the hypervisor itself has no vector code. */
	uint64_t cr4 = (read_cr4() & CR4_VMXE) | CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT;

	if (cpuid(0, 0).eax >= 7)
		seven = cpuid(7, 0);
	if (one.edx & CPUID_1_EDX_MCE)
		cr4 |= CR4_MCE;
	if (one.edx & CPUID_1_EDX_PGE)
		cr4 |= CR4_PGE;
	if (one.ecx & CPUID_1_ECX_XSAVE)
		cr4 |= CR4_OSXSAVE;
	/* There are no user pages; these make any that appeared by mistake useless. */
	if (seven.ebx & CPUID_7_EBX_SMEP)
		cr4 |= CR4_SMEP;
	if (seven.ebx & CPUID_7_EBX_SMAP)
		cr4 |= CR4_SMAP;
	if (seven.ecx & CPUID_7_ECX_UMIP)
		cr4 |= CR4_UMIP;
	write_cr0((read_cr0() & ~(CR0_EM | CR0_TS | CR0_CD | CR0_NW | CR0_AM)) | CR0_MP | CR0_NE | CR0_WP);
	write_cr4(cr4);
	wrmsr(MSR_IA32_PAT, PAGING_PAT); /* no table in use has an entry of the type that this changes */
	wrmsr(MSR_IA32_EFER, rdmsr(MSR_IA32_EFER) | EFER_NXE | EFER_SCE);
}

void percpu_init(struct cpu *c)
{
	cpu_control_init();
	gdt_init(c);
	idt_load();
}

void percpu_init_boot(void)
{
	boot_cpu.self = &boot_cpu;
	boot_cpu.apic_id = cpuid(1, 0).ebx >> 24; /* until lapic_init() */
	boot_cpu.stack_top = (uint64_t)boot_stack_top;
	cpus[0] = &boot_cpu;
	gdt_create_boot(&boot_cpu);
	idt_init();
	percpu_init(&boot_cpu);
}

enum tf_err percpu_create(uint32_t id, uint32_t apic_id, struct cpu **out)
{
	hpa_t frame;
	enum tf_err e = frame_alloc_zero(&frame);

	_Static_assert(sizeof(struct cpu) <= PAGE_SIZE, "one frame");
	if (e)
		return e;
	struct cpu *c = phys_to_virt(frame);
	*c = (struct cpu){ .self = c, .id = id, .apic_id = apic_id };
	if ((e = gdt_create(c)) || (e = stack_alloc(CPU_STACK_PAGES, &c->stack_top)))
		return e;
	*out = c;
	return TF_OK;
}
