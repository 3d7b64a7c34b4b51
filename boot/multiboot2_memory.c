/* The boot information's memory maps: the usual one, and what UEFI says itself. */
#include "boot/efi_memory.h"
#include "boot/multiboot2_internal.h"
#include <tf/string.h>

#define TEXT_OF_(x) #x
#define TEXT_OF(x)  TEXT_OF_(x)

/* Maps, those of UEFI above all, come in many small pieces: what goes on where the last one ended is joined to it. */
static const char *add_range(struct boot_info *out, uint64_t base, uint64_t len, enum mem_type type)
{
	struct mem_range *last = out->nranges ? &out->ranges[out->nranges - 1] : NULL;

	if (base + len < base)
		return "a memory range goes beyond 64 bits";
	if (!len)
		return NULL;
	if (last && last->type == type && last->base + last->len == base) {
		last->len += len;
		return NULL;
	}
	if (out->nranges == BOOT_MAX_RANGES)
		return "more than " TEXT_OF(BOOT_MAX_RANGES) " memory ranges";
	out->ranges[out->nranges++] = (struct mem_range){ base, len, type };
	return NULL;
}

static enum mem_type type_of(uint32_t type)
{
	switch (type) {
	case MEM_RAM:
	case MEM_ACPI:
	case MEM_NVS:
	case MEM_BAD:
		return (enum mem_type)type;
	default: /* "other values indicate a reserved area" */
		return MEM_RESERVED;
	}
}

const char *mb2_parse_mmap(struct payload t, struct boot_info *out)
{
	const char *bad = NULL;
	struct mb2_mmap_entry e;
	struct payload one;
	struct mb2_mmap m;

	if (!mb2_take(&t, &m, sizeof(m)) || m.entry_size < sizeof(e) || m.entry_size % TAG_ALIGN)
		return "the memory map's entry size is wrong";
	if (t.n % m.entry_size)
		return "the memory map ends inside an entry";
	for (; t.n && !bad; t.p += m.entry_size, t.n -= m.entry_size) {
		one = t;
		if (!mb2_take(&one, &e, sizeof(e)))
			return "the memory map ends inside an entry";
		bad = add_range(out, e.base, e.len, type_of(e.type));
	}
	return bad;
}

const char *mb2_parse_efi_mmap(struct payload t, struct boot_info *out)
{
	struct mb2_mmap m;
	const char *bad = NULL;
	struct efi_descriptor d;
	struct payload one;

	if (!mb2_take(&t, &m, sizeof(m)) || m.entry_size < sizeof(d) || m.entry_size % TAG_ALIGN)
		return "the EFI memory map's entry size is wrong";
	if (t.n % m.entry_size)
		return "the EFI memory map ends inside an entry";
	for (; t.n && !bad; t.p += m.entry_size, t.n -= m.entry_size) {
		one = t;
		if (!mb2_take(&one, &d, sizeof(d)))
			return "the EFI memory map ends inside an entry";
		if (d.pages > UINT64_MAX >> PAGE_SHIFT)
			return "a memory range goes beyond 64 bits";
		bad = add_range(out, d.start, d.pages << PAGE_SHIFT, efi_mem_type(&d));
	}
	return bad;
}
