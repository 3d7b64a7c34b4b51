#include "lib/trace_ring.h"

_Static_assert(sizeof(struct trace_record) == 32, "said in docs/trefoil.conf.md");

struct trace_ring *trace_ring_init(void *room, size_t bytes)
{
	struct trace_ring *r = room;

	*r = (struct trace_ring){ .size = (uint32_t)((bytes - sizeof(*r)) / sizeof(r->record[0])) };
	return r;
}

void trace_ring_put(struct trace_ring *r, const struct trace_record *record)
{
	r->record[r->next] = *record;
	if (++r->next == r->size) {
		r->next = 0;
		r->full = true;
	}
}

uint32_t trace_ring_used(const struct trace_ring *r) { return r->full ? r->size : r->next; }

const struct trace_record *trace_ring_get(const struct trace_ring *r, uint32_t i)
{
	uint32_t at = r->full ? r->next + i : i;

	return &r->record[at >= r->size ? at - r->size : at];
}
