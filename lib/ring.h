/* A byte ring of a power-of-two size, one producer and one consumer. The storage belongs to the caller. */
#pragma once
#include <tf/types.h>

struct ring {
	uint8_t *buf;
	uint32_t size;       /* power of two */
	uint32_t head, tail; /* free-running: head is written next, tail is read next */
};

void ring_init(struct ring *r, void *buf, uint32_t size);
static inline uint32_t ring_used(const struct ring *r) { return r->head - r->tail; }
static inline uint32_t ring_free(const struct ring *r) { return r->size - ring_used(r); }
static inline bool ring_empty(const struct ring *r) { return r->head == r->tail; }
/* Puts up to n bytes, returns how many fitted. */
size_t ring_put(struct ring *r, const void *buf, size_t n);
/* Puts all n bytes (the last `size` of them), dropping the oldest; returns how many old bytes were lost. */
size_t ring_put_over(struct ring *r, const void *buf, size_t n);
/* Takes up to n bytes, returns how many there were. */
size_t ring_get(struct ring *r, void *buf, size_t n);
/* Copies up to n bytes from `at` bytes behind the tail without taking them. */
size_t ring_peek(const struct ring *r, uint32_t at, void *buf, size_t n);
