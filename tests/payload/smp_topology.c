/*
 * What the CPUs say about themselves and each other: CPUID, APIC ids, the MADT, and the state that firmware must have given
 * to all of them alike. How many cores and packages there are differs between machines, so what is printed is
 * whether the pieces agree; the pieces themselves are on lines of one machine.
 */
#include "smp.h"

#define CPUID1C_X2APIC  BIT(21)
#define CPUID1D_HTT     BIT(28)
#define LEAF_CACHE      4
#define LEAF_TOPOLOGY   0xb
#define LEVELS          6
#define MSR_MTRR_CAP    0xfe
#define MSR_MTRR_BASE0  0x200
#define MSR_MTRR_DEF    0x2ff
#define MSR_PAT         0x277
#define MSR_X2APIC_ID   0x802
#define MSR_X2APIC_LDR  0x80d
#define APIC_BASE_BSP   BIT(8)
#define APIC_BASE_ON    BIT(11)
#define LAPIC_PAGE      0xfee00000ull
#define MADT_HEADER     44
#define MADT_LAPIC      0
#define MADT_IOAPIC     1
#define MSRS            24
#define GREETED_MSRS    5

struct level { uint32_t shift, count, type; };
struct facts {
	uint32_t apic_id, leaf1_id, logical, x2_id, signature, features_c, features_d, cache_sharing, cache_cores;
	bool htt;
	struct level levels[LEVELS];
	uint64_t apic_base, msrs[MSRS], cr0, cr4, efer;
};

static struct facts facts[SMP_MAX];
static uint64_t greeted[SMP_MAX][GREETED_MSRS];

static unsigned msr_list(uint32_t *list)
{
	static const uint32_t fixed[] = { 0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f };
	unsigned n = 0, pairs = rdmsr(MSR_MTRR_CAP) & 0xff;

	list[n++] = MSR_PAT;
	list[n++] = MSR_MTRR_DEF;
	for (unsigned i = 0; i < ARRAY_SIZE(fixed); i++)
		list[n++] = fixed[i];
	for (unsigned i = 0; i < 2 * pairs && n < MSRS; i++)
		list[n++] = MSR_MTRR_BASE0 + i;
	return n;
}

static void topology(struct facts *f)
{
	for (unsigned i = 0; i < LEVELS; i++) {
		struct cpuid c = cpuid(LEAF_TOPOLOGY, i);

		f->levels[i] = (struct level){ c.a & 0x1f, c.b & 0xffff, c.c >> 8 & 0xff };
		if (!i)
			f->x2_id = c.d;
		if (!f->levels[i].type)
			break;
	}
}

static void look(void *unused)
{
	struct facts *f = &facts[smp_index()];
	struct cpuid c = cpuid(1, 0), cache = cpuid(LEAF_CACHE, 0);
	uint32_t list[MSRS];

	(void)unused;
	f->apic_id = lapic_read(LAPIC_ID) >> 24;
	f->leaf1_id = c.b >> 24;
	f->logical = c.b >> 16 & 0xff;
	f->signature = c.a;
	f->features_c = c.c;
	f->features_d = c.d;
	f->htt = c.d & CPUID1D_HTT;
	f->cache_sharing = (cache.a >> 14 & 0xfff) + 1;
	f->cache_cores = (cache.a >> 26) + 1;
	f->x2_id = ~0u;
	if (cpuid(0, 0).a >= LEAF_TOPOLOGY)
		topology(f);
	f->apic_base = rdmsr(MSR_APIC_BASE);
	f->cr0 = rdcr0();
	f->cr4 = rdcr4();
	f->efer = rdmsr(MSR_EFER);
	for (unsigned i = 0, n = msr_list(list); i < n; i++)
		f->msrs[i] = rdmsr(list[i]);
}

static void yes(const char *what, bool holds) { print("%s: %s\n", what, holds ? "yes" : "no"); }

static bool alike(size_t offset, size_t size)
{
	for (unsigned i = 1; i < smp_count; i++)
		if (memcmp((uint8_t *)&facts[i] + offset, (uint8_t *)&facts[0] + offset, size))
			return false;
	return true;
}
#define ALIKE(field) alike(offsetof(struct facts, field), sizeof(facts[0].field))

static void ids(void)
{
	bool has_b = cpuid(0, 0).a >= LEAF_TOPOLOGY && (cpuid(LEAF_TOPOLOGY, 0).b & 0xffff);
	bool same = true, unique = true, leafb = true;

	for (unsigned i = 0; i < smp_count; i++) {
		const struct facts *f = &facts[i];

		same &= f->apic_id == smp_cpus[i].apic_id && f->leaf1_id == f->apic_id;
		leafb &= f->x2_id == f->apic_id;
		for (unsigned k = 0; k < i; k++)
			unique &= facts[k].apic_id != f->apic_id;
		print("# cpu %u: id %x, leaf 1 %x, leaf b %x, logical %u, htt %u\n", i, f->apic_id, f->leaf1_id, f->x2_id,
		      f->logical, f->htt);
	}
	yes("the apic, leaf 1 and the madt agree about ids", same);
	yes("ids are unique", unique);
	yes("leaf b agrees about ids", !has_b || leafb);
	yes("signatures and features are alike", ALIKE(signature) && ALIKE(features_d) && ALIKE(features_c));
}

/* How many CPUs are those that share all bits of the id from `shift` on. */
static unsigned with(uint32_t id, unsigned shift)
{
	unsigned n = 0;

	for (unsigned i = 0; i < smp_count; i++)
		n += facts[i].apic_id >> shift == id >> shift;
	return n;
}

static unsigned bits_for(unsigned n)
{
	unsigned bits = 0;

	while (1u << bits < n)
		bits++;
	return bits;
}

static void levels(void)
{
	bool widths = true, counts = true, leaf1 = true, caches = true;

	for (unsigned i = 0; i < smp_count; i++) {
		const struct facts *f = &facts[i];

		for (unsigned l = 0; l < LEVELS - 1 && f->levels[l].type; l++) {
			const struct level *at = &f->levels[l];

			print("# cpu %u: level %u type %u shift %u count %u\n", i, l, at->type, at->shift, at->count);
			widths &= !l || at->shift >= f->levels[l - 1].shift;
			counts &= with(f->apic_id, at->shift) <= at->count;
			if (!at[1].type)
				leaf1 &= !f->htt || at->shift == bits_for(f->logical) || at->count <= f->logical;
		}
		print("# cpu %u: cache shared by %u, cores %u\n", i, f->cache_sharing, f->cache_cores);
		caches &= !f->htt || f->cache_sharing <= f->cache_cores * 2 || f->cache_sharing <= f->logical;
		leaf1 &= f->htt || with(f->apic_id, 0) == 1;
	}
	yes("levels of leaf b widen", widths);
	yes("no level has more CPUs than it says", counts);
	yes("leaf 1 has room for them", leaf1);
	yes("leaf 4 agrees", caches);
	yes("leaf b and 4 are alike", ALIKE(levels) && ALIKE(cache_sharing) && ALIKE(cache_cores));
}

static void madt(void)
{
	const uint8_t *t = acpi_table("APIC");
	uint32_t len = t ? *(const uint32_t *)(t + 4) : 0;
	unsigned lapics = 0, enabled = 0, ioapics = 0, strange = 0;
	uint8_t sum = 0;

	for (uint32_t i = 0; i < len; i++)
		sum += t[i];
	for (uint32_t i = MADT_HEADER; i + 2 <= len && t[i + 1]; i += t[i + 1]) {
		if (t[i] == MADT_IOAPIC)
			ioapics++;
		if (t[i] != MADT_LAPIC)
			continue;
		lapics++;
		if (t[i + 4] & 1)
			enabled++;
		if (t[i + 3] > 0xfe)
			strange++;
	}
	print("madt: %s, %u CPUs enabled, %u strange, ioapics %u, sum %u\n", t ? "there" : "none", enabled, strange, ioapics,
	      sum);
	print("# madt: %u local apics\n", lapics);
	yes("madt: the apics are where the CPUs have them",
	    t && *(const uint32_t *)(t + 36) == (facts[0].apic_base & ~0xfffull));
}

static void state(void)
{
	bool bsp = true, on = true;

	for (unsigned i = 0; i < smp_count; i++) {
		bsp &= !(facts[i].apic_base & APIC_BASE_BSP) == (i != 0);
		on &= (facts[i].apic_base & APIC_BASE_ON) && (facts[i].apic_base & ~0xfffull) == LAPIC_PAGE;
	}
	yes("one boot CPU, and it is this one", bsp);
	yes("all apics are on, at their usual place", on);
	yes("pat and mtrrs are alike", ALIKE(msrs));
	yes("efer is alike", ALIKE(efer));
	for (unsigned i = 1; i < smp_count; i++)
		print("cpu %u began with: efer %lx cr4 %lx, x87 control %lx, mxcsr %lx, xcr0 %lx\n", i, greeted[i][0], greeted[i][1],
		      greeted[i][2], greeted[i][3], greeted[i][4]);
}

/* Before the CPU has set anything: what the trampoline needs is on. */
static void greet(void *unused)
{
	uint64_t *g = NULL;
	uint32_t id = cpuid(1, 0).b >> 24, mxcsr = 0, a = 0, d = 0;
	uint16_t control = 0;

	(void)unused;
	for (unsigned i = 0; i < smp_count; i++)
		if (smp_cpus[i].apic_id == id)
			g = greeted[i];
	if (!g)
		return;
	g[0] = rdmsr(MSR_EFER);
	g[1] = rdcr4();
	__asm__ volatile("fnstcw %0" : "=m"(control));
	wrcr4(rdcr4() | BIT(9));
	__asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
	if (cpuid(1, 0).c & BIT(26)) {
		wrcr4(rdcr4() | BIT(18));
		__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
		wrcr4(rdcr4() & ~BIT(18));
	}
	wrcr4(g[1]);
	g[2] = control;
	g[3] = mxcsr;
	g[4] = (uint64_t)d << 32 | a;
}

static void x2_look(void *unused)
{
	struct facts *f = &facts[smp_index()];

	(void)unused;
	apic_enter_x2apic();
	f->x2_id = (uint32_t)rdmsr(MSR_X2APIC_ID);
	f->logical = (uint32_t)rdmsr(MSR_X2APIC_LDR);
}

static void x2apic(void)
{
	bool id = true, ldr = true;

	if (!(cpuid(1, 0).c & CPUID1C_X2APIC)) {
		print("x2apic: none\n");
		return;
	}
	smp_all(x2_look, NULL);
	for (unsigned i = 0; i < smp_count; i++) {
		id &= facts[i].x2_id == smp_cpus[i].apic_id;
		ldr &= facts[i].logical == ((facts[i].x2_id >> 4) << 16 | 1u << (facts[i].x2_id & 15));
	}
	print("x2apic ids: %s, logical ids: %s\n", id ? "as before" : "others", ldr ? "made of them" : "others");
}

void payload_main(void)
{
	smp_greeting = greet;
	if (smp_start() < 2)
		return;
	smp_all(look, NULL);
	ids();
	levels();
	madt();
	state();
	x2apic();
}
