/*
 * The hypervisor's ELF file with its multiboot2 header (Multiboot2 Specification 2.0, "OS image format"), as the EFI
 * loader loads it. Untrusted bytes. Pure.
 */
#pragma once
#include <tf/err.h>

#define IMAGE_SIZE_MAX MiB(64) /* in memory, from the first segment to the end of the last */

struct image {
	uint64_t link;        /* physical address that it was linked for: that of the lowest segment */
	uint64_t size;        /* bytes from there to the end of the highest segment */
	uint64_t entry;       /* the entry point's distance from link */
	uint64_t lowest, highest; /* the relocatable tag: it must lie in [lowest, highest] ... */
	uint64_t align;       /* ... at a multiple of this, a power of two from PAGE_SIZE up */
	bool prefer_high;
};

/*
 * Checks everything that loading relies on: all of the file's structures lie inside len bytes, no segment lies over
 * another, the entry point is in an executable one, the multiboot2 header is there, its checksum is right and it asks
 * for nothing that the loader does not do. *why points to a static text if not.
 */
__must_check enum tf_err image_check(const uint8_t *file, size_t len, struct image *out, const char **why);

/* Copies the segments of a checked file to `to`, out->size bytes, and zeroes what lies between and behind them. */
void image_load(const uint8_t *file, const struct image *image, uint8_t *to);
