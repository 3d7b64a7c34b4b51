/* The boot information's memory maps: the usual one, and what UEFI says itself. */
#include "boot/multiboot2_internal.h"
#include <tf/string.h>

#define TEXT_OF_(x) #x
#define TEXT_OF(x)  TEXT_OF_(x)

struct mb2_mmap { uint32_t entry_size, entry_version; }; /* then the entries */
struct mb2_mmap_entry { uint64_t base, len; uint32_t type, reserved; };

/* UEFI Specification, "EFI_BOOT_SERVICES.GetMemoryMap()" */
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
#define EFI_MEMORY_WB  BIT(3)
#define EFI_MEMORY_SP  BIT(18) /* set aside for a specific purpose */
#define EFI_PAGE_SHIFT 12

struct efi_descriptor { uint32_t type, pad; uint64_t phys, virt, pages, attribute; };

_Static_assert(sizeof(struct mb2_mmap) == 8 && sizeof(struct mb2_mmap_entry) == 24 && sizeof(struct efi_descriptor) == 40,
	       "as in the specifications");

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

/* ACPI 6.5, "UEFI Memory Types and mapping to ACPI address range types", after ExitBootServices(). */
static enum mem_type type_of_efi(const struct efi_descriptor *d)
{
	switch (d->type) {
	case EFI_LOADER_CODE:
	case EFI_LOADER_DATA:
	case EFI_BOOT_SERVICES_CODE:
	case EFI_BOOT_SERVICES_DATA:
	case EFI_CONVENTIONAL:
		return (d->attribute & EFI_MEMORY_WB) && !(d->attribute & EFI_MEMORY_SP) ? MEM_RAM : MEM_RESERVED;
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

const char *mb2_parse_efi_mmap(struct payload t, struct boot_info *out)
{
	struct { uint32_t size, version; } head;
	const char *bad = NULL;
	struct efi_descriptor d;
	struct payload one;

	if (!mb2_take(&t, &head, sizeof(head)) || head.size < sizeof(d) || head.size % TAG_ALIGN)
		return "the EFI memory map's entry size is wrong";
	if (t.n % head.size)
		return "the EFI memory map ends inside an entry";
	for (; t.n && !bad; t.p += head.size, t.n -= head.size) {
		one = t;
		if (!mb2_take(&one, &d, sizeof(d)))
			return "the EFI memory map ends inside an entry";
		if (d.pages > UINT64_MAX >> EFI_PAGE_SHIFT)
			return "a memory range goes beyond 64 bits";
		bad = add_range(out, d.phys, d.pages << EFI_PAGE_SHIFT, type_of_efi(&d));
	}
	return bad;
}
