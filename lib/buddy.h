/*
 * A buddy allocator over page frames. It never touches the frames themselves: its state is one byte per frame plus
 * links, in storage that the caller gives. Pure; the caller locks.
 */
#pragma once
#include <tf/err.h>

#define BUDDY_MAX_ORDER 18 /* 2^18 frames = 1 GiB */

struct buddy {
	uint64_t base_pfn, nframes;
	uint8_t *order_of;   /* per frame: state and order of the block that starts here */
	uint32_t *next, *prev;
	uint32_t head[BUDDY_MAX_ORDER + 1];
	uint64_t free_frames;
};

/* Bytes of storage that buddy_init needs for `nframes` frames. At most 9 bytes per frame. */
size_t buddy_storage(uint64_t nframes);
/* Manages frames [base_pfn, base_pfn + nframes), all of them in use at first. base_pfn must be a multiple of 2^18. */
void buddy_init(struct buddy *b, uint64_t base_pfn, uint64_t nframes, void *storage);
/* Gives frames [pfn, pfn + n) to the allocator; any alignment. They must be in use. */
void buddy_add(struct buddy *b, uint64_t pfn, uint64_t n);
/* A naturally aligned block of 2^order frames, lowest address first among the smallest fitting order. TF_ENOMEM. */
__must_check enum tf_err buddy_alloc(struct buddy *b, unsigned order, uint64_t *pfn);
/* Returns a block. Asserts that it is in use, aligned and inside. */
void buddy_free(struct buddy *b, uint64_t pfn, unsigned order);
/* Calls fn for each free block. */
void buddy_each_free(const struct buddy *b, void (*fn)(void *ctx, uint64_t pfn, unsigned order), void *ctx);
