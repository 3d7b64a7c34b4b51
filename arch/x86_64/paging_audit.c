#include "arch/x86_64/pte.h"

#define LARGE_PAT    BIT(12) /* of a large page, where an address has its lowest bit */
#define ENTRY_UNUSED 0x7ff0000000000000ull /* bits 62:52: ignored, or protection keys, which nothing here uses */

static const char *wrong(uint64_t entry, unsigned level, bool leaf, unsigned phys_bits)
{
	if ((entry & PTE_ADDR) >> phys_bits)
		return "an address beyond the CPU's";
	if ((entry & ENTRY_UNUSED) || (!leaf && (entry & PTE_PS)))
		return "reserved bits";
	if (leaf && level && (entry & PTE_ADDR & (table_level_size(level) - 1) & ~LARGE_PAT))
		return "reserved bits";
	return NULL;
}

const struct table_format pte_table_format = { .present = PTE_P, .rights = PTE_W | PTE_U | PTE_NX, .inverted = PTE_NX,
					       .wrong = wrong };
