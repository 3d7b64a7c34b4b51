/* The CPU contract without paging, in 32-bit mode: what long mode cannot try. See contract.c. */
#include "contract.h"
#include "legacy.h"

#define CR0_MP    BIT(1)
#define CR0_NE    BIT(5)
#define CR0_NW    BIT(29)
#define CR0_CD    BIT(30)
#define CR4_PCIDE BIT(17)
#define EFER_LME  BIT(8)
#define DR7_GD    BIT(13)
#define MEM_4M    0x83u /* a page directory entry: present, writable, 4 MiB */
#define PDPTE_BAD BIT(1) /* reserved */

static uint32_t directory[1024] __attribute__((aligned(4096)));
static uint64_t pdpt[4] __attribute__((aligned(32))), pd[512] __attribute__((aligned(4096)));

#define FLIPS(name, skip, get, set) do { \
	uint32_t base_ = get(); \
	struct flips f_ = FLIP_BITS(skip, base_, get, set); \
	print("%s: %x keeps %x faults %x\n", name, base_, (uint32_t)f_.keeps, (uint32_t)f_.faults); \
} while (0)

/* With a PDPTE that has a reserved bit set */
#define RELOAD(name, ...) do { \
	pdpt[3] = PDPTE_BAD | 1; \
	int vector_ = TRY(__VA_ARGS__); \
	pdpt[3] = 0; \
	print("pdpte, %s: fault=%d\n", name, vector_); \
} while (0)

static uint64_t get_efer(void) { return rdmsr(MSR_EFER); }
static void set_efer(uint64_t v) { wrmsr(MSR_EFER, v); }

/* The value of CR0 with these bits more, and back at once. */
static void try_cr0(const char *name, uint32_t set)
{
	uint32_t old = get_cr0();
	volatile uint32_t seen = 0, efer = 0;
	int vector = TRY(put_cr0(old | set); seen = get_cr0(); efer = (uint32_t)rdmsr(MSR_EFER));

	put_cr0(old);
	print("%s: fault=%d cr0 %x efer %x after %x\n", name, vector, seen, efer & 0x500, (uint32_t)rdmsr(MSR_EFER) & 0x500);
}

static void paging(void)
{
	uint32_t cr4 = get_cr4();

	for (uint32_t i = 0; i < 1024; i++)
		directory[i] = i << 22 | MEM_4M;
	for (uint32_t i = 0; i < 512; i++)
		pd[i] = (uint64_t)i << 21 | MEM_4M;
	put_cr3(ADDRESS(directory));
	put_cr4(cr4 | CR4_PSE);
	try_cr0("pg", CR0_PG);
	put_cr4(cr4);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_LME);
	try_cr0("pg with lme, without pae", CR0_PG);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~EFER_LME);
	put_cr4(cr4 | CR4_PAE);
	pdpt[0] = ADDRESS(pd) | 1;
	put_cr3(ADDRESS(pdpt));
	try_cr0("pg with pae", CR0_PG);
	for (unsigned bit = 1; bit < 64; bit++) {
		int vector;

		if (bit >= 12 && bit < 32)
			continue;
		pdpt[3] = BIT(bit) | 1;
		vector = TRY(put_cr0(get_cr0() | CR0_PG));
		put_cr0(get_cr0() & ~CR0_PG);
		print("%s%u:%d", bit == 1 ? "pdpte bits: " : " ", bit, vector);
	}
	print("\n");
	pdpt[3] = 0;
	/* Under PAE paging these load the PDPTEs again. */
	put_cr0(get_cr0() | CR0_PG);
	RELOAD("cr3", put_cr3(ADDRESS(pdpt)));
	RELOAD("cr0.cd", put_cr0(get_cr0() ^ CR0_CD));
	RELOAD("cr4.pge", put_cr4(get_cr4() ^ BIT(7)));
	RELOAD("cr4.pse", put_cr4(get_cr4() ^ CR4_PSE));
	REPORT("efer.lme under paging", wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_LME));
	REPORT("cr4.pcide in 32-bit mode", put_cr4(get_cr4() | CR4_PCIDE));
	put_cr0(get_cr0() & ~CR0_PG);
	put_cr4(cr4);
}

void payload_main(void)
{
	uint32_t base = (get_cr0() | CR0_NE | CR0_MP) & (uint32_t)~(CR0_TS | CR0_CD | CR0_NW);

	put_cr0(base);
	FLIPS("cr0", CR0_PG, get_cr0, put_cr0);
	put_cr2(0);
	FLIPS("cr2", 0, get_cr2, put_cr2);
	put_cr3(0);
	FLIPS("cr3", 0, get_cr3, put_cr3);
	put_cr4(0);
	FLIPS("cr4", 0, get_cr4, put_cr4);
	put_dr0(0), put_dr6(0), put_dr7(0);
	FLIPS("dr0", 0, get_dr0, put_dr0);
	FLIPS("dr6", 0, get_dr6, put_dr6);
	FLIPS("dr7", DR7_GD, get_dr7, put_dr7);
	{
		uint64_t efer = get_efer();
		struct flips f = FLIP_BITS(0, efer, get_efer, set_efer);

		print("efer: %llx keeps %llx faults %llx\n", efer, f.keeps, f.faults);
	}
	paging();
	struct cpuid r = cpuid(0x80000001, 0);
	print("cpuid 80000001.0 compat: %x %x %x %x\n", r.a, r.b, r.c, r.d);
}
