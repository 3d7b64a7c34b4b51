/* A byte ring. Head and tail run freely; their difference is the fill level, also across the wrap of 32 bits. */
#include "lib/ring.h"
#include <tf/assert.h>
#include <tf/string.h>

void ring_init(struct ring *r, void *buf, uint32_t size)
{
	ASSERT(size && !(size & (size - 1)));
	*r = (struct ring){ .buf = buf, .size = size };
}

static void copy_in(struct ring *r, const uint8_t *src, uint32_t n)
{
	uint32_t at = r->head & (r->size - 1), first = MIN(n, r->size - at);

	memcpy(r->buf + at, src, first);
	memcpy(r->buf, src + first, n - first);
	/* The bytes must be there before the consumer sees the new head. */
	__atomic_store_n(&r->head, r->head + n, __ATOMIC_RELEASE);
}

static void copy_out(const struct ring *r, uint32_t from, uint8_t *dst, uint32_t n)
{
	uint32_t at = from & (r->size - 1), first = MIN(n, r->size - at);

	memcpy(dst, r->buf + at, first);
	memcpy(dst + first, r->buf, n - first);
}

size_t ring_put(struct ring *r, const void *buf, size_t n)
{
	n = MIN(n, (size_t)ring_free(r));
	copy_in(r, buf, (uint32_t)n);
	return n;
}

size_t ring_put_over(struct ring *r, const void *buf, size_t n)
{
	uint32_t take = (uint32_t)MIN(n, (size_t)r->size), room = ring_free(r), lost = take > room ? take - room : 0;

	r->tail += lost;
	copy_in(r, (const uint8_t *)buf + (n - take), take);
	return lost;
}

size_t ring_peek(const struct ring *r, uint32_t at, void *buf, size_t n)
{
	uint32_t used = __atomic_load_n(&r->head, __ATOMIC_ACQUIRE) - r->tail;

	if (at >= used)
		return 0;
	n = MIN(n, (size_t)(used - at));
	copy_out(r, r->tail + at, buf, (uint32_t)n);
	return n;
}

size_t ring_get(struct ring *r, void *buf, size_t n)
{
	n = ring_peek(r, 0, buf, n);
	/* The bytes must be copied before the producer may overwrite them. */
	__atomic_store_n(&r->tail, r->tail + (uint32_t)n, __ATOMIC_RELEASE);
	return n;
}
