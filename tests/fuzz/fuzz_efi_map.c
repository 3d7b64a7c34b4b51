/* The UEFI memory map: any bytes, any stride; the ranges come out sorted, not empty, and the parser takes them. */
#include <stdlib.h>

#include "boot/efi/tags.h"
#include "boot/multiboot2.h"
#include <tf/string.h>

#define RANGES 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct mem_range ranges[RANGES];
	static uint8_t room[1024];
	static struct boot_info info;
	struct efi_map map;
	const char *why;
	struct tags t;
	uint64_t at;
	uint32_t n;
	bool cut;

	if (!size)
		return 0;
	map = (struct efi_map){ data + 1, size - 1, data[0] };
	n = efi_map_convert(&map, ranges, RANGES, &cut);
	if (n > RANGES)
		abort();
	for (uint32_t i = 0; i < n; i++) {
		if (!ranges[i].len || ranges[i].base + ranges[i].len < ranges[i].base || (i && ranges[i].base < ranges[i - 1].base))
			abort();
	}
	tags_begin(&t, room, sizeof(room));
	tags_memory_map(&t, ranges, n);
	if (!tags_end(&t) || multiboot2_parse(room, t.at, &info, &why) != TF_OK)
		abort();
	for (unsigned high = 0; high < 2; high++) {
		if (efi_map_find(&map, 0x3000, 0x2000, 0x1000, 0xffffffff, high, &at) &&
		    (at % 0x2000 || at < 0x1000 || at + 0x3000 - 1 > 0xffffffff))
			abort();
	}
	return 0;
}
