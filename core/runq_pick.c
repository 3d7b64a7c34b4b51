/* The decision: who of those that wait, here or on other CPUs, is to run, and how long. */
#include "core/runq_internal.h"

/* A capped turn that would be shorter than this part of its length is not begun. */
#define CAP_GRAIN   16
/* What is owed for longer than so many periods is forgotten. */
#define OWED_PERIODS 4

/* --- turns */

/* The ticks that its cap lets it run from now on without a pause. */
static uint64_t cap_room(const struct runqs *all, const struct runq_entity *e, uint64_t now)
{
	uint64_t ahead = e->paid > now ? e->paid - now : 0, window = all->period * (100 - e->cap) / 100;

	return ahead >= window ? 0 : (window - ahead) * e->cap / (100 - e->cap);
}

static bool must_pause(const struct runqs *all, const struct runq_entity *e, uint64_t now)
{
	return capped(e) && cap_room(all, e, now) < all->period * e->cap / 100 / CAP_GRAIN;
}

static inline void put_back(struct runq *q, uint64_t now)
{
	struct runq_entity *e = q->current;
	uint64_t oldest = now - MIN(now, OWED_PERIODS * q->all->period);

	store(&q->current, NULL);
	q->donor = NULL;
	store(&q->runs, RUNQ_NEVER);
	e->since = now;
	if (unlikely(e->reservation) && e->owed_at < oldest)
		e->owed_at = oldest;
	if (unlikely(e->rates) && must_pause(q->all, e, now)) {
		store(&e->state, RUNQ_THROTTLED);
		heap_set(&q->hold, &e->hold, e->paid);
	} else {
		store(&e->state, RUNQ_QUEUED);
		enqueue(q, e);
	}
}

void runq_put_back(struct runq *q, uint64_t now) { put_back(q, now); }

static void let_go(struct runq *q, uint64_t now)
{
	struct heap_node *t;

	while ((t = heap_top(&q->hold)) && t->key <= now) {
		struct runq_entity *e = container_of(t, struct runq_entity, hold);
		uint64_t since = e->since; /* it has wanted the CPU all the time */

		heap_remove(&q->hold, t);
		runq_place(q, e, now);
		e->since = since;
	}
}

static inline __attribute__((always_inline)) void begin(struct runq *q, struct runq_entity *e, uint64_t now)
{
	uint64_t slice = q->all->slice;

	store(&q->current, e);
	store(&q->runs, q->dedicated ? RUNQ_NEVER : effective(e) + q->base);
	e->timer_from = 0;
	store(e->waited, *e->waited + (now - MIN(now, e->since)));
	bool alone = q->dedicated || (load(&q->all->n) == 1 && !q->run[0].n && !q->run[1].n && !q->hold.n);
	uint64_t end = alone ? RUNQ_NEVER : now + slice;
	if (unlikely(e->rates) && capped(e))
		end = MIN(end, now + cap_room(q->all, e, now));
	store(&q->slice_end, end);
}

__attribute__((noinline)) void runq_begin(struct runq *q, struct runq_entity *e, uint64_t now) { begin(q, e, now); }

/* The first here, and its place among all: 0 if it has to be now. */
static struct runq_entity *first_here(struct runq *q, uint64_t now, uint64_t *key)
{
	struct heap_node *a = heap_top(&q->run[0]), *b = heap_top(&q->run[1]), *o = heap_top(&q->owed);

	*key = 0;
	if (unlikely(o) && o->key <= now)
		return container_of(o, struct runq_entity, owed);
	if (!a || (b && b->key < a->key))
		a = b;
	*key = a ? a->key + q->base : RUNQ_NEVER;
	return a ? container_of(a, struct runq_entity, run) : NULL;
}

void runq_take_here(struct runq *q, struct runq_entity *e, uint64_t now)
{
	dequeue(q, e);
	store(&e->state, RUNQ_RUNNING);
	runq_begin(q, e, now);
}

void runq_arrive(struct runq *q, struct runq_entity *e, uint64_t now)
{
	e->vtime -= q->base;
	runq_begin(q, e, now);
}

/* --- looking around */

/* Is one of that queue to run here instead of one whose place is `key`? */
static bool tempting(const struct runq *other, uint64_t key, uint64_t now, uint64_t slice)
{
	uint64_t first = load(&other->first), owed = load(&other->owed_first);

	if (unlikely(owed != RUNQ_NEVER) && key && owed + slice <= now)
		return true;
	return first != RUNQ_NEVER && (key == RUNQ_NEVER || (key && before(first, key)));
}

/* The best of those that may come; the queue's lock is held. */
static struct runq_entity *best_of(struct runq *other, uint32_t cpu, uint64_t key, uint64_t now)
{
	struct heap_node *o = heap_top(&other->owed);
	struct runq_entity *best = NULL;

	if (unlikely(o) && key && o->key + other->all->slice <= now) {
		best = container_of(o, struct runq_entity, owed);
		if (!best->busy && runq_has(&best->allowed, cpu))
			return best;
		best = NULL;
	}
	uint32_t n = key == RUNQ_NEVER ? other->run[0].n : MIN(other->run[0].n, (uint32_t)LOOK_ENTITIES);
	for (uint32_t i = 0; i < n; i++) {
		struct runq_entity *e = container_of(other->run[0].slots[i], struct runq_entity, run);

		if (!e->busy && runq_has(&e->allowed, cpu) && (!best || before(e->run.key, best->run.key)))
			best = e;
	}
	if (best && key != RUNQ_NEVER &&
	    !before(best->run.key + other->base + virtual_ticks(best, other->all->slice), key))
		return NULL;
	return best;
}

static struct runq_entity *take_from(struct runq *other, struct runq *q, uint64_t key, uint64_t now)
{
	spin_lock(&other->lock);
	struct runq_entity *e = best_of(other, q->cpu, key, now);
	if (e) {
		dequeue(other, e);
		store(&e->state, RUNQ_RUNNING);
		runq_leave(other, e, q->cpu);
		publish(other);
		if (key == RUNQ_NEVER) { /* more than one CPU may be idle, and that one offers once in a turn */
			(void)unmark_idle(q->all, q->cpu);
			q->pass_on = runq_offer(other);
		}
	}
	spin_unlock(&other->lock);
	return e;
}

/* Looks at some of the other queues, at all of them if there is nothing here. NULL: none is better. No lock is held. */
static struct runq_entity *look_around(struct runq *q, uint64_t key, uint64_t now)
{
	struct runqs *all = q->all;
	uint32_t n = load(&all->n), looks = key == RUNQ_NEVER ? n : MIN(n, (uint32_t)LOOK_QUEUES + 1);

	for (uint32_t i = 0; i < looks; i++) {
		struct runq *other = __atomic_load_n(&all->q[q->look++ % n], __ATOMIC_ACQUIRE);

		if (!other || other == q || !tempting(other, key, now, all->slice))
			continue;
		struct runq_entity *e = take_from(other, q, key, now);
		if (e)
			return e;
	}
	return NULL;
}

/* --- the decision */

static struct runq_entity *decide(struct runq *q, struct runq_entity *last, uint64_t now)
{
	uint64_t end = q->slice_end, key;
	struct runq_entity *e;

	if (unlikely(q->hold.n))
		let_go(q, now);
	if (unlikely(q->summoned) && (e = runq_take_summoned(q, now)))
		return e;
	if (unlikely(q->favour) && (e = runq_take_favoured(q, last, end, now)))
		return e;
	e = first_here(q, now, &key);
	if (load(&q->all->n) > 1 && !q->dedicated) {
		publish(q);
		spin_unlock(&q->lock);
		struct runq_entity *other = look_around(q, key, now);
		spin_lock(&q->lock);
		if (other) {
			runq_arrive(q, other, now);
			if (first_here(q, now, &key) && before(key, effective(other) + q->base)) /* woken meanwhile */
				store(&q->resched, true);
			return other;
		}
		let_go(q, now);
		e = first_here(q, now, &key); /* it may have gone, or a better one come */
	}
	if (e) { /* most turns begin so */
		dequeue(q, e);
		store(&e->state, RUNQ_RUNNING);
		begin(q, e, now);
	}
	return e;
}

/* Whoever wakes one up from now on sees that this CPU is idle; who did so before has put it where it is seen here. */
static struct runq_entity *go_idle(struct runq *q, uint64_t now)
{
	struct runq_entity *e = NULL;

	mark_idle(q);
	store(&q->culprit, NULL);
	if (load(&q->all->n) > 1 && !q->dedicated) {
		spin_unlock(&q->lock);
		e = look_around(q, RUNQ_NEVER, now);
		spin_lock(&q->lock);
		if (e)
			runq_arrive(q, e, now);
	}
	uint64_t key;
	if (!e && (e = first_here(q, now, &key)))
		runq_take_here(q, e, now);
	if (e)
		be_busy(q);
	return e;
}

/*
 * Keeps the clocks of the queues together. Where the vCPUs may go where they like it is their moving that does so; where they
 * may not, or where one is worth more than a whole CPU, no time is fair to all, and what one queue is behind or ahead of the
 * others must not add up. The whole queue is moved: among those in it nothing changes.
 */
void runq_keep_together(struct runq *q)
{
	struct runqs *all = q->all;
	uint64_t least = first_key(q), global = load(&all->now);
	bool contended = least != RUNQ_NEVER;

	least = MIN(least, q->current->vtime) + q->base;
	if (contended && before(global, least))
		__atomic_compare_exchange_n(&all->now, &global, least, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	int64_t ahead = (int64_t)(least - global), lag = (int64_t)load(&all->lag);
	if (ahead < -lag)
		q->base += (uint64_t)(-lag - ahead);
	else if (!contended && ahead > lag)
		q->base -= (uint64_t)(ahead - lag);
}

struct runq_entity *runq_pick(struct runq *q, uint64_t now, uint32_t *look)
{
	struct runq_entity *last, *e;

	*look = q->pass_on = RUNQ_NOBODY;
	spin_lock(&q->lock);
	settle(q, now);
	runq_advance(q, now);
	last = q->current;
	if (last)
		put_back(q, now);
	store(&q->resched, false);
	if (unlikely(q->idle))
		be_busy(q);
	e = decide(q, last, now);
	if (unlikely(!e))
		e = go_idle(q, now);
	publish(q);
	if (e && load(&q->all->n) > 1) {
		runq_keep_together(q);
		*look = q->pass_on != RUNQ_NOBODY ? q->pass_on : runq_offer(q);
	}
	spin_unlock(&q->lock);
	return e;
}

void runq_sleep(struct runq *q, uint64_t now)
{
	spin_lock(&q->lock);
	struct runq_entity *e = q->current;
	settle(q, now);
	e->warp = e->timer_from = 0;
	store(&e->state, RUNQ_ASLEEP);
	store(&q->current, NULL);
	q->donor = q->favour = NULL;
	store(&q->runs, RUNQ_NEVER);
	store(&q->culprit, e);
	runq_turn_timer(q, e);
	spin_unlock(&q->lock);
}
