/* Physical page frames: the buddy allocator of lib/ over this machine's memory map. Locked inside. */
#pragma once
#include <tf/bootinfo.h>
#include <tf/err.h>
#include <tf/math.h>
#include "lib/memmap.h"

/* Fills frames_ram() with whole pages that can be used at all, and touches none. False if the map has too many pieces. */
__must_check bool frames_find_ram(const struct boot_info *bi);
/* Up to here physical memory can be reached at phys_to_virt() before paging_init(). */
uint64_t frames_early_limit(void);
/* After frames_find_ram(). Takes over all RAM except the image, the modules, the boot information and the first MiB. */
void frames_init(const struct boot_info *bi);
/* What the early page tables do not reach; paging_init() calls it when the final ones are in use. */
void frames_init_high(const struct boot_info *bi);
/* All RAM of the machine, whoever uses it. */
const struct mem_spans *frames_ram(void);
/* The order of the smallest block that holds `bytes`, which must not be 0. */
static inline unsigned frame_order(uint64_t bytes)
{
	return bytes <= PAGE_SIZE ? 0 : bit_highest(bytes - 1) + 1 - PAGE_SHIFT;
}
/* 2^order frames, naturally aligned, contents undefined. TF_ENOMEM. */
__must_check enum tf_err frame_alloc(unsigned order, hpa_t *out);
/* One zeroed frame. */
__must_check enum tf_err frame_alloc_zero(hpa_t *out);
void frame_free(hpa_t p, unsigned order);
/* A stretch of frames for an audit: what it is, and [start, end). */
typedef void (*frames_fn)(void *ctx, const char *what, uint64_t start, uint64_t end);
/* Calls fn for every free block ("free") and for what the allocator keeps for itself ("allocator"). */
void frames_each(frames_fn fn, void *ctx);
uint64_t frames_free_bytes(void);
uint64_t frames_total_bytes(void); /* all RAM, the hypervisor's own included */
#ifdef TF_TEST_HOOKS
/* Is this allocation to fail? tests/hooks/faults.c */
bool test_hook_frame_refused(void);
#endif
