/* Multiboot2 boot information: a header of 8 bytes, then tags, each 8-byte aligned, up to the end tag. */
#include "boot/multiboot2.h"
#include <tf/string.h>

enum mb2_tag_type {
	TAG_END = 0,
	TAG_CMDLINE = 1,
	TAG_LOADER_NAME = 2,
	TAG_MODULE = 3,
	TAG_MMAP = 6,
	TAG_ACPI_OLD = 14,
	TAG_ACPI_NEW = 15,
	TAG_LOAD_BASE = 21,
};

#define TAG_ALIGN      8
#define RSDP_V1_LENGTH 20

struct mb2_header { uint32_t total_size, reserved; };
struct mb2_tag { uint32_t type, size; };
struct mb2_module { uint32_t start, end; }; /* then the string */
struct mb2_mmap { uint32_t entry_size, entry_version; }; /* then the entries */
struct mb2_mmap_entry { uint64_t base, len; uint32_t type, reserved; };
struct mb2_load_base { uint32_t address; };

_Static_assert(sizeof(struct mb2_header) == 8 && sizeof(struct mb2_tag) == 8 && sizeof(struct mb2_module) == 8 &&
	       sizeof(struct mb2_mmap) == 8 && sizeof(struct mb2_mmap_entry) == 24, "as in the specification");

/* What is left of a tag, or of the tags. The parsers return NULL, or what is wrong. */
struct payload { const uint8_t *p; size_t n; };

/* Copies a fixed part out of the (possibly unaligned) bytes. */
static bool take(struct payload *t, void *out, size_t size)
{
	if (t->n < size)
		return false;
	memcpy(out, t->p, size);
	t->p += size;
	t->n -= size;
	return true;
}

/* A string must end inside its tag; one that is too long for us is an error, not cut silently. */
static const char *parse_string(struct payload t, char *out, size_t size)
{
	if (!memchr(t.p, 0, t.n))
		return "a string does not end inside its tag";
	return tf_strcpy(out, (const char *)t.p, size) ? NULL : "a string is longer than 511 bytes";
}

static const char *parse_module(struct payload t, struct boot_info *out)
{
	struct boot_module *m;
	struct mb2_module raw;

	if (!take(&t, &raw, sizeof(raw)))
		return "a module tag is too short";
	if (raw.end < raw.start)
		return "a module ends before it starts";
	if (out->nmodules == BOOT_MAX_MODULES)
		return "more than 64 modules";
	m = &out->modules[out->nmodules];
	m->start = HPA(raw.start);
	m->size = raw.end - raw.start;
	out->nmodules++;
	return parse_string(t, m->name, sizeof(m->name));
}

static enum mem_type mem_type_of(uint32_t type)
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

static const char *parse_mmap(struct payload t, struct boot_info *out)
{
	struct mb2_mmap_entry e;
	struct payload one;
	struct mb2_mmap m;

	if (!take(&t, &m, sizeof(m)) || m.entry_size < sizeof(e) || m.entry_size % TAG_ALIGN)
		return "the memory map's entry size is wrong";
	if (t.n % m.entry_size)
		return "the memory map ends inside an entry";
	for (; t.n; t.p += m.entry_size, t.n -= m.entry_size) {
		one = t;
		if (!take(&one, &e, sizeof(e)))
			return "the memory map ends inside an entry";
		if (e.base + e.len < e.base)
			return "a memory range goes beyond 64 bits";
		if (out->nranges == BOOT_MAX_RANGES)
			return "more than 256 memory ranges";
		out->ranges[out->nranges++] = (struct mem_range){ e.base, e.len, mem_type_of(e.type) };
	}
	return NULL;
}

/* The new copy wins over the old one, in whichever order they come. */
static const char *parse_rsdp(struct payload t, bool is_new, bool *have_new, struct boot_info *out)
{
	size_t want = is_new ? sizeof(out->rsdp) : RSDP_V1_LENGTH;

	if (t.n < want)
		return "an RSDP tag is too short";
	if (*have_new)
		return NULL;
	memset(out->rsdp, 0, sizeof(out->rsdp));
	memcpy(out->rsdp, t.p, want);
	out->has_rsdp = true;
	*have_new = is_new;
	return NULL;
}

static const char *parse_load_base(struct payload t, struct boot_info *out)
{
	struct mb2_load_base raw;

	if (!take(&t, &raw, sizeof(raw)))
		return "the load base tag is too short";
	out->load_base = HPA(raw.address);
	return NULL;
}

static const char *parse_tags(struct payload t, struct boot_info *out)
{
	bool have_new_rsdp = false, have_mmap = false;
	struct mb2_tag tag;

	for (;;) {
		struct payload body;
		const char *bad = NULL;
		size_t skip;

		if (!take(&t, &tag, sizeof(tag)))
			return "the end tag is missing";
		if (tag.size < sizeof(tag) || tag.size - sizeof(tag) > t.n)
			return "a tag's size is wrong";
		body = (struct payload){ t.p, tag.size - sizeof(tag) };

		switch (tag.type) {
		case TAG_END:
			return have_mmap ? NULL : "the memory map is missing";
		case TAG_CMDLINE:
			bad = parse_string(body, out->cmdline, sizeof(out->cmdline));
			break;
		case TAG_LOADER_NAME:
			if (!memchr(body.p, 0, body.n))
				bad = "a string does not end inside its tag";
			else
				(void)tf_strcpy(out->loader, (const char *)body.p, sizeof(out->loader));
			break;
		case TAG_MODULE:
			bad = parse_module(body, out);
			break;
		case TAG_MMAP:
			bad = have_mmap ? "two memory maps" : parse_mmap(body, out);
			have_mmap = true;
			break;
		case TAG_ACPI_OLD:
		case TAG_ACPI_NEW:
			bad = parse_rsdp(body, tag.type == TAG_ACPI_NEW, &have_new_rsdp, out);
			break;
		case TAG_LOAD_BASE:
			bad = parse_load_base(body, out);
			break;
		}
		if (bad)
			return bad;
		/* The padding after the last tag may be missing. */
		skip = MIN(ALIGN_UP(body.n, (size_t)TAG_ALIGN), t.n);
		t.p += skip;
		t.n -= skip;
	}
}

enum tf_err multiboot2_parse(const uint8_t *buf, size_t len, struct boot_info *out, const char **why)
{
	struct payload all = { buf, len };
	struct mb2_header h;

	memset(out, 0, sizeof(*out));
	if (!take(&all, &h, sizeof(h))) {
		*why = "shorter than its header";
		return TF_ETRUNC;
	}
	if (h.total_size < sizeof(h) || h.total_size > len) {
		*why = "total_size is larger than what is readable";
		return TF_ETRUNC;
	}
	all.n = h.total_size - sizeof(h);
	*why = parse_tags(all, out);
	return *why ? TF_EINVAL : TF_OK;
}
