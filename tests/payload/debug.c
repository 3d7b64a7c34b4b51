/*
 * Breakpoints where the access or the instruction is one that a hypervisor emulates: on ports, on device memory, on the
 * memory operands of INS and OUTS, on the instructions themselves.
 */
#include "steps.h"

#define CR4_DE   BIT(3)
#define SCRATCH  (COM1 + 7)
#define NOWHERE  0x1230
#define ABSENT   0xd0000000ull

enum { EXECUTE, WRITE, PORT, ACCESS };
enum { LEN1, LEN2, LEN8, LEN4 };
#define DR7(n, rw, len) (0x400 | 2ull << 2 * (n) | (uint64_t)(rw) << (16 + 4 * (n)) | (uint64_t)(len) << (18 + 4 * (n)))
#define DISABLED(n, rw, len) (DR7(n, rw, len) & ~0xffull)

static uint8_t buf[2 * PAGE] __attribute__((aligned(4096)));

static void arm(uint64_t dr7) { wrdr7(dr7 | 0x400); }

static void ports(void)
{
	wrdr1(SCRATCH);
	wrdr2(NOWHERE);
	wrdr3(NOWHERE + 3);
	arm(DR7(1, PORT, LEN1));
	STEPS("port without de", "0: out %%al, %%dx; in %%dx, %%al", d_ = SCRATCH);
	wrcr4(rdcr4() | CR4_DE);
	STEPS("out", "0: out %%al, %%dx", d_ = SCRATCH);
	STEPS("in", "0: in %%dx, %%al", d_ = SCRATCH);
	STEPS("another port", "0: in %%dx, %%al", d_ = SCRATCH - 1);
	STEPS("word that ends there", "0: in %%dx, %%ax", d_ = SCRATCH - 1);
	STEPS("immediate port", "0: in $0x80, %%al");
	wrdr1(0x80);
	STEPS("immediate port, armed", "0: out %%al, $0x80; in $0x80, %%al");
	wrdr1(SCRATCH);
	arm(DR7(2, PORT, LEN4));
	STEPS("range: byte at 0", "0: in %%dx, %%al", d_ = NOWHERE);
	STEPS("range: byte at 3", "0: in %%dx, %%al", d_ = NOWHERE + 3);
	STEPS("range: byte at 4", "0: in %%dx, %%al", d_ = NOWHERE + 4);
	STEPS("range: doubleword at -2", "0: out %%eax, %%dx", d_ = NOWHERE - 2);
	STEPS("range: word at -2", "0: out %%ax, %%dx", d_ = NOWHERE - 2);
	arm(DR7(2, PORT, LEN4) | DR7(3, PORT, LEN1));
	STEPS("two", "0: in %%dx, %%eax", d_ = NOWHERE);
	arm(DR7(2, PORT, LEN4) | DISABLED(3, PORT, LEN1));
	STEPS("one and one that is not enabled", "0: in %%dx, %%eax", d_ = NOWHERE);
	arm(DISABLED(2, PORT, LEN4));
	STEPS("none enabled", "0: in %%dx, %%eax", d_ = NOWHERE);
	arm(DR7(2, PORT, LEN4));
	STEPS("with a step", STEP_ON "0: in %%dx, %%al; nop\n" STEP_OFF, d_ = NOWHERE);
	STEPS("behind mov ss", "mov %%ss, %%eax\n0: mov %%eax, %%ss; in %%dx, %%al", d_ = NOWHERE);
	STEPS("rep outsb", "0: rep outsb", d_ = NOWHERE, c_ = 3, si_ = (uint64_t)buf);
	STEPS("rep insl", "0: rep insl", d_ = NOWHERE, c_ = 2, di_ = (uint64_t)buf);
	STEPS("outsw", "0: outsw", d_ = NOWHERE + 2, si_ = (uint64_t)buf);
	wrcr4(rdcr4() & ~CR4_DE);
}

/* The memory operands of string port I/O. */
static void string_operands(void)
{
	wrdr1((uint64_t)buf + 8);
	arm(DR7(1, WRITE, LEN4));
	STEPS("outs reads what is watched for writes", "0: rep outsb", d_ = SCRATCH, c_ = 16, si_ = (uint64_t)buf);
	STEPS("ins", "0: rep insb", d_ = SCRATCH, c_ = 16, di_ = (uint64_t)buf);
	STEPS("insl over two", "0: rep insl", d_ = NOWHERE, c_ = 5, di_ = (uint64_t)buf + 2);
	arm(DR7(1, ACCESS, LEN8));
	STEPS("outs", "0: rep outsw", d_ = NOWHERE, c_ = 12, si_ = (uint64_t)buf);
	STEPS("outs down", "0: std; rep outsb; cld", d_ = SCRATCH, c_ = 6, si_ = (uint64_t)buf + 12);
	STEPS("one outsb", "0: outsb", d_ = SCRATCH, si_ = (uint64_t)buf + 15);
	STEPS("one outsb beside", "0: outsb", d_ = SCRATCH, si_ = (uint64_t)buf + 16);
	wrdr2((uint64_t)buf + PAGE);
	arm(DR7(2, ACCESS, LEN1));
	STEPS("outsl over the page", "0: outsl", d_ = NOWHERE, si_ = (uint64_t)buf + PAGE - 2);
	STEPS("insl over the page", "0: insl", d_ = NOWHERE, di_ = (uint64_t)buf + PAGE - 2);
	STEPS("with steps", STEP_ON "0: rep outsb\n" STEP_OFF, d_ = SCRATCH, c_ = 3, si_ = (uint64_t)buf + PAGE - 1);
	/* A fault drops what the instruction hit before. */
	arm(DR7(1, ACCESS, LEN8));
	wrdr1(WINDOW + PAGE - 2);
	window_set(0, (uint64_t)buf | PTE_P | PTE_W);
	window_set(1, 0);
	print("outsl into the gap: fault=%d\n", TRY(__asm__ volatile("outsl" :: "S"(WINDOW + PAGE - 2), "d"(NOWHERE) : "memory")));
	steps_print("outsl into the gap");
	window_set(0, 0);
}

static void device_memory(void)
{
	wrdr1(IOAPIC);
	arm(DR7(1, WRITE, LEN4));
	STEPS("device write", "0: movl $1, (%%rbx)", b_ = IOAPIC);
	STEPS("device read of what is watched for writes", "0: mov (%%rbx), %%eax", b_ = IOAPIC);
	arm(DR7(1, ACCESS, LEN4));
	STEPS("device read", "0: mov (%%rbx), %%eax", b_ = IOAPIC);
	STEPS("device beside", "0: mov 0x10(%%rbx), %%eax", b_ = IOAPIC);
	STEPS("device exchange", "0: xchg %%eax, (%%rbx)", b_ = IOAPIC, a_ = 1);
	STEPS("device or", "0: orl $1, (%%rbx)", b_ = IOAPIC);
	arm(DR7(1, WRITE, LEN4));
	STEPS("device or, write", "0: orl $1, (%%rbx)", b_ = IOAPIC);
	STEPS("device cmp, write", "0: cmpl $1, (%%rbx)", b_ = IOAPIC);
	STEPS("device write with a step", STEP_ON "0: movl $1, (%%rbx); nop\n" STEP_OFF, b_ = IOAPIC);
	STEPS("device write behind mov ss", "mov %%ss, %%eax\n0: mov %%eax, %%ss; movl $1, (%%rbx)", b_ = IOAPIC);
	wrdr2((uint64_t)buf + 8);
	arm(DR7(1, ACCESS, LEN4) | DR7(2, WRITE, LEN4));
	STEPS("device movsl", "0: movsl", si_ = IOAPIC, di_ = (uint64_t)buf + 8);
	wrdr1(ABSENT + 16);
	arm(DR7(1, ACCESS, LEN4) | DR7(2, WRITE, LEN4));
	STEPS("absent rep movsl", "0: rep movsl", si_ = ABSENT, di_ = (uint64_t)buf, c_ = 8);
	STEPS("absent rep stosl", "0: rep stosl", di_ = ABSENT, c_ = 8);
	STEPS("absent rep lodsq", "0: rep lodsq", si_ = ABSENT, c_ = 8);
	wrdr1(ABSENT + PAGE);
	arm(DR7(1, ACCESS, LEN1));
	STEPS("absent over the page", "0: mov (%%rbx), %%rax", b_ = ABSENT + PAGE - 4);
	wrdr1(LAPIC + LAPIC_TPR);
	arm(DR7(1, ACCESS, LEN4));
	STEPS("lapic read", "0: mov (%%rbx), %%eax", b_ = LAPIC + LAPIC_TPR);
	STEPS("lapic write", "0: movl $0x10, (%%rbx)", b_ = LAPIC + LAPIC_TPR);
	STEPS("lapic write with a step", STEP_ON "0: movl $0, (%%rbx); nop\n" STEP_OFF, b_ = LAPIC + LAPIC_TPR);
	wrdr1(LAPIC + LAPIC_ICR);
	arm(DR7(1, WRITE, LEN4));
	STEPS("icr write", "sti\n0: movl %%eax, (%%rbx); nop; cli", b_ = LAPIC + LAPIC_ICR, a_ = 0x40000 | VECTOR);
	arm(0);
}

static uint8_t *const code = buf + PAGE;

/* An instruction breakpoint at what exits: it comes once, before the instruction, and not again between iterations. */
static void instructions(void)
{
	static const struct { const char *name; uint8_t bytes[12]; uint64_t a, b, c, d; } cases[] = {
		{ "cpuid", { 0x0f, 0xa2, 0xc3 }, 0, 0, 0, 0 },
		{ "in", { 0xec, 0xc3 }, 0, 0, 0, SCRATCH },
		{ "out", { 0xee, 0xc3 }, 0, 0, 0, SCRATCH },
		{ "rdmsr", { 0x0f, 0x32, 0xc3 }, 0, 0, 0x1b, 0 },
		{ "rdmsr, fault", { 0x0f, 0x32, 0xc3 }, 0, 0, 0x12345, 0 },
		{ "device", { 0x8b, 0x03, 0xc3 }, 0, IOAPIC, 0, 0 },
		{ "lapic", { 0x8b, 0x03, 0xc3 }, 0, LAPIC + LAPIC_TPR, 0, 0 },
		{ "rep outsb", { 0xf3, 0x6e, 0xc3 }, 0, 0, 3000, NOWHERE },
		{ "rep insb", { 0xf3, 0x6c, 0xc3 }, 0, 0, 3000, NOWHERE },
		{ "rep lodsb", { 0xf3, 0xac, 0xc3 }, 0, 0, 700, 0 },
		{ "wbinvd", { 0x0f, 0x09, 0xc3 }, 0, 0, 0, 0 },
		{ "mov cr0", { 0x0f, 0x20, 0xc0, 0x0f, 0x22, 0xc0, 0xc3 }, 0, 0, 0, 0 },
	};

	static uint8_t data[3000];
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		bool device = cases[i].bytes[1] == 0xac;
		uint64_t a = cases[i].a, b = cases[i].b, c = cases[i].c, d = cases[i].d;
		uint64_t si = device ? ABSENT : (uint64_t)data, di = (uint64_t)data;

		memcpy(code, cases[i].bytes, sizeof(cases[i].bytes));
		step_base = (uint64_t)code;
		wrdr0((uint64_t)code);
		arm(DR7(0, EXECUTE, LEN1));
		int v = TRY(__asm__ volatile("call *%[code]" : "+a"(a), "+b"(b), "+c"(c), "+d"(d), "+S"(si), "+D"(di)
					     : [code] "r"(code) : "memory", "cc"));
		steps_print(cases[i].name);
		if (v != NO_FAULT)
			print("%s: fault=%d\n", cases[i].name, v);
	}
	wrdr0(0);
	arm(0);
}

void payload_main(void)
{
	steps_init();
	ports();
	string_operands();
	device_memory();
	instructions();
	trap_hook = NULL;
}
