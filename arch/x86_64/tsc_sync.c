/* SDM 3B, "Time-Stamp Counter": IA32_TSC_ADJUST moves the counter by what it is changed by */
#include "arch/x86_64/tsc_sync.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/tsc.h"
#include <tf/log.h>
#include <tf/math.h>

#define ROUNDS        200
#define ATTEMPTS      3
#define SILENT_US     1000000
#define TURN_OVER     UINT64_MAX /* the follower may go on */
#define CPUID_7_EBX_TSC_ADJUST BIT(1)

static uint64_t load(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
static void store(uint64_t *p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }

static uint64_t ordered_rdtsc(void)
{
	__asm__ volatile("lfence" : : : "memory");
	uint64_t t = rdtsc();
	__asm__ volatile("lfence" : : : "memory");
	return t;
}

static void adjust_by(uint64_t delta)
{
	bool has_adjust = cpuid(0, 0).eax >= 7 && (cpuid(7, 0).ebx & CPUID_7_EBX_TSC_ADJUST);
	uint64_t old;

	if (!delta)
		return;
	if (has_adjust && rdmsr_safe(MSR_IA32_TSC_ADJUST, &old) && wrmsr_safe(MSR_IA32_TSC_ADJUST, old + delta))
		return;
	wrmsr(MSR_IA32_TSC, rdtsc() + delta);
}

void tsc_sync_follow(struct tsc_sync *s)
{
	uint64_t turn, last = 0;

	while ((turn = load(&s->lead_turn)) != TURN_OVER) {
		if (turn == last) {
			pause();
			continue;
		}
		last = turn;
		adjust_by(s->adjust);
		s->follow_tsc = ordered_rdtsc();
		store(&s->follow_turn, turn);
	}
}

/* One question; false if no answer comes. The follower looked at its clock between `before` and `after`. */
static bool ask(struct tsc_sync *s, uint64_t adjust, uint64_t *before, uint64_t *after)
{
	uint64_t turn = s->lead_turn + 1, silent = tsc_from_us(SILENT_US);

	s->adjust = adjust;
	*before = ordered_rdtsc();
	store(&s->lead_turn, turn);
	while (load(&s->follow_turn) != turn) {
		if (rdtsc() - *before > silent)
			return false;
		pause();
	}
	*after = ordered_rdtsc();
	return true;
}

/* How far ahead the follower is, by the quickest answer, and how long that took. */
static bool measure(struct tsc_sync *s, int64_t *offset, uint64_t *took)
{
	*took = UINT64_MAX;
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t before, after;

		if (!ask(s, 0, &before, &after))
			return false;
		if (after - before >= *took)
			continue;
		*took = after - before;
		*offset = (int64_t)(s->follow_tsc - (before + *took / 2));
	}
	return true;
}

bool tsc_sync_lead(struct tsc_sync *s, uint32_t cpu)
{
	uint64_t took = 0, before, after;
	int64_t offset = 0;
	bool ok = false;

	for (unsigned i = 0; i < ATTEMPTS && !ok && measure(s, &offset, &took); i++) {
		if (i == 0)
			s->offset = offset;
		ok = (offset < 0 ? -offset : offset) <= (int64_t)(took / 2);
		if (!ok && !ask(s, (uint64_t)-offset, &before, &after))
			break;
	}
	if (ok && (s->offset < 0 ? -s->offset : s->offset) > (int64_t)(took / 2))
		log_warn("smp", "event=tsc-adjusted cpu=%u offset=%ld", cpu, s->offset);
	store(&s->lead_turn, TURN_OVER);
	return ok;
}
