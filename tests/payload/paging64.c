/*
 * 4-level paging: rights at each level, accessed and dirty flags, reserved bits, large pages, tables that are not in memory,
 * PCIDs and INVPCID. (32-bit and PAE paging are in modes_paging.c; SMEP, SMAP and the rights of one page in cpu_faults.c.)
 */
#include "payload.h"

#define TEST      (512 * GiB(1))  /* a PML4 entry of our own */
#define CR0_WP    BIT(16)
#define CR4_PCIDE BIT(17)
#define EFER_NXE  BIT(11)
#define ABSENT    0xd0000000ull
#define SCRATCH   (COM1 + 7)
#define PTE_A     BIT(5)
#define PTE_D     BIT(6)
#define ALL       (PTE_P | PTE_W | PTE_U)
#define CPUID1C_PCID    BIT(17)
#define CPUID7B_INVPCID BIT(10)
#define CPUID81D_1G     BIT(26)

static uint64_t tables[3][512] __attribute__((aligned(4096))); /* PDPT, directory, table */
static uint8_t frame[PAGE] __attribute__((aligned(4096)));
static uint64_t *slots[4], at;

static void read_(void) { __asm__ volatile("mov (%0), %%eax" :: "r"(at) : "rax"); }
static void write_(void) { __asm__ volatile("movl $0x90c3, (%0)" :: "r"(at) : "memory"); }
static void exec_(void) { __asm__ volatile("call *%0" :: "r"(at) : "memory"); }
static void or_(void) { __asm__ volatile("orl $0, (%0)" :: "r"(at) : "memory"); }
static void movs_(void)
{
	uint64_t to = (uint64_t)frame + 64, from = at;

	__asm__ volatile("movsb" : "+S"(from), "+D"(to) :: "memory");
}
static void outs_(void) { uint64_t from = at; __asm__ volatile("outsb" : "+S"(from) : "d"(SCRATCH) : "memory"); }
static void ins_(void) { uint64_t to = at + 128; __asm__ volatile("insb" : "+D"(to) : "d"(SCRATCH) : "memory"); }
static void sse_(void) { __asm__ volatile("movups (%0), %%xmm0" :: "r"(at)); }
static void fild_(void) { __asm__ volatile("fildl (%0); fstp %%st(0)" :: "r"(at)); }
static void prefetch_(void) { __asm__ volatile("prefetcht0 (%0)" :: "r"(at)); }
static void lgdt_(void) { __asm__ volatile("lgdt (%0)" :: "r"(at)); }

static const struct { const char *name; void (*fn)(void); bool user; } accesses[] = {
	{ "read", read_, true }, { "write", write_, true }, { "exec", exec_, true }, { "or", or_, true },
	{ "movs", movs_, true }, { "sse", sse_, true }, { "x87", fild_, true }, { "prefetch", prefetch_, true },
	{ "outs", outs_, false }, { "ins", ins_, false }, { "lgdt", lgdt_, false },
};

static void flush(void) { wrcr3(rdcr3()); }

static void outcome(int v)
{
	if (v == 14)
		print(" pf %lx+%lx", fault.error, fault.cr2 - at);
	else
		print(" %d", v == NO_FAULT || v == USER_DONE ? -1 : v);
}

/* Each kind of access, with what it leaves in the four entries. */
static void probe(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(accesses) - 1; i++) {
		uint64_t old[4];

		frame[0] = 0xc3;
		for (unsigned l = 0; l < 4; l++)
			old[l] = *slots[l] &= ~(l == 0 ? PTE_A : PTE_A | PTE_D);
		flush();
		print("%s, %s:", name, accesses[i].name);
		outcome(TRY(accesses[i].fn()));
		for (unsigned l = 0; l < 4; l++)
			print("%s%x", l ? "" : " flags ", (uint32_t)((*slots[l] ^ old[l]) & (PTE_A | PTE_D)) >> 5);
		if (accesses[i].user) {
			flush();
			outcome(USER(accesses[i].fn));
		}
		print("\n");
	}
}

static void rights(void)
{
	static const char *const level[] = { "pml4e", "pdpte", "pde", "pte" };
	static const struct { const char *name; uint64_t flip; } flips[] = {
		{ "absent", PTE_P }, { "read-only", PTE_W }, { "supervisor", PTE_U }, { "nx", PTE_NX },
		{ "bit 51", BIT(51) }, { "bit 62", BIT(62) }, { "large", PTE_PS },
	};
	uint64_t cr0 = rdcr0();

	for (unsigned wp = 0; wp < 2; wp++) {
		wrcr0(wp ? cr0 | CR0_WP : cr0 & ~CR0_WP);
		for (unsigned l = 0; l < 4; l++) {
			for (unsigned f = wp ? 1 : 0; f < (wp ? 2u : ARRAY_SIZE(flips)); f++) {
				if (flips[f].flip == PTE_PS && l >= 1)
					continue; /* a page, or the PAT */
				*slots[l] ^= flips[f].flip;
				print("%s %s%s\n", level[l], flips[f].name, wp ? " under wp" : "");
				probe(level[l]);
				*slots[l] ^= flips[f].flip;
			}
		}
	}
	wrcr0(cr0);
}

/* A table that is device memory, or nothing: it reads as ones, which means reserved bits. */
static void absent_tables(void)
{
	for (unsigned l = 0; l < 3; l++) {
		uint64_t old = *slots[l];

		*slots[l] = ABSENT | ALL;
		print("table of level %u in absent memory\n", 3 - l);
		flush();
		for (unsigned i = 0; i < ARRAY_SIZE(accesses); i++) {
			print("%s:", accesses[i].name);
			outcome(TRY(accesses[i].fn()));
			if (accesses[i].user)
				outcome(USER(accesses[i].fn));
			print("\n");
		}
		*slots[l] = old;
	}
	flush();
}

static void large(void)
{
	uint64_t old_pde = *slots[2], old_pdpte = *slots[1], base = (uint64_t)frame;

	*slots[2] = (base & ~(MiB(2) - 1)) | ALL | PTE_PS;
	at = TEST + (base & (MiB(2) - 1));
	print("2 MiB\n");
	probe("2 mib");
	*slots[2] |= BIT(13);
	print("2 MiB, reserved bit\n");
	probe("2 mib");
	*slots[2] = old_pde;
	*slots[1] = (base & ~(GiB(1) - 1)) | ALL | PTE_PS;
	at = TEST + (base & (GiB(1) - 1));
	print("1 GiB %s\n", cpuid(0x80000001, 0).d & CPUID81D_1G ? "page" : "is reserved");
	probe("1 gib");
	*slots[1] |= BIT(20);
	print("1 GiB, reserved bit\n");
	probe("1 gib");
	*slots[1] = old_pdpte;
	at = TEST;
	flush();
}

static int invpcid(uint64_t type, uint64_t pcid, uint64_t linear)
{
	uint64_t descriptor[2] = { pcid, linear };

	return TRY(__asm__ volatile("invpcid %1, %0" :: "r"(type), "m"(descriptor) : "memory"));
}

static void pcids(void)
{
	uint64_t cr3 = rdcr3(), cr4 = rdcr4();
	bool has = cpuid(1, 0).c & CPUID1C_PCID;

	if (cpuid(0, 0).a >= 7 && (cpuid(7, 0).b & CPUID7B_INVPCID)) {
		for (unsigned on = 0; on < 2; on++) {
			wrcr4(on ? cr4 | CR4_PCIDE : cr4);
			print("invpcid, pcide %u:", on);
			for (uint64_t type = 0; type < 5; type++)
				print(" %d %d %d %d", invpcid(type, 0, 0), invpcid(type, 5, 0x1000),
				      invpcid(type, 0x1000, 0), invpcid(type, 0, BIT(63)));
			print(" %d\n", invpcid(BIT(32), 0, 0));
		}
		wrcr4(cr4);
	} else {
		print("invpcid: %d\n", invpcid(2, 0, 0));
	}
	if (!has)
		return;
	wrcr4(cr4 | CR4_PCIDE);
	/* Each PCID sees the tables as they are; a load without bit 63 drops what is stale. */
	for (unsigned i = 0; i < 8; i++) {
		wrcr3(cr3 | i);
		*slots[3] = (i & 1 ? 0 : (uint64_t)frame | ALL);
		wrcr3(cr3 | i);
		print("pcid %u:", i);
		outcome(TRY(read_()));
		print(" cr3 %lx\n", rdcr3() ^ cr3);
	}
	*slots[3] = (uint64_t)frame | ALL;
	wrcr3(cr3);
	wrcr4(cr4);
	wrcr3(cr3);
}

void payload_main(void)
{
	uint64_t *pml4 = (uint64_t *)(rdcr3() & ~0xfffull);

	outb(SCRATCH, 0);
	wrcr4(rdcr4() | BIT(9)); /* SSE */
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
	slots[0] = &pml4[1];
	for (unsigned i = 0; i < 3; i++)
		slots[i + 1] = &tables[i][0];
	for (unsigned i = 0; i < 3; i++)
		*slots[i] = (uint64_t)tables[i] | ALL;
	*slots[3] = (uint64_t)frame | ALL;
	at = TEST;
	flush();
	print("all rights\n");
	probe("all");
	rights();
	absent_tables();
	large();
	pcids();
	for (unsigned bit = 12; bit < 64; bit++)
		if (bit == 51 || bit == 52 || bit == 60 || bit == 63) {
			uint64_t cr3 = rdcr3();

			print("cr3 bit %u: %d\n", bit, TRY(wrcr3(cr3 | BIT(bit))));
			wrcr3(cr3);
		}
	*slots[0] = 0;
	flush();
}
