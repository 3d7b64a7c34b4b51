/* The processor's registers: legal and illegal writes, and what the unprivileged instructions tell of them. */
#include "cpu.h"

#define CR0_PE BIT(0)
#define CR0_MP BIT(1)
#define CR0_EM BIT(2)
#define CR0_TS BIT(3)
#define CR0_ET BIT(4)
#define CR0_NE BIT(5)
#define CR0_WP BIT(16)
#define CR0_AM BIT(18)
#define CR0_NW BIT(29)
#define CR0_CD BIT(30)
#define CR0_PG BIT(31)
#define EFER_SCE BIT(0)
#define EFER_LME BIT(8)
#define EFER_NXE BIT(11)
#define NONCANONICAL 0x8000000000000000ull

static void cr0_try(const char *name, uint64_t v)
{
	uint64_t old = rdcr0();
	int vector = TRY(wrcr0(v));

	if (vector == NO_FAULT)
		print("cr0 %s: %lx\n", name, rdcr0());
	else
		report(name, vector);
	wrcr0(old);
}

static void cr0(void)
{
	uint64_t base = (rdcr0() | CR0_NE | CR0_MP) & ~(CR0_TS | CR0_EM | CR0_CD | CR0_NW);
	static const struct { const char *name; uint64_t set, clear; } cases[] = {
		{ "as is", 0, 0 }, { "ts", CR0_TS, 0 }, { "em", CR0_EM, 0 }, { "no mp", 0, CR0_MP }, { "no ne", 0, CR0_NE },
		{ "wp", CR0_WP, 0 }, { "am", CR0_AM, 0 }, { "cd", CR0_CD, 0 }, { "cd nw", CR0_CD | CR0_NW, 0 }, { "nw", CR0_NW, 0 },
		{ "no et", 0, CR0_ET }, { "no pe", 0, CR0_PE }, { "no pg", 0, CR0_PG }, { "no pe pg", 0, CR0_PE | CR0_PG },
		{ "reserved bit 6", BIT(6), 0 }, { "bit 32", BIT(32), 0 }, { "bit 63", BIT(63), 0 },
	};
	uint64_t msw;

	wrcr0(base);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
		cr0_try(cases[i].name, (base | cases[i].set) & ~cases[i].clear);
	__asm__ volatile("lmsw %w0" :: "r"(0xe)); /* MP EM TS set; PE cannot be cleared */
	__asm__ volatile("smsw %0" : "=r"(msw));
	print("lmsw e: %lx %lx\n", rdcr0(), msw);
	__asm__ volatile("clts");
	print("clts: %lx\n", rdcr0());
	__asm__ volatile("lmsw %w0" :: "r"(1));
	__asm__ volatile("smsw %0" : "=r"(msw));
	print("lmsw 1: %lx %lx\n", rdcr0(), msw);
	wrcr0(base);
}

static void cr4(void)
{
	static const struct { const char *name; uint64_t bit; } cases[] = {
		{ "vme", BIT(0) }, { "pvi", BIT(1) }, { "tsd", BIT(2) }, { "de", BIT(3) }, { "pse", BIT(4) }, { "mce", BIT(6) },
		{ "pge", BIT(7) }, { "pce", BIT(8) }, { "osfxsr", BIT(9) }, { "osxmmexcpt", BIT(10) },
		{ "reserved bit 15", BIT(15) }, { "reserved bit 31", BIT(31) }, { "reserved bit 63", BIT(63) },
	};
	uint64_t old = rdcr4(), cr3 = rdcr3();
	bool pcid = cpuid(1, 0).c & BIT(17);

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		int vector = TRY(wrcr4(old ^ cases[i].bit));

		if (vector == NO_FAULT)
			print("cr4 %s: %lx\n", cases[i].name, rdcr4());
		else
			report(cases[i].name, vector);
		wrcr4(old);
	}
	REPORT("cr4 no pae", wrcr4(old & ~BIT(5)));
	REPORT("cr3 bit 63", wrcr3(cr3 | (pcid ? BIT(62) : BIT(63))));
	wrcr3(cr3 | 0x18);
	print("cr3 pcd pwt: %lx\n", rdcr3() ^ cr3);
	if (pcid) {
		REPORT("pcide with pcid", wrcr4(old | BIT(17)));
		wrcr3(cr3);
		REPORT("pcide", wrcr4(old | BIT(17)));
		wrcr3(cr3 | 0x123);
		print("cr3 pcid: %lx\n", rdcr3() ^ cr3);
		REPORT("cr3 no flush", wrcr3(cr3 | 0x123 | BIT(63)));
		print("cr3 no flush: %lx\n", rdcr3() ^ cr3);
		REPORT("pg off under pcide", wrcr0(rdcr0() & ~CR0_PG));
		wrcr3(cr3);
		wrcr4(old);
	}
	wrcr3(cr3);
	wrcr2(0x123456789abcdef0);
	do_cpuid();
	print("cr2: %lx\n", rdcr2());
	wrcr8(5);
	print("cr8: %lx tpr %x\n", rdcr8(), lapic_read(LAPIC_TPR));
	REPORT("cr8 16", wrcr8(16));
	wrcr8(0);
	REPORT("mov cr1", __asm__ volatile(".byte 0x0f, 0x20, 0xc8" ::: "rax"));
	REPORT("mov cr5", __asm__ volatile(".byte 0x0f, 0x22, 0xe8" ::: "rax"));
}

static void efer(void)
{
	uint64_t old = rdmsr(MSR_EFER);

	print("efer: %lx\n", old);
	wrmsr(MSR_EFER, old | EFER_NXE | EFER_SCE);
	print("efer nxe sce: %lx\n", rdmsr(MSR_EFER));
	wrmsr(MSR_EFER, old);
	REPORT("efer no lme", wrmsr(MSR_EFER, old & ~EFER_LME));
	REPORT("efer bit 1", wrmsr(MSR_EFER, old | BIT(1)));
	REPORT("efer bit 63", wrmsr(MSR_EFER, old | BIT(63)));
	print("efer: %lx\n", rdmsr(MSR_EFER));
}

static void msrs(void)
{
	static const uint32_t readback[] = { 0x175, 0x176, 0xc0000082, 0xc0000083, 0xc0000100, 0xc0000101, 0xc0000102 };
	uint64_t pat = rdmsr(0x277), def = rdmsr(0x2ff), apic = rdmsr(MSR_APIC_BASE);

	for (unsigned i = 0; i < ARRAY_SIZE(readback); i++) {
		uint64_t old = rdmsr(readback[i]);
		int vector;

		wrmsr(readback[i], 0xffff800012345670 + i);
		do_cpuid();
		print("msr %x: %lx\n", readback[i], rdmsr(readback[i]));
		vector = TRY(wrmsr(readback[i], NONCANONICAL));
		print("msr %x noncanonical: fault=%d %lx\n", readback[i], vector, rdmsr(readback[i]));
		wrmsr(readback[i], old);
	}
	wrmsr(0xc0000081, 0x0023000800001234);
	wrmsr(0xc0000084, 0x47700);
	wrmsr(0x174, 0x8);
	do_cpuid();
	print("star %lx fmask %lx sysenter_cs %lx\n", rdmsr(0xc0000081), rdmsr(0xc0000084), rdmsr(0x174));
	wrmsr(0x277, 0x0007040600070406);
	print("pat: %lx\n", rdmsr(0x277));
	REPORT("pat type 2", wrmsr(0x277, 2));
	REPORT("pat type 8", wrmsr(0x277, 0x0800000000000000));
	wrmsr(0x277, pat);
	REPORT("mtrr def type 2", wrmsr(0x2ff, 2));
	REPORT("mtrr def type bit 12", wrmsr(0x2ff, def | BIT(12)));
	print("mtrr def type kept: %u\n", (unsigned)(rdmsr(0x2ff) == def));
	REPORT("mtrrcap write", wrmsr(0xfe, 0));
	REPORT("apic base bit 9", wrmsr(MSR_APIC_BASE, apic | BIT(9)));
	REPORT("apic base bit 63", wrmsr(MSR_APIC_BASE, apic | BIT(63)));
	print("apic base: %lx\n", rdmsr(MSR_APIC_BASE));
	REPORT("msr 12345 read", rdmsr(0x12345));
	REPORT("msr 12345 write", wrmsr(0x12345, 0));
	REPORT("msr c0001234 read", rdmsr(0xc0001234));
	REPORT("msr 40000000 read", rdmsr(0x40000000));
	if (cpuid(0x80000001, 0).d & BIT(27)) {
		uint32_t aux;

		wrmsr(0xc0000103, 0x77);
		__asm__ volatile("rdtscp" : "=c"(aux) :: "rax", "rdx");
		print("rdtscp aux: %x\n", aux);
		wrmsr(0xc0000103, 0);
	}
}

static void tables(void)
{
	struct { uint16_t limit; uint64_t base; } __attribute__((packed)) gdtr, idtr, odd = { 0x123, 0xffff800000001000 };
	uint64_t sel = ~0ull, lar = 0, lsl = 0, r;
	static const uint16_t probes[] = { 0, SEL_CODE, SEL_DATA, SEL_ABSENT, SEL_UCODE, SEL_UDATA, SEL_TSS, SEL_LDT, SEL_CONF, SEL_LIMIT,
					   SEL_MAX, 4, 12, 20, 0xfff8 };

	__asm__ volatile("sgdt %0; sidt %1" : "=m"(gdtr), "=m"(idtr));
	print("gdt: %lx+%x, %u\n", gdtr.base - (uint64_t)gdt, gdtr.limit,
	      (unsigned)(gdtr.limit + 1u == (uint64_t)(gdt_end - (uint8_t *)gdt)));
	print("idt limit: %x\n", idtr.limit);
	__asm__ volatile("lidt %1; sidt %0; lidt %2" : "=m"(odd) : "m"(odd), "m"(idtr));
	print("idt: %lx %x\n", odd.base, odd.limit);
	odd.limit = gdtr.limit;
	odd.base = gdtr.base;
	__asm__ volatile("lgdt %1; cpuid; sgdt %0" : "=m"(odd) : "m"(gdtr) : "rax", "rbx", "rcx", "rdx");
	print("gdt: %u\n", (unsigned)(odd.base == gdtr.base));
	__asm__ volatile("str %0" : "=r"(sel));
	print("str: %lx\n", sel);
	__asm__ volatile("sldt %0" : "=r"(sel));
	print("sldt: %lx\n", sel);
	print("tss type: %lx\n", gdt[SEL_TSS / 8] >> 40 & 0xff);
	REPORT("ltr busy", __asm__ volatile("ltr %w0" :: "r"(SEL_TSS)));
	REPORT("ltr data", __asm__ volatile("ltr %w0" :: "r"(SEL_DATA)));
	REPORT("lldt code", __asm__ volatile("lldt %w0" :: "r"(SEL_CODE)));
	REPORT("lldt null", __asm__ volatile("lldt %w0" :: "r"(0)));
	__asm__ volatile("sldt %0" : "=r"(sel));
	print("sldt: %lx\n", sel);
	__asm__ volatile("lldt %w0" :: "r"(SEL_LDT));
	for (unsigned i = 0; i < ARRAY_SIZE(probes); i++) {
		bool lar_ok, lsl_ok, verr, verw;

		lar = lsl = 0;
		__asm__ volatile("lar %2, %0" : "+r"(lar), "=@ccz"(lar_ok) : "r"((uint64_t)probes[i]));
		__asm__ volatile("lsl %2, %0" : "+r"(lsl), "=@ccz"(lsl_ok) : "r"((uint64_t)probes[i]));
		__asm__ volatile("verr %w1" : "=@ccz"(verr) : "r"(probes[i]));
		__asm__ volatile("verw %w1" : "=@ccz"(verw) : "r"(probes[i]));
		print("selector %x: lar %u %lx lsl %u %lx verr %u verw %u\n", probes[i], lar_ok, lar_ok ? lar : 0, lsl_ok,
		      lsl_ok ? lsl : 0, verr, verw);
	}
	__asm__ volatile("mov %%ss, %0" : "=r"(r));
	print("ss %lx ", r);
	__asm__ volatile("mov %w1, %%fs; cpuid; mov %%fs, %0" : "=&r"(r) : "r"(SEL_UDATA) : "rax", "rbx", "rcx", "rdx");
	print("fs %lx\n", r);
	/* The hidden part stays although the table entry has changed. */
	sel = gdt[SEL_LIMIT / 8];
	__asm__ volatile("mov %w0, %%fs" :: "r"(SEL_LIMIT));
	gdt[SEL_LIMIT / 8] = 0;
	do_cpuid();
	REPORT("fs hidden part", __asm__ volatile("mov %%fs:%0, %%eax" :: "m"(*(uint32_t *)image_start) : "rax"));
	REPORT("fs reload", __asm__ volatile("mov %w0, %%fs" :: "r"(SEL_LIMIT)));
	gdt[SEL_LIMIT / 8] = sel;
	__asm__ volatile("mov %w0, %%fs" :: "r"(0));
}

static void user_popf(void)
{
	uint64_t f;

	__asm__ volatile("pushq $0x3202; popfq; pushfq; pop %0" : "=r"(f)); /* IF and IOPL 3 are dropped silently */
	__asm__ volatile("mov %0, %%rcx; int $0x80" :: "r"(f) : "rcx");
}
static void user_sgdt(void)
{
	struct { uint16_t limit; uint64_t base; } __attribute__((packed)) g;
	uint64_t s;

	__asm__ volatile("sgdt %0; sidt %0; sldt %1; str %1; smsw %1" : "=m"(g), "=r"(s));
	__asm__ volatile("mov %0, %%rcx; int $0x80" :: "r"(s) : "rcx");
}
static void user_cpuid(void) { do_cpuid(); }
static void user_hlt(void) { __asm__ volatile("hlt"); }
static void user_cli(void) { __asm__ volatile("cli"); }
static void user_in(void) { inb(0x80); }
static void user_out(void) { outb(0x80, 0); }
static void user_cr(void) { rdcr0(); }
static void user_rdmsr(void) { rdmsr(MSR_EFER); }
static void user_rdtsc(void) { rdtsc(); }
static void user_invd(void) { __asm__ volatile("wbinvd"); }
static void user_clts(void) { __asm__ volatile("clts"); }
static void user_lgdt(void) { __asm__ volatile("lgdt %0" :: "m"(*(uint64_t *)image_start)); }
static void user_int(void) { __asm__ volatile("int $0x21"); }
static void user_bp(void) { __asm__ volatile("int3"); }

static void ring3(void)
{
	static const struct { const char *name; void (*fn)(void); } cases[] = {
		{ "cpuid", user_cpuid }, { "hlt", user_hlt }, { "cli", user_cli }, { "in", user_in }, { "out", user_out }, { "mov cr", user_cr },
		{ "rdmsr", user_rdmsr }, { "rdtsc", user_rdtsc }, { "wbinvd", user_invd }, { "clts", user_clts }, { "lgdt", user_lgdt },
		{ "int 21", user_int }, { "int3", user_bp },
	};
	uint64_t cr4 = rdcr4();
	int v = USER(user_popf);

	print("user popf: fault=%d flags %lx\n", v, fault.rcx);
	v = USER(user_sgdt);
	print("user sgdt smsw: fault=%d msw %lx\n", v, fault.rcx);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		v = USER(cases[i].fn);
		print("user %s: fault=%d error=%lx\n", cases[i].name, v, fault.error);
	}
	wrcr4(cr4 | BIT(2));
	print("user rdtsc under tsd: fault=%d\n", USER(user_rdtsc));
	if (cpuid(7, 0).c & BIT(2)) {
		wrcr4(cr4 | BIT(11));
		print("# user sgdt under umip: fault=%d\n", USER(user_sgdt));
	}
	wrcr4(cr4);
}

static void flags(void)
{
	static const uint64_t values[] = { 0, 0x3000, 0x40000, 0x200000, 0x4000, 0x8d5, 0xffffffffffcfacfd };

	for (unsigned i = 0; i < ARRAY_SIZE(values); i++) {
		uint64_t f;

		__asm__ volatile("push %1; popfq; cpuid; pushfq; pop %0; pushq $2; popfq" : "=&r"(f) : "r"(values[i])
				 : "rax", "rbx", "rcx", "rdx", "cc", "memory");
		print("popf %lx: %lx\n", values[i], f);
	}
}

/* Only what must not differ between a machine and a guest on it. */
static void cpuid_leaves(void)
{
	struct cpuid r = cpuid(0, 0);

	print("cpuid 0: %x %x %x\n", r.b, r.c, r.d);
	r = cpuid(1, 0);
	print("cpuid 1: %x ecx %x edx %x\n", r.a, r.c & 0x2ed83203 & ~(1u << 21), r.d & 0x078bab7d);
	if (cpuid(0, 0).a >= 7)
		print("cpuid 7: ebx %x\n", cpuid(7, 0).b & 0x009c03a9);
	r = cpuid(0x80000001, 0);
	print("cpuid 80000001: ecx %x edx %x\n", r.c & 0x121, r.d & 0x2c100800);
	r = cpuid(0x80000008, 0);
	print("cpuid 80000008: linear bits %u\n", r.a >> 8 & 0xff);
	print("cpuid brand:");
	for (uint32_t i = 0x80000002; i <= 0x80000004; i++) {
		r = cpuid(i, 0);
		print(" %x %x %x %x", r.a, r.b, r.c, r.d);
	}
	print("\ncpuid osxsave:");
	if (cpuid(1, 0).c & CPUID1_ECX_XSAVE) {
		uint64_t cr4 = rdcr4();

		wrcr4(cr4 | CR4_OSXSAVE);
		print(" %u", (unsigned)(cpuid(1, 0).c >> 27 & 1));
		wrcr4(cr4 & ~CR4_OSXSAVE);
		print(" %u", (unsigned)(cpuid(1, 0).c >> 27 & 1));
		wrcr4(cr4);
	}
	/* Upper halves of the registers are cleared. */
	uint64_t a = ~0ull, b, c = 0xffffffff00000000, d = ~0ull;
	__asm__ volatile("mov $-1, %%rbx; mov $0xffffffff00000001, %%rax; cpuid" : "=a"(a), "=b"(b), "+c"(c), "+d"(d));
	print("\ncpuid upper: %lx\n", (a | b | c | d) >> 32);
}

void payload_main(void)
{
	cr0();
	cr4();
	efer();
	msrs();
	tables();
	flags();
	cpuid_leaves();
	ring3();
	cpu_faults();
	cpu_state();
}
