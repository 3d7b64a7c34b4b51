/* What the files of the run queues share. */
#pragma once
#include "core/runq.h"
#include <tf/math.h>

/* How many other queues a decision looks at, and how many entities there. An idle CPU looks at all. */
#define LOOK_QUEUES 4
#define LOOK_ENTITIES 16

#define load(p)     __atomic_load_n((p), __ATOMIC_RELAXED)
#define store(p, x) __atomic_store_n((p), (x), __ATOMIC_RELAXED)

/* All are called with the lock of `q`, except for lock_queue_of() and unmark_idle(). */

/* runq.c. Tells the others what they may look at; see publish(). */
void runq_publish_changed(struct runq *q);
/*
 * The timers of those that wait for their turn wait with them: nobody is disturbed for what could not be taken. Who runs looks at
 * its own.
 */
void runq_turn_timer(struct runq *q, struct runq_entity *e);
/* It begins to wait here, at most a slice behind the others: it runs soon, and having slept earns nothing more. */
void runq_place(struct runq *q, struct runq_entity *e, uint64_t now);
/* It goes to CPU `to`. Its virtual time is the global one from here to runq_arrive(). */
void runq_leave(struct runq *q, struct runq_entity *e, uint32_t to);
/* The queue's clock: forward only, with the least virtual time of those that run or wait. */
void runq_advance(struct runq *q, uint64_t now);
/* What else a charge of so many ticks to `e` changes, for which `payer` paid. */
void runq_charge_more(struct runq *q, struct runq_entity *e, struct runq_entity *payer, uint64_t spent);

/* runq_wake.c. Somebody waits here, and that is published: an idle CPU that is to look for it; or RUNQ_NOBODY. */
uint32_t runq_offer(struct runq *q);

/* runq_pick.c. Ends the turn of the current one, which wants to go on. */
void runq_put_back(struct runq *q, uint64_t now);
/* The turn of one whose state is RUNQ_RUNNING begins. */
void runq_begin(struct runq *q, struct runq_entity *e, uint64_t now);
/* Keeps this queue's clock together with the others'. */
void runq_keep_together(struct runq *q);
/* Begins the turn of one that waits here, or that has left another queue for this one. */
void runq_take_here(struct runq *q, struct runq_entity *e, uint64_t now);
void runq_arrive(struct runq *q, struct runq_entity *e, uint64_t now);

/* runq_yield.c. Begins the turn that was wanted for a certain one. NULL: it cannot have it. The lock may be dropped meanwhile. */
struct runq_entity *runq_take_favoured(struct runq *q, struct runq_entity *donor, uint64_t end, uint64_t now);
struct runq_entity *runq_take_summoned(struct runq *q, uint64_t now);

static inline uint64_t virtual_ticks(const struct runq_entity *e, uint64_t ticks) { return ticks * RUNQ_WEIGHT / e->weight; }

/* Virtual times wrap in no life; the difference of two clocks may. */
static inline bool before(uint64_t a, uint64_t b) { return (int64_t)(a - b) < 0; }

static inline uint64_t effective(const struct runq_entity *e) { return e->vtime - e->warp; }

static inline bool capped(const struct runq_entity *e) { return e->cap && e->cap < 100; }

/* Of the current one, with what has not been charged yet. */
static inline uint64_t vtime_at(const struct runq *q, const struct runq_entity *c, uint64_t now)
{
	return c->vtime + (now > q->charged ? virtual_ticks(c, now - q->charged) : 0);
}

static inline uint64_t first_key(const struct runq *q)
{
	struct heap_node *a = heap_top(&q->run[0]), *b = heap_top(&q->run[1]);

	return MIN(a ? a->key : RUNQ_NEVER, b ? b->key : RUNQ_NEVER);
}

static inline void publish(struct runq *q)
{
	if (unlikely(q->run[0].n || q->owed.n || q->first != RUNQ_NEVER || q->owed_first != RUNQ_NEVER))
		runq_publish_changed(q);
}

/* Among those that wait for their turn; again, to move it. */
static inline void enqueue(struct runq *q, struct runq_entity *e)
{
	heap_set(&q->run[e->bound], &e->run, effective(e));
	if (unlikely(e->reservation))
		heap_set(&q->owed, &e->owed, e->owed_at);
}

static inline void dequeue(struct runq *q, struct runq_entity *e)
{
	heap_remove(&q->run[e->bound], &e->run);
	if (unlikely(e->reservation))
		heap_remove(&q->owed, &e->owed);
	if (unlikely(q->donor == e))
		q->donor = NULL;
	if (unlikely(q->favour == e))
		q->favour = NULL;
}

/* The time since the last charge was spent for `e`; `payer` pays. */
static inline void charge_to(struct runq *q, struct runq_entity *e, struct runq_entity *payer, uint64_t now)
{
	uint64_t spent = now - q->charged;

	store(&q->charged, now);
	payer->vtime += virtual_ticks(payer, spent);
	store(e->ran, *e->ran + spent);
	if (unlikely(e->rates || heap_holds(&payer->run)))
		runq_charge_more(q, e, payer, spent);
}

/* Charges the time since the last charge to whose it was. */
static inline void settle(struct runq *q, uint64_t now)
{
	struct runq_entity *e = q->culprit ? q->culprit : q->current;

	if (unlikely(!e)) {
		store(&q->charged, now);
		return;
	}
	charge_to(q, e, unlikely(q->donor) && e == q->current ? q->donor : e, now);
}

/* It leaves that queue only under its lock. */
static inline struct runq *lock_queue_of(struct runqs *all, struct runq_entity *e)
{
	for (;;) {
		uint32_t cpu = __atomic_load_n(&e->cpu, __ATOMIC_ACQUIRE);
		struct runq *q = all->q[cpu];

		spin_lock(&q->lock);
		/* who moves it does not hold this lock */
		if (likely(__atomic_load_n(&e->cpu, __ATOMIC_ACQUIRE) == cpu))
			return q;
		spin_unlock(&q->lock);
	}
}

static inline void mark_idle(struct runq *q)
{
	q->idle = true;
	__atomic_fetch_or(&q->all->idle.bits[q->cpu / 64], BIT(q->cpu % 64), __ATOMIC_SEQ_CST);
}

/* False: it was not, or somebody else has been quicker. */
static inline bool unmark_idle(struct runqs *all, uint32_t cpu)
{
	return __atomic_fetch_and(&all->idle.bits[cpu / 64], ~BIT(cpu % 64), __ATOMIC_SEQ_CST) & BIT(cpu % 64);
}

static inline void be_busy(struct runq *q)
{
	(void)unmark_idle(q->all, q->cpu);
	q->idle = false;
}
