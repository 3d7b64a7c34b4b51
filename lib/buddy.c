/*
 * A buddy allocator. Frames are indices from base_pfn. order_of[i] is the order of the free block that starts at frame
 * i, and NOT_FREE for every other frame: inside a free block, in use, or never added. Free blocks of one order are
 * linked in ascending order, so that memory fills from below and the same requests give the same frames.
 */
#include "lib/buddy.h"
#include <tf/assert.h>
#include <tf/math.h>
#include <tf/string.h>

#define NOT_FREE 0xff
#define NIL      UINT32_MAX

size_t buddy_storage(uint64_t nframes)
{
	return nframes * (2 * sizeof(uint32_t) + sizeof(uint8_t));
}

void buddy_init(struct buddy *b, uint64_t base_pfn, uint64_t nframes, void *storage)
{
	ASSERT(IS_ALIGNED(base_pfn, BIT(BUDDY_MAX_ORDER)) && nframes < NIL);
	*b = (struct buddy){ .base_pfn = base_pfn, .nframes = nframes, .next = storage };
	b->prev = b->next + nframes;
	b->order_of = (uint8_t *)(b->prev + nframes);
	memset(b->order_of, NOT_FREE, nframes);
	for (unsigned o = 0; o <= BUDDY_MAX_ORDER; o++)
		b->head[o] = NIL;
}

static void link_block(struct buddy *b, uint32_t i, unsigned order)
{
	uint32_t before = NIL, after = b->head[order];

	while (after != NIL && after < i) {
		before = after;
		after = b->next[after];
	}
	b->prev[i] = before;
	b->next[i] = after;
	if (before == NIL)
		b->head[order] = i;
	else
		b->next[before] = i;
	if (after != NIL)
		b->prev[after] = i;
	b->order_of[i] = (uint8_t)order;
}

static void unlink_block(struct buddy *b, uint32_t i)
{
	uint32_t before = b->prev[i], after = b->next[i];

	if (before == NIL)
		b->head[b->order_of[i]] = after;
	else
		b->next[before] = after;
	if (after != NIL)
		b->prev[after] = before;
	b->order_of[i] = NOT_FREE;
}

/* No frame of the aligned block is free: no free block surrounds it, and none starts inside it. */
static bool block_in_use(const struct buddy *b, uint64_t i, unsigned order)
{
	uint64_t n = BIT(order), at = 0, eight;

	for (unsigned o = order; o <= BUDDY_MAX_ORDER; o++) {
		uint8_t found = b->order_of[ALIGN_DOWN(i, BIT(o))];

		if (found != NOT_FREE && found >= o)
			return false;
	}
	/* Eight at a time: a block of 1 GiB has 2^18 of them. */
	for (; at + sizeof(eight) <= n; at += sizeof(eight)) {
		memcpy(&eight, b->order_of + i + at, sizeof(eight));
		if (eight != UINT64_MAX)
			return false;
	}
	for (; at < n; at++) {
		if (b->order_of[i + at] != NOT_FREE)
			return false;
	}
	return true;
}

void buddy_free(struct buddy *b, uint64_t pfn, unsigned order)
{
	uint64_t i = pfn - b->base_pfn, buddy;

	ASSERT(order <= BUDDY_MAX_ORDER && pfn >= b->base_pfn);
	ASSERT(IS_ALIGNED(i, BIT(order)) && i < b->nframes && BIT(order) <= b->nframes - i);
	ASSERT(block_in_use(b, i, order));

	b->free_frames += BIT(order);
	for (; order < BUDDY_MAX_ORDER; order++) {
		buddy = i ^ BIT(order);
		if (buddy >= b->nframes || b->order_of[buddy] != order)
			break;
		unlink_block(b, (uint32_t)buddy);
		i &= ~BIT(order);
	}
	link_block(b, (uint32_t)i, order);
}

void buddy_add(struct buddy *b, uint64_t pfn, uint64_t n)
{
	ASSERT(pfn >= b->base_pfn && n <= b->nframes && pfn - b->base_pfn <= b->nframes - n);
	while (n) {
		unsigned fits = bit_highest(n), aligned = pfn ? bit_lowest(pfn) : BUDDY_MAX_ORDER;
		unsigned order = MIN(MIN(fits, aligned), (unsigned)BUDDY_MAX_ORDER);

		buddy_free(b, pfn, order);
		pfn += BIT(order);
		n -= BIT(order);
	}
}

enum tf_err buddy_alloc(struct buddy *b, unsigned order, uint64_t *pfn)
{
	unsigned have = order;
	uint32_t i;

	while (have <= BUDDY_MAX_ORDER && b->head[have] == NIL)
		have++;
	if (have > BUDDY_MAX_ORDER)
		return TF_ENOMEM;
	i = b->head[have];
	unlink_block(b, i);
	while (have > order) {
		have--;
		link_block(b, i + (uint32_t)BIT(have), have);
	}
	b->free_frames -= BIT(order);
	*pfn = b->base_pfn + i;
	return TF_OK;
}

void buddy_each_free(const struct buddy *b, void (*fn)(void *ctx, uint64_t pfn, unsigned order), void *ctx)
{
	for (unsigned order = 0; order <= BUDDY_MAX_ORDER; order++)
		for (uint32_t i = b->head[order]; i != NIL; i = b->next[i])
			fn(ctx, b->base_pfn + i, order);
}
