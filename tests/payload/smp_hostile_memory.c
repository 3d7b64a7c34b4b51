/* Memory that changes under those who use it, and state that all CPUs change at once. */
#include "smp_hostile.h"

#define ABSENT       0xd0000000ull
#define RET          0xc3
#define CR0_CD       BIT(30)
#define CR0_NW       BIT(29)
#define CR4_PGE      BIT(7)
#define MSR_TSC      0x10
#define MSR_TSC_ADJUST 0x3b
#define MSR_MTRR_DEF 0x2ff
#define MSR_MTRR_BASE0 0x200
#define MSR_PAT      0x277
#define RANDOM_BITS  0x7

static uint8_t code[PAGE] __attribute__((aligned(4096))), other[PAGE] __attribute__((aligned(4096)));
static uint8_t lines[128] __attribute__((aligned(64)));

/* RAM, other RAM, the two APICs, nothing at all. */
static uint64_t target(uint64_t r)
{
	const uint64_t frames[] = { (uint64_t)code, (uint64_t)other, LAPIC, IOAPIC, ABSENT, 0xa0000, 0xfed00000 };

	return frames[r % ARRAY_SIZE(frames)] | (r & 0x100 ? PTE_P : 0) | (r & 0x200 ? PTE_W : 0);
}

static void use(uint64_t r)
{
	volatile uint32_t *p = (volatile uint32_t *)(WINDOW + (r & 0xff0));
	void (*fn)(void) = (void (*)(void))(WINDOW + (r & 0xff0));

	switch (r >> 12 & 7) {
	case 0:
		(void)*p;
		break;
	case 1:
		*p = RET * 0x01010101u;
		break;
	case 2:
		__atomic_fetch_or(p, 0xc3c3c3c3, __ATOMIC_SEQ_CST);
		break;
	case 3:
		__asm__ volatile("rep movsb" :: "D"(p), "S"((uint64_t)p & ~0xfull), "c"(r >> 20 & 15) : "memory");
		break;
	default:
		fn();
	}
}

static void race(unsigned cpu, uint64_t *random)
{
	uint64_t r = xorshift(random);

	if (!cpu) {
		window_set(0, target(r));
		return;
	}
	__asm__ volatile("invlpg (%0)" :: "r"(WINDOW) : "memory");
	(void)SMP_TRY(use(r));
}

/* The boot CPU remaps; the others read, write and run what is there, be it RAM, a device, or nothing. */
static void remap_race(void)
{
	memset(code, RET, PAGE);
	memset(other, RET, PAGE);
	everywhere(race);
}

static void controls(unsigned cpu, uint64_t *random)
{
	(void)cpu;
	(void)random;
	wrcr0(rdcr0() | CR0_CD);
	wrcr3(rdcr3());
	wrcr4(rdcr4() ^ CR4_PGE);
	__asm__ volatile("wbinvd" ::: "memory");
	wrcr0(rdcr0() & ~(CR0_CD | CR0_NW));
	__asm__ volatile("invlpg (%0)" :: "r"(WINDOW) : "memory");
}

static void control_storm(void) { everywhere(controls); }

static void types(unsigned cpu, uint64_t *random)
{
	uint64_t r = xorshift(random);

	(void)cpu;
	(void)SMP_TRY(wrmsr(MSR_MTRR_DEF, 0xc00 | (r & RANDOM_BITS)));
	(void)SMP_TRY(wrmsr(MSR_MTRR_BASE0 + (r >> 8) % 16, r >> 16 & 0xffffff807));
	(void)SMP_TRY(wrmsr(MSR_PAT, r & 0x0707070707070707));
}

static void type_storm(void) { everywhere(types); }

static void clocks(unsigned cpu, uint64_t *random)
{
	(void)cpu;
	(void)SMP_TRY(wrmsr(MSR_TSC, xorshift(random)));
	(void)SMP_TRY(wrmsr(MSR_TSC_ADJUST, xorshift(random)));
}

static void tsc_storm(void) { everywhere(clocks); }

static void split(unsigned cpu, uint64_t *random)
{
	(void)cpu;
	(void)random;
	__asm__ volatile("lock addl $1, %0" : "+m"(*(volatile uint32_t *)(lines + 62)));
}

static void split_lock(void) { everywhere(split); }

static void wait(unsigned cpu, uint64_t *random)
{
	(void)cpu;
	(void)random;
	pause();
}

static void pause_storm(void) { everywhere(wait); }

static struct ticket lock;
static void convoy(unsigned cpu, uint64_t *random)
{
	(void)cpu;
	(void)random;
	ticket_lock(&lock);
	ticket_unlock(&lock);
}

static void lock_convoy(void) { everywhere(convoy); }

static void end(unsigned cpu, uint64_t *random)
{
	(void)cpu;
	(void)random;
	for (;;)
		__asm__ volatile("cli; hlt");
}

static void halt_all(void) { everywhere(end); }

const struct smp_attack smp_hostile_memory[] = {
	{ "remap-race", remap_race }, { "control-storm", control_storm }, { "type-storm", type_storm }, { "tsc-storm", tsc_storm },
	{ "split-lock", split_lock }, { "pause-storm", pause_storm }, { "lock-convoy", lock_convoy }, { "halt-all", halt_all },
	ATTACKS_END
};
