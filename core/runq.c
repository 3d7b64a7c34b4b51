/* Set-up, the places that an entity may have, and what time is charged to whom. */
#include "core/runq_internal.h"

/* Far from 0 and from RUNQ_NEVER, so that differences have room on both sides. */
#define VTIME_START BIT(62)
/* Slices that the queues' clocks may be apart. */
#define LAG_SLICES  8
/* How often a vCPU with low latency may be ahead of its time: a slice in so many. */
#define WARP_REST   4

/* --- setup */

void runq_setup(struct runqs *all, uint64_t slice, uint64_t period)
{
	*all = (struct runqs){ .slice = slice, .period = period, .least_weight = RUNQ_WEIGHT, .now = VTIME_START,
			       .lag = LAG_SLICES * slice };
}

void runq_init(struct runq *q, struct runqs *all, uint32_t cpu)
{
	*q = (struct runq){ .lock = SPINLOCK_INIT(RANK_RUNQ), .all = all, .cpu = cpu, .vnow = VTIME_START,
			    .slice_end = RUNQ_NEVER, .first = RUNQ_NEVER, .runs = RUNQ_NEVER, .owed_first = RUNQ_NEVER,
			    .next_timer = RUNQ_NEVER };
	__atomic_store_n(&all->q[cpu], q, __ATOMIC_RELEASE);
}

struct heap_node **runq_room(struct runq *q, struct heap_node **slots, uint32_t max)
{
	struct heap *heaps[RUNQ_HEAPS] = { &q->run[0], &q->run[1], &q->hold, &q->owed, &q->timers };

	spin_lock(&q->lock);
	struct heap_node **old = q->run[0].slots;
	for (unsigned i = 0; i < RUNQ_HEAPS; i++) {
		struct heap *h = heaps[i];

		for (uint32_t k = 0; k < h->n; k++)
			slots[i * max + k] = h->slots[k];
		h->slots = slots + i * max;
		h->max = max;
	}
	spin_unlock(&q->lock);
	return old;
}

static bool only(const struct runq_cpus *s, uint32_t cpu)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(s->bits); i++)
		if (s->bits[i] != (i == cpu / 64 ? BIT(cpu % 64) : 0))
			return false;
	return true;
}

void runq_resettle(struct runqs *all, struct runq_entity *e, const struct runq_cpus *allowed, uint32_t cpu)
{
	(void)all;
	ASSERT(e->state == RUNQ_ASLEEP && runq_has(allowed, cpu));
	e->allowed = *allowed;
	e->bound = only(allowed, cpu);
	store(&e->cpu, cpu);
}

void runq_attach(struct runqs *all, struct runq_entity *e, uint32_t cpu)
{
	heap_node_init(&e->run);
	heap_node_init(&e->hold);
	heap_node_init(&e->owed);
	heap_node_init(&e->timer);
	e->state = RUNQ_ASLEEP;
	e->vtime = VTIME_START;
	e->rates = capped(e) || e->reservation || e->low;
	runq_resettle(all, e, &e->allowed, cpu);
	if (e->weight < all->least_weight) {
		all->least_weight = e->weight;
		store(&all->lag, LAG_SLICES * all->slice * RUNQ_WEIGHT / e->weight);
	}
}

void runq_dedicate(struct runqs *all, struct runq_entity *e)
{
	struct runq *q = all->q[e->cpu];

	spin_lock(&q->lock);
	q->dedicated = e;
	spin_unlock(&q->lock);
}

/* --- places of an entity; the queue's lock is held */

__attribute__((noinline)) void runq_publish_changed(struct runq *q)
{
	struct heap_node *t = heap_top(&q->run[0]), *o = heap_top(&q->owed);
	uint64_t first = RUNQ_NEVER;

	if (t)
		first = t->key + q->base + virtual_ticks(container_of(t, struct runq_entity, run), q->all->slice);
	if (first != q->first)
		store(&q->first, first);
	if (unlikely((o ? o->key : RUNQ_NEVER) != q->owed_first))
		store(&q->owed_first, o ? o->key : RUNQ_NEVER);
}

static void publish_timer(struct runq *q)
{
	struct heap_node *t = heap_top(&q->timers);

	store(&q->next_timer, t ? t->key : RUNQ_NEVER);
}

void runq_turn_timer(struct runq *q, struct runq_entity *e)
{
	uint64_t at = MAX(__atomic_load_n(e->deadline, __ATOMIC_ACQUIRE), e->timer_from);

	if (e->state != RUNQ_ASLEEP || at == RUNQ_NEVER) {
		if (!heap_holds(&e->timer))
			return;
		heap_remove(&q->timers, &e->timer);
	} else {
		if (heap_holds(&e->timer) && e->timer.key == at)
			return;
		heap_set(&q->timers, &e->timer, at);
	}
	publish_timer(q);
}

void runq_place(struct runq *q, struct runq_entity *e, uint64_t now)
{
	uint64_t least = q->vnow - virtual_ticks(e, q->all->slice);

	if (before(e->vtime, least))
		e->vtime = least;
	if (unlikely(e->reservation) && e->owed_at < now)
		e->owed_at = now;
	e->since = now;
	store(&e->state, RUNQ_QUEUED);
	runq_turn_timer(q, e);
	enqueue(q, e);
}

void runq_leave(struct runq *q, struct runq_entity *e, uint32_t to)
{
	e->vtime += q->base;
	if (q->culprit == e)
		store(&q->culprit, NULL);
	heap_remove(&q->timers, &e->timer);
	publish_timer(q);
	__atomic_store_n(&e->cpu, to, __ATOMIC_RELEASE);
}

/* --- time */

static uint64_t percent_ticks(uint64_t ticks, uint32_t percent) { return ticks * 100 / percent; }

static void charge_rates(struct runqs *all, struct runq_entity *e, uint64_t spent, uint64_t now)
{
	if (capped(e))
		e->paid = MAX(e->paid, now - spent - all->slice) + percent_ticks(spent, e->cap);
	if (e->reservation)
		e->owed_at += percent_ticks(spent, e->reservation);
	if (!e->warp)
		return;
	e->warp_left -= MIN(spent, e->warp_left);
	if (e->warp_left)
		return;
	e->warp = 0;
	e->warp_again = now + WARP_REST * all->slice;
}

__attribute__((noinline)) void runq_charge_more(struct runq *q, struct runq_entity *e, struct runq_entity *payer, uint64_t spent)
{
	if (e->rates)
		charge_rates(q->all, e, spent, q->charged);
	if (heap_holds(&payer->run))
		enqueue(q, payer);
}

void runq_advance(struct runq *q, uint64_t now)
{
	uint64_t least = first_key(q);

	if (q->current)
		least = MIN(least, vtime_at(q, q->current, now));
	if (least != RUNQ_NEVER && before(q->vnow, least))
		q->vnow = least;
}

void runq_switched(struct runq *q, uint64_t now)
{
	spin_lock(&q->lock);
	if (q->culprit && q->culprit != q->current) {
		charge_to(q, q->culprit, q->culprit, now);
		publish(q);
	}
	store(&q->culprit, NULL);
	spin_unlock(&q->lock);
}
