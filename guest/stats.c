#include "guest/stats.h"

/* The most that has a bucket of its own. */
#define LAST_BUCKET_FROM ((uint32_t)BIT(STAT_LEAST + STAT_BUCKETS - 1))

void stats_rare(struct exit_stat *s, uint64_t ticks)
{
	if (ticks > s->max)
		s->max = (uint32_t)ticks;
	s->common = MIN(s->max, LAST_BUCKET_FROM - 1);
	s->count[ticks < LAST_BUCKET_FROM ? stats_bucket(ticks) : STAT_BUCKETS - 1]++;
}

uint64_t stats_exits(const struct exit_stat *s)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < STAT_BUCKETS; i++)
		n += __atomic_load_n(&s->count[i], __ATOMIC_RELAXED);
	return n;
}

void stats_add(struct exit_stat *sum, const struct exit_stat *more)
{
	uint32_t max = __atomic_load_n(&more->max, __ATOMIC_RELAXED);

	sum->ticks += __atomic_load_n(&more->ticks, __ATOMIC_RELAXED);
	sum->max = MAX(sum->max, max);
	for (unsigned i = 0; i < STAT_BUCKETS; i++)
		sum->count[i] += __atomic_load_n(&more->count[i], __ATOMIC_RELAXED);
}

uint32_t stats_percentile(const struct exit_stat *s, unsigned percent)
{
	uint64_t n = stats_exits(s) * percent, below = 0;
	unsigned i = 0;

	while (i < STAT_BUCKETS - 1 && (below += s->count[i]) * 100 < n)
		i++;
	return i < STAT_BUCKETS - 1 ? MIN((uint32_t)BIT(STAT_LEAST + 1 + i) - 1, s->max) : s->max;
}
