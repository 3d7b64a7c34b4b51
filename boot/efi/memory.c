/* Memory from the firmware, below 4 GiB. */
#include "boot/efi/loader.h"
#include "boot/efi/efi_map.h"
#include <tf/string.h>

#define PLACES_MAX   8    /* a place can be taken between looking at the map and asking for it */
#define MAP_SLACK    4096 /* allocating the map's own buffer makes the map longer */

static uint64_t pages_of(uint64_t bytes)
{
	return MAX(ALIGN_UP(bytes, PAGE_SIZE) >> PAGE_SHIFT, 1ull);
}

void *pages_alloc(EFI_MEMORY_TYPE type, uint64_t bytes)
{
	EFI_PHYSICAL_ADDRESS at = LOADER_BELOW - 1;

	if (loader_boot->AllocatePages(AllocateMaxAddress, type, pages_of(bytes), &at) != EFI_SUCCESS)
		return NULL;
	return memset((void *)at, 0, pages_of(bytes) << PAGE_SHIFT);
}

void pages_free(void *p, uint64_t bytes)
{
	if (p)
		(void)loader_boot->FreePages((uintptr_t)p, pages_of(bytes));
}

void *pool_alloc(size_t bytes)
{
	void *p;

	return loader_boot->AllocatePool(EfiLoaderData, bytes, &p) == EFI_SUCCESS ? p : NULL;
}

void pool_free(void *p)
{
	if (p)
		(void)loader_boot->FreePool(p);
}

/* The map as it is now, in a pool buffer that the caller frees. */
static bool map_now(struct efi_map *map)
{
	UINTN size = 0, key, descriptor_size = 0;
	UINT32 version;
	void *buf;

	if (loader_boot->GetMemoryMap(&size, NULL, &key, &descriptor_size, &version) != EFI_BUFFER_TOO_SMALL)
		return false;
	size += MAP_SLACK;
	buf = pool_alloc(size);
	if (!buf)
		return false;
	if (loader_boot->GetMemoryMap(&size, buf, &key, &descriptor_size, &version) != EFI_SUCCESS) {
		pool_free(buf);
		return false;
	}
	*map = (struct efi_map){ buf, size, descriptor_size };
	return true;
}

bool image_place(const uint8_t *file, const struct image *image, uint8_t **at)
{
	uint64_t lowest = image->lowest, highest = MIN(image->highest, LOADER_BELOW - 1);
	uint64_t size = pages_of(image->size) << PAGE_SHIFT, place;
	struct efi_map map;

	for (unsigned i = 0; i < PLACES_MAX; i++) {
		bool found;

		if (!map_now(&map))
			return false;
		found = efi_map_find(&map, size, image->align, lowest, highest, image->prefer_high, &place);
		pool_free((void *)(uintptr_t)map.descriptors);
		if (!found)
			return false;
		if (loader_boot->AllocatePages(AllocateAddress, EfiLoaderData, pages_of(image->size), &place) == EFI_SUCCESS) {
			*at = (uint8_t *)place;
			image_load(file, image, *at);
			return true;
		}
		/* Whatever the firmware has against it, the next one. */
		if (image->prefer_high)
			highest = place + size - 2;
		else
			lowest = place + 1;
	}
	return false;
}
