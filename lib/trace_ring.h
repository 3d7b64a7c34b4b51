/* What one CPU did lately: records of one size, of which the newest are kept. Pure: the time comes in. */
#pragma once
#include <tf/types.h>

/* What `a`, `b` and `c` of a record are; 0 where nothing is said. */
enum trace_kind {
	TRACE_ENTRY,  /* into the guest */
	TRACE_EXIT,   /* a: reason, b: RIP, c: qualification */
	TRACE_INJECT, /* a: interruption information of the entry that follows; or a vector alone, which the CPU delivers */
	TRACE_SWITCH, /* the CPU is `who`'s from now on; TRACE_NOBODY: it idles */
	TRACE_ARMED,  /* b: TSC at which `who`'s next timer is due, UINT64_MAX: none */
	TRACE_FIRED,  /* `who`'s timers */
	TRACE_IPI,    /* a: vector, b: local APIC ID */
	TRACE_KINDS
};

#define TRACE_NOBODY      0xffffu
#define TRACE_WHO(vm, vcpu) ((uint16_t)((vm) << 8 | (vcpu)))

struct trace_record {
	uint64_t tsc;
	uint16_t kind, who; /* TRACE_WHO() */
	uint32_t a;
	uint64_t b, c;
};

/* One writer. Who reads sees to it that nobody writes. */
struct trace_ring {
	uint32_t size, next; /* records; which one is written next */
	bool full;           /* all have been written */
	struct trace_record record[];
};

/* The ring takes all of `room`, which has place for one record at least. */
struct trace_ring *trace_ring_init(void *room, size_t bytes);
static inline void trace_ring_clear(struct trace_ring *r)
{
	r->next = 0;
	r->full = false;
}
void trace_ring_put(struct trace_ring *r, const struct trace_record *record);
uint32_t trace_ring_used(const struct trace_ring *r);
/* Number `i` of those, from the oldest on. */
const struct trace_record *trace_ring_get(const struct trace_ring *r, uint32_t i);
