/*
 * The run queues: which vCPU has which CPU, and for how long. Policy and data alone: the time is an argument, and what is to
 * be done about an answer is the caller's (core/sched.c; on the host, tests/sim). docs/scheduling.md says what it promises.
 *
 * Any CPU may ask about any entity. What a function takes as `q` without saying more is the queue of the CPU that calls it.
 * Each queue has its lock, which is taken inside; never two at a time.
 */
#pragma once
#include "arch/x86_64/lock.h"
#include "lib/heap.h"

#define RUNQ_NEVER    UINT64_MAX
#define RUNQ_NOBODY   UINT32_MAX       /* no CPU has to look */
#define RUNQ_AWAKE    (UINT32_MAX - 1) /* runq_wake(): it was not asleep */
#define RUNQ_WEIGHT   100              /* of which a tick is a virtual tick */
#define RUNQ_HEAPS    5

enum runq_state {
	RUNQ_ASLEEP,
	RUNQ_QUEUED,    /* waits for its turn */
	RUNQ_RUNNING,   /* some CPU's `current`, or on its way there */
	RUNQ_THROTTLED, /* waits until its cap lets it go on */
};

/* The CPUs that something may run on, a bit each. */
struct runq_cpus { uint64_t bits[MAX_CPUS / 64]; };
static inline bool runq_has(const struct runq_cpus *s, uint32_t cpu) { return s->bits[cpu / 64] & BIT(cpu % 64); }

/* What is scheduled. The caller fills in the first part, before runq_attach(); the rest is core/runq*.c's. */
struct runq_entity {
	uint32_t weight;            /* not 0 */
	uint32_t cap, reservation;  /* percent of a CPU; 0: none */
	bool low;                   /* is to have a CPU soon when it wakes */
	struct runq_cpus allowed;
	const uint64_t *deadline;   /* TSC; of its timers the next one; others write it, atomically */
	uint64_t *ran, *waited;     /* TSC ticks that it had a CPU, and that it waited for one */

	enum runq_state state;      /* under the lock of queue `cpu`, as the rest; read by others atomically */
	uint32_t cpu;               /* whose it is; atomic, changed by who has the lock of the queue that it leaves */
	bool bound;                 /* it may run nowhere else */
	bool rates;                 /* it has a cap, a reservation or low latency: there is more to its time than its weight */
	bool busy;                  /* its CPU works on its timers: it must not leave */
	uint64_t vtime;             /* by the clock of queue `cpu`; the global one while it moves */
	uint64_t warp;              /* what it is ahead of that */
	uint64_t warp_left;         /* ticks that it may be so */
	uint64_t warp_again;        /* TSC from which it may again, once it has used that up */
	uint64_t paid;              /* TSC up to which its cap pays for what it ran */
	uint64_t owed_at;           /* TSC from which its reservation is owed */
	uint64_t since;             /* TSC: it waits since */
	uint64_t timer_from;        /* TSC: its timers are not looked at before */
	struct heap_node run, hold, owed, timer;
};

struct runqs;

/* One CPU's. */
struct runq {
	struct spinlock lock;
	struct runqs *all;
	uint32_t cpu;
	/* Under the lock: */
	struct heap run[2];         /* of the queued ones those that may go elsewhere, and those that are bound to this CPU */
	struct heap hold;           /* of the throttled ones, by `paid` */
	struct heap owed;           /* of the queued ones that have reservations, by `owed_at` */
	struct heap timers;         /* of those that sleep, by their deadlines */
	struct runq_entity *current; /* atomic */
	struct runq_entity *culprit; /* who has made this CPU come back from its guest: it sleeps now, or its timer was due */
	struct runq_entity *donor;  /* who pays for the turn of `current`, to which it yielded */
	struct runq_entity *favour; /* who is to have the rest of this turn */
	struct runq_entity *summoned; /* for whom somebody spins on another CPU */
	struct runq_entity *dedicated; /* whose CPU this is */
	uint64_t charged;           /* TSC up to which all time has been charged; atomic */
	uint64_t vnow;              /* by this queue's clock, which only goes forward */
	uint64_t base;              /* what the global one is ahead of it, modulo 2^64 */
	uint32_t look;              /* where to look next for who may be taken */
	uint32_t pass_on;           /* a further CPU that must look */
	bool idle;
	/* Written under the lock, read by others, atomically: */
	uint64_t slice_end;         /* TSC; RUNQ_NEVER: nobody waits */
	bool resched;               /* the turn is to end now */
	uint64_t first;             /* global virtual time of the first that may go elsewhere, and what moving costs it */
	uint64_t runs;              /* global virtual time of `current` when its turn began; RUNQ_NEVER: leave it alone */
	uint64_t owed_first;        /* `owed_at` of the first of those that have reservations */
	uint64_t next_timer;        /* TSC of the first in `timers` */
};

/* All of them, and what they share. */
struct runqs {
	struct runq *q[MAX_CPUS];
	uint32_t n;                 /* CPUs; atomic */
	uint64_t slice, period;     /* TSC ticks: of a turn; over which a cap may even out */
	uint64_t lag;               /* virtual ticks that the queues' clocks may be apart */
	uint32_t least_weight;
	uint64_t now;               /* global virtual time: that of the most advanced queue in which somebody waits; atomic */
	struct runq_cpus idle;      /* atomic */
};

void runq_setup(struct runqs *all, uint64_t slice, uint64_t period);
/* The queue of CPU `cpu`, without room yet: see runq_room(). */
void runq_init(struct runq *q, struct runqs *all, uint32_t cpu);
/* Room for `max` entities, whoever they are: RUNQ_HEAPS * max pointers, the caller's. Returns what was in use before. */
struct heap_node **runq_room(struct runq *q, struct heap_node **slots, uint32_t max);
/* A new entity, asleep on that CPU. The CPU's queue has room, and `allowed` has the CPU and no dedicated one. */
void runq_attach(struct runqs *all, struct runq_entity *e, uint32_t cpu);
/* It has never run, and another CPU is to be where it begins, or it may run on fewer CPUs. */
void runq_resettle(struct runqs *all, struct runq_entity *e, const struct runq_cpus *allowed, uint32_t cpu);
/* The CPU is this entity's alone. */
void runq_dedicate(struct runqs *all, struct runq_entity *e);

/* From any CPU: it has something to do. Returns the CPU that must look (perhaps the caller's own), RUNQ_NOBODY, RUNQ_AWAKE. */
uint32_t runq_wake(struct runqs *all, struct runq_entity *e, uint64_t now);
/* Has the current one's turn not ended yet? Then there is nothing to decide. */
static inline bool runq_goes_on(const struct runq *q, uint64_t now)
{
	return q->current && now < __atomic_load_n(&q->slice_end, __ATOMIC_RELAXED) &&
	       !__atomic_load_n(&q->resched, __ATOMIC_RELAXED);
}
/*
 * The decision, at the end of a turn and whenever there may be something better to do: goes on with `current`, or begins
 * another's turn. NULL: the CPU is idle. *look is another CPU that must look, or RUNQ_NOBODY. The entity may have
 * been on another CPU.
 */
struct runq_entity *runq_pick(struct runq *q, uint64_t now, uint32_t *look);
/* Was this CPU idle, and has somebody taken it for a vCPU, be it here? */
static inline bool runq_claimed(const struct runq *q)
{
	return !(__atomic_load_n(&q->all->idle.bits[q->cpu / 64], __ATOMIC_SEQ_CST) & BIT(q->cpu % 64));
}
/* The current one has nothing to do. */
void runq_sleep(struct runq *q, uint64_t now);
/* The current one begins to run: what that took is charged to whom has made it necessary, by going to sleep or by a timer. */
static inline bool runq_has_culprit(const struct runq *q) { return __atomic_load_n(&q->culprit, __ATOMIC_RELAXED); }
void runq_switched(struct runq *q, uint64_t now);
/* These ticks are nobody's. */
static inline void runq_skip(struct runq *q, uint64_t ticks)
{
	__atomic_store_n(&q->charged, q->charged + ticks, __ATOMIC_RELAXED);
}

/*
 * From any CPU: *e->deadline has changed. Returns the CPU that must look, as its first timer has come nearer or the entity runs
 * there, or RUNQ_NOBODY. The CPU that runs it need not ask: the timers of who runs are its own affair.
 */
uint32_t runq_deadline(struct runqs *all, struct runq_entity *e);
static inline bool runq_timer_waits(const struct runq *q, uint64_t now)
{
	return __atomic_load_n(&q->next_timer, __ATOMIC_RELAXED) <= now;
}
/*
 * Whose timer is due at `due`; NULL: nobody's. It stays on this CPU until the next call, which has it as `done`. What its
 * timer took is charged to it, and what the CPU then needs to go on where it was disturbed, see runq_switched(). The first
 * call of a series has no `done`; in a series each has its turn once. *look is a CPU that must look, as it has nothing to do and that one waits, or
 * RUNQ_NOBODY.
 */
struct runq_entity *runq_timer_next(struct runq *q, struct runq_entity *done, uint64_t due, uint64_t now, uint32_t *look);

/*
 * With timers that are due at `due`, which is now or, on an idle CPU, soon. Where it is one entity's, and that would be the next
 * to run if the timer woke it, there is nothing to decide: its turn begins, and the timer is its own affair. NULL: there is more
 * to it. *look is as runq_pick() has it.
 */
struct runq_entity *runq_resume(struct runq *q, uint64_t now, uint64_t due, uint32_t *look);

/*
 * The current one lets `to` have the rest of its turn, at its own cost, if that waits and may run here. False: it does not.
 */
bool runq_yield_to(struct runq *q, struct runq_entity *to);
/*
 * The current one spins for `to`, which waits: that is to run at once, beside it, where it waits, or on `cpu` if that is here. Not
 * if it would get a slice ahead of whom it would interrupt. Returns the CPU that must look, or RUNQ_NOBODY.
 */
uint32_t runq_summon(struct runq *q, struct runq_entity *to, uint32_t cpu, uint64_t now);
/* Who has that CPU now, as far as one can tell; or NULL. */
static inline struct runq_entity *runq_current(const struct runqs *all, uint32_t cpu)
{
	return __atomic_load_n(&all->q[cpu]->current, __ATOMIC_RELAXED);
}

/* TSC at which an idle CPU must look again, by its timers and caps. */
uint64_t runq_next_event(struct runq *q);
static inline enum runq_state runq_state(const struct runq_entity *e)
{
	return __atomic_load_n(&e->state, __ATOMIC_RELAXED);
}
