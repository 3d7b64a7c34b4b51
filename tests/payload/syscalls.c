/*
 * The fast ways between the rings, FS and GS bases, and addresses that are not canonical: SYSENTER, SYSEXIT, SYSCALL, SYSRET,
 * SWAPGS, FSGSBASE, CMPXCHG8B and 16B, and every kind of branch and access out of the address space.
 */
#include "payload.h"

#define MSR_SYSENTER_CS  0x174
#define MSR_SYSENTER_ESP 0x175
#define MSR_SYSENTER_EIP 0x176
#define MSR_STAR   0xc0000081
#define MSR_LSTAR  0xc0000082
#define MSR_CSTAR  0xc0000083
#define MSR_FMASK  0xc0000084
#define MSR_FS     0xc0000100
#define MSR_GS     0xc0000101
#define MSR_KERNEL_GS 0xc0000102
#define STAR       0x0013000800000000 /* SYSRET to 23h and 1Bh, SYSCALL to 8 and 10h */
#define EFER_SCE   BIT(0)
#define CR4_FSGSBASE BIT(16)
#define CPUID7B_FSGSBASE BIT(0)
#define NONCANONICAL 0x800000000000ull
#define FLAGS_SEEN 0x3f7f00

static uint8_t kernel_stack[PAGE] __attribute__((aligned(16))), user_stack[PAGE] __attribute__((aligned(16)));
static uint64_t seen[3]; /* CS, SS, RFLAGS */

/* What is found there is noted, then INT 80h ends it. */
void entry_point(void);
void user_point(void);
__asm__("entry_point: mov %cs, %eax; mov %rax, seen(%rip); mov %ss, %eax; mov %rax, seen+8(%rip);"
	"lea kernel_stack+2048(%rip), %rsp; pushfq; pop %rax; mov %rax, seen+16(%rip); cpuid; int $0x80; ud2\n"
	"user_point: pushfq; pop %rax; mov %rax, seen+16(%rip); mov %cs, %eax; mov %rax, seen(%rip);"
	"mov %ss, %eax; mov %rax, seen+8(%rip); int $0x80; ud2");

static void show(const char *name, int v)
{
	print("%s: %d", name, v);
	if (v != USER_DONE && v != NO_FAULT)
		print(" error=%lx", fault.error);
	print(" cs %lx ss %lx flags %lx\n", seen[0], seen[1], seen[2] & FLAGS_SEEN);
	memset(seen, 0, sizeof(seen));
}

static void sysenter_(void) { __asm__ volatile("sysenter"); }
static void syscall_(void) { __asm__ volatile("syscall" ::: "rcx", "r11"); }
static void swapgs_(void) { __asm__ volatile("swapgs"); }
static void sysexit_(void) { __asm__ volatile("rex.w sysexit" :: "c"(0), "d"(0)); }
static void sysret_(void) { __asm__ volatile("sysretq" :: "c"(0)); }
static void rdfsbase_(void) { uint64_t v; __asm__ volatile("rdfsbase %0" : "=r"(v)); }

static int sysexit_to(uint64_t ip, uint64_t sp)
{
	return TRY(__asm__ volatile("rex.w sysexit" :: "d"(ip), "c"(sp) : "memory"));
}

static int sysret_to(uint64_t ip, uint64_t flags)
{
	return TRY(__asm__ volatile("mov %%rsp, %%r15; mov %2, %%rsp; mov %1, %%r11; sysretq"
				    :: "c"(ip), "r"(flags), "r"((uint64_t)user_stack + PAGE) : "r15", "r11", "memory"));
}

static void fast_calls(void)
{
	uint64_t efer = rdmsr(MSR_EFER);
	static const uint64_t flags[] = { 2, 0x3202, 0x246, 0x40002, 0x4002, 0x10002, 0x20002, 0x200002, ~0x100ull };

	show("sysenter without cs", TRY(sysenter_()));
	wrmsr(MSR_SYSENTER_CS, SEL_CODE);
	wrmsr(MSR_SYSENTER_EIP, (uint64_t)entry_point);
	wrmsr(MSR_SYSENTER_ESP, (uint64_t)kernel_stack + PAGE);
	show("sysenter", USER(sysenter_));
	show("sysenter in ring 0", TRY(sysenter_()));
	wrmsr(MSR_SYSENTER_CS, SEL_CODE | 3);
	show("sysenter, rpl", USER(sysenter_));
	wrmsr(MSR_SYSENTER_CS, SEL_CODE);
	show("sysexit in ring 3", USER(sysexit_));
	show("sysexit", sysexit_to((uint64_t)user_point, (uint64_t)user_stack + PAGE));
	show("sysexit, noncanonical ip", sysexit_to(NONCANONICAL, (uint64_t)user_stack + PAGE));
	show("sysexit, noncanonical sp", sysexit_to((uint64_t)user_point, NONCANONICAL));
	wrmsr(MSR_SYSENTER_CS, 0);
	show("sysexit without cs", sysexit_to((uint64_t)user_point, (uint64_t)user_stack + PAGE));
	wrmsr(MSR_STAR, STAR);
	wrmsr(MSR_LSTAR, (uint64_t)entry_point);
	wrmsr(MSR_FMASK, 0x47700);
	show("syscall without sce", USER(syscall_));
	show("sysret without sce", sysret_to((uint64_t)user_point, 2));
	wrmsr(MSR_EFER, efer | EFER_SCE);
	show("syscall", USER(syscall_));
	show("syscall in ring 0", TRY(syscall_()));
	wrmsr(MSR_FMASK, 0);
	show("syscall, no mask", USER(syscall_));
	show("sysret in ring 3", USER(sysret_));
	for (unsigned i = 0; i < ARRAY_SIZE(flags); i++)
		show("sysret", sysret_to((uint64_t)user_point, flags[i]));
	show("sysret, noncanonical", sysret_to(NONCANONICAL, 2));
	show("sysret, high", sysret_to(0xffff800000000000, 2));
	wrmsr(MSR_EFER, efer);
}

static void bases(void)
{
	static uint64_t there[2] = { 0x1111, 0x2222 };
	uint64_t cr4 = rdcr4(), v = 0;

	wrmsr(MSR_GS, (uint64_t)there);
	wrmsr(MSR_KERNEL_GS, (uint64_t)(there + 1));
	__asm__ volatile("swapgs; cpuid; mov %%gs:0, %0; swapgs" : "=r"(v) :: "rax", "rbx", "rcx", "rdx");
	print("swapgs: %lx", v);
	print(" in ring 3: %d", USER(swapgs_));
	__asm__ volatile("mov %w1, %%gs; in $0x80, %%al; mov %%gs, %0" : "=r"(v) : "r"(SEL_UDATA) : "rax");
	print(" gs loaded: %lx base %lx\n", v, rdmsr(MSR_GS));
	__asm__ volatile("mov %w0, %%gs" :: "r"(0));
	print("null gs: base %lx kernel %u\n", rdmsr(MSR_GS), rdmsr(MSR_KERNEL_GS) == (uint64_t)(there + 1));
	wrcr4(cr4 & ~CR4_FSGSBASE);
	print("rdfsbase without fsgsbase: %d %d\n", TRY(rdfsbase_()), USER(rdfsbase_));
	if (cpuid(0, 0).a >= 7 && (cpuid(7, 0).b & CPUID7B_FSGSBASE)) {
		wrcr4(cr4 | CR4_FSGSBASE);
		print("rdfsbase: %d %d", TRY(rdfsbase_()), USER(rdfsbase_));
		__asm__ volatile("wrfsbase %1; cpuid; rdfsbase %0" : "=&r"(v) : "r"(0x123456789abcull) : "rax", "rbx", "rcx", "rdx");
		print(" %lx %lx", v, rdmsr(MSR_FS));
		print(" noncanonical: %d", TRY(__asm__ volatile("wrfsbase %0" :: "r"(NONCANONICAL))));
		__asm__ volatile("wrgsbase %k0" :: "r"(0x12345678));
		print(" %lx\n", rdmsr(MSR_GS));
	}
	wrmsr(MSR_FS, 0);
	wrmsr(MSR_GS, 0);
	wrmsr(MSR_KERNEL_GS, 0);
	wrcr4(cr4);
}

static void exchanges(void)
{
	static uint64_t m[4] __attribute__((aligned(16))) = { 1, 2, 3, 4 };
	bool zf;
	uint64_t a = 1, d = 2;

	__asm__ volatile("lock cmpxchg16b %0" : "+m"(*(unsigned __int128 *)m), "+a"(a), "+d"(d), "=@ccz"(zf) : "b"(7), "c"(8));
	print("cmpxchg16b: %u %lx %lx %lx %lx\n", zf, m[0], m[1], a, d);
	__asm__ volatile("lock cmpxchg16b %0" : "+m"(*(unsigned __int128 *)m), "+a"(a), "+d"(d), "=@ccz"(zf) : "b"(9), "c"(9));
	print("cmpxchg16b: %u %lx %lx %lx %lx\n", zf, m[0], m[1], a, d);
	print("cmpxchg16b odd: %d\n", TRY(__asm__ volatile("cmpxchg16b (%0)" :: "r"((uint8_t *)m + 8) : "rax", "rdx", "memory")));
	print("cmpxchg8b register: %d\n", TRY(__asm__ volatile(".byte 0x0f, 0xc7, 0xc8")));
	print("lock cmpxchg8b register: %d\n", TRY(__asm__ volatile(".byte 0xf0, 0x0f, 0xc7, 0xc8")));
	print("lock inc register: %d\n", TRY(__asm__ volatile(".byte 0xf0, 0xff, 0xc0")));
	print("lock cmp: %d\n", TRY(__asm__ volatile("mov %0, %%rbx; .byte 0xf0, 0x39, 0x03" :: "r"(m) : "rbx")));
}

static void addresses(void)
{
	uint64_t bad = NONCANONICAL;

	REPORT("read", (void)*(volatile uint64_t *)bad);
	REPORT("write", *(volatile uint64_t *)bad = 1);
	REPORT("read over the edge", (void)*(volatile uint64_t *)(bad - 4));
	REPORT("read at the top", (void)*(volatile uint32_t *)~0ull);
	REPORT("jmp", __asm__ volatile("jmp *%0" :: "r"(bad)));
	REPORT("call", __asm__ volatile("call *%0" :: "r"(bad) : "memory"));
	REPORT("ret", __asm__ volatile("push %0; ret" :: "r"(bad) : "memory"));
	REPORT("lret", __asm__ volatile("pushq $8; push %0; rex.w lret" :: "r"(bad) : "memory"));
	REPORT("iret", __asm__ volatile("pushq $0x10; push %%rsp; pushq $2; pushq $8; push %0; iretq" :: "r"(bad) : "memory"));
	REPORT("through rbp", __asm__ volatile("mov %0, %%rbp; mov (%%rbp), %%eax" :: "r"(bad) : "rax"));
	REPORT("lidt", __asm__ volatile("sub $16, %%rsp; movw $0xfff, (%%rsp); mov %0, 2(%%rsp); lidt (%%rsp)"
					:: "r"(bad) : "memory"));
	REPORT("lgdt from there", __asm__ volatile("lgdt (%0)" :: "r"(bad)));
	REPORT("invlpg", __asm__ volatile("invlpg (%0)" :: "r"(bad)));
	REPORT("clflush", __asm__ volatile("clflush (%0)" :: "r"(bad)));
	REPORT("prefetch", __asm__ volatile("prefetcht0 (%0)" :: "r"(bad)));
	REPORT("lea", __asm__ volatile("lea (%0), %%rax" :: "r"(bad) : "rax"));
	REPORT("rep outsb", __asm__ volatile("rep outsb" :: "S"(bad), "c"(3), "d"(0x80)));
	REPORT("rep movsb", __asm__ volatile("rep movsb" :: "S"(bad), "D"(kernel_stack), "c"(3) : "memory"));
}

void payload_main(void)
{
	outb(PIC1 + 1, 0xff);
	outb(PIC2 + 1, 0xff);
	fast_calls();
	bases();
	exchanges();
	addresses();
}
