/* SDM 3C, "EPT Translation Mechanism" and "EPT Misconfigurations" */
#include "ept/ept_audit.h"
#include "ept/entry.h"

#define TABLE_RESERVED 0xf8ull /* bits 7:3 of an entry that refers to a table */

static bool type_valid(uint64_t entry)
{
	switch ((entry & EPTE_MEMTYPE) >> EPTE_MEMTYPE_SHIFT) {
	case MT_UC:
	case MT_WC:
	case MT_WT:
	case MT_WP:
	case MT_WB:
		return true;
	default:
		return false;
	}
}

static const char *wrong(uint64_t entry, unsigned level, bool leaf, unsigned phys_bits)
{
	if (!(entry & EPT_R))
		return "an entry without read access";
	if ((entry & TABLE_ADDR) >> phys_bits)
		return "an address beyond the CPU's";
	if (!leaf)
		return entry & TABLE_RESERVED ? "reserved bits" : NULL;
	if (!type_valid(entry))
		return "a reserved memory type";
	return entry & TABLE_ADDR & (level_size(level) - 1) ? "reserved bits" : NULL;
}

const struct table_format ept_table_format = { .present = EPT_RWX, .rights = EPT_RWX, .wrong = wrong };
