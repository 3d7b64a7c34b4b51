/* Control and debug registers: which bits can be written, alone and together, and which combinations fault. */
#include "contract.h"

#define CR0_PE BIT(0)
#define CR0_MP BIT(1)
#define CR0_TS BIT(3)
#define CR0_NE BIT(5)
#define CR0_WP BIT(16)
#define CR0_NW BIT(29)
#define CR0_CD BIT(30)
#define CR0_PG BIT(31)
#define CR4_PCIDE BIT(17)
#define DR7_GD    BIT(13) /* the next access to a debug register would fault; in the payload `cpu` */
#define DR7_ONE   BIT(10)
#define UPPER     0xffffff8000000000ull /* PML4 entry 511, which we make equal to entry 0 */
#define INSTANT_PAGE  8

#define DR_FUNCTIONS(n) \
	static inline uint64_t rddr##n(void) { uint64_t v; __asm__ volatile("mov %%dr" #n ", %0" : "=r"(v)); return v; } \
	static inline void wrdr##n(uint64_t v) { __asm__ volatile("mov %0, %%dr" #n :: "r"(v) : "memory"); }
DR_FUNCTIONS(0) DR_FUNCTIONS(3) DR_FUNCTIONS(6) DR_FUNCTIONS(7)

#define FLIPS(name, state, skip, get, set) do { \
	uint64_t base_ = get(); \
	struct flips f_ = FLIP_BITS(skip, base_, get, set); \
	print("%s%s: %lx keeps %lx faults %lx\n", name, state, base_, f_.keeps, f_.faults); \
} while (0)

/* CR4 for an instant; no memory is touched in between but the code, which is in a page of the supervisor in the upper
 * half: SMEP, SMAP and LASS forbid the others. */
extern uint8_t cr4_instant[];
__asm__(".pushsection .text; .balign 64\n"
	"cr4_instant: mov %rdi, %cr4; mov %cr4, %rax; mov %rsi, %cr4; ret\n"
	".popsection");
static uint64_t cr4_base, cr4_seen;

static uint64_t get_cr4(void) { return cr4_seen; }
static void set_cr4(uint64_t v)
{
	uint64_t at = UPPER + WINDOW + INSTANT_PAGE * PAGE + ((uint64_t)cr4_instant & (PAGE - 1));

	cr4_seen = ((uint64_t (*)(uint64_t, uint64_t))at)(v, cr4_base);
}

static void cr4(const char *state, uint64_t base)
{
	uint64_t *pml4 = (uint64_t *)(rdcr3() & ~(PAGE - 1));
	uint64_t old = rdcr4();
	struct flips f;

	pml4[511] = pml4[0];
	window_set(INSTANT_PAGE, ((uint64_t)cr4_instant & ~(PAGE - 1)) | PTE_P);
	cr4_base = base;
	wrcr4(base);
	f = FLIP_BITS(0, cr4_base, get_cr4, set_cr4);
	wrcr4(old);
	window_set(INSTANT_PAGE, 0);
	print("cr4%s: %lx keeps %lx faults %lx\n", state, base, f.keeps, f.faults);
}

/* All of these bits in all combinations: 0 fine, 1 fault, x something else was read back. */
static void cr0_combinations(uint64_t base)
{
	static const uint64_t bits[] = { CR0_PE, CR0_WP, CR0_NW, CR0_CD, CR0_PG };

	print("cr0 pe wp nw cd pg: ");
	for (unsigned c = 0; c < 1u << ARRAY_SIZE(bits); c++) {
		uint64_t v = base;
		int vector;

		for (unsigned i = 0; i < ARRAY_SIZE(bits); i++)
			v = c >> i & 1 ? v | bits[i] : v & ~bits[i];
		vector = TRY(wrcr0(v));
		print("%c", vector == 13 ? '1' : vector == NO_FAULT && rdcr0() == v ? '0' : 'x');
		wrcr0(base);
	}
	print("\n");
}

static void machine_status_word(uint64_t base)
{
	uint64_t msw64, msw32 = ~0ull, msw16 = ~0ull;

	for (unsigned from = 0; from < 16; from++) {
		print("lmsw from %x:", from);
		for (unsigned v = 0; v < 16; v++) {
			wrcr0((base & ~0xeull) | (from & 0xe));
			__asm__ volatile("lmsw %w0" :: "r"(v | 0xfff0));
			print(" %lx", rdcr0() ^ base);
		}
		print("\n");
	}
	wrcr0(base | CR0_TS);
	__asm__ volatile("smsw %0" : "=r"(msw64));
	__asm__ volatile("smsw %k0" : "+r"(msw32));
	__asm__ volatile("smsw %w0" : "+r"(msw16));
	print("smsw: %lx %lx %lx", msw64, msw32, msw16);
	__asm__ volatile("clts");
	print(" clts: %lx", rdcr0());
	wrcr0(base | CR0_CD);
	__asm__ volatile("clts; smsw %0" : "=r"(msw64));
	print(" %lx %lx\n", rdcr0(), msw64);
	wrcr0(base);
}

static uint64_t get_efer(void) { return rdmsr(MSR_EFER); }
static void set_efer(uint64_t v) { wrmsr(MSR_EFER, v); }
static uint64_t get_xcr0(void) { return xgetbv(0); }
static void set_xcr0(uint64_t v) { xsetbv(0, v); }

static void xcr0(void)
{
	static const uint64_t bases[] = { 1, 3, 7, 0xe7 };
	uint64_t old = rdcr4();

	if (TRY(wrcr4(old | CR4_OSXSAVE)) != NO_FAULT)
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(bases); i++)
		if (TRY(xsetbv(0, bases[i])) == NO_FAULT)
			FLIPS("xcr0", "", 0, get_xcr0, set_xcr0);
	xsetbv(0, 1);
	REPORT("xsetbv 1", xsetbv(1, 1));
	REPORT("xsetbv 40000000", xsetbv(0x40000000, 1));
	REPORT("xgetbv 2", xgetbv(2));
	wrcr4(old & ~CR4_OSXSAVE);
	REPORT("xgetbv without osxsave", xgetbv(0));
	REPORT("xsetbv without osxsave", xsetbv(0, 1));
	wrcr4(old);
}

void contract_registers(void)
{
	uint64_t cr0 = (rdcr0() | CR0_NE | CR0_MP | CR0_WP) & ~(CR0_TS | CR0_CD | CR0_NW), old = rdcr4(), root = rdcr3();
	unsigned width = cpuid(0x80000008, 0).a & 0xff;

	wrcr0(cr0);
	FLIPS("cr0", "", 0, rdcr0, wrcr0);
	wrcr0(cr0 | CR0_CD);
	FLIPS("cr0", " cd", 0, rdcr0, wrcr0);
	wrcr0(cr0 | CR0_CD | CR0_NW);
	FLIPS("cr0", " cd nw", 0, rdcr0, wrcr0);
	cr0_combinations(cr0);
	machine_status_word(cr0);
	wrcr2(0x1234);
	FLIPS("cr2", "", 0, rdcr2, wrcr2);
	{
		/* What would be another table is left out. */
		struct flips f = FLIP_BITS((BIT(width) - 1) & ~(PAGE - 1), root, rdcr3, wrcr3);

		print("cr3: keeps %lx faults %lx\n", f.keeps, f.faults);
	}
	cr4("", old & ~CR4_PCIDE);
	if (cpuid(1, 0).c & CR4_PCIDE) {
		cr4(" pcide", old | CR4_PCIDE);
		wrcr4(old | CR4_PCIDE);
		struct flips f = FLIP_BITS((BIT(width) - 1) & ~(PAGE - 1), root, rdcr3, wrcr3);

		print("cr3 pcide: keeps %lx faults %lx\n", f.keeps, f.faults);
		REPORT("pg off under pcide", wrcr0(cr0 & ~CR0_PG));
		wrcr4(old);
		wrcr3(root | 1);
		REPORT("pcide with a pcid", wrcr4(old | CR4_PCIDE));
		wrcr3(root);
	}
	FLIPS("cr8", "", 0, rdcr8, wrcr8);
	FLIPS("efer", "", 0, get_efer, set_efer);
	wrdr0(0), wrdr3(0), wrdr6(0), wrdr7(0);
	FLIPS("dr0", "", 0, rddr0, wrdr0);
	FLIPS("dr3", "", 0, rddr3, wrdr3);
	FLIPS("dr6", "", 0, rddr6, wrdr6);
	FLIPS("dr7", "", DR7_GD, rddr7, wrdr7);
	wrcr4(old | BIT(3));
	REPORT("dr5 under de", __asm__ volatile(".byte 0x0f, 0x21, 0xe8" ::: "rax"));
	REPORT("dr4 under de", __asm__ volatile(".byte 0x0f, 0x23, 0xe0" ::: "rax"));
	wrcr4(old & ~BIT(3));
	REPORT("dr5", __asm__ volatile(".byte 0x0f, 0x21, 0xe8" ::: "rax"));
	wrcr4(old);
	xcr0();
}
