/* Somebody has something to do, woken or by a timer: where, and which CPU must look. */
#include "core/runq_internal.h"

/* Slices that a vCPU with low latency may be ahead of its time. */
#define WARP_SLICES 4

/* --- idle CPUs */

static bool any_idle(const struct runqs *all)
{
	uint64_t bits = 0;

	for (uint32_t i = 0; i < (load(&all->n) + 63) / 64; i++)
		bits |= load(&all->idle.bits[i]);
	return bits;
}

/* An idle CPU that it may run on, which is not taken for idle any more: it must be made to look. RUNQ_NOBODY: none. */
static uint32_t claim_idle(struct runqs *all, const struct runq_entity *e)
{
	uint32_t words = (load(&all->n) + 63) / 64;

	for (uint32_t i = 0; i < words; i++) {
		uint64_t bits = __atomic_load_n(&all->idle.bits[i], __ATOMIC_SEQ_CST) & e->allowed.bits[i];

		for (; bits; bits &= bits - 1) {
			uint32_t cpu = 64 * i + (uint32_t)bit_lowest(bits);

			if (unmark_idle(all, cpu))
				return cpu;
		}
	}
	return RUNQ_NOBODY;
}

uint32_t runq_offer(struct runq *q)
{
	uint32_t n = MIN(q->run[0].n, (uint32_t)LOOK_ENTITIES), cpu = RUNQ_NOBODY;

	if (likely(!n))
		return RUNQ_NOBODY;
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* see go_idle() in runq_pick.c */
	for (uint32_t i = 0; i < n && cpu == RUNQ_NOBODY && any_idle(q->all); i++)
		cpu = claim_idle(q->all, container_of(q->run[0].slots[i], struct runq_entity, run));
	return cpu;
}

/* --- waking up */

/* Would it have the CPU at once? */
static bool preempts(const struct runq *q, const struct runq_entity *e, uint64_t now)
{
	const struct runq_entity *c = q->current;
	uint64_t least = q->vnow - virtual_ticks(e, q->all->slice);

	if (!c)
		return first_key(q) == RUNQ_NEVER;
	uint64_t vtime = before(e->vtime, least) ? least : e->vtime;
	return before(vtime - e->warp, vtime_at(q, c, now) - c->warp);
}

static void set_warp(struct runqs *all, struct runq_entity *e, uint64_t now)
{
	e->warp = 0;
	if (now < e->warp_again)
		return;
	e->warp = WARP_SLICES * all->slice * RUNQ_WEIGHT / all->least_weight;
	e->warp_left = all->slice;
}

/* Puts it in. Returns the CPU that has to look. */
static uint32_t wake_here(struct runq *q, struct runq_entity *e, uint64_t now)
{
	bool at_once = preempts(q, e, now);

	runq_place(q, e, now);
	publish(q);
	if (!q->current) {
		if (q->idle)
			(void)unmark_idle(q->all, q->cpu);
		return q->cpu;
	}
	if (at_once) {
		store(&q->resched, true);
		return q->cpu;
	}
	if (q->slice_end != RUNQ_NEVER)
		return e->bound ? RUNQ_NOBODY : runq_offer(q);
	store(&q->slice_end, now + q->all->slice); /* it had the CPU to itself */
	return q->cpu;
}

static uint32_t wake_elsewhere(struct runq *home, struct runq_entity *e, uint32_t cpu, uint64_t now)
{
	struct runqs *all = home->all;
	struct runq *q = all->q[cpu];

	store(&e->state, RUNQ_QUEUED);
	runq_leave(home, e, cpu);
	spin_unlock(&home->lock);
	spin_lock(&q->lock);
	e->vtime -= q->base;
	runq_advance(q, now);
	uint32_t look = wake_here(q, e, now);
	spin_unlock(&q->lock);
	return look;
}

/* Of some other CPUs the one where it could be at once, and that would lose least. RUNQ_NOBODY: none. */
static uint32_t least_urgent(struct runq *home, const struct runq_entity *e)
{
	uint64_t least = home->vnow - virtual_ticks(e, home->all->slice);
	uint64_t most = (before(e->vtime, least) ? least : e->vtime) - e->warp + home->base;
	uint32_t best = RUNQ_NOBODY, n = load(&home->all->n);

	for (uint32_t i = 1; i < MIN(n, (uint32_t)LOOK_QUEUES + 1); i++) {
		uint32_t cpu = (home->cpu + i) % n;
		uint64_t runs = load(&home->all->q[cpu]->runs);

		if (runs == RUNQ_NEVER || !runq_has(&e->allowed, cpu) || !before(most, runs))
			continue;
		most = runs;
		best = cpu;
	}
	return best;
}

uint32_t runq_wake(struct runqs *all, struct runq_entity *e, uint64_t now)
{
	struct runq *q = lock_queue_of(all, e);
	uint32_t look, to;

	if (e->state != RUNQ_ASLEEP) {
		spin_unlock(&q->lock);
		return RUNQ_AWAKE;
	}
	if (unlikely(e->low))
		set_warp(all, e, now);
	runq_advance(q, now);
	if (!e->bound && !e->busy && !preempts(q, e, now)) {
		to = claim_idle(all, e);
		if (to == RUNQ_NOBODY && unlikely(e->warp))
			to = least_urgent(q, e);
		if (to != RUNQ_NOBODY)
			return wake_elsewhere(q, e, to, now);
	}
	look = wake_here(q, e, now);
	spin_unlock(&q->lock);
	return look;
}

/* --- timers */

uint32_t runq_deadline(struct runqs *all, struct runq_entity *e)
{
	struct runq *q = lock_queue_of(all, e);
	uint64_t first = q->next_timer;

	runq_turn_timer(q, e);
	uint32_t look = q->next_timer < first || e->state == RUNQ_RUNNING ? q->cpu : RUNQ_NOBODY;
	spin_unlock(&q->lock);
	return look;
}

/*
 * It sleeps on, and its next timer may come as soon as it likes. For the running one each is a disturbance, and who sleeps does
 * not pay by waiting: so its timers wait until its virtual time is due, as it would itself.
 */
static uint64_t timer_due_from(const struct runq *q, const struct runq_entity *e)
{
	const struct runq_entity *c = q->current;

	if (!c || e->state != RUNQ_ASLEEP || !before(c->vtime, e->vtime))
		return 0;
	uint64_t ahead = e->vtime - c->vtime;
	return q->charged + MIN(ahead / RUNQ_WEIGHT * c->weight, q->all->slice);
}

/* Its timer has been seen to. */
static uint32_t timer_done(struct runq *q, struct runq_entity *e, uint64_t due)
{
	store(&q->culprit, e);
	e->busy = false;
	e->timer_from = MAX(timer_due_from(q, e), due + 1);
	runq_turn_timer(q, e);
	return e->state == RUNQ_QUEUED && q->current ? runq_offer(q) : RUNQ_NOBODY;
}

struct runq_entity *runq_timer_next(struct runq *q, struct runq_entity *done, uint64_t due, uint64_t now, uint32_t *look)
{
	struct runq_entity *e = NULL;

	*look = RUNQ_NOBODY;
	spin_lock(&q->lock);
	if (done)
		*look = timer_done(q, done, due);
	struct heap_node *t = heap_top(&q->timers);
	bool more = t && t->key <= due;
	if (!done || more)
		settle(q, now);
	if (more) {
		store(&q->culprit, NULL);
		e = container_of(t, struct runq_entity, timer);
		e->busy = true;
	}
	publish(q);
	spin_unlock(&q->lock);
	return e;
}

/* Is only the first of the timers due by then? */
static bool one_due(const struct runq *q, uint64_t now)
{
	for (uint32_t i = 1; i < MIN(q->timers.n, 3u); i++)
		if (q->timers.slots[i]->key <= now)
			return false;
	return q->timers.n && q->timers.slots[0]->key <= now;
}

/* Would it run next if it woke? All has been charged, and there is no more to its time than its weight. */
static bool comes_first(const struct runq *q, const struct runq_entity *e)
{
	const struct runq_entity *c = q->current;

	if (q->hold.n || q->summoned)
		return false;
	if (!c)
		return first_key(q) == RUNQ_NEVER;
	return !c->rates && before(e->vtime, c->vtime) && e->vtime < first_key(q) && !q->owed.n && !q->favour;
}

struct runq_entity *runq_resume(struct runq *q, uint64_t now, uint64_t due, uint32_t *look)
{
	struct runq_entity *e = NULL;

	*look = RUNQ_NOBODY;
	spin_lock(&q->lock);
	if (one_due(q, due))
		e = container_of(q->timers.slots[0], struct runq_entity, timer);
	if (!e || e->rates || e->busy)
		goto more;
	settle(q, now);
	if (q->current)
		runq_advance(q, now);
	uint64_t least = q->vnow - virtual_ticks(e, q->all->slice);
	if (before(e->vtime, least))
		e->vtime = least;
	if (!comes_first(q, e))
		goto more;
	if (q->idle && !unmark_idle(q->all, q->cpu)) /* somebody who waits elsewhere has been offered it */
		goto more;
	q->idle = false;
	if (q->current) {
		runq_put_back(q, now);
		publish(q);
	}
	e->since = now;
	store(&e->state, RUNQ_RUNNING);
	store(&q->culprit, NULL);
	runq_turn_timer(q, e);
	runq_begin(q, e, now);
	store(&q->resched, false);
	if (load(&q->all->n) > 1) {
		runq_keep_together(q);
		*look = runq_offer(q);
	}
	spin_unlock(&q->lock);
	return e;
more:
	spin_unlock(&q->lock);
	return NULL;
}

uint64_t runq_next_event(struct runq *q)
{
	struct heap_node *t = heap_top(&q->hold); /* which only this CPU changes */

	return MIN(load(&q->next_timer), t ? t->key : RUNQ_NEVER);
}
