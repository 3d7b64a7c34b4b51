/* Conversion of the UEFI memory map, and looking for a free place in it. */
#include "boot/efi/efi_map.h"
#include "boot/efi_memory.h"
#include <tf/string.h>

/* The descriptor at *at, and *at behind it; false at the end. Those that are empty or impossible are passed over. */
static bool next(const struct efi_map *map, size_t *at, struct efi_descriptor *d)
{
	if (map->descriptor_size < sizeof(*d))
		return false;
	while (*at <= map->size && map->size - *at >= map->descriptor_size) {
		memcpy(d, map->descriptors + *at, sizeof(*d));
		*at += map->descriptor_size;
		if (d->pages && d->pages <= (UINT64_MAX >> PAGE_SHIFT) && d->start + (d->pages << PAGE_SHIFT) > d->start)
			return true;
	}
	return false;
}

static uint64_t end_of(const struct mem_range *r)
{
	return r->base + r->len;
}

uint32_t efi_map_convert(const struct efi_map *map, struct mem_range *out, uint32_t max, bool *cut)
{
	struct efi_descriptor d;
	uint32_t n = 0;
	size_t at = 0;

	*cut = false;
	while (next(map, &at, &d)) {
		struct mem_range new = { d.start, d.pages << PAGE_SHIFT, efi_mem_type(&d) };
		uint32_t i = n; /* the new one's place: behind all that start lower */

		while (i && out[i - 1].base > new.base)
			i--;
		if (i && out[i - 1].type == new.type && end_of(&out[i - 1]) == new.base) {
			out[i - 1].len += new.len;
			i--;
		} else if (i < n && out[i].type == new.type && end_of(&new) == out[i].base) {
			out[i].base = new.base;
			out[i].len += new.len;
		} else if (n == max) {
			*cut = true;
			continue;
		} else {
			memmove(&out[i + 1], &out[i], (n - i) * sizeof(out[0]));
			out[i] = new;
			n++;
		}
		/* It may have closed the gap to the one behind it. */
		if (i + 1 < n && out[i + 1].type == out[i].type && end_of(&out[i]) == out[i + 1].base) {
			out[i].len += out[i + 1].len;
			n--;
			memmove(&out[i + 1], &out[i + 2], (n - i - 1) * sizeof(out[0]));
		}
	}
	return n;
}

bool efi_map_find(const struct efi_map *map, uint64_t size, uint64_t align, uint64_t lowest, uint64_t highest,
		  bool prefer_high, uint64_t *at)
{
	struct efi_descriptor d;
	bool found = false;
	size_t next_at = 0;

	while (next(map, &next_at, &d)) {
		uint64_t start = MAX(d.start, lowest), last = MIN(d.start + (d.pages << PAGE_SHIFT) - 1, highest), place;

		if (d.type != EFI_CONVENTIONAL || efi_mem_type(&d) != MEM_RAM || start > UINT64_MAX - align)
			continue;
		start = ALIGN_UP(start, align);
		if (start > last || last - start < size - 1)
			continue;
		place = prefer_high ? ALIGN_DOWN(last - (size - 1), align) : start;
		if (!found || (prefer_high ? place > *at : place < *at))
			*at = place;
		found = true;
	}
	return found;
}
