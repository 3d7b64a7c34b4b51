#include "arch/x86_64/lock.h"

void spin_wait(const struct spinlock *l, uint16_t ticket)
{
	while (__atomic_load_n(&l->owner, __ATOMIC_ACQUIRE) != ticket)
		__builtin_ia32_pause();
}

#ifdef __OPTIMIZE_SIZE__
void spin_lock(struct spinlock *l) { spin_take(l); }
void spin_unlock(struct spinlock *l) { spin_give(l); }
#endif
