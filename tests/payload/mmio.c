/* Device registers through every form of instruction that compilers emit: results, flags, what the register holds then. */
#include "mmio.h"

#define MSR_FS_BASE 0xc0000100
#define RTE_HIGH    0x13

static void moves(void)
{
	OP("mov (%%rbx), %%eax", TPR, 0x55, ~0ull, 0);
	OP("mov %%eax, (%%rbx)", TPR, 0, 0xffffffff000000a7, 0);
	OP("movl $0x33, (%%rbx)", TPR, 0, 0, 0);
	OP("mov -0x50(%%rbx), %%eax", LAPIC + 0xd0, 0x12000000, 0, 0);
	OP("movabs 0xfee00080, %%eax", TPR, 0x61, ~0ull, 0);
	OP("movabs %%eax, 0xfee00080", TPR, 0, 0x62, 0);
	OP("addr32 mov (%%ebx), %%eax", TPR, 0x63, ~0ull, 0);
	wrmsr(MSR_FS_BASE, LAPIC);
	OP("mov %%fs:0x80, %%eax", TPR, 0x64, 0, 0);
	OP("mov %%eax, %%fs:0x70(,%%rdx,4)", TPR, 0, 0x66, 0);
	OP("mov -0x20(%%rbx,%%rdx,8), %%eax", TPR, 0x67, 0, 0);
	wrmsr(MSR_FS_BASE, 0);
	__asm__ volatile("mov $0x65, %%r13d; mov %%r13d, (%0); mov (%0), %%r12d; mov %%r12d, %%eax" :: "r"(TPR) : "rax", "r12", "r13", "memory");
	print("mov r13d, r12d: %x\n", mmio_read(TPR));
	print("# sub-dword reads: ");
	OP("movzbl (%%rbx), %%eax", TPR, 0x9a, ~0ull, 0);
	print("# ");
	OP("movswl (%%rbx), %%eax", TPR, 0x9a, ~0ull, 0);
	OP("movslq (%%rbx), %%rax", LAPIC + LAPIC_ICR_HI, 0x80000000, 0, 0);
	OP("xchg %%eax, (%%rbx)", TPR, 0x11, 0x22, 0);
}

static void arithmetic(void)
{
	OP("and %%eax, (%%rbx)", TPR, 0xf3, 0x3c, FLAGS_LOGIC);
	OP("and (%%rbx), %%eax", TPR, 0xf3, 0x0c, FLAGS_LOGIC);
	OP("andl $-16, (%%rbx)", TPR, 0xf3, 0, FLAGS_LOGIC);
	OP("or %%eax, (%%rbx)", TPR, 0x41, 0x80, FLAGS_LOGIC);
	OP("or (%%rbx), %%rax", ABSENT, 0, 0, FLAGS_LOGIC);
	OP("orl $0x10000, (%%rbx)", LAPIC + LAPIC_LVT_ERROR, 0x30, 0, FLAGS_LOGIC);
	OP("xor %%eax, (%%rbx)", TPR, 0xff, 0xff, FLAGS_LOGIC);
	OP("xor (%%rbx), %%eax", LAPIC + LAPIC_ICR_HI, 0xff000000, 0x7f000000, FLAGS_LOGIC);
	OP("xorl $1, (%%rbx)", TPR, 0x80, 0, FLAGS_LOGIC);
	OP("add %%eax, (%%rbx)", TPR, 0x0f, 0x01, FLAGS_ARITH);
	OP("add (%%rbx), %%eax", LAPIC + LAPIC_ICR_HI, 0xff000000, 0x01000000, FLAGS_ARITH);
	OP("addl $0x7f, (%%rbx)", TPR, 0x01, 0, FLAGS_ARITH);
	OP("sub %%eax, (%%rbx)", TPR, 0x10, 0x01, FLAGS_ARITH);
	OP("sub (%%rbx), %%eax", TPR, 0x10, 0x01, FLAGS_ARITH);
	OP("subl $0x20, (%%rbx)", TPR, 0x30, 0, FLAGS_ARITH);
	OP("cmp %%eax, (%%rbx)", TPR, 0x10, 0x20, FLAGS_ARITH);
	OP("cmp (%%rbx), %%eax", TPR, 0x10, 0x80000000, FLAGS_ARITH);
	OP("cmpl $0x10, (%%rbx)", TPR, 0x10, 0, FLAGS_ARITH);
	OP("test %%eax, (%%rbx)", TPR, 0x10, 0x30, FLAGS_LOGIC);
	OP("testl $0x20, (%%rbx)", TPR, 0x10, 0, FLAGS_LOGIC);
	OP("bt %%eax, (%%rbx)", TPR, 0x10, 4, 1);
	OP("btl $36, (%%rbx)", TPR, 0x10, 0, 1);
	OP("btl $3, (%%rbx)", TPR, 0x10, 0, 1);
	OP("bt %%eax, -0x10(%%rbx)", LAPIC + LAPIC_ICR_HI, 0x01000000, 128 + 24, 1);
	OP("lock orl $4, (%%rbx)", TPR, 0x10, 0, FLAGS_LOGIC);
	OP("lock xor %%eax, (%%rbx)", TPR, 0x10, 0x18, FLAGS_LOGIC);
}

/* Every width against what is absent: ones, and partial registers keep their rest. */
static void widths(void)
{
	OP("mov (%%rbx), %%al", ABSENT, 0, 0x1122334455667700, 0);
	OP("mov (%%rbx), %%ah", ABSENT, 0, 0x1122334455660077, 0);
	OP("mov (%%rbx), %%ax", ABSENT, 0, 0x1122334455660000, 0);
	OP("mov (%%rbx), %%eax", ABSENT, 0, 0x1122334455667700, 0);
	OP("mov (%%rbx), %%rax", ABSENT, 0, 0, 0);
	OP("mov %%ah, (%%rbx)", ABSENT, 0, 0, 0);
	OP("mov %%rax, (%%rbx)", ABSENT, 0, 0, 0);
	OP("movb $1, (%%rbx)", ABSENT, 0, 0, 0);
	OP("movw $1, (%%rbx)", ABSENT, 0, 0, 0);
	OP("movq $-1, (%%rbx)", ABSENT, 0, 0, 0);
	OP("movzbl (%%rbx), %%eax", ABSENT, 0, ~0ull, 0);
	OP("movzbw (%%rbx), %%ax", ABSENT, 0, 0x1122334455667788, 0);
	OP("movzwl (%%rbx), %%eax", ABSENT, 0, ~0ull, 0);
	OP("movzwq (%%rbx), %%rax", ABSENT, 0, 0, 0);
	OP("movsbl (%%rbx), %%eax", ABSENT, 0, 0, 0);
	OP("movsbq (%%rbx), %%rax", ABSENT, 0, 0, 0);
	OP("movswl (%%rbx), %%eax", ABSENT, 0, 0, 0);
	OP("movslq (%%rbx), %%rax", ABSENT, 0, 0, 0);
	OP("addb $1, (%%rbx)", ABSENT, 0, 0, FLAGS_ARITH);
	OP("addw $1, (%%rbx)", ABSENT, 0, 0, FLAGS_ARITH);
	OP("addq $1, (%%rbx)", ABSENT, 0, 0, FLAGS_ARITH);
	OP("cmpb $0x7f, (%%rbx)", ABSENT, 0, 0, FLAGS_ARITH);
	OP("cmp %%ah, (%%rbx)", ABSENT, 0, 0x7f00, FLAGS_ARITH);
	OP("testb $0x80, (%%rbx)", ABSENT, 0, 0, FLAGS_LOGIC);
	OP("xchg %%ah, (%%rbx)", ABSENT, 0, 0, 0);
	OP("xchg %%rax, (%%rbx)", ABSENT, 0, 0, 0);
}

static void strings(void)
{
	static uint32_t buf[64];
	unsigned ones = 0;

	STRING("stosl", TPR, buf, 0, 0x71);
	print("tpr %x\n", mmio_read(TPR));
	STRING("rep stosl", TPR, buf, 1, 0x72);
	print("tpr %x\n", mmio_read(TPR));
	STRING("rep stosl", TPR, buf, 0, 0x73);
	print("tpr %x\n", mmio_read(TPR));
	STRING("std; stosl", TPR, buf, 0, 0x74);
	print("tpr %x\n", mmio_read(TPR));
	STRING("lodsl", buf, TPR, 0, ~0ull);
	STRING("rep lodsl", buf, TPR, 1, ~0ull);
	buf[0] = 0x75;
	STRING("movsl", TPR, buf, 0, 0);
	print("tpr %x\n", mmio_read(TPR));
	STRING("std; movsl", buf + 1, TPR, 0, 0);
	print("buf %x %x\n", buf[0], buf[1]);
	STRING("addr32 rep movsl", buf + 2, TPR, 1, 0);
	print("buf %x\n", buf[2]);
	STRING("movsl", IOAPIC, TPR, 0, 0); /* from one device to another */
	print("ioapic select %x\n", mmio_read(IOAPIC) & 0xff);
	memset(buf, 0, sizeof(buf));
	STRING("rep movsl", buf, ABSENT, 64, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(buf); i++)
		ones += buf[i] == ~0u;
	print("ones %u\n", ones);
	STRING("rep stosq", ABSENT, buf, 512, 0x1234);
	STRING("rep stosb", ABSENT + 1, buf, 13, 0);
	STRING("rep lodsb", buf, ABSENT, 5, 0);
	STRING("rep lodsw", buf, ABSENT, 3, 0);
	STRING("rep movsb", ABSENT, buf, 100, 0);
	STRING("std; rep movsw", ABSENT + 100, buf + 60, 20, 0);
	STRING("rep movsq", ABSENT, ABSENT + 4096, 16, 0);
}

/* A fault in the middle of a REP leaves the registers at the iteration that faulted. */
static void faults(void)
{
	window_set(0, ABSENT | PTE_P | PTE_W);
	window_set(1, 0);
	print("rep stosl into the gap: fault=%d", TRY(__asm__ volatile("rep stosl" :: "D"(WINDOW + PAGE - 16), "c"(10), "a"(0) : "memory")));
	print(" error %lx cr2 %lx rcx %lx rdi %lx\n", fault.error, fault.cr2, fault.rcx, fault.rdi);
	print("mov into the gap: fault=%d", TRY(*(volatile uint64_t *)(WINDOW + PAGE - 4) = 0));
	print(" error %lx cr2 %lx\n", fault.error, fault.cr2);
	window_set(0, ABSENT | PTE_P);
	wrcr0(rdcr0() | BIT(16));
	print("write to a read-only device page: fault=%d", TRY(*(volatile uint32_t *)WINDOW = 0));
	print(" error %lx\n", fault.error);
	wrcr0(rdcr0() & ~BIT(16));
	window_set(0, 0);
}

void payload_main(void)
{
	irq_init();
	moves();
	arithmetic();
	widths();
	strings();
	faults();
	mmio_write(IOAPIC, RTE_HIGH);
	OP("mov 0x10(%%rbx), %%eax", IOAPIC, RTE_HIGH, 0, 0);
	OP("movl $0x5a000000, 0x10(%%rbx)", IOAPIC, RTE_HIGH, 0, 0);
	OP("orl $0x04000000, 0x10(%%rbx)", IOAPIC, RTE_HIGH, 0, FLAGS_LOGIC);
	OP("xchg %%eax, 0x10(%%rbx)", IOAPIC, RTE_HIGH, 0x11000000, 0);
	print("ioapic window %x\n", mmio_read(IOAPIC + IOAPIC_WIN));
}
