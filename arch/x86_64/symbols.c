#include "arch/x86_64/symbols.h"
#include "arch/x86_64/paging.h"
#include <tf/string.h>

extern const uint8_t symbol_table[]; /* as tools/symbols.sh says */

bool symbol_lookup(uint64_t addr, char name[SYMBOL_MAX], uint64_t *offset)
{
	const uint8_t *p = symbol_table;
	uint64_t at = (uint64_t)text_start - 1;
	bool found = false;

	if (addr < (uint64_t)text_start || addr >= (uint64_t)text_end)
		return false;
	for (uint16_t step; memcpy(&step, p, sizeof(step)), step && at + step <= addr; found = true) {
		const char *rest = (const char *)p + sizeof(step) + 1;
		size_t same = p[sizeof(step)], len = strlen(rest) + 1;

		at += step;
		if (same < SYMBOL_MAX)
			memcpy(name + same, rest, MIN(len, SYMBOL_MAX - same));
		name[SYMBOL_MAX - 1] = '\0';
		p = (const uint8_t *)rest + len;
	}
	*offset = addr - at;
	return found;
}
