/* Sets of address ranges, and the usable RAM of a firmware memory map. Pure. */
#pragma once
#include <tf/bootinfo.h>

struct mem_span { uint64_t start, end; }; /* [start, end), start < end */

/* Sorted spans that neither overlap nor touch; the storage of `max` spans belongs to the caller. */
struct mem_spans { struct mem_span *span; size_t n, max; };

/* Both return false, and leave the set as it was, if the result needs more than `max` spans. start <= end. */
__must_check bool spans_add(struct mem_spans *s, uint64_t start, uint64_t end);
__must_check bool spans_remove(struct mem_spans *s, uint64_t start, uint64_t end);
/* Is all of [start, end) in the set? */
bool spans_contain(const struct mem_spans *s, uint64_t start, uint64_t end);
/* Is any of [start, end) in the set? */
bool spans_overlap(const struct mem_spans *s, uint64_t start, uint64_t end);
uint64_t spans_total(const struct mem_spans *s);

/*
 * The RAM of a memory map whose entries may overlap, wrap around and come in any order: whole pages below `limit` (a
 * multiple of PAGE_SIZE) that some entry calls RAM and no entry calls anything else. False if `out` is too small; as
 * many spans as entries are always enough.
 */
__must_check bool memmap_ram(const struct mem_range *map, size_t n, uint64_t limit, struct mem_spans *out);
