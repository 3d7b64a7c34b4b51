/* Multiboot2 boot information: a header of 8 bytes, then tags, each 8-byte aligned, up to the end tag. */
#include "boot/multiboot2_internal.h"
#include <tf/string.h>

#define RSDP_V1_LENGTH 20
/* The text mode that a BIOS starts with. */
#define VGA_TEXT       0xb8000
#define VGA_COLUMNS    80
#define VGA_ROWS       25
#define VGA_BPP        16

bool mb2_take(struct payload *t, void *out, size_t size)
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

/* The first word of a string. */
static const char *parse_name(struct payload t, char *out, size_t size)
{
	size_t n = 0;

	if (!memchr(t.p, 0, t.n))
		return "a string does not end inside its tag";
	while (t.p[n] && t.p[n] != ' ')
		n++;
	if (n >= size)
		return "a module's name is longer than 255 bytes";
	memcpy(out, t.p, n);
	out[n] = '\0';
	return NULL;
}

static const char *parse_module(struct payload t, struct boot_info *out)
{
	struct boot_module *m;
	struct mb2_module raw;

	if (!mb2_take(&t, &raw, sizeof(raw)))
		return "a module tag is too short";
	if (raw.end < raw.start)
		return "a module ends before it starts";
	if (out->nmodules == BOOT_MAX_MODULES)
		return "more than 64 modules";
	m = &out->modules[out->nmodules];
	m->start = HPA(raw.start);
	m->size = raw.end - raw.start;
	out->nmodules++;
	return parse_name(t, m->name, sizeof(m->name));
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

	if (!mb2_take(&t, &raw, sizeof(raw)))
		return "the load base tag is too short";
	out->load_base = HPA(raw.address);
	return NULL;
}

static const char *parse_efi64(struct payload t, struct boot_info *out)
{
	uint64_t address;

	if (!mb2_take(&t, &address, sizeof(address)))
		return "the EFI system table tag is too short";
	out->efi_system_table = HPA(address);
	return NULL;
}

/* The next tag: its type, and its body. */
static const char *next_tag(struct payload *t, uint32_t *type, struct payload *body)
{
	struct mb2_tag tag;
	size_t skip;

	if (!mb2_take(t, &tag, sizeof(tag)))
		return "the end tag is missing";
	if (tag.size < sizeof(tag) || tag.size - sizeof(tag) > t->n)
		return "a tag's size is wrong";
	*type = tag.type;
	*body = (struct payload){ t->p, tag.size - sizeof(tag) };
	/* The padding after the last tag may be missing. */
	skip = MIN(ALIGN_UP(body->n, (size_t)TAG_ALIGN), t->n);
	t->p += skip;
	t->n -= skip;
	return NULL;
}

/* The screen first: on it will be said what is wrong with the other tags. A BIOS's is there though no tag says so. */
static void find_screen(struct payload t, struct boot_info *out)
{
	bool said = false, efi = false;
	struct payload body;
	uint32_t type;

	while (!next_tag(&t, &type, &body) && type != TAG_END) {
		if (type == TAG_FRAMEBUFFER)
			mb2_parse_screen(body, &out->screen);
		said |= type == TAG_FRAMEBUFFER;
		efi |= type == TAG_EFI32 || type == TAG_EFI64 || type == TAG_EFI_MMAP;
	}
	if (!said && !efi)
		out->screen = (struct boot_screen){ .kind = BOOT_SCREEN_TEXT, .base = HPA(VGA_TEXT), .pitch = 2 * VGA_COLUMNS,
						    .width = VGA_COLUMNS, .height = VGA_ROWS, .bpp = VGA_BPP };
}

static const char *parse_tags(struct payload t, struct boot_info *out)
{
	bool have_new_rsdp = false, have_mmap = false;
	struct payload efi_mmap = { NULL, 0 }, body;
	const char *bad = NULL;
	uint32_t type;

	while (!bad) {
		bad = next_tag(&t, &type, &body);
		if (bad)
			break;
		switch (type) {
		case TAG_END:
			if (have_mmap)
				return NULL;
			return efi_mmap.p ? mb2_parse_efi_mmap(efi_mmap, out) : "the memory map is missing";
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
			bad = have_mmap ? "two memory maps" : mb2_parse_mmap(body, out);
			have_mmap = true;
			break;
		case TAG_EFI32:
			out->efi = true;
			break;
		case TAG_EFI64:
			out->efi = true;
			bad = parse_efi64(body, out);
			break;
		case TAG_EFI_MMAP:
			out->efi = true;
			efi_mmap = body;
			break;
		case TAG_EFI_BOOT_SERVICES:
			bad = "the loader has left the EFI boot services running";
			break;
		case TAG_ACPI_OLD:
		case TAG_ACPI_NEW:
			bad = parse_rsdp(body, type == TAG_ACPI_NEW, &have_new_rsdp, out);
			break;
		case TAG_LOAD_BASE:
			bad = parse_load_base(body, out);
			break;
		}
	}
	return bad;
}

enum tf_err multiboot2_parse(const uint8_t *buf, size_t len, struct boot_info *out, const char **why)
{
	struct payload all = { buf, len };
	struct mb2_header h;

	memset(out, 0, sizeof(*out));
	if (!mb2_take(&all, &h, sizeof(h))) {
		*why = "shorter than its header";
		return TF_ETRUNC;
	}
	if (h.total_size < sizeof(h) || h.total_size > len) {
		*why = "total_size is larger than what is readable";
		return TF_ETRUNC;
	}
	all.n = h.total_size - sizeof(h);
	find_screen(all, out);
	*why = parse_tags(all, out);
	return *why ? TF_EINVAL : TF_OK;
}
