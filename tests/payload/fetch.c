/*
 * Fetching instructions: their length, pages that they cross, code that changes under the CPU by each way to write memory,
 * and the A20 gate. What is emulated must be seen as the CPU would fetch it.
 */
#include "payload.h"

#define SCRATCH  (COM1 + 7)
#define NOWHERE  0x1230
#define EFER_NXE BIT(11)
#define PORT92   0x92
#define P92_A20  2
#define VALUES   3

static uint8_t first[PAGE] __attribute__((aligned(4096))), second[PAGE] __attribute__((aligned(4096)));

static const struct insn { const char *name; uint8_t len, bytes[8]; uint64_t b, c, d; } insns[] = {
	{ "nop", 1, { 0x90 }, 0, 0, 0 }, { "cpuid", 2, { 0x0f, 0xa2 }, 0, 0, 0 },
	{ "in", 2, { 0xe4, 0x80 }, 0, 0, 0 }, { "out", 1, { 0xee }, 0, 0, SCRATCH },
	{ "rdmsr", 2, { 0x0f, 0x32 }, 0, 0x1b, 0 }, { "rdmsr, fault", 2, { 0x0f, 0x32 }, 0, 0x12345, 0 },
	{ "outsb", 1, { 0x6e }, 0, 0, SCRATCH }, { "rep outsl", 2, { 0xf3, 0x6f }, 0, 3, NOWHERE },
	{ "device", 6, { 0x8b, 0x83, 0x10, 0, 0, 0 }, IOAPIC, 0, 0 },
	{ "device store", 6, { 0xc7, 0x03, 1, 0, 0, 0 }, IOAPIC, 0, 0 },
	{ "device rip", 3, { 0x0f, 0xb6, 0x0b }, IOAPIC, 0, 0 },
	{ "lapic", 2, { 0x8b, 0x03 }, LAPIC + LAPIC_VER, 0, 0 }, { "wbinvd", 2, { 0x0f, 0x09 }, 0, 0, 0 },
	{ "clts", 2, { 0x0f, 0x06 }, 0, 0, 0 }, { "mov cr0", 3, { 0x0f, 0x20, 0xc0 }, 0, 0, 0 },
	{ "mov cr8", 4, { 0x44, 0x0f, 0x20, 0xc0 }, 0, 0, 0 }, { "ud2", 2, { 0x0f, 0x0b }, 0, 0, 0 },
	{ "invlpg", 3, { 0x0f, 0x01, 0x3b }, WINDOW, 0, 0 }, { "xgetbv", 3, { 0x0f, 0x01, 0xd0 }, 0, 0, 0 },
	{ "vmcall", 3, { 0x0f, 0x01, 0xc1 }, 0, 0, 0 }, { "lock or", 3, { 0xf0, 0x09, 0x03 }, IOAPIC, 0, 0 },
	{ "lock nop", 2, { 0xf0, 0x90 }, 0, 0, 0 }, { "lock load", 3, { 0xf0, 0x8b, 0x03 }, IOAPIC, 0, 0 },
	{ "lock store", 3, { 0xf0, 0x89, 0x03 }, IOAPIC, 0, 0 },
};

static int call(const struct insn *i, uint64_t at)
{
	uint64_t b = i->b, c = i->c, d = i->d, si = (uint64_t)first, di = (uint64_t)first, r = at;

	return TRY(__asm__ volatile("call *%[at]"
				    : [at] "+r"(r), "+b"(b), "+c"(c), "+d"(d), "+S"(si), "+D"(di) :: "rax", "memory", "cc"));
}

static void outcome(int v, uint64_t at)
{
	print(" %d", v);
	if (v == NO_FAULT)
		return;
	print("/%lx+%lx", fault.error, fault.rip - at);
	if (v == 14)
		print("@%lx", fault.cr2 - at);
}

/* The instruction begins n bytes before the end of a page; the other is elsewhere in memory, absent, or not executable. */
static void crossing(void)
{
	static const uint64_t flags[] = { 0, PTE_P | PTE_NX, PTE_P | PTE_W };
	uint64_t efer = rdmsr(MSR_EFER);

	wrmsr(MSR_EFER, efer | EFER_NXE);
	for (unsigned i = 0; i < ARRAY_SIZE(insns); i++) {
		print("over the page, %s:", insns[i].name);
		for (unsigned n = 1; n < insns[i].len + 1u; n++) {
			for (unsigned k = 0; k < ARRAY_SIZE(flags); k++) {
				uint64_t at = WINDOW + PAGE - n;

				/* Written anew each time: Bochs may keep what it has decoded over two pages although one has gone. */
				memset(first, 0x90, PAGE);
				memset(second, 0xc3, PAGE);
				memcpy(first + PAGE - n, insns[i].bytes, n);
				memcpy(second, insns[i].bytes + n, insns[i].len - n);
				window_set(0, (uint64_t)first | PTE_P | PTE_W);
				window_set(1, flags[k] ? (uint64_t)second | flags[k] : 0);
				outcome(call(&insns[i], at), at);
			}
		}
		print("\n");
	}
	wrmsr(MSR_EFER, efer);
}

/* 15 bytes are the most. */
static void length(void)
{
	static const uint8_t prefixes[] = { 0x66, 0x3e, 0x2e, 0x65 };

	window_set(0, (uint64_t)first | PTE_P | PTE_W);
	for (unsigned i = 0; i < ARRAY_SIZE(insns); i++) {
		print("prefixes, %s:", insns[i].name);
		for (unsigned p = 0; p < ARRAY_SIZE(prefixes); p++) {
			if (prefixes[p] == 0x66 && insns[i].len >= 6)
				continue; /* it changes the immediate */
			for (unsigned total = 14; total <= 16; total++) {
				memset(first, prefixes[p], total - insns[i].len);
				memcpy(first + total - insns[i].len, insns[i].bytes, insns[i].len);
				first[total] = 0xc3;
				outcome(call(&insns[i], WINDOW), WINDOW);
			}
		}
		print("\n");
	}
}

static uint32_t run(uint64_t at) { return ((uint32_t (*)(void))at)(); }

/* mov $value, %eax; ret, where each way to write changes a byte of the value. */
static void modified(void)
{
	static const uint8_t code[] = { 0xb8, 0, 0, 0, 0, 0xc3 };
	uint8_t *target = first + 0x100;

	window_set(0, (uint64_t)first | PTE_P | PTE_W);
	window_set(1, (uint64_t)first | PTE_P | PTE_W);
	memcpy(target, code, sizeof(code));
	print("modified:");
	for (unsigned n = 0; n < VALUES; n++) {
		volatile uint8_t *alias = (volatile uint8_t *)(WINDOW + PAGE + 0x100);
		uint64_t to;

		target[1] = (uint8_t)(n + 1); /* by its own address */
		print(" %x", run((uint64_t)target));
		alias[2] = (uint8_t)(n + 0x10); /* by another linear address */
		print(" %x %x", run((uint64_t)target), run(WINDOW + 0x100));
		outb(SCRATCH, (uint8_t)(n + 0x21)); /* by string I/O */
		to = (uint64_t)target + 3;
		__asm__ volatile("insb" : "+D"(to) : "d"(SCRATCH) : "memory");
		print(" %x", run((uint64_t)target));
		to = WINDOW + PAGE + 0x101;
		outb(SCRATCH, (uint8_t)(n + 0x41));
		uint64_t count = 2;
		__asm__ volatile("rep insb" : "+D"(to), "+c"(count) : "d"(SCRATCH) : "memory");
		print(" %x", run(WINDOW + 0x100));
		mmio_write(IOAPIC, n + 1); /* by a move from device memory */
		uint64_t from = IOAPIC;
		to = (uint64_t)target + 4;
		__asm__ volatile("movsb" : "+S"(from), "+D"(to) :: "memory");
		print(" %x", run((uint64_t)target));
	}
	print("\n");
	/* The next instruction, and one that exits before it is run. */
	uint32_t a = 0, b = 0;
	__asm__ volatile("movb $0x77, 1f+1(%%rip); jmp 1f; 1: mov $0x11, %0" : "=a"(a) :: "memory");
	__asm__ volatile("movb $0x78, 1f+1(%%rip); push %%rbx; xor %%eax, %%eax; cpuid; pop %%rbx; 1: mov $0x11, %%eax"
			 : "=a"(b) :: "rcx", "rdx", "memory");
	print("ahead: %x %x\n", a, b);
	/* INS over an instruction that is emulated: IN AL, 80h becomes NOP NOP, RDMSR becomes CPUID. */
	uint8_t *p = first + 0x200;
	static const uint8_t emulated[] = { 0xe4, 0x80, 0x90, 0x90, 0xc3 };
	memcpy(p, emulated, sizeof(emulated));
	uint64_t si = (uint64_t)p;
	run(si);
	outb(SCRATCH, 0x90);
	uint64_t to = si, count = 2;
	__asm__ volatile("rep insb" : "+D"(to), "+c"(count) : "d"(SCRATCH) : "memory");
	to = 0x5a5a;
	__asm__ volatile("call *%1" : "+a"(to) : "r"(si) : "memory");
	print("emulated no more: %lx\n", to);
	/* A page is mapped to other code, with a flush and the same linear address. */
	memcpy(first + 0x300, code, sizeof(code));
	memcpy(second + 0x300, code, sizeof(code));
	first[0x301] = 1;
	second[0x301] = 2;
	for (unsigned n = 0; n < 4; n++) {
		window_set(2, (uint64_t)(n & 1 ? second : first) | PTE_P | PTE_W);
		print("%s%x", n ? " " : "remapped: ", run(WINDOW + 2 * PAGE + 0x300));
	}
	print("\n");
}

/* A20 on: 1 MiB is not 0. And, what no CPU of today has any more, off. */
static void a20(void)
{
	volatile uint8_t *low = (volatile uint8_t *)0x7c00, *high = (volatile uint8_t *)0x107c00;
	uint8_t keep[2] = { *low, *high }, gate = inb(PORT92);

	*low = 0x11;
	*high = 0x22;
	print("a20 on: %x %x, port 92h %x\n", *low, *high, gate & P92_A20);
	outb(PORT92, gate & (uint8_t)~(P92_A20 | 1));
	print("a20 port: %x\n", inb(PORT92) & P92_A20);
	uint8_t wrapped = *high;
	outb(PORT92, (gate | P92_A20) & 0xfe);
	print("a20 off: %x\n", wrapped);
	print("a20 on again: %x %x, port 92h %x\n", *low, *high, inb(PORT92) & P92_A20);
	*low = keep[0];
	*high = keep[1];
}

void payload_main(void)
{
	outb(SCRATCH, 0);
	crossing();
	length();
	modified();
	a20();
	for (unsigned i = 0; i < 3; i++)
		window_set(i, 0);
}
