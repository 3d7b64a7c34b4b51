#include "lib/memmap.h"

static void shift(struct mem_spans *s, size_t from, size_t to)
{
	size_t count = s->n - from;

	if (to > from)
		for (size_t i = count; i-- > 0;)
			s->span[to + i] = s->span[from + i];
	else
		for (size_t i = 0; i < count; i++)
			s->span[to + i] = s->span[from + i];
	s->n = s->n + to - from;
}

bool spans_add(struct mem_spans *s, uint64_t start, uint64_t end)
{
	size_t first = 0, last;

	if (start >= end)
		return true;
	while (first < s->n && s->span[first].end < start)
		first++;
	/* [first, last) overlap or touch the new span and merge with it. */
	for (last = first; last < s->n && s->span[last].start <= end; last++) {
		start = MIN(start, s->span[last].start);
		end = MAX(end, s->span[last].end);
	}
	if (first == last && s->n == s->max)
		return false;
	shift(s, last, first + 1);
	s->span[first] = (struct mem_span){ start, end };
	return true;
}

bool spans_remove(struct mem_spans *s, uint64_t start, uint64_t end)
{
	size_t i = 0;

	if (start >= end)
		return true;
	while (i < s->n && s->span[i].end <= start)
		i++;
	while (i < s->n && s->span[i].start < end) {
		struct mem_span *p = &s->span[i];

		if (p->start < start && p->end > end) {
			uint64_t tail = p->end;

			if (s->n == s->max)
				return false;
			shift(s, i + 1, i + 2);
			p->end = start;
			s->span[i + 1] = (struct mem_span){ end, tail };
			return true;
		}
		if (p->start < start) {
			p->end = start;
			i++;
		} else if (p->end > end) {
			p->start = end;
			i++;
		} else {
			shift(s, i + 1, i);
		}
	}
	return true;
}

bool spans_contain(const struct mem_spans *s, uint64_t start, uint64_t end)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->span[i].start <= start && end <= s->span[i].end)
			return true;
	return start >= end;
}

bool spans_overlap(const struct mem_spans *s, uint64_t start, uint64_t end)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->span[i].start < end && start < s->span[i].end)
			return start < end;
	return false;
}

uint64_t spans_total(const struct mem_spans *s)
{
	uint64_t total = 0;

	for (size_t i = 0; i < s->n; i++)
		total += s->span[i].end - s->span[i].start;
	return total;
}

static uint64_t range_end(const struct mem_range *r)
{
	return r->base + r->len < r->base ? UINT64_MAX : r->base + r->len;
}

bool memmap_ram(const struct mem_range *map, size_t n, uint64_t limit, struct mem_spans *out)
{
	out->n = 0;
	for (size_t i = 0; i < n; i++)
		if (map[i].type == MEM_RAM && !spans_add(out, map[i].base, range_end(&map[i])))
			return false;
	for (size_t i = 0; i < n; i++)
		if (map[i].type != MEM_RAM && !spans_remove(out, map[i].base, range_end(&map[i])))
			return false;
	if (!spans_remove(out, limit, UINT64_MAX))
		return false;

	size_t kept = 0;
	for (size_t i = 0; i < out->n; i++) {
		uint64_t end = ALIGN_DOWN(out->span[i].end, PAGE_SIZE);
		uint64_t start = out->span[i].start;

		/* Rounded up without overflow: a start in the last page of all is above `limit` and gone. */
		start = ALIGN_UP(start, PAGE_SIZE);
		if (start < end)
			out->span[kept++] = (struct mem_span){ start, end };
	}
	out->n = kept;
	return true;
}
