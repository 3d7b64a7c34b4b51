/*
 * CPUs that do little else than wait for each other: a ticket lock, short sections under it, PAUSE while waiting. Where the CPUs
 * of several such guests share those of a machine, the one whose turn it is often does not run, and a round shows what
 * the scheduler makes of that. `rounds=` of `each=` sections on each CPU; with `rounds=0` for ever.
 */
#include "smp.h"

#define ROUNDS 10
#define EACH   1000
#define INSIDE 40
#define OUTSIDE 60

static struct ticket lock;
static struct barrier together;
static volatile uint64_t guarded[INSIDE];
static unsigned each;

static void section(uint64_t *mine)
{
	ticket_lock(&lock);
	for (unsigned i = 0; i < INSIDE; i++)
		guarded[i]++;
	ticket_unlock(&lock);
	for (unsigned i = 0; i < OUTSIDE; i++)
		*mine = *mine * 0x9e3779b97f4a7c15 + i;
}

static void work(void *unused)
{
	uint64_t mine = smp_index();

	(void)unused;
	barrier_wait(&together);
	for (unsigned i = 0; i < each; i++)
		section(&mine);
}

void payload_main(void)
{
	uint64_t rounds = option_number("rounds", ROUNDS), total = 0;

	if (smp_start() < 2)
		return;
	together.n = smp_count;
	each = (unsigned)option_number("each", EACH);
	for (uint64_t r = 1; !rounds || r <= rounds; r++) {
		uint64_t begin = rdtsc(), took;

		smp_all(work, NULL);
		took = rdtsc() - begin;
		total += took;
		print("# lock: round %lu ticks %lu\n", r, took);
		for (unsigned i = 0; i < INSIDE; i++)
			if (guarded[i] != r * each * smp_count)
				print("lock: round %lu lost some\n", r);
	}
	print("# lock: mean %lu ticks for a section\n", total / (rounds * each * smp_count));
	print("lock: %lu sections\n", guarded[0]);
}
