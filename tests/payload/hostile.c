/*
 * A guest that attacks what the hypervisor does between two exits. The command line names what it does: idt-mmio,
 * stack-mmio, ud-for-ever, db-loop, lapic-storm, lapic-storm-if0, pit-storm, far-deadline, xcr0, icebp.
 */
#include "payload.h"

#define ABSENT       0xd0000000ull /* guest-physical space where no board has anything */
#define STORM_VECTOR 0x40
#define LVT_PERIODIC 0x20000
#define LVT_DEADLINE 0x40000
#define DIVIDE_BY_1  0xb
#define TSS_IST1     36
#define MSR_TSC_DEADLINE    0x6e0
#define CPUID1_ECX_DEADLINE BIT(24)
#define XCR0_BITS    20
#define CR4_OSXSAVE  BIT(18)
#define RFLAGS_TF    BIT(8)
#define DB           1

struct table { uint16_t limit; uint64_t base; } __attribute__((packed));

static volatile uint64_t ticks;

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

static bool again(struct frame *f)
{
	(void)f;
	return true;
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

static void storm_tick(struct frame *f)
{
	(void)f;
	ticks++;
	lapic_write(LAPIC_EOI, 0);
}

/* The shortest period there is. */
static void lapic_storm(bool interrupts)
{
	irq_init();
	irq_set(STORM_VECTOR, storm_tick);
	lapic_write(LAPIC_DIVIDE, DIVIDE_BY_1);
	lapic_write(LAPIC_LVT_TIMER, LVT_PERIODIC | STORM_VECTOR);
	lapic_write(LAPIC_INIT_COUNT, 1);
	for (;;) {
		if (interrupts)
			hlt_wait();
		else
			__asm__ volatile("cli; hlt");
	}
}

/* The last deadline there is: not one that has passed. */
static void far_deadline(void)
{
	if (!(cpuid(1, 0).c & CPUID1_ECX_DEADLINE))
		return;
	irq_init();
	irq_set(STORM_VECTOR, storm_tick);
	lapic_write(LAPIC_LVT_TIMER, LVT_DEADLINE | STORM_VECTOR);
	for (unsigned n = 0; n < 64; n += 9)
		wrmsr(MSR_TSC_DEADLINE, ~0ull - n);
	sti();
	for (volatile unsigned n = 0; n < 100000; n++)
		;
	cli();
	wrmsr(MSR_TSC_DEADLINE, 0);
	print("hostile: far-deadline fired %lu times\n", ticks);
}

static void pit_tick(struct frame *f)
{
	(void)f;
	ticks++;
	pic_eoi(0);
}

static void pit_storm(void)
{
	irq_init();
	outb(PIT + 3, 0x34);
	outb(PIT, 2);
	outb(PIT, 0);
	pic_unmask(0);
	irq_set(PIC_VECTOR, pit_tick);
	for (;;)
		hlt_wait();
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

void payload_main(void)
{
	print("hostile: begins\n");
	print_flush();
	if (option("xcr0"))
		xcr0();
	if (option("icebp"))
		icebp();
	if (option("far-deadline"))
		far_deadline();
	if (option("idt-mmio"))
		idt_mmio();
	if (option("stack-mmio"))
		stack_mmio();
	if (option("ud-for-ever"))
		ud_for_ever();
	if (option("db-loop"))
		db_loop();
	if (option("lapic-storm"))
		lapic_storm(true);
	if (option("lapic-storm-if0"))
		lapic_storm(false);
	if (option("pit-storm"))
		pit_storm();
}
