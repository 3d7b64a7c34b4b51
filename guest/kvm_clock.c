#include "guest/kvm_clock.h"
#include <tf/assert.h>
#include <tf/math.h>

#define NS_PER_S 1000000000ull

struct kvm_scale kvm_scale_of(uint64_t hz)
{
	unsigned left = 0, right = 0;

	/* Between one and two ticks a nanosecond, so that the multiplier has all of its 32 bits. */
	ASSERT(hz);
	while (hz > 2 * NS_PER_S << right)
		right++;
	while (hz << left <= NS_PER_S)
		left++;
	return (struct kvm_scale){ .mul = (uint32_t)mul_div(NS_PER_S << 32, BIT(right), hz << left),
				   .shift = (int8_t)((int)left - (int)right) };
}

uint64_t kvm_scale_ns(struct kvm_scale s, uint64_t ticks)
{
	ticks = s.shift < 0 ? ticks >> -s.shift : ticks << s.shift;
	return (uint64_t)((unsigned __int128)ticks * s.mul >> 32);
}

/* The stores of the body stay between those of the version, for the compiler; the CPU keeps their order. */
#define begin_write(to, n) __atomic_store_n(&(to)->version, (n), __ATOMIC_RELAXED), __atomic_thread_fence(__ATOMIC_RELEASE)
#define end_write(to, n)   __atomic_store_n(&(to)->version, (n), __ATOMIC_RELEASE)

void kvm_time_write(struct kvm_time *to, uint32_t *version, struct kvm_scale s, uint64_t tsc_at_0, uint8_t flags)
{
	begin_write(to, *version + 1);
	to->reserved = 0;
	to->tsc_timestamp = tsc_at_0;
	to->system_time = 0;
	to->mul = s.mul;
	to->shift = s.shift;
	to->flags = flags;
	end_write(to, *version += 2);
}

void kvm_wall_write(struct kvm_wall *to, uint64_t unix_at_0)
{
	uint32_t version = (__atomic_load_n(&to->version, __ATOMIC_RELAXED) + 1) | 1;

	begin_write(to, version);
	to->sec = (uint32_t)unix_at_0;
	to->nsec = 0;
	end_write(to, version + 1);
}
