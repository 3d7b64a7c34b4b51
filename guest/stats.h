/*
 * What a vCPU's exits cost, by kind: from the exit to the entry that follows, or to the end of the turn. The CPU that runs the
 * vCPU counts, without a lock and with ten instructions; anyone may read. They are set to zero while all CPUs are held. Pure.
 */
#pragma once
#include <tf/math.h>

#define STAT_LEAST   6  /* the first bucket has all below 2^(STAT_LEAST + 1) ticks, each further one those up to twice as many */
#define STAT_BUCKETS 14
#define STAT_TURN    EXIT_NKINDS /* not an exit: from the begin of a turn to its first entry */
#define STAT_KINDS   (EXIT_NKINDS + 1)

struct exit_stat {
	uint64_t ticks;                 /* in all */
	uint32_t common;                /* up to here they are not above `max`, and not in the last bucket */
	uint32_t max;                   /* ticks of the longest, as far as 32 bits tell */
	uint64_t count[STAT_BUCKETS];   /* their sum is the number of exits */
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct exit_stat) == 128, "two cache lines, and no multiplication");

/* `ticks` went by for one of this kind. */
__attribute__((cold)) void stats_rare(struct exit_stat *s, uint64_t ticks);
static inline uint64_t stats_bucket(uint64_t ticks)
{
	uint64_t bit; /* all 64 bits of it, which no builtin gives */

	__asm__("bsrq %1, %0" : "=r"(bit) : "r"(ticks | BIT(STAT_LEAST)) : "cc");
	return bit - STAT_LEAST;
}
static inline void stats_count(struct exit_stat *s, uint32_t elapsed)
{
	uint64_t ticks = elapsed;

	__asm__("" : "+r"(ticks)); /* in all its 64 bits, not in a register for each of its two sizes */
	s->ticks += ticks;
	if (unlikely((uint32_t)ticks > s->common))
		stats_rare(s, ticks);
	else
		s->count[stats_bucket(ticks)]++;
}
/* How many there were. Another CPU may be counting meanwhile. */
uint64_t stats_exits(const struct exit_stat *s);
/* Adds those of `more`, where another CPU may be counting meanwhile. */
void stats_add(struct exit_stat *sum, const struct exit_stat *more);
/* What so many percent of them did not exceed, as far as the buckets tell: to the next power of two. */
uint32_t stats_percentile(const struct exit_stat *s, unsigned percent);
