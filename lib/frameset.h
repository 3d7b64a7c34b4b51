/* A set of page frames: one bit for each frame of some spans. Pure; the storage is the caller's. */
#pragma once
#include "lib/memmap.h"

struct frameset {
	const struct mem_spans *spans; /* whole pages */
	uint64_t *bits;
};

/* Bytes of storage for the frames of `spans`, a multiple of 8. */
size_t frameset_storage(const struct mem_spans *spans);
/* The empty set. `spans` must not change as long as the set is in use. */
void frameset_init(struct frameset *s, const struct mem_spans *spans, void *storage);
/*
 * Adds the frames of [start, end), both multiples of PAGE_SIZE; those in no span are left out. Returns the address of the
 * first one that was in the set before, UINT64_MAX if none was.
 */
uint64_t frameset_add(struct frameset *s, uint64_t start, uint64_t end);
