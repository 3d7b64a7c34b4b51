#include "lib/frameset.h"
#include <tf/assert.h>
#include <tf/math.h>
#include <tf/string.h>

#define WORD_BITS 64

size_t frameset_storage(const struct mem_spans *spans)
{
	return ALIGN_UP(spans_total(spans) / PAGE_SIZE, WORD_BITS) / 8;
}

void frameset_init(struct frameset *s, const struct mem_spans *spans, void *storage)
{
	*s = (struct frameset){ .spans = spans, .bits = storage };
	memset(storage, 0, frameset_storage(spans));
}

/* Sets the bits [from, to), a word at a time; returns the first that was set before, UINT64_MAX if none was. */
static uint64_t set_bits(uint64_t *bits, uint64_t from, uint64_t to)
{
	uint64_t first = UINT64_MAX;

	while (from < to) {
		uint64_t *word = &bits[from / WORD_BITS], shift = from % WORD_BITS, n = MIN(WORD_BITS - shift, to - from);
		uint64_t mask = (n == WORD_BITS ? UINT64_MAX : BIT(n) - 1) << shift;

		if ((*word & mask) && first == UINT64_MAX)
			first = from - shift + bit_lowest(*word & mask);
		*word |= mask;
		from += n;
	}
	return first;
}

uint64_t frameset_add(struct frameset *s, uint64_t start, uint64_t end)
{
	uint64_t before = 0, found = UINT64_MAX; /* frames of the spans that have been passed */

	ASSERT(IS_ALIGNED(start | end, PAGE_SIZE));
	for (size_t i = 0; i < s->spans->n && s->spans->span[i].start < end; i++) {
		const struct mem_span *m = &s->spans->span[i];
		uint64_t from = MAX(start, m->start), to = MIN(end, m->end);

		if (from < to) {
			uint64_t first = set_bits(s->bits, before + (from - m->start) / PAGE_SIZE,
						  before + (to - m->start) / PAGE_SIZE);

			if (first != UINT64_MAX && found == UINT64_MAX)
				found = m->start + (first - before) * PAGE_SIZE;
		}
		before += (m->end - m->start) / PAGE_SIZE;
	}
	return found;
}
