#include "arch/x86_64/trace_event.h"
#include "arch/x86_64/cpu.h"

__attribute__((cold)) void trace_note(enum trace_kind kind, uint16_t who, uint32_t a, uint64_t b, uint64_t c)
{
	const struct trace_record note = { .tsc = rdtsc(), .kind = (uint16_t)kind, .who = who, .a = a, .b = b, .c = c };
	struct trace_ring *r = __atomic_load_n(&this_cpu()->trace, __ATOMIC_RELAXED);

	if (r)
		trace_ring_put(r, &note);
}
