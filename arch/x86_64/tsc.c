#include "arch/x86_64/tsc.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/paging.h"
#include <tf/log.h>
#include <tf/math.h>
#include <tf/panic.h>

/* IA-PC HPET specification, "Register Overview"; as indices of 32-bit words */
#define HPET_CAP_PERIOD  (0x004 / 4)
#define HPET_CONFIG      (0x010 / 4)
#define HPET_COUNTER     (0x0f0 / 4)
#define HPET_TIMER(n)    (0x100 / 4 + (n) * (0x20 / 4)) /* its configuration */
#define HPET_TIMERS(cap) (((cap) >> 8 & 0x1f) + 1)
#define HPET_ENABLE      BIT(0)
#define HPET_LEGACY      BIT(1) /* timers 0 and 1 in the place of the PIT and the RTC */
#define HPET_TIMER_INT   BIT(2)
#define HPET_LENGTH      0x500  /* up to 32 timers */
#define HPET_MAX_PERIOD  100000000u /* femtoseconds */
#define FS_PER_SECOND    1000000000000000ull

#define PM_TIMER_HZ      3579545u
#define PM_TIMER_BITS    24

#define PIT_HZ           1193182u
#define PIT_CHANNEL2     0x42
#define PIT_CONTROL      0x43
#define PIT_CH2_MODE0    0xb0 /* both bytes, interrupt on terminal count, binary */
#define SPEAKER_PORT     0x61
#define SPEAKER_GATE2    0x01
#define SPEAKER_DATA     0x02
#define SPEAKER_OUT2     0x20

#define WINDOW_MS        10
#define WINDOWS          8       /* tried per reference, until two in a row agree */
#define AGREE_PPM        200
#define HINT_PERCENT     1
#define STALL_READS      1000000 /* equal readings, or polls, after which a reference counts as dead */
#define WINDOW_MAX       BIT(33) /* TSC ticks: more than any window takes, less than anybody waits for */
#define BRACKET_TRIES    4

uint64_t tsc_hz, tsc_boot;

static volatile uint32_t *hpet;
static uint16_t pm_port;

static uint32_t hpet_read(void) { return hpet[HPET_COUNTER]; }
static volatile uint32_t *pm_mem;
static uint32_t pm_read(void) { return pm_mem ? *pm_mem : inl(pm_port); }

struct reading { uint64_t tsc; uint32_t ref; };

/* The reference and the TSC at the same moment: of some tries the one with the least time around it. */
static struct reading read_both(uint32_t (*read)(void))
{
	struct reading r = { 0, 0 };
	uint64_t best = UINT64_MAX;

	for (unsigned i = 0; i < BRACKET_TRIES; i++) {
		uint64_t before = rdtsc();
		uint32_t ref = read();
		uint64_t took = rdtsc() - before;

		if (took < best) {
			best = took;
			r = (struct reading){ before + took / 2, ref };
		}
	}
	return r;
}

/* One window against a free-running counter; 0 if it stands still. */
static uint64_t measure_counter(uint32_t (*read)(void), uint32_t mask, uint64_t hz)
{
	uint32_t now, window = (uint32_t)(hz * WINDOW_MS / 1000), stalled = 0;
	struct reading first = read_both(read), last;
	uint32_t previous = first.ref;

	do {
		now = read();
		stalled = now == previous ? stalled + 1 : 0;
		if (stalled == STALL_READS)
			return 0;
		if (rdtsc() - first.tsc > WINDOW_MAX)
			return 0; /* a register that counts to nowhere */
		previous = now;
	} while (((now - first.ref) & mask) < window);
	last = read_both(read);
	uint32_t counted = (last.ref - first.ref) & mask;
	return counted ? mul_div(last.tsc - first.tsc, hz, counted) : 0;
}

static uint64_t hpet_hz;

static uint64_t measure_hpet(void) { return measure_counter(hpet_read, UINT32_MAX, hpet_hz); }
static uint64_t measure_pm(void) { return measure_counter(pm_read, BIT(PM_TIMER_BITS) - 1, PM_TIMER_HZ); }

static uint64_t measure_pit(void)
{
	uint16_t count = PIT_HZ * WINDOW_MS / 1000;
	uint8_t port61 = inb(SPEAKER_PORT);
	uint64_t from, to;
	unsigned polls = 0;

	outb(SPEAKER_PORT, (uint8_t)((port61 & ~SPEAKER_DATA) | SPEAKER_GATE2));
	outb(PIT_CONTROL, PIT_CH2_MODE0);
	outb(PIT_CHANNEL2, (uint8_t)count);
	outb(PIT_CHANNEL2, (uint8_t)(count >> 8));
	from = rdtsc();
	while (!(inb(SPEAKER_PORT) & SPEAKER_OUT2) && polls < STALL_READS)
		polls++;
	to = rdtsc();
	outb(SPEAKER_PORT, port61);
	/* The count is loaded on the clock after the second byte, and the output rises one after zero. */
	return polls && polls < STALL_READS ? mul_div(to - from, PIT_HZ, count + 1u) : 0;
}

static bool agree(uint64_t a, uint64_t b, uint64_t ppm)
{
	return (a > b ? a - b : b - a) <= mul_div(a, ppm, 1000000);
}

/* Two windows in a row that agree; a window that an SMI or a hypervisor below us stretched does not. */
static uint64_t measure(uint64_t (*window)(void))
{
	uint64_t last = window();

	for (unsigned i = 1; i < WINDOWS && last; i++) {
		uint64_t now = window();

		if (now && agree(now, last, AGREE_PPM))
			return (now + last) / 2;
		last = now;
	}
	return 0;
}

static uint64_t try_hpet(hpa_t base)
{
	if (!base.v)
		return 0;
	hpet = paging_map_device(base, HPET_LENGTH);
	if (!hpet)
		return 0;
	uint32_t period = hpet[HPET_CAP_PERIOD];
	if (!period || period > HPET_MAX_PERIOD)
		return 0;
	hpet_hz = FS_PER_SECOND / period;
	/* The firmware's own use of it is over: its timers would go on interrupting. */
	for (unsigned i = 0; i < HPET_TIMERS(hpet[0]); i++)
		hpet[HPET_TIMER(i)] &= ~(uint32_t)HPET_TIMER_INT;
	hpet[HPET_CONFIG] = (hpet[HPET_CONFIG] & ~(uint32_t)HPET_LEGACY) | (uint32_t)HPET_ENABLE;
	return measure(measure_hpet);
}

static uint64_t try_pm_timer(uint16_t port, hpa_t mem)
{
	pm_port = port;
	pm_mem = mem.v ? paging_map_device(mem, sizeof(*pm_mem)) : NULL;
	return port || pm_mem ? measure(measure_pm) : 0;
}

/* SDM 3B, "Determining the Processor Base Frequency": 0 if the CPU does not say. */
static uint64_t cpuid_hint(void)
{
	uint32_t max = cpuid(0, 0).eax;

	if (max >= 0x15) {
		struct cpuid c = cpuid(0x15, 0);
		if (c.eax && c.ebx && c.ecx)
			return mul_div(c.ecx, c.ebx, c.eax);
	}
	return max >= 0x16 ? (uint64_t)(cpuid(0x16, 0).eax & 0xffff) * 1000000 : 0;
}

void tsc_init(const struct tsc_refs *refs)
{
	const char *source = "hpet";
	uint64_t hz = try_hpet(refs->hpet_base), hint = cpuid_hint();

	if (!hz) {
		source = "pm-timer";
		hz = try_pm_timer(refs->pm_timer_port, refs->pm_timer_mem);
	}
	if (!hz) {
		source = "pit";
		hz = measure(measure_pit);
	}
	if (!hz) { /* newer machines may have all of them gated or switched off, but then CPUID tells */
		source = "cpuid";
		hz = hint;
	}
	if (!hz)
		panic("neither HPET, PM timer, PIT nor CPUID gives the frequency of the TSC");
	tsc_hz = hz;
	log_info("tsc", "event=tsc hz=%lu source=%s", (unsigned long)hz, source);
	if (hint && !agree(hz, hint, HINT_PERCENT * 10000))
		log_warn("tsc", "event=tsc-hint-wrong cpuid-hz=%lu", (unsigned long)hint);
	if (cpuid(0x80000000, 0).eax < 0x80000007 || !(cpuid(0x80000007, 0).edx & BIT(8)))
		log_warn("tsc", "event=tsc-not-invariant");
}

uint64_t tsc_from_us(uint64_t us) { return mul_div(us, tsc_hz, 1000000); }
uint64_t tsc_to_us(uint64_t ticks) { return tsc_hz ? mul_div(ticks, 1000000, tsc_hz) : 0; }

void tsc_spin_us(uint64_t us)
{
	uint64_t start = rdtsc(), ticks = tsc_from_us(us);

	while (rdtsc() - start < ticks)
		pause();
}
