/* Turns for a certain one: who spins for it yields to it, or has it run on another CPU. */
#include "core/runq_internal.h"

static bool waits_on(const struct runq_entity *e, const struct runq *q)
{
	return __atomic_load_n(&e->cpu, __ATOMIC_ACQUIRE) == q->cpu && heap_holds(&e->run); /* acquire: as in lock_queue_of() */
}

/* --- taken by the decision */

/* This one, wherever it waits. No lock is held. */
static bool take_it(struct runqs *all, struct runq_entity *e, uint32_t cpu)
{
	struct runq *other = lock_queue_of(all, e);
	bool may = heap_holds(&e->run) && !e->busy && other->cpu != cpu;

	if (may) {
		dequeue(other, e);
		store(&e->state, RUNQ_RUNNING);
		runq_leave(other, e, cpu);
		publish(other);
	}
	spin_unlock(&other->lock);
	return may;
}

/* Whom the last one wanted to have the rest of its turn, and it pays for that: or two could have more than their shares. */
struct runq_entity *runq_take_favoured(struct runq *q, struct runq_entity *donor, uint64_t end, uint64_t now)
{
	struct runq_entity *e = q->favour;

	q->favour = NULL;
	if (!donor || !waits_on(donor, q) || now >= end)
		return NULL;
	if (waits_on(e, q)) {
		runq_take_here(q, e, now);
	} else {
		publish(q);
		spin_unlock(&q->lock);
		bool taken = take_it(q->all, e, q->cpu);
		spin_lock(&q->lock);
		if (!taken)
			return NULL;
		runq_arrive(q, e, now);
	}
	q->donor = waits_on(donor, q) ? donor : NULL;
	store(&q->slice_end, MIN(end, q->slice_end));
	return e;
}

/* For whom somebody spins elsewhere: it runs now, and pays for it. */
struct runq_entity *runq_take_summoned(struct runq *q, uint64_t now)
{
	struct runq_entity *e = q->summoned;

	store(&q->summoned, NULL);
	if (waits_on(e, q)) {
		runq_take_here(q, e, now);
		return e;
	}
	publish(q);
	spin_unlock(&q->lock);
	bool taken = take_it(q->all, e, q->cpu);
	spin_lock(&q->lock);
	if (taken)
		runq_arrive(q, e, now);
	return taken ? e : NULL;
}

/* --- asked for by the current one */

/* Would one of this virtual time, by the global clock, get less than a slice ahead of all that run or wait there? */
static bool may_interrupt(const struct runq *q, const struct runq_entity *e, uint64_t vtime, uint64_t now)
{
	if (!q->current)
		return false;
	uint64_t least = MIN(first_key(q), vtime_at(q, q->current, now));
	return before(vtime, least + q->base + virtual_ticks(e, q->all->slice));
}

/* Does somebody elsewhere wait who is further behind? Whoever is summoned is not looked for, nor are others. */
static bool others_first(struct runq *q, uint64_t vtime)
{
	struct runqs *all = q->all;
	uint32_t n = load(&all->n);

	for (uint32_t i = 0; i < MIN(n, (uint32_t)LOOK_QUEUES + 1); i++) {
		const struct runq *other = __atomic_load_n(&all->q[q->look++ % n], __ATOMIC_ACQUIRE);
		uint64_t first = other ? load(&other->first) : RUNQ_NEVER;

		if (first != RUNQ_NEVER && !before(vtime, first))
			return true;
	}
	return false;
}

uint32_t runq_summon(struct runq *q, struct runq_entity *to, uint32_t cpu, uint64_t now)
{
	struct runq *at = lock_queue_of(q->all, to), *other = at == q ? q->all->q[cpu] : at;
	uint64_t vtime = to->vtime + at->base;
	bool may = waits_on(to, at) && other != q && runq_has(&to->allowed, other->cpu);

	spin_unlock(&at->lock);
	if (!may || others_first(q, vtime))
		return RUNQ_NOBODY;
	spin_lock(&other->lock);
	may = !other->summoned && !other->dedicated && may_interrupt(other, to, vtime, now);
	if (may) {
		__atomic_store_n(&other->summoned, to, __ATOMIC_SEQ_CST);
		/* Not if somebody does the same to this CPU: two that spin would but change places. */
		may = !__atomic_load_n(&q->summoned, __ATOMIC_SEQ_CST);
		if (may)
			store(&other->resched, true);
		else
			store(&other->summoned, NULL);
	}
	spin_unlock(&other->lock);
	return may ? other->cpu : RUNQ_NOBODY;
}

bool runq_yield_to(struct runq *q, struct runq_entity *to)
{
	if (runq_state(to) != RUNQ_QUEUED || !runq_has(&to->allowed, q->cpu))
		return false;
	spin_lock(&q->lock);
	q->favour = to;
	store(&q->resched, true);
	spin_unlock(&q->lock);
	return true;
}
