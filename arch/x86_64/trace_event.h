/* Notes for this CPU's trace ring. As long as the trace is off it is one branch: if (trace_is_on()) trace_note(...). */
#pragma once
#include "arch/x86_64/percpu.h"
#include "lib/trace_ring.h"

static inline bool trace_is_on(void) { return unlikely(__atomic_load_n(&this_cpu()->trace, __ATOMIC_RELAXED) != NULL); }
/* What the fields are: lib/trace_ring.h. Nothing happens if the trace is off. */
void trace_note(enum trace_kind kind, uint16_t who, uint32_t a, uint64_t b, uint64_t c);
