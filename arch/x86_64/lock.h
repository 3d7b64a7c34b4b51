/*
 * A ticket spinlock: fair, and it knows its holder. Locks are taken in the order of their ranks, lowest first, never two
 * of one rank; docs/locking.md says what each guards. Interrupts are off in VMX root, so it need not touch them.
 */
#pragma once
#include "arch/x86_64/percpu.h"
#include <tf/assert.h>

enum lock_rank {
	RANK_VM,       /* guest/vm.h: a VM's board */
	RANK_LOG,      /* core/log.c */
	RANK_TERMINAL, /* core/terminal.c and core/com2.c: consoles and their lines */
	RANK_PAGING,
	RANK_FRAMES,
	RANK_IOAPIC,
	RANK_TIMERS,   /* guest/vcpu.h: a vCPU's deadlines */
	RANK_RUNQ,     /* core/runq*.c: a CPU's run queue */
};

struct spinlock {
	uint16_t next, owner;
	uint8_t rank; /* enum lock_rank */
	struct cpu *holder;
};
#define SPINLOCK_INIT(r) { .rank = (r) }

static inline bool spin_held(const struct spinlock *l)
{
	return __atomic_load_n(&l->holder, __ATOMIC_RELAXED) == this_cpu();
}

/* What a CPU holds, as bits by rank; only with TF_LOCK_ORDER. */
static inline void spin_order_taken(const struct spinlock *l)
{
#ifdef TF_LOCK_ORDER
	ASSERT(!(this_cpu()->locks >> l->rank));
	this_cpu()->locks |= (uint32_t)BIT(l->rank);
#else
	(void)l;
#endif
}
static inline void spin_order_given(const struct spinlock *l)
{
#ifdef TF_LOCK_ORDER
	this_cpu()->locks &= ~(uint32_t)BIT(l->rank);
#else
	(void)l;
#endif
}

/* Until it is this ticket's turn. */
void spin_wait(const struct spinlock *l, uint16_t ticket);
static inline void spin_take(struct spinlock *l)
{
	struct cpu *me = this_cpu();

	ASSERT(__atomic_load_n(&l->holder, __ATOMIC_RELAXED) != me);
	spin_order_taken(l);
	uint16_t t = __atomic_fetch_add(&l->next, 1, __ATOMIC_ACQUIRE);
	if (unlikely(__atomic_load_n(&l->owner, __ATOMIC_ACQUIRE) != t))
		spin_wait(l, t);
	__atomic_store_n(&l->holder, me, __ATOMIC_RELAXED);
}

/* False: somebody else has it. Takes no part in the order, as it does not wait. */
static inline bool spin_trylock(struct spinlock *l)
{
	uint16_t t = __atomic_load_n(&l->owner, __ATOMIC_ACQUIRE);

	if (!__atomic_compare_exchange_n(&l->next, &t, (uint16_t)(t + 1), false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return false;
#ifdef TF_LOCK_ORDER
	this_cpu()->locks |= (uint32_t)BIT(l->rank);
#endif
	__atomic_store_n(&l->holder, this_cpu(), __ATOMIC_RELAXED);
	return true;
}

static inline void spin_give(struct spinlock *l)
{
	ASSERT(spin_held(l));
	spin_order_given(l);
	__atomic_store_n(&l->holder, NULL, __ATOMIC_RELAXED);
	__asm__ volatile("incw %0" : "+m"(l->owner) : : "memory", "cc"); /* a release, as every store of this CPU is */
}

/* In line only where speed counts. */
#ifdef __OPTIMIZE_SIZE__
void spin_lock(struct spinlock *l);
void spin_unlock(struct spinlock *l);
#else
static inline void spin_lock(struct spinlock *l) { spin_take(l); }
static inline void spin_unlock(struct spinlock *l) { spin_give(l); }
#endif
