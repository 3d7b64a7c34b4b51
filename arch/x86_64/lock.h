/* A ticket spinlock that records its holder. Interrupts are off in VMX root, so it need not touch them. */
#pragma once
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/percpu.h"
#include <tf/assert.h>

struct spinlock { uint16_t next, owner; struct cpu *holder; };
#define SPINLOCK_INIT { 0, 0, NULL }

static inline bool spin_held(const struct spinlock *l) { return l->holder == this_cpu(); }
static inline void spin_lock(struct spinlock *l)
{
	ASSERT(!spin_held(l));
	uint16_t t = __atomic_fetch_add(&l->next, 1, __ATOMIC_RELAXED);
	while (__atomic_load_n(&l->owner, __ATOMIC_ACQUIRE) != t)
		pause();
	l->holder = this_cpu();
}
static inline void spin_unlock(struct spinlock *l)
{
	ASSERT(spin_held(l));
	l->holder = NULL;
	__atomic_store_n(&l->owner, (uint16_t)(l->owner + 1), __ATOMIC_RELEASE);
}
