/* What happens between two exits: events whose delivery makes exits or faults itself, and states that entries check. */
#include "hostile.h"

#define TSS_IST1  36
#define XCR0_BITS 20
#define RFLAGS_TF BIT(8)
#define DB        1

struct table { uint16_t limit; uint64_t base; } __attribute__((packed));

/* Each delivery reads its gate from where nothing is. */
static void idt_mmio(void)
{
	__asm__ volatile("lidt %0; ud2" :: "m"((struct table){ 0xfff, ABSENT }));
}

/* Each delivery pushes its frame to where nothing is. */
static void stack_mmio(void)
{
	__asm__ volatile("mov %0, %%rsp; ud2" :: "r"(ABSENT + PAGE));
}

/* The exception that never ends, with handlers that work. */
static void ud_for_ever(void)
{
	trap_hook = again;
	__asm__ volatile("ud2");
}

/* A breakpoint on the stack that #DB itself is delivered on: it recurs before the handler's first instruction. */
static void db_loop(void)
{
	static uint8_t stack[PAGE] __attribute__((aligned(16)));
	struct table idtr, gdtr;

	__asm__ volatile("sidt %0; sgdt %1" : "=m"(idtr), "=m"(gdtr));
	uint64_t low = *(uint64_t *)(gdtr.base + SEL_TSS), high = *(uint64_t *)(gdtr.base + SEL_TSS + 8);
	uint64_t tss = (low >> 16 & 0xffffff) | (low >> 32 & 0xff000000) | high << 32, top = (uint64_t)stack + sizeof(stack);

	memcpy((void *)(tss + TSS_IST1), &top, sizeof(top));
	((uint8_t *)idtr.base)[16 * DB + 4] = 1;
	__asm__ volatile("mov %0, %%dr0; mov %1, %%dr7" :: "r"(top - 8), "r"(0xd0402ull));
	__asm__ volatile("int1");
	for (;;)
		;
}

/* Every combination of state components; the CPU must refuse what it refuses on the bare machine. */
static void xcr0(void)
{
	unsigned taken = 0;

	if (!(cpuid(1, 0).c & BIT(26)))
		return;
	wrcr4(rdcr4() | CR4_OSXSAVE);
	for (uint32_t v = 0; v < 1u << XCR0_BITS; v += v < 1024 ? 1 : 509)
		taken += TRY(__asm__ volatile("xsetbv" :: "c"(0), "a"(v), "d"(0)); cpuid(0, 0)) == NO_FAULT;
	__asm__ volatile("xsetbv" :: "c"(0), "a"(1), "d"(0));
	print("hostile: xcr0 done\n");
	print("# %u taken\n", taken);
}

/* INT1 and an exit behind MOV SS, with a single step pending. */
static void icebp(void)
{
	trap_hook = again;
	for (unsigned i = 0; i < 100; i++) {
		__asm__ volatile("mov %%ss, %%ecx; pushfq; orl %0, (%%rsp); popfq; mov %%ecx, %%ss; int1; pushfq; andl %1, (%%rsp); popfq"
				 :: "i"((uint32_t)RFLAGS_TF), "i"(~(uint32_t)RFLAGS_TF) : "ecx", "cc", "memory");
		__asm__ volatile("mov %%ss, %%esi; pushfq; orl %0, (%%rsp); popfq; mov %%esi, %%ss; cpuid; pushfq; andl %1, (%%rsp); popfq"
				 :: "i"((uint32_t)RFLAGS_TF), "i"(~(uint32_t)RFLAGS_TF) : "eax", "ebx", "ecx", "edx", "esi", "cc", "memory");
	}
	trap_hook = NULL;
	print("hostile: icebp done\n");
}

/* A page table in the local APIC's registers. */
static void apic_table(void)
{
	enum { ENTRY = 2 };
	void (*code)(void) = (void (*)(void))(WINDOW + ENTRY * MiB(2));

	window_pd[ENTRY] = LAPIC | PTE_P | PTE_W;
	TRY(code());
	TRY(*(volatile uint32_t *)code = 0);
	print("hostile: apic-table done\n");
}

/* At once, and with on_exit = restart again and again. */
static void triple(void)
{
	__asm__ volatile("lidt %0; ud2" :: "m"((struct table){ 0, 0 }));
}

const struct attack hostile_faults[] = {
	{ "idt-mmio", idt_mmio }, { "stack-mmio", stack_mmio }, { "ud-for-ever", ud_for_ever }, { "db-loop", db_loop },
	{ "xcr0", xcr0 }, { "icebp", icebp }, { "apic-table", apic_table }, { "triple", triple }, ATTACKS_END
};
