/* On the host, in the place of arch/x86_64/lock.h: the locks of simulated CPUs, and of threads that stand for CPUs. */
#pragma once
#include <sched.h>
#include <tf/assert.h>

#define MAX_CPUS 256

enum lock_rank { RANK_RUNQ };

struct spinlock { bool taken; uint8_t rank; };
#define SPINLOCK_INIT(r) { .rank = (r) }

extern _Thread_local unsigned locks_held;

/* Never two queues' at a time. */
static inline void spin_lock(struct spinlock *l)
{
	ASSERT(locks_held++ == 0);
	while (__atomic_exchange_n(&l->taken, true, __ATOMIC_ACQUIRE))
		sched_yield();
}

static inline void spin_unlock(struct spinlock *l)
{
	ASSERT(--locks_held == 0);
	__atomic_store_n(&l->taken, false, __ATOMIC_RELEASE);
}
