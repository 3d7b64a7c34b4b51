/*
 * What system registers a guest can put together: `count=N` times, from `seed=N` on, a few changes that stay, a few states
 * for a moment with an exit in each, and all as it was. Whether and how each step faults goes into a sum, which must be
 * the same on every machine with these features.
 */
#include "legacy.h"

#define COUNT_DEFAULT 10000
#define PARTS         10
#define KEPT_MAX      4
#define BRIEF_MAX     3
#define USER_CODE     0x8000u /* also segment 800h */
#define ODD           SEL_FREE
#define NODD          8
#define LDT           (ODD + 8 * NODD)
#define TSS           (LDT + 8)
#define CODE_L        (TSS + 8) /* has L and D both: 32-bit code, but a reason not to enter IA-32e mode */
#define SELF_VECTOR   0x71
#define EFER_LME      BIT(8)
#define EFER_LEGAL    (BIT(0) | BIT(8) | BIT(11))
#define CR0_BASE      0x31u /* PE, ET, NE */
#define CR0_PLAYED    0x6005002eu /* MP, EM, TS, NE, WP, AM, NW, CD */
#define CR4_PLAYED    0x0000078fu /* VME, PVI, TSD, DE, PGE, PCE, OSFXSR, OSXMMEXCPT: what every CPU here has */
#define CR4_MAYBE     0x00310800u /* UMIP, SMEP, SMAP, FSGSBASE: a fault where the CPU lacks it, on both machines */
#define EFLAGS_PLAYED 0x00250cd5u /* no TF, no IF, no NT, no VM */
#define PDPTE_P       1u

static struct tss32 tss;
static uint64_t ldt[8];
static uint32_t dirs32[1024] __attribute__((aligned(4096)));
static uint64_t pdpt[4] __attribute__((aligned(32))), bad_pdpt[4] __attribute__((aligned(32)));
static uint64_t dirs[4][512] __attribute__((aligned(4096))), pml4[512] __attribute__((aligned(4096))), pdpt64[512] __attribute__((aligned(4096)));
static struct { uint16_t limit; uint32_t base; } __attribute__((packed)) gdtr, idtr;
static uint32_t seed, sum, faults[32], tried, turn, trace;
static volatile unsigned self_irqs;

static uint32_t random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed;
}

static uint32_t few(void) { return random() & random() & random(); }
static uint32_t pick(uint32_t n) { return (random() >> 8) % n; }

/* One step, and what became of it; `trace=N` prints those of the turns N to N + 9. */
#define STEP(...) step(TRY(__VA_ARGS__), __LINE__)
static void step(int vector, unsigned line)
{
	tried++;
	if (turn >= trace && turn < trace + 10)
		print("turn %u line %u: fault=%d error=%x rip=%x\n", turn, line, vector, (uint32_t)fault.error, (uint32_t)fault.rip);
	sum = (sum << 5 | sum >> 27) ^ (uint32_t)(vector + 1) ^ (vector == NO_FAULT ? 0 : (uint32_t)fault.error << 8);
	if (vector >= 0 && vector < 32)
		faults[vector]++;
}

#define EXIT "xor %%eax, %%eax; cpuid;"
#define EXIT_CLOBBERS "eax", "ebx", "ecx", "edx", "memory"
static inline void exit_now(void) { __asm__ volatile(EXIT ::: EXIT_CLOBBERS); }

static unsigned odd_selector(void)
{
	unsigned kind = pick(8), sel = ODD + 8 * pick(NODD);

	return kind == 0 ? pick(4) : kind == 1 ? (pick(8) * 8 | 4 | pick(4)) : kind == 2 ? (random() & 0xffff) : sel | (kind == 3 ? pick(4) : 0);
}

static void odd_descriptor(uint64_t *at, bool data)
{
	uint32_t base = pick(2) ? 0 : random(), limit = pick(3) ? random() & 0xfffff : pick(2) ? 0xfffff : 0;
	uint32_t access = data ? 0x90 | (random() & 7) : pick(4) ? 0x90 | (random() & 0x6f) : random() & 0xff;

	*at = (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)access << 40 | (uint64_t)(limit >> 16 & 0xf) << 48 |
	      (uint64_t)(random() & 0xf) << 52 | (uint64_t)(base >> 24) << 56;
}

/* --- changes that stay until the end of a turn */

static void no_paging(void)
{
	put_cr0(get_cr0() & ~CR0_PG);
	put_cr4(get_cr4() & ~(CR4_PAE | CR4_PSE));
}

static void keep_paging(void)
{
	unsigned how = pick(4);

	STEP(wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~EFER_LME));
	no_paging();
	put_cr4(get_cr4() | (how & 1 ? CR4_PAE : CR4_PSE));
	put_cr3(how == 3 ? ADDRESS(bad_pdpt) : how & 1 ? ADDRESS(pdpt) : ADDRESS(dirs32));
	for (unsigned i = 0; i < 4; i++)
		bad_pdpt[i] = pdpt[i] ^ (pick(4) ? 0 : (uint64_t)few() << (pick(2) ? 0 : 32));
	bad_pdpt[0] = pdpt[0] | (pick(2) ? few() & 0x1e6 : 0); /* where the code is */
	STEP(put_cr0(get_cr0() | CR0_PG));
}

static void keep_cr0(void) { STEP(put_cr0(get_cr0() ^ (few() & CR0_PLAYED))); }

static void keep_cr4(void)
{
	/* With paging, PAE and PSE must stay as the tables are. */
	STEP(put_cr4(get_cr4() ^ (few() & (get_cr0() & CR0_PG ? CR4_PLAYED | CR4_MAYBE : CR4_PLAYED | CR4_MAYBE | CR4_PAE | CR4_PSE))));
	STEP(put_cr4(get_cr4() | BIT(29 + pick(3)))); /* nobody has these */
}

static void keep_efer(void)
{
	STEP(wrmsr(MSR_EFER, random() & (pick(4) ? EFER_LEGAL : 0xffffffff)));
}

static void keep_ldt(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(ldt); i++)
		odd_descriptor(&ldt[i], pick(2));
	set_descriptor(LDT, ADDRESS(ldt), pick(4) ? sizeof(ldt) - 1 : random() & 0xfffff, pick(4) ? ACC_LDT : random() & 0xff, random() & 0xf);
	STEP(__asm__ volatile("lldt %w0" :: "r"(pick(6) ? LDT : odd_selector())));
}

static void keep_dr(void)
{
	STEP(__asm__ volatile("mov %0, %%dr0; mov %0, %%dr3" :: "r"(0)));
	STEP(put_dr7(random() & ~(pick(2) ? 0x2000u : 0)));
	STEP(put_dr6(random()));
}

static void keep_msr(void)
{
	static const uint32_t msrs[] = { 0x174, 0x175, 0x176, 0x277, 0xc0000081, 0xc0000082, 0xc0000084, 0xc0000100, 0xc0000101, 0xc0000102 };
	uint32_t high = pick(2) ? 0 : random();

	STEP(wrmsr(msrs[pick(ARRAY_SIZE(msrs))], (uint64_t)high << 32 | random()));
}

/* --- states for a moment */

static void brief_segments(void)
{
	uint32_t sel = odd_selector(), other = odd_selector();

	for (unsigned i = 0; i < NODD; i++)
		odd_descriptor(&gdt32[ODD / 8 + i], false);
	switch (pick(6)) {
	case 0: STEP(__asm__ volatile("mov %w0, %%ds;" EXIT "mov %w1, %%ds" :: "S"(sel), "D"(SEL_DATA) : EXIT_CLOBBERS)); break;
	case 1: STEP(__asm__ volatile("mov %w0, %%es;" EXIT "mov %w1, %%es" :: "S"(sel), "D"(SEL_DATA) : EXIT_CLOBBERS)); break;
	case 2: STEP(__asm__ volatile("mov %w0, %%fs; mov %w1, %%gs;" EXIT :: "S"(sel), "D"(other) : EXIT_CLOBBERS)); break;
	default: /* a stack that is odd, and not used */
		STEP(__asm__ volatile("mov %w0, %%ss;" EXIT "mov %w1, %%ss" :: "S"(sel), "D"(SEL_DATA) : EXIT_CLOBBERS));
	}
	legacy_segments();
}

/*
 * Segments of protected mode in real mode, with the code segment that was there, and some of real mode's own. ES is not
 * null before: Bochs would make a segment of it that is usable and not accessed, which an entry refuses.
 */
static void brief_real(void)
{
	for (unsigned i = 0; i < NODD; i++)
		odd_descriptor(&gdt32[ODD / 8 + i], true);
	uint32_t ds = ODD + 8 * pick(NODD), es = ODD + 8 * pick(NODD), fs = pick(3) ? ODD + 8 * pick(NODD) : 3;
	es |= random() << 16;
	STEP(__asm__ volatile("mov %%si, %%ds; mov %%di, %%es; mov %%ax, %%fs;"
			      "mov %%cr0, %%eax; and $0x7ffffffe, %%eax; mov %%eax, %%cr0;" EXIT
			      "shr $16, %%edi; mov %%di, %%es; mov %%di, %%gs;" EXIT
			      "mov %%cr0, %%eax; or $1, %%eax; mov %%eax, %%cr0;" EXIT
			      "mov %3, %%eax; mov %%eax, %%ds; mov %%eax, %%es"
			      : "+S"(ds), "+D"(es), "+a"(fs) : "i"(SEL_DATA) : "ebx", "ecx", "edx", "memory"));
	legacy_segments();
}

static void brief_shadow(void)
{
	uint32_t flags = flags32(), step_flags = flags | EF_TF;

#define SS_IS_SS "mov %w0, %%ss;"
	switch (pick(10)) {
	case 0: STEP(__asm__ volatile(SS_IS_SS EXIT :: "D"(SEL_DATA) : EXIT_CLOBBERS)); break;
	case 1: STEP(__asm__ volatile(SS_IS_SS SS_IS_SS EXIT :: "D"(SEL_DATA) : EXIT_CLOBBERS)); break;
	case 2: STEP(__asm__ volatile(SS_IS_SS "int3" :: "D"(SEL_DATA))); break;
	case 3: STEP(__asm__ volatile(SS_IS_SS "ud2" :: "D"(SEL_DATA))); break;
	case 4: STEP(__asm__ volatile("sti;" EXIT "cli" ::: EXIT_CLOBBERS)); break;
	case 5: STEP(__asm__ volatile("sti;" SS_IS_SS EXIT "cli" :: "D"(SEL_DATA) : EXIT_CLOBBERS)); break;
	case 6: STEP(__asm__ volatile(SS_IS_SS "sti;" EXIT "cli" :: "D"(SEL_DATA) : EXIT_CLOBBERS)); break;
	case 7: STEP(__asm__ volatile("push %1; popfl;" SS_IS_SS EXIT :: "D"(SEL_DATA), "S"(step_flags) : EXIT_CLOBBERS)); break;
	case 8: STEP(__asm__ volatile("push %0; popfl;" EXIT :: "S"(step_flags) : EXIT_CLOBBERS)); break;
	case 9: STEP(__asm__ volatile("int3")); break;
	}
	__asm__ volatile("push %0; popfl" :: "r"(flags) : "memory");
}

static void brief_flags(void)
{
	uint32_t flags = flags32();

	uint32_t odd = (uint32_t)((flags ^ (random() & EFLAGS_PLAYED)) | (pick(2) ? EF_NT : 0));
	STEP(__asm__ volatile("push %0; popfl;" EXIT :: "S"(odd) : EXIT_CLOBBERS));
	__asm__ volatile("push %0; popfl" :: "r"(flags) : "memory");
}

static void brief_tables(void)
{
	struct { uint16_t limit; uint32_t base; } __attribute__((packed)) odd = { (uint16_t)random(), random() };

	STEP(__asm__ volatile("lidt %0;" EXIT "lidt %1" :: "m"(odd), "m"(idtr) : EXIT_CLOBBERS));
	STEP(__asm__ volatile("lgdt %0;" EXIT "lgdt %1" :: "m"(odd), "m"(gdtr) : EXIT_CLOBBERS));
}

static void load_main_tss(void)
{
	set_descriptor(SEL_MAIN, ADDRESS(&main_tss), sizeof(main_tss) - 1, ACC_TSS, 0);
	__asm__ volatile("ltr %w0" :: "r"(SEL_MAIN));
}

/* Another TSS in TR; with a 16-bit one there, or L in CS, IA-32e mode cannot be entered. */
static void brief_long(void)
{
	unsigned how = pick(4);

	STEP(wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~EFER_LME));
	no_paging();
	if (how == 1) {
		set_descriptor(TSS, ADDRESS(&tss), sizeof(tss) - 1, pick(2) ? ACC_TSS16 : ACC_TSS, random() & 0xb);
		STEP(__asm__ volatile("ltr %w0" :: "r"(TSS)));
	}
	if (how == 2)
		__asm__ volatile("ljmp %0, $1f; 1:" :: "i"(CODE_L));
	exit_now();
	if (pick(8))
		put_cr4(get_cr4() | CR4_PAE);
	put_cr3(ADDRESS(pml4));
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_LME);
	STEP(put_cr0(get_cr0() | CR0_PG); exit_now(); __asm__ volatile("mov %w0, %%fs; mov %w0, %%gs" :: "r"(pick(4))); exit_now());
	put_cr0(get_cr0() & ~CR0_PG);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~EFER_LME);
	if (how == 2)
		__asm__ volatile("ljmp %0, $1f; 1:" :: "i"(SEL_CODE));
	load_main_tss();
	legacy_segments();
}

static void brief_tss(void)
{
	set_descriptor(TSS, pick(2) ? ADDRESS(&tss) : random(), pick(2) ? sizeof(tss) - 1 : random() & 0xfffff,
		       pick(4) ? (pick(2) ? ACC_TSS : ACC_TSS16) : random() & 0xff, random() & 0xf);
	STEP(__asm__ volatile("ltr %w0;" EXIT :: "S"(pick(8) ? TSS : odd_selector()) : EXIT_CLOBBERS));
	load_main_tss();
}

/* CPUID, and HLT, which faults there: in virtual-8086 mode or in ring 3. */
static void brief_user(void)
{
	bool v86 = pick(2);
	uint32_t flags = 2 | (random() & (EFLAGS_PLAYED | EF_IOPL | EF_IF)) | (pick(8) ? 0 : EF_TF);
	struct frame32 f = {
		.eip = v86 ? 0 : USER_CODE, .cs = v86 ? USER_CODE >> 4 : SEL_UCODE32, .eflags = flags | (v86 ? EF_VM : 0), .esp = random(),
		.ss = v86 ? random() & 0xffff : SEL_UDATA32, .v86_es = random() & 0xffff, .v86_ds = random() & 0xffff,
		.v86_fs = random() & 0xffff, .v86_gs = random() & 0xffff, .ds = SEL_UDATA32, .es = SEL_UDATA32, .fs = pick(4), .gs = pick(4),
	};

	__asm__ volatile("cli");
	STEP(__asm__ volatile("mov %0, %%esp; pop %%gs; pop %%fs; pop %%es; pop %%ds; popal; add $8, %%esp; iretl" :: "r"(&f) : "memory"));
	legacy_segments();
}

/* An interrupt that is there already: HLT is over at once. */
static void brief_hlt(void)
{
	unsigned before = self_irqs;

	if ((get_cr0() & CR0_PG) && get_cr3() == ADDRESS(bad_pdpt)) /* perhaps without the local APIC's page */
		return;
	lapic_self_ipi(SELF_VECTOR);
	STEP(hlt_wait());
	sum += self_irqs - before;
}

static void brief_lmsw(void)
{
	STEP(__asm__ volatile("lmsw %w0;" EXIT :: "S"(random() & 0xfffe) : EXIT_CLOBBERS));
	STEP(__asm__ volatile("clts;" EXIT ::: EXIT_CLOBBERS));
}

static bool on_self(struct frame32 *f)
{
	if (f->vector != SELF_VECTOR)
		return false;
	self_irqs++;
	lapic_write(LAPIC_EOI, 0);
	return true;
}

static void all_as_it_was(void)
{
	__asm__ volatile("cli");
	no_paging();
	put_cr4(0);
	put_cr0(CR0_BASE);
	wrmsr(MSR_EFER, 0);
	for (unsigned i = 0; i < 2; i++) /* the first may meet DR7.GD */
		(void)TRY(put_dr7(0x400));
	put_dr6(0xffff0ff0);
	__asm__ volatile("lldt %w0" :: "r"(0));
	legacy_segments();
}

static void make_tables(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(dirs32); i++)
		dirs32[i] = i << 22 | 0x83;
	for (unsigned i = 0; i < 4 * 512; i++)
		dirs[i / 512][i % 512] = (uint64_t)i << 21 | (i ? 0x83 : 0x87); /* the user's code is in the first page */
	for (unsigned i = 0; i < 4; i++) {
		pdpt[i] = ADDRESS(dirs[i]) | PDPTE_P;
		pdpt64[i] = ADDRESS(dirs[i]) | 7;
	}
	pml4[0] = ADDRESS(pdpt64) | 7;
	set_descriptor(CODE_L, 0, 0xfffff, ACC_CODE, 0xe); /* G, D, L */
	memcpy((void *)USER_CODE, "\x0f\xa2\xf4", 3); /* cpuid; hlt */
	__asm__ volatile("sgdt %0; sidt %1" : "=m"(gdtr), "=m"(idtr));
}

void payload_main(void)
{
	static void (*const kept[])(void) = { keep_paging, keep_cr0, keep_cr4, keep_efer, keep_ldt, keep_dr, keep_msr };
	static void (*const brief[])(void) = { brief_segments, brief_segments, brief_real, brief_shadow, brief_shadow, brief_flags,
					       brief_tables, brief_long, brief_tss, brief_user, brief_user, brief_hlt, brief_lmsw };
	uint32_t count = (uint32_t)option_number("count", COUNT_DEFAULT);

	seed = (uint32_t)option_number("seed", 1) * 2654435761u | 1;
	pic_mask_all();
	lapic_write(LAPIC_SVR, 0x1ff);
	make_tables();
	legacy_hook = on_self;
	put_cr0(CR0_BASE); /* loaders differ */
	trace = (uint32_t)option_number("trace", count + 1);
	for (uint32_t n = 1; n <= count; n++) {
		turn = n;
		for (unsigned i = pick(KEPT_MAX + 1); i > 0; i--)
			kept[pick(ARRAY_SIZE(kept))]();
		exit_now();
		for (unsigned i = 1 + pick(BRIEF_MAX); i > 0; i--)
			brief[pick(ARRAY_SIZE(brief))]();
		all_as_it_was();
		if (n % (count / PARTS + !(count / PARTS)) == 0)
			print("states %u: %x after %u steps\n", n, sum, tried);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(faults); i++)
		if (faults[i])
			print("states: fault %u %u times\n", i, faults[i]);
}
