#include "arch/x86_64/gdt.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/frames.h"
#include "arch/x86_64/paging.h"
#include <tf/assert.h>
#include <tf/string.h>

/* SDM 3A, "Task Management in 64-bit Mode" */
struct tss64 {
	uint32_t reserved0;
	uint64_t rsp[3];
	uint64_t reserved1;
	uint64_t ist[7];
	uint64_t reserved2;
	uint16_t reserved3;
	uint16_t iopb;
} __packed;
_Static_assert(sizeof(struct tss64) == 104, "the limit that a VM exit gives TR is 67h");

struct gdt_tables {
	uint64_t gdt[5];
	uint8_t pad[24]; /* keeps the TSS inside one cache line pair, and so inside one page */
	struct tss64 tss;
} __attribute__((aligned(64)));

struct pseudo_descriptor { uint16_t limit; uint64_t base; } __packed;

/* SDM 3A, "Segment Descriptors": type, S, DPL 0, P, L, D/B, G, limit all ones; accessed bit set */
#define DESC_CODE64 0x00af9b000000ffffull
#define DESC_DATA   0x00cf93000000ffffull
#define DESC_TSS    0x0000890000000000ull

static struct gdt_tables boot_tables;
uint8_t boot_ist_stacks[IST_COUNT][(1 + IST_PAGES) * PAGE_SIZE] __attribute__((aligned(PAGE_SIZE), section(".bss.page")));

static void fill(struct cpu *c, struct gdt_tables *t)
{
	uint64_t tss = (uint64_t)&t->tss;

	t->tss.iopb = sizeof(t->tss);
	t->gdt[SEL_CODE64 / 8] = DESC_CODE64;
	t->gdt[SEL_DATA / 8] = DESC_DATA;
	t->gdt[SEL_TSS / 8] = DESC_TSS | (sizeof(t->tss) - 1) | (tss & 0xffffff) << 16 | (tss >> 24 & 0xff) << 56;
	t->gdt[SEL_TSS / 8 + 1] = tss >> 32;
	c->gdt = t;
}

void gdt_create_boot(struct cpu *c)
{
	for (unsigned i = 0; i < IST_COUNT; i++)
		boot_tables.tss.ist[i] = (uint64_t)boot_ist_stacks[i] + sizeof(boot_ist_stacks[i]);
	fill(c, &boot_tables);
}

enum tf_err gdt_create(struct cpu *c)
{
	hpa_t p;
	enum tf_err e = frame_alloc_zero(&p);

	_Static_assert(sizeof(struct gdt_tables) <= PAGE_SIZE, "one frame");
	for (unsigned i = 0; i < IST_COUNT && !e; i++) {
		uint64_t top;

		if (!(e = stack_alloc(IST_PAGES, &top)))
			((struct gdt_tables *)phys_to_virt(p))->tss.ist[i] = top;
	}
	if (!e)
		fill(c, phys_to_virt(p));
	return e;
}

void gdt_init(struct cpu *c)
{
	struct gdt_tables *t = c->gdt;

	struct pseudo_descriptor gdtr = { sizeof(t->gdt) - 1, (uint64_t)t->gdt };
	__asm__ volatile("lgdt %0\n\t"
	                 "pushq %1\n\t"
	                 "leaq 1f(%%rip), %%rax\n\t"
	                 "pushq %%rax\n\t"
	                 "lretq\n"
	                 "1:\tmovl %2, %%eax\n\t"
	                 "movl %%eax, %%ss\n\t"
	                 "movl %%eax, %%ds\n\t"
	                 "movl %%eax, %%es\n\t"
	                 "xorl %%eax, %%eax\n\t"
	                 "movl %%eax, %%fs\n\t"
	                 "movl %%eax, %%gs\n\t"
	                 "lldt %%ax\n\t"
	                 "movl %3, %%eax\n\t"
	                 "ltr %%ax"
	                 : : "m"(gdtr), "i"(SEL_CODE64), "i"(SEL_DATA), "i"(SEL_TSS) : "rax", "memory");
	wrmsr(MSR_IA32_FS_BASE, 0);
	wrmsr(MSR_IA32_GS_BASE, (uint64_t)c);
}

uint64_t gdt_base(const struct cpu *c) { return (uint64_t)c->gdt->gdt; }
uint64_t gdt_tss_base(const struct cpu *c) { return (uint64_t)&c->gdt->tss; }
