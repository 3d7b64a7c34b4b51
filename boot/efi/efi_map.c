/* Conversion of the UEFI memory map, and looking for a free place in it. */
#include "boot/efi/efi_map.h"
#include <tf/string.h>

enum efi_memory_type {
	EFI_LOADER_CODE = 1,
	EFI_LOADER_DATA = 2,
	EFI_BOOT_SERVICES_CODE = 3,
	EFI_BOOT_SERVICES_DATA = 4,
	EFI_CONVENTIONAL = 7,
	EFI_UNUSABLE = 8,
	EFI_ACPI_RECLAIM = 9,
	EFI_ACPI_NVS = 10,
};

#define EFI_MEMORY_ATTRIBUTE_WB BIT(3)
#define EFI_MEMORY_ATTRIBUTE_SP BIT(18) /* kept for a specific purpose */

struct efi_descriptor {
	uint32_t type, padding;
	uint64_t start, virtual_start, pages, attributes;
};

_Static_assert(sizeof(struct efi_descriptor) == 40, "as in the UEFI Specification");

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

static enum mem_type type_of(const struct efi_descriptor *d)
{
	switch (d->type) {
	case EFI_LOADER_CODE:
	case EFI_LOADER_DATA:
	case EFI_BOOT_SERVICES_CODE:
	case EFI_BOOT_SERVICES_DATA:
	case EFI_CONVENTIONAL:
		/* Memory that cannot be cached write-back is no RAM to work with. */
		return (d->attributes & (EFI_MEMORY_ATTRIBUTE_WB | EFI_MEMORY_ATTRIBUTE_SP)) == EFI_MEMORY_ATTRIBUTE_WB ?
		       MEM_RAM : MEM_RESERVED;
	case EFI_UNUSABLE:
		return MEM_BAD;
	case EFI_ACPI_RECLAIM:
		return MEM_ACPI;
	case EFI_ACPI_NVS:
		return MEM_NVS;
	default:
		return MEM_RESERVED;
	}
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
		struct mem_range new = { d.start, d.pages << PAGE_SHIFT, type_of(&d) };
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

		if (d.type != EFI_CONVENTIONAL || type_of(&d) != MEM_RAM || start > UINT64_MAX - align)
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
