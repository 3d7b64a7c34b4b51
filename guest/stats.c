#include "guest/stats.h"

/* The most that has a bucket of its own. */
#define LAST_BUCKET_FROM ((uint32_t)BIT(STAT_LEAST + STAT_BUCKETS - 1))

void stats_rare(struct exit_stat *s, uint32_t ticks)
{
	if (ticks > s->max)
		s->max = ticks;
	s->common = MIN(s->max, LAST_BUCKET_FROM - 1);
	s->count[ticks < LAST_BUCKET_FROM ? bit_highest(ticks | BIT(STAT_LEAST)) - STAT_LEAST : STAT_BUCKETS - 1]++;
}

uint64_t stats_exits(const struct exit_stat *s)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < STAT_BUCKETS; i++)
		n += __atomic_load_n(&s->count[i], __ATOMIC_RELAXED);
	return n;
}
