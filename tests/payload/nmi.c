/* NMIs: sent to ourselves through the local APIC, held back until IRET, latched once, before interrupts, in HLT. */
#include "steps.h"

#define ICR_NMI    0x400 /* to ourselves by number: the short-hand is for fixed interrupts */
#define VEC_GP     13
#define TIMER_SOON 3000

static uint8_t order[32];
static uint64_t where[32];
static unsigned seen;
static void (*in_nmi)(struct frame *); /* what the handler of the first NMI does */

static void note(unsigned what, uint64_t rip)
{
	if (seen < ARRAY_SIZE(order)) {
		order[seen] = (uint8_t)what;
		where[seen] = rip;
	}
	seen++;
}

static void send(void) { lapic_write(LAPIC_ICR, ICR_NMI); }

static bool on_trap(struct frame *f)
{
	void (*act)(struct frame *) = in_nmi;

	if (f->vector != VEC_NMI && f->vector != VEC_DB && f->vector != VEC_GP)
		return false;
	note((unsigned)f->vector, f->rip);
	if (f->vector == VEC_DB)
		wrdr6(DR6_CLEAR);
	if (f->vector == VEC_GP)
		return false; /* back to TRY() */
	in_nmi = NULL;
	if (f->vector == VEC_NMI && act)
		act(f);
	return true;
}

static void on_irq(struct frame *f)
{
	note(VECTOR, f->rip);
	lapic_write(LAPIC_EOI, 0);
}

/* Letters a to z of a handler: how far it is. */
static void mark(char c) { note((unsigned)c | 0x80, 0); }

static void show(const char *name)
{
	print("%s:", name);
	for (unsigned i = 0; i < seen && i < ARRAY_SIZE(order); i++) {
		if (order[i] & 0x80)
			print(" %c", order[i] & 0x7f);
		else if (where[i] - step_base < 64)
			print(" %x+%lx", order[i], where[i] - step_base);
		else
			print(" %x", order[i]);
	}
	print("\n");
	seen = 0;
}

#define SEND "lea 0f(%%rip), %%r15; mov %%r15, step_base(%%rip); mov %[icr], %%ebx; mov %[nmi], %%eax\n"
#define NMI_CASE(name, insn) do { \
	__asm__ volatile(SEND insn "\n nop; nop" :: [icr] "i"(LAPIC + LAPIC_ICR), [nmi] "i"(ICR_NMI) \
			 : "rax", "rbx", "rcx", "rdx", "r15", "memory", "cc"); \
	show(name); \
} while (0)

static void one_more(struct frame *f)
{
	(void)f;
	mark('a');
	send();
	mark('b');
}

static void two_more(struct frame *f)
{
	(void)f;
	send();
	send();
	send();
	mark('b');
}

static void and_interrupt(struct frame *f)
{
	lapic_self_ipi(VECTOR);
	send();
	f->rflags |= RF_IF;
	mark('b');
}

/* The NMI that waits does not end HLT, the timer's interrupt does; its IRET lets the NMI in. */
static void sleeper(struct frame *f)
{
	(void)f;
	send();
	lapic_write(LAPIC_DIVIDE, 0xb);
	lapic_write(LAPIC_LVT_TIMER, VECTOR);
	lapic_write(LAPIC_INIT_COUNT, TIMER_SOON);
	mark('a');
	__asm__ volatile("sti; hlt; cli" ::: "memory");
	mark('b');
	lapic_write(LAPIC_LVT_TIMER, 0x10000);
}

/* An IRET inside the handler, to the handler: it unblocks. */
static void inner_iret(struct frame *f)
{
	(void)f;
	send();
	mark('a');
	__asm__ volatile("mov %%rsp, %%rax; mov %%ss, %%ecx; push %%rcx; push %%rax; pushfq; mov %%cs, %%ecx; push %%rcx;"
			 "lea 1f(%%rip), %%rcx; push %%rcx; iretq; 1:" ::: "rax", "rcx", "memory", "cc");
	mark('b');
}

/* An IRET that faults unblocks too. */
static void bad_iret(struct frame *f)
{
	(void)f;
	send();
	mark('a');
	__asm__ volatile("push $0; push $0; push $2; push $0x60; push $0; iretq");
}

/* Exits between the NMI and its IRET do not unblock. */
static void exits(struct frame *f)
{
	uint64_t cr0 = rdcr0();

	(void)f;
	send();
	cpuid(0, 0);
	inb(0x80);
	(void)mmio_read(IOAPIC);
	wrcr0(cr0 | BIT(30));
	wrcr0(cr0);
	(void)rdmsr(0x1b);
	__asm__ volatile("wbinvd");
	mark('b');
}

static void steps(struct frame *f)
{
	send();
	f->rflags |= RF_TF;
	mark('b');
}

void payload_main(void)
{
	irq_init();
	irq_set(VECTOR, on_irq);
	trap_hook = on_trap;
	wrdr6(DR6_CLEAR);
	lapic_write(LAPIC_ICR_HI, lapic_read(LAPIC_ID));
	NMI_CASE("nmi", "0: mov %%eax, (%%rbx)");
	NMI_CASE("under sti", "sti; nop\n0: mov %%eax, (%%rbx); cli");
	NMI_CASE("in the shadow of sti", "sti\n0: mov %%eax, (%%rbx); nop; cli");
	NMI_CASE("in the shadow of mov ss", "mov %%ss, %%ecx; mov %%ecx, %%ss\n0: mov %%eax, (%%rbx)");
	in_nmi = one_more;
	NMI_CASE("in its handler", "0: mov %%eax, (%%rbx)");
	in_nmi = one_more;
	NMI_CASE("in its handler, back to cpuid", "0: mov %%eax, (%%rbx); xor %%eax, %%eax; cpuid");
	in_nmi = one_more;
	NMI_CASE("in its handler, back to sti", "0: mov %%eax, (%%rbx); sti; nop; cli");
	in_nmi = two_more;
	NMI_CASE("three in its handler", "0: mov %%eax, (%%rbx)");
	in_nmi = and_interrupt;
	NMI_CASE("with an interrupt", "0: mov %%eax, (%%rbx); nop; cli");
	in_nmi = sleeper;
	NMI_CASE("hlt in its handler", "0: mov %%eax, (%%rbx)");
	in_nmi = inner_iret;
	NMI_CASE("iret in its handler", "0: mov %%eax, (%%rbx)");
	in_nmi = exits;
	NMI_CASE("exits in its handler", "0: mov %%eax, (%%rbx)");
	in_nmi = steps;
	NMI_CASE("back with a step", "0: mov %%eax, (%%rbx); nop; pushfq; andl $~0x100, (%%rsp); popfq");
	NMI_CASE("with a step", "pushfq; orl $0x100, (%%rsp); popfq\n0: mov %%eax, (%%rbx); nop; pushfq; andl $~0x100, (%%rsp); popfq");
	in_nmi = bad_iret;
	print("bad iret: fault=%d\n", TRY(send()));
	show("bad iret");
	trap_hook = NULL;
}
