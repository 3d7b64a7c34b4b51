#include "arch/x86_64/symbols.h"
#include "arch/x86_64/paging.h"

extern const uint32_t symbol_count, symbol_addrs[], symbol_name_offsets[]; /* sorted; low halves of the addresses */
extern const char symbol_names[];

const char *symbol_lookup(uint64_t addr, uint64_t *offset)
{
	uint32_t low = 0, high = symbol_count;

	if (addr < (uint64_t)text_start || addr >= (uint64_t)text_end)
		return NULL;
	while (low < high) { /* the first symbol behind addr */
		uint32_t mid = low + (high - low) / 2;

		if (symbol_addrs[mid] <= (uint32_t)addr)
			low = mid + 1;
		else
			high = mid;
	}
	if (!low)
		return NULL;
	*offset = (uint32_t)addr - symbol_addrs[low - 1];
	return symbol_names + symbol_name_offsets[low - 1];
}
