/* Every MSR of the architectural ranges, and others far away: its value, and what each of its bits does when it is written. */
#include "contract.h"

#define MSR_TSC          0x10
#define MSR_TSC_ADJUST   0x3b
#define MSR_TSC_DEADLINE 0x6e0
#define X2APIC_ICR       0x830
#define X2APIC_SELF_IPI  0x83f
#define APIC_BASE_X2APIC BIT(10)
#define APIC_BASE_ENABLE BIT(11)
#define ALL              (~0ull)
#define SECOND           (1ull << 40) /* ticks: far more than pass between two instructions */
#define WB8              0x0606060606060606ull

static uint32_t msr_now;
static uint64_t get(void) { return rdmsr(msr_now); }
static void set(uint64_t v) { wrmsr(msr_now, v); }

/* Bits that are not tried: what would change the place of the local APIC for good, and time, which has a test of its own */
static uint64_t untried(uint32_t msr)
{
	return msr == MSR_APIC_BASE ? APIC_BASE_X2APIC | APIC_BASE_ENABLE : msr == MSR_TSC ? ALL : 0;
}

/* Where the firmware's value would decide what can be changed: legal values are memory types. */
static bool start_value(uint32_t msr, uint64_t *v)
{
	*v = msr == 0x2ff ? 0xc06 : msr >= 0x250 && msr < 0x270 ? WB8 : msr & 1 ? 0 : 6;
	return msr == 0x2ff || (msr >= 0x200 && msr < 0x214) || msr == 0x250 || msr == 0x258 || msr == 0x259 ||
	       (msr >= 0x268 && msr < 0x270);
}

static void probe(const char *state, uint32_t msr)
{
	volatile uint64_t value = 0;
	uint64_t base;

	msr_now = msr;
	if (TRY(value = rdmsr(msr)) != NO_FAULT) {
		if (TRY(wrmsr(msr, 0)) == NO_FAULT)
			print("msr%s %x: write only\n", state, msr);
		return;
	}
	if (start_value(msr, &base))
		(void)TRY(wrmsr(msr, base));
	base = rdmsr(msr);
	struct flips f = FLIP_BITS(untried(msr), base, get, set);

	print("msr%s %x: %lx keeps %lx faults %lx\n", state, msr, value, f.keeps, f.faults);
	(void)TRY(wrmsr(msr, value));
}

static void probe_range(uint32_t first, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		probe("", first + i);
	print("msrs: %x to %x\n", first, first + n - 1);
}

/* IA32_TSC and IA32_TSC_ADJUST move together (SDM 3B, "IA32_TSC_ADJUST Register Support"). */
static void tsc(void)
{
	uint64_t before = rdtsc(), adjust, moved;

	wrmsr(MSR_TSC, before + SECOND);
	moved = rdtsc() - before;
	print("tsc: written %u", (unsigned)(moved >= SECOND && moved < 2 * SECOND));
	if (cpuid(7, 0).b & BIT(1)) {
		adjust = rdmsr(MSR_TSC_ADJUST);
		print(" adjust %u", (unsigned)(adjust - SECOND < SECOND / 2 || SECOND - adjust < SECOND / 2));
		wrmsr(MSR_TSC_ADJUST, 0);
		moved = rdtsc() - before;
		print(" back %u", (unsigned)(moved < SECOND / 2));
	}
	print("\n");
}

static void probe_pairs(void)
{
	static const uint64_t pats[] = { 0, ALL, 0x0001040506070001, 0x0606060602060606, 0x0306060606060606, 0x0606080606060606 };
	static const uint64_t apic_bases[] = { 0, 0x400, 0xfee00400, 0xfee00c00 | BIT(9), 0xfee00001, ALL };
	uint64_t pat = rdmsr(0x277), apic = rdmsr(MSR_APIC_BASE);

	for (unsigned i = 0; i < ARRAY_SIZE(pats); i++)
		print("pat %lx: fault=%d\n", pats[i], TRY(wrmsr(0x277, pats[i])));
	wrmsr(0x277, pat);
	for (unsigned i = 1; i < ARRAY_SIZE(apic_bases); i++)
		print("apic base %lx: fault=%d\n", apic_bases[i], TRY(wrmsr(MSR_APIC_BASE, apic_bases[i])));
	wrmsr(MSR_APIC_BASE, apic);
}

void contract_msrs(void)
{
	tsc();
	probe_pairs();
	probe_range(0, 0x2100);
	probe_range(0x10000, 0x10);
	probe_range(0x3ffffff0, 0x120);
	probe_range(0x4b564d00, 8);
	probe_range(0x80000000, 0x10);
	probe_range(0xbffffff0, 0x10);
	probe_range(0xc0000000, 0x2010);
	probe_range(0xc0010000, 0x120);
	probe_range(0xfffffff0, 0x10);
}

void contract_apic(void)
{
	if (TRY(wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | APIC_BASE_X2APIC)) != NO_FAULT)
		return;
	for (uint32_t msr = MSR_X2APIC; msr < MSR_X2APIC + 0x100; msr++)
		if (msr != X2APIC_ICR && msr != X2APIC_SELF_IPI)
			probe(" x2apic", msr);
	print("msr x2apic off: fault=%d\n", TRY(wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) & ~APIC_BASE_X2APIC)));
}
