/*
 * Looks at everything that an address can reach: what is not its own RAM or a device of its board must read as ones,
 * forget what is written, and hold no code. `step=N`: below 4 GiB every Nth page, and all around edges; `count=N`: so many
 * random pages between 4 GiB and the CPU's limit; `fill`: leaves a secret behind, and asks for a reset.
 */
#include "probe.h"

#define UD          6
#define HOLE        0xa0000ull /* to 1 MiB: screen, option ROMs, BIOS */
#define HOLE_END    0xe0000ull /* from here on the BIOS's RAM */
#define DEVICES     GiB(3)
#define NEAR        64         /* pages around an edge */
#define BEHIND      MiB(4)     /* behind RAM and 4 GiB, every page */
#define APIC_ENABLE BIT(11)
#define APIC_X2     BIT(10)
#define CPUID1_ECX_X2APIC BIT(21)

static uint64_t seed = 88172645463325252ull, limit;
static uint64_t pages, foreign, stuck, executed;

static bool is_ram(uint64_t a) { return a < HOLE || (a >= HOLE_END && a < ram_end() && a < DEVICES) || (a >= GiB(4) && a < ram_end()); }

static void complain(const char *what, uint64_t a, uint64_t value)
{
	if (foreign + stuck + executed <= 8)
		print("probe: %s at %lx: %lx\n", what, a, value);
}

static void check_ones(uint64_t v, uint64_t a)
{
	if (v == ~0ull)
		return;
	foreign++;
	complain("foreign", a, v);
}

/* In every width. */
static void read_ones(volatile uint8_t *p, uint64_t a)
{
	uint64_t v = *(volatile uint64_t *)p & (*(volatile uint32_t *)(p + 8) | ~0ull << 32) &
		     (*(volatile uint16_t *)(p + 12) | ~0ull << 16) & (p[15] | ~0ull << 8);

	check_ones(v, a);
}

static void check_forgotten(uint64_t now, uint64_t a)
{
	if (now == ~0ull)
		return;
	stuck++;
	complain("stuck", a, now);
}

static void write_forgets(volatile uint8_t *p, uint64_t a)
{
	uint64_t v = xorshift(&seed), now;

	*(volatile uint64_t *)p = v;
	*(volatile uint32_t *)(p + 8) = (uint32_t)v;
	*(volatile uint16_t *)(p + 12) = (uint16_t)v;
	p[15] = (uint8_t)v;
	now = *(volatile uint64_t *)p & *(volatile uint64_t *)(p + 8);
	check_forgotten(now, a);
}

static void probe_page(uint64_t a, bool quick)
{
	volatile uint8_t *p;
	uint64_t offset = xorshift(&seed) & (PAGE - 1) & ~15ull;

	if (a >= limit || is_ram(a) || a == IOAPIC || a == LAPIC)
		return;
	p = (volatile uint8_t *)window_phys(a) + offset;
	pages++;
	if (quick) {
		check_ones(*(volatile uint64_t *)p, a + offset);
		*(volatile uint64_t *)p = a;
		check_forgotten(*(volatile uint64_t *)p, a + offset);
	} else {
		read_ones(p, a + offset);
		write_forgets(p, a + offset);
	}
	if (TRY(((void (*)(void))p)()) != UD) {
		executed++;
		complain("executed", a + offset, (uint64_t)fault.vector);
	}
}

static void around(uint64_t edge, uint64_t before, uint64_t behind)
{
	for (uint64_t a = edge > before ? edge - before : 0; a < edge + behind; a += PAGE)
		probe_page(a, false);
}

static void probe_addresses(uint64_t step, uint64_t count)
{
	for (uint64_t a = 0; a < GiB(4); a += step * PAGE)
		probe_page(a, true);
	around(HOLE, 0, HOLE_END - HOLE);
	around(ram_end(), 0, BEHIND);
	around(DEVICES, NEAR * PAGE, NEAR * PAGE);
	around(IOAPIC, NEAR * PAGE, NEAR * PAGE);
	around(LAPIC, NEAR * PAGE, NEAR * PAGE);
	around(GiB(4), NEAR * PAGE, BEHIND);
	for (uint64_t a = GiB(8); a && a < limit; a <<= 1) {
		around(a, 2 * PAGE, 2 * PAGE);
		around(a | MiB(1), PAGE, PAGE);
	}
	around(limit, NEAR * PAGE, 0);
	for (uint64_t n = 0; n < count; n++)
		probe_page(GiB(4) + xorshift(&seed) % ((limit - GiB(4)) / PAGE) * PAGE, false);
}

/* The local APIC's page is absent memory where the APIC is off, or has its registers in MSRs. */
static void probe_lapic_page(const char *state)
{
	uint64_t before = foreign + stuck + executed;
	volatile uint8_t *p = (volatile uint8_t *)LAPIC + 0x30;

	read_ones(p, LAPIC);
	write_forgets(p, LAPIC);
	executed += TRY(((void (*)(void))p)()) != UD;
	print("probe: page of the local APIC, %s: %s\n", state, foreign + stuck + executed == before ? "absent" : "something");
}

static void probe_lapic(void)
{
	uint64_t base = rdmsr(MSR_APIC_BASE);

	wrmsr(MSR_APIC_BASE, base & ~APIC_ENABLE);
	probe_lapic_page("off");
	wrmsr(MSR_APIC_BASE, base | APIC_ENABLE);
	if (!(cpuid(1, 0).c & CPUID1_ECX_X2APIC))
		return;
	wrmsr(MSR_APIC_BASE, base | APIC_ENABLE | APIC_X2);
	probe_lapic_page("in MSRs");
	wrmsr(MSR_APIC_BASE, base & ~APIC_ENABLE);
	wrmsr(MSR_APIC_BASE, base | APIC_ENABLE);
}

void payload_main(void)
{
	limit = BIT(cpuid(0x80000008, 0).a & 0xff);
	probe_search();
	if (option("fill")) {
		probe_fill();
		print("probe: filled\n");
		return;
	}
	probe_addresses(option_number("step", 64), option_number("count", 4096));
	probe_lapic();
	probe_devices();
	print("# probe: %lu pages below %lx\n", pages, limit);
	print("probe: foreign %lu stuck %lu executed %lu\n", foreign, stuck, executed);
}
