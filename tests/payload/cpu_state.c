/* State that must survive exits, and events around an instruction that exits: CPUID stands for all of them. */
#include "cpu.h"

#define RF_TF   BIT(8)
#define RF_RF   BIT(16)
#define DR6_CLEAR 0xffff0ff0
#define DR7_GD  BIT(13)
#define VECTOR  0x71

#define DR_FUNCTIONS(n) \
	static inline uint64_t rddr##n(void) { uint64_t v; __asm__ volatile("mov %%dr" #n ", %0" : "=r"(v)); return v; } \
	static inline void wrdr##n(uint64_t v) { __asm__ volatile("mov %0, %%dr" #n :: "r"(v) : "memory"); }
DR_FUNCTIONS(0) DR_FUNCTIONS(1) DR_FUNCTIONS(6) DR_FUNCTIONS(7)

extern uint8_t step_base[], step_end[], ss_base[], ss_end[], sti_base[], brk_at[], watch_base[];
static const uint8_t *trace_base, *trace_end; /* TF is cleared at the end */
static unsigned traps;
static volatile uint64_t watched[2] __attribute__((aligned(16)));

#define TRACE_SPAN 64
#define MAX_TRAPS  40

/* Prints where the trap points, from trace_base, and the meaningful bits of DR6. */
static bool on_db(struct frame *f)
{
	uint64_t offset = f->rip - (uint64_t)trace_base;

	if (f->vector != 1)
		return false;
	if (offset < TRACE_SPAN)
		print(" +%lx/%lx", offset, rddr6() & 0xe00f);
	else
		print(" ./%lx", rddr6() & 0xe00f);
	wrdr6(DR6_CLEAR);
	if (++traps > MAX_TRAPS || f->rip == (uint64_t)trace_end)
		f->rflags &= ~RF_TF;
	if (f->rip == (uint64_t)brk_at)
		f->rflags |= RF_RF; /* go on behind an instruction breakpoint */
	return true;
}

static void single_step(void)
{
	trap_hook = on_db;
	trace_base = step_base;
	trace_end = step_end;
	print("step:");
	__asm__ volatile("pushfq; orl $0x100, (%%rsp); popfq\n"
			 "step_base: nop; cpuid; nop; in $0x80, %%al; rdtsc; mov %%cr0, %%rax; mov %%rax, %%cr0;"
			 "mov $0x10, %%ecx; rdmsr; nop\n"
			 "step_end: nop" ::: "rax", "rbx", "rcx", "rdx", "memory", "cc");
	/* MOV SS holds the trap back until CPUID is done too. */
	print("\nstep over mov ss:");
	trace_base = ss_base;
	trace_end = ss_end;
	traps = 0;
	__asm__ volatile("mov %%ss, %%ecx; pushfq; orl $0x100, (%%rsp); popfq\n"
			 "ss_base: mov %%ecx, %%ss; cpuid; nop; nop\n"
			 "ss_end: nop" ::: "rax", "rbx", "rcx", "rdx", "memory", "cc");
	print("\n");
	trap_hook = NULL;
}

static void breakpoints(void)
{
	trap_hook = on_db;
	wrdr6(DR6_CLEAR);
	wrdr0((uint64_t)brk_at);
	wrdr7(0x402);
	trace_base = brk_at;
	do_cpuid();
	print("dr7 %lx dr6 %lx\nbreakpoint:", rddr7(), rddr6());
	__asm__ volatile("nop; brk_at: cpuid; nop" ::: "rax", "rbx", "rcx", "rdx");
	wrdr1((uint64_t)&watched[0]);
	wrdr7(0x402 | 8 | 0xdull << 20); /* DR1: write, 4 bytes */
	trace_base = NULL;
	print("\nwatch:");
	watched[0] = 1;
	(void)watched[0];
	watched[1] = 1;
	((volatile uint8_t *)watched)[3] = 1;
	wrdr7(0x402 | 8 | 0xfull << 20); /* read or write, 4 bytes */
	print("\nwatch rw:");
	(void)watched[0];
	print("\nmov ss, watched:");
	trace_base = watch_base;
	__asm__ volatile("watch_base: mov %%ss, %%eax; mov %%eax, %0; mov %0, %%ss; cpuid; nop; nop" : "+m"(watched[0]) :: "rax", "rbx", "rcx", "rdx");
	wrdr7(0x400);
	print("\nicebp:");
	__asm__ volatile(".byte 0xf1");
	print("\n");
	trap_hook = NULL;
	wrdr7(0x400 | DR7_GD);
	print("general detect: fault=%d", TRY(rddr0()));
	print(" dr6 %lx dr7 %lx\n", rddr6() & 0xe00f, rddr7());
	wrdr6(DR6_CLEAR);
	wrdr7(0x400);
	REPORT("dr7 bit 32", wrdr7(BIT(32)));
	REPORT("dr6 bit 32", wrdr6(BIT(32)));
	wrcr4(rdcr4() | BIT(3));
	REPORT("dr4 under de", __asm__ volatile(".byte 0x0f, 0x21, 0xe0" ::: "rax"));
	wrcr4(rdcr4() & ~BIT(3));
	REPORT("dr4", __asm__ volatile(".byte 0x0f, 0x21, 0xe0" ::: "rax"));
	wrdr6(0);
	wrdr7(0);
	print("dr6 %lx dr7 %lx\n", rddr6(), rddr7());
}

static volatile uint64_t irq_rip;

static void on_irq(struct frame *f)
{
	irq_rip = f->rip;
	lapic_write(LAPIC_EOI, 0);
}

/* A pending interrupt comes one instruction after STI, also if that one exits; and not between POP SS and the next. */
static void shadows(void)
{
	irq_init();
	irq_set(VECTOR, on_irq);
	cli();
	lapic_self_ipi(VECTOR);
	__asm__ volatile("xor %%eax, %%eax; sti\nsti_base: cpuid; nop; nop; cli" ::: "rax", "rbx", "rcx", "rdx", "memory");
	print("sti shadow: +%lx\n", irq_rip - (uint64_t)sti_base);
	irq_rip = 0;
	lapic_self_ipi(VECTOR);
	__asm__ volatile("sti; cli; cpuid" ::: "rax", "rbx", "rcx", "rdx", "memory");
	print("sti cli: %s\n", irq_rip ? "taken" : "held");
	__asm__ volatile("sti; nop; cli" ::: "memory");
	print("sti nop cli: %s\n", irq_rip ? "taken" : "held");
}

static void fs_gs(void)
{
	static uint64_t there[2] = { 0x1111, 0x2222 };
	uint64_t a, b;

	wrmsr(0xc0000100, (uint64_t)there);
	wrmsr(0xc0000101, (uint64_t)there);
	wrmsr(0xc0000102, (uint64_t)(there + 1));
	do_cpuid();
	__asm__ volatile("mov %%fs:8, %0; mov %%gs:0, %1" : "=r"(a), "=r"(b));
	print("fs:8 %lx gs:0 %lx", a, b);
	__asm__ volatile("swapgs; cpuid; mov %%gs:0, %0; swapgs" : "=r"(a) :: "rax", "rbx", "rcx", "rdx");
	print(" swapped %lx kernel base %u\n", a, (unsigned)(rdmsr(0xc0000102) == (uint64_t)(there + 1)));
	wrmsr(0xc0000100, 0);
	wrmsr(0xc0000101, 0);
	wrmsr(0xc0000102, 0);
}

extern void syscall_target(void);
__asm__("syscall_target: swapgs; swapgs; cpuid; mov $0x5ca11, %rsi; ud2");
static void user_syscall(void) { __asm__ volatile("syscall" ::: "rcx", "r11"); }

static void syscall_test(void)
{
	uint64_t efer = rdmsr(MSR_EFER);
	int v;

	wrmsr(0xc0000081, 0x0013000800000000);
	wrmsr(0xc0000082, (uint64_t)syscall_target);
	wrmsr(0xc0000084, 0x700);
	wrmsr(MSR_EFER, efer & ~1ull);
	print("syscall without sce: fault=%d\n", USER(user_syscall));
	wrmsr(MSR_EFER, efer | 1);
	v = USER(user_syscall);
	print("syscall: fault=%d rsi %lx\n", v, fault.rsi);
	wrmsr(MSR_EFER, efer);
}

/* Vector and x87 registers across exits. */
static void vectors(void)
{
	static uint8_t in[16][32] __attribute__((aligned(64))), out[16][32] __attribute__((aligned(64)));
	static uint8_t fx[512] __attribute__((aligned(64)));
	uint64_t cr0 = rdcr0(), cr4 = rdcr4();
	bool avx = (cpuid(1, 0).c & CPUID1_ECX_AVX) != 0;

	for (unsigned i = 0; i < sizeof(in); i++)
		in[i / 32][i % 32] = (uint8_t)(i * 37 + 11);
	wrcr0((cr0 | 2) & ~0xcull);
	wrcr4(cr4 | CR4_OSFXSR | BIT(10));
	__asm__ volatile("fninit; fld1; fldpi; cpuid; fxsave %0" : "=m"(fx) :: "rax", "rbx", "rcx", "rdx");
	print("x87: fcw %x fsw %x st0 %lx %x\n", *(uint16_t *)fx, *(uint16_t *)(fx + 2), *(uint64_t *)(fx + 32), *(uint16_t *)(fx + 40));
	__asm__ volatile("movdqa (%0), %%xmm0; movdqa 32(%0), %%xmm7; movdqa 64(%0), %%xmm15; cpuid; in $0x80, %%al;"
			 "movdqa %%xmm0, (%1); movdqa %%xmm7, 32(%1); movdqa %%xmm15, 64(%1)"
			 :: "r"(in), "r"(out) : "rax", "rbx", "rcx", "rdx", "memory");
	print("xmm: %s\n", !memcmp(in[0], out[0], 16) && !memcmp(in[1], out[1], 16) && !memcmp(in[2], out[2], 16) ? "kept" : "lost");
	__asm__ volatile("ldmxcsr %0; cpuid; stmxcsr %0" : "+m"(*(uint32_t *)(fx + 24)) :: "rax", "rbx", "rcx", "rdx");
	print("mxcsr: %x\n", *(uint32_t *)(fx + 24));
	*(uint32_t *)(fx + 24) = 0x10000;
	REPORT("mxcsr reserved", __asm__ volatile("ldmxcsr %0" :: "m"(*(uint32_t *)(fx + 24))));
	*(uint32_t *)(fx + 24) = 0x1d80; /* divide by zero unmasked */
	REPORT("xm", __asm__ volatile("ldmxcsr %0; pcmpeqw %%xmm1, %%xmm1; psrld $25, %%xmm1; pslld $23, %%xmm1; xorps %%xmm2, %%xmm2;"
				      "divss %%xmm2, %%xmm1" :: "m"(*(uint32_t *)(fx + 24))));
	*(uint32_t *)(fx + 24) = 0x1f80;
	__asm__ volatile("ldmxcsr %0" :: "m"(*(uint32_t *)(fx + 24)));
	if (cpuid(1, 0).c & CPUID1_ECX_XSAVE) {
		wrcr4(rdcr4() & ~CR4_OSXSAVE);
		REPORT("xsetbv without osxsave", xsetbv(0, 1));
		wrcr4(rdcr4() | CR4_OSXSAVE);
		REPORT("xsetbv x87", xsetbv(0, 1));
		print("xcr0: %lx\n", xgetbv(0));
		REPORT("xsetbv without x87", xsetbv(0, 2));
		REPORT("xsetbv 1", xsetbv(1, 1));
		REPORT("xsetbv bit 62", xsetbv(0, 1 | BIT(62)));
		REPORT("xsetbv avx without sse", xsetbv(0, 5));
		REPORT("xsetbv sse", xsetbv(0, 3));
		print("xcr0: %lx, cpuid d %x\n", xgetbv(0), cpuid(0xd, 0).b);
	}
	if (avx) {
		REPORT("avx without xcr0", __asm__ volatile("vzeroupper"));
		REPORT("xsetbv avx", xsetbv(0, 7));
		print("xcr0: %lx, cpuid d %x\n", xgetbv(0), cpuid(0xd, 0).b);
		memset(out, 0, sizeof(out));
		__asm__ volatile("vmovdqa (%0), %%ymm1; vmovdqa 32(%0), %%ymm14; cpuid; in $0x80, %%al;"
				 "vmovdqa %%ymm1, (%1); vmovdqa %%ymm14, 32(%1)"
				 :: "r"(in), "r"(out) : "rax", "rbx", "rcx", "rdx", "memory");
		print("ymm: %s\n", memcmp(in, out, 64) ? "lost" : "kept");
		xsetbv(0, 3);
	}
	wrcr4(cr4);
	wrcr0(cr0);
}

void cpu_state(void)
{
	uint64_t a, b, c = 0;

	single_step();
	breakpoints();
	shadows();
	fs_gs();
	syscall_test();
	vectors();
	for (unsigned i = 0; i < 1000; i++) {
		a = rdtsc();
		do_cpuid();
		b = rdtsc();
		c += b > a;
	}
	print("tsc grew %lu of 1000 times\n", c);
}
