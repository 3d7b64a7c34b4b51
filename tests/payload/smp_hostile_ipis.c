/* Interrupts, INIT and SIPI without end: to all, to oneself, to nobody. */
#include "smp_hostile.h"

#define VECTOR       0x40
#define NOBODY       0x7e
#define LVT_PERIODIC 0x20000
#define DIVIDE_1     0xb
#define VEC_NMI      2
#define ICR_WRITABLE 0xcdfff
#define MODE_MASK    0x700
#define MODE_INIT    0x500
#define MODE_STARTUP 0x600
#define X2APIC       BIT(10)
#define APIC_ON      BIT(11)

static void storm(unsigned cpu, uint64_t *random)
{
	static const uint32_t whom[] = { ICR_SELF, ICR_ALL, ICR_OTHERS };
	uint64_t r = xorshift(random);

	(void)cpu;
	if (r & 4)
		apic_ipi(0, whom[r % 3] | VECTOR);
	else
		apic_ipi(r & 8 ? NOBODY : (uint32_t)(r >> 8) & 0xff, (r & 16 ? ICR_LOGICAL : 0) | (r & 32 ? ICR_LOWEST : 0) | VECTOR);
}

static void storm_open(unsigned cpu, uint64_t *random)
{
	storm(cpu, random);
	open_window();
}

static void ipi_storm(void) { everywhere(storm_open); }
static void ipi_storm_if0(void) { everywhere(storm); }

static void to_halted(unsigned cpu, uint64_t *random)
{
	apic_ipi(0, ICR_OTHERS | VECTOR);
	(void)random;
	if (cpu)
		hlt_wait();
}

static void tick(void *period)
{
	apic_write(LAPIC_DIVIDE, DIVIDE_1);
	apic_write(LAPIC_LVT_TIMER, LVT_PERIODIC | VECTOR);
	apic_write(LAPIC_INIT_COUNT, *(uint32_t *)period);
}

/* The timer wakes the last. */
static void halted_storm(void)
{
	uint32_t period = 100000;

	smp_all(tick, &period);
	everywhere(to_halted);
}

/* All vectors, so that a lot is pending. */
static void flood(unsigned cpu, uint64_t *random)
{
	uint32_t vector = (uint32_t)xorshift(random) % 0xd0 + 0x20;

	apic_ipi(0, ICR_ALL | (vector == USER_DONE ? VECTOR : vector));
	if (!(xorshift(random) & 0xff) || cpu & 1)
		open_window();
}

static void vector_flood(void) { everywhere(flood); }

static bool on_nmi(struct frame *f) { return f->vector == VEC_NMI; }

static void nmi(unsigned cpu, uint64_t *random)
{
	(void)cpu;
	apic_ipi(0, (xorshift(random) & 1 ? ICR_ALL : ICR_OTHERS) | ICR_NMI);
}

static void nmi_storm(void)
{
	smp_trap_hook = on_nmi;
	everywhere(nmi);
}

static void restart(unsigned cpu, uint64_t *random)
{
	uint64_t r = xorshift(random);
	uint32_t id = smp_cpus[1 + r % (smp_count - 1 ? smp_count - 1 : 1)].apic_id;

	(void)cpu;
	apic_ipi(id, ICR_INIT);
	if (r & 0x100)
		apic_ipi(id, ICR_DEASSERT);
	if (r & 0x600)
		apic_ipi(id, ICR_STARTUP | (uint32_t)(SMP_PAGE / PAGE));
	for (volatile unsigned n = 0; n < (r >> 16 & 0x3ff); n++)
		;
}

static void init_storm(void) { alone(restart); }

static void restart_all(unsigned cpu, uint64_t *random)
{
	(void)cpu;
	(void)random;
	apic_ipi(0, ICR_OTHERS | ICR_INIT);
	apic_ipi(0, ICR_OTHERS | ICR_STARTUP | (uint32_t)(SMP_PAGE / PAGE));
}

static void init_all_storm(void) { alone(restart_all); }

static void start(unsigned cpu, uint64_t *random)
{
	(void)cpu;
	apic_ipi(0, ICR_OTHERS | ICR_STARTUP | ((uint32_t)xorshift(random) & 0xff));
}

static void sipi_storm(void) { everywhere(start); }

static void from_sibling(void *unused)
{
	(void)unused;
	for (;;) {
		apic_ipi(smp_cpus[0].apic_id, ICR_INIT);
		apic_ipi(smp_cpus[0].apic_id, ICR_STARTUP | (uint32_t)(SMP_PAGE / PAGE));
	}
}

/* The boot CPU, too, can be reset by another. */
static void init_boot_cpu(void)
{
	if (smp_count < 2)
		return;
	smp_run(1, from_sibling, NULL);
	for (;;)
		pause();
}

/* Any command to anybody: SMI, reserved modes, INIT, SIPI to wherever. What they start may be anything. */
static void any(unsigned cpu, uint64_t *random)
{
	uint64_t r = xorshift(random);
	uint32_t command = (uint32_t)r & ICR_WRITABLE, mode = command & MODE_MASK;

	if (cpu && (mode == MODE_INIT || mode == MODE_STARTUP))
		command &= ~(uint32_t)MODE_MASK;
	if (mode == MODE_INIT && (command & ICR_OTHERS) == 0)
		command |= ICR_OTHERS;
	apic_ipi((uint32_t)(r >> 32), command);
	open_window();
}

static void ipi_random(void)
{
	smp_trap_hook = on_nmi;
	everywhere(any);
}

static void sleep(unsigned cpu, uint64_t *random)
{
	(void)cpu;
	(void)random;
	hlt_wait();
}

static void timers(void)
{
	uint32_t shortest = 1;

	smp_all(tick, &shortest);
	everywhere(sleep);
}

/* Each CPU moves its APIC, switches it off and on, and changes its mode; what is forbidden faults. */
static void base(unsigned cpu, uint64_t *random)
{
	static const uint64_t places[] = { LAPIC, 0xfec00000, 0, 0x300000, 0x8000, 0xfee01000, 0xffffffff000ull };
	uint64_t r = xorshift(random), bits = (r & 0x10 ? APIC_ON : 0) | (r & 0x20 ? X2APIC : 0) | (r & 0x40 ? BIT(8) : 0);

	(void)cpu;
	(void)SMP_TRY(wrmsr(MSR_APIC_BASE, places[r % ARRAY_SIZE(places)] | bits));
	smp_self()->x2apic = rdmsr(MSR_APIC_BASE) & X2APIC;
	(void)SMP_TRY(storm(cpu, random));
	(void)SMP_TRY(apic_write(LAPIC_EOI, 0));
}

static void apic_base(void) { everywhere(base); }

/* The way that is allowed: xAPIC, x2APIC, off, xAPIC; with interrupts under way. */
static void toggle(unsigned cpu, uint64_t *random)
{
	(void)cpu;
	(void)SMP_TRY(wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | X2APIC | APIC_ON); smp_self()->x2apic = true; storm(cpu, random));
	(void)SMP_TRY(wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) & ~(X2APIC | APIC_ON)); smp_self()->x2apic = false);
	(void)SMP_TRY(wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | APIC_ON); apic_init(); storm(cpu, random));
}

static void x2apic_toggle(void) { everywhere(toggle); }

const struct smp_attack smp_hostile_ipis[] = {
	{ "ipi-storm", ipi_storm }, { "ipi-storm-if0", ipi_storm_if0 }, { "halted-storm", halted_storm },
	{ "vector-flood", vector_flood }, { "nmi-storm", nmi_storm }, { "init-storm", init_storm },
	{ "init-all-storm", init_all_storm }, { "sipi-storm", sipi_storm }, { "init-boot-cpu", init_boot_cpu },
	{ "ipi-random", ipi_random }, { "timers", timers }, { "apic-base", apic_base }, { "x2apic-toggle", x2apic_toggle },
	ATTACKS_END
};
