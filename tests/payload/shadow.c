/*
 * Around each kind of instruction that a hypervisor executes for its guest: interrupts behind STI and MOV SS, single steps,
 * and all of that at once. Each line says what came, and how far behind the beginning of the instruction.
 */
#include "steps.h"

#define SCRATCH (COM1 + 7)
#define NOWHERE 0x1230
#define ABSENT  0xd0000000ull
#define ICR_SELF 0x40000
#define ICR_NMI  0x400 /* to ourselves by number: the short-hand is for fixed interrupts */
#define CR0_CD  BIT(30)
#define CR4_MCE BIT(6)
#define CR4_OSXSAVE BIT(18)
#define CPUID1C_XSAVE BIT(26)
#define MSR_PAT 0x277
#define LODSB   0xac
#define HIGH_TPR 0xf0

static uint8_t code[64], data[64];

struct insn {
	const char *name;
	uint8_t len, bytes[10];
	uint64_t a, b, c, d;
	/* Not CR8 in a shadow: Bochs leaves the guest as if MOV to CR8 were still to come, and the shadow lasted. */
	enum { PLAIN, HIGH_PRIORITY, CR8, CR0, CR4, HALT } more;
};

static const struct insn insns[] = {
	{ "nop", 1, { 0x90 }, 0, 0, 0, 0, PLAIN },
	{ "cpuid", 2, { 0x0f, 0xa2 }, 0, 0, 0, 0, PLAIN },
	{ "in", 1, { 0xec }, 0, 0, 0, SCRATCH, PLAIN },
	{ "out", 1, { 0xee }, 0, 0, 0, SCRATCH, PLAIN },
	{ "in imm", 2, { 0xe5, 0x80 }, 0, 0, 0, 0, PLAIN },
	{ "insb", 1, { 0x6c }, 0, 0, 0, SCRATCH, PLAIN },
	{ "outsl", 1, { 0x6f }, 0, 0, 0, NOWHERE, PLAIN },
	{ "rep outsb", 2, { 0xf3, 0x6e }, 0, 0, 3, SCRATCH, PLAIN },
	{ "rep insw", 3, { 0x66, 0xf3, 0x6d }, 0, 0, 2, NOWHERE, PLAIN },
	{ "rdmsr", 2, { 0x0f, 0x32 }, 0, 0, 0x1b, 0, PLAIN },
	{ "wrmsr", 2, { 0x0f, 0x30 }, 0x00070406, 0, MSR_PAT, 0x00070406, PLAIN },
	{ "rdtsc", 2, { 0x0f, 0x31 }, 0, 0, 0, 0, PLAIN },
	{ "mov from cr0", 3, { 0x0f, 0x20, 0xc0 }, 0, 0, 0, 0, PLAIN },
	{ "mov to cr0", 3, { 0x0f, 0x22, 0xc0 }, 0, 0, 0, 0, CR0 },
	{ "mov to cr4", 3, { 0x0f, 0x22, 0xe0 }, 0, 0, 0, 0, CR4 },
	{ "mov from cr8", 4, { 0x44, 0x0f, 0x20, 0xc0 }, 0, 0, 0, 0, PLAIN },
	{ "mov to cr8", 4, { 0x44, 0x0f, 0x22, 0xc0 }, 0, 0, 0, 0, CR8 },
	{ "clts", 2, { 0x0f, 0x06 }, 0, 0, 0, 0, PLAIN },
	{ "invlpg", 3, { 0x0f, 0x01, 0x3b }, 0, WINDOW, 0, 0, PLAIN },
	{ "wbinvd", 2, { 0x0f, 0x09 }, 0, 0, 0, 0, PLAIN },
	{ "invd", 2, { 0x0f, 0x08 }, 0, 0, 0, 0, PLAIN },
	{ "hlt", 1, { 0xf4 }, 0, 0, 0, 0, HALT },
	{ "pause", 2, { 0xf3, 0x90 }, 0, 0, 0, 0, PLAIN },
	{ "xsetbv", 3, { 0x0f, 0x01, 0xd1 }, 1, 0, 0, 0, PLAIN },
	{ "device read", 2, { 0x8b, 0x03 }, 0, IOAPIC, 0, 0, PLAIN },
	{ "device write", 2, { 0x89, 0x03 }, 1, IOAPIC, 0, 0, PLAIN },
	{ "device xchg", 2, { 0x87, 0x03 }, 1, IOAPIC, 0, 0, PLAIN },
	{ "absent read", 3, { 0x48, 0x8b, 0x03 }, 0, ABSENT, 0, 0, PLAIN },
	{ "absent rep lodsb", 2, { 0xf3, LODSB }, 0, 0, 3, 0, PLAIN },
	{ "lapic read", 2, { 0x8b, 0x03 }, 0, LAPIC + LAPIC_VER, 0, 0, PLAIN },
	{ "lapic write", 2, { 0x89, 0x03 }, 0, LAPIC + LAPIC_TPR, 0, 0, PLAIN },
	{ "eoi", 2, { 0x89, 0x03 }, 0, LAPIC + LAPIC_EOI, 0, 0, PLAIN },
	{ "tpr lowered", 2, { 0x89, 0x03 }, 0, LAPIC + LAPIC_TPR, 0, 0, HIGH_PRIORITY },
	{ "self-ipi", 2, { 0x89, 0x03 }, ICR_SELF | VECTOR, LAPIC + LAPIC_ICR, 0, 0, PLAIN },
	{ "self-nmi", 2, { 0x89, 0x03 }, ICR_NMI, LAPIC + LAPIC_ICR, 0, 0, PLAIN },
};

#define B(...) { __VA_ARGS__ }
#define STI 0xfb
#define CLI 0xfa
#define MOV_SS 0x41, 0x8e, 0xd0 /* from r8 */
#define TF_ON 0x9c, 0x81, 0x0c, 0x24, 0x00, 0x01, 0x00, 0x00, 0x9d
#define TF_OFF 0x9c, 0x81, 0x24, 0x24, 0xff, 0xfe, 0xff, 0xff, 0x9d

static const struct { const char *name; bool pending, shadow; uint8_t nbefore, before[16], nafter, after[16]; } around[] = {
	{ "if", false, false, 2, B(STI, 0x90), 2, B(0x90, CLI) },
	{ "sti", true, true, 1, B(STI), 2, B(0x90, CLI) },
	{ "sti cli", true, true, 1, B(STI), 1, B(CLI) },
	{ "mov ss", true, true, 4, B(STI, MOV_SS), 2, B(0x90, CLI) },
	{ "step", false, false, 9, B(TF_ON), 10, B(0x90, TF_OFF) },
	{ "step mov ss", false, true, 12, B(TF_ON, MOV_SS), 10, B(0x90, TF_OFF) },
	{ "step sti", true, false, 10, B(TF_ON, STI), 11, B(0x90, CLI, TF_OFF) },
	{ "step if", false, false, 11, B(STI, 0x90, TF_ON), 11, B(0x90, CLI, TF_OFF) },
};

static void run(const struct insn *i, unsigned n)
{
	uint64_t a = i->a, b = i->b, c = i->c, d = i->d, cr0 = rdcr0(), cr4 = rdcr4();
	uint64_t si = i->bytes[1] == LODSB ? ABSENT : (uint64_t)data, di = (uint64_t)data;
	uint8_t *p = code;

	memcpy(p, around[n].before, around[n].nbefore);
	p += around[n].nbefore;
	step_base = (uint64_t)p;
	memcpy(p, i->bytes, i->len);
	p += i->len;
	memcpy(p, around[n].after, around[n].nafter);
	p[around[n].nafter] = 0xc3; /* ret */
	if (i->more == CR0)
		a = cr0 | CR0_CD;
	if (i->more == CR4)
		a = cr4 ^ CR4_MCE;
	bool high = i->more == HIGH_PRIORITY || i->more == CR8;
	if (high)
		lapic_write(LAPIC_TPR, HIGH_TPR);
	if (around[n].pending || high)
		lapic_self_ipi(VECTOR);
	__asm__ volatile("mov %[data], %%r8d; call *%[code]" : "+a"(a), "+b"(b), "+c"(c), "+d"(d), "+S"(si), "+D"(di)
			 : [code] "r"(code), [data] "i"(SEL_DATA) : "r8", "memory", "cc");
	wrcr0(cr0);
	wrcr4(cr4);
	lapic_write(LAPIC_TPR, 0);
	sti();
	__asm__ volatile("nop; nop; cli" ::: "memory"); /* what has been held back goes on the same line, as "late" */
	for (unsigned e = 0; e < step_count && e < MAX_EVENTS; e++)
		if (step_events[e].rip - (uint64_t)code > sizeof(code))
			step_events[e].rip = step_base + 0xfff;
	print("%s ", i->name);
	steps_print(around[n].name);
}

void payload_main(void)
{
	steps_init();
	lapic_write(LAPIC_ICR_HI, lapic_read(LAPIC_ID));
	if (cpuid(1, 0).c & CPUID1C_XSAVE)
		wrcr4(rdcr4() | CR4_OSXSAVE);
	for (unsigned i = 0; i < ARRAY_SIZE(insns); i++)
		for (unsigned n = 0; n < ARRAY_SIZE(around); n++)
			if (insns[i].more == HALT ? around[n].shadow && around[n].pending :
						    !around[n].shadow || insns[i].more != CR8)
				run(&insns[i], n);
	trap_hook = NULL;
}
