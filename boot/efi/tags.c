/* The writer of boot information: each tag is 8-byte aligned and says its size without the padding. */
#include "boot/efi/tags.h"
#include "boot/multiboot2_tags.h"
#include <tf/string.h>

#define FRAMEBUFFER_RGB 1

struct mb2_framebuffer {
	uint64_t address;
	uint32_t pitch, width, height;
	uint8_t bpp, type;
	uint16_t reserved;
	struct boot_colour red, green, blue;
} __packed;

_Static_assert(sizeof(struct mb2_framebuffer) == 30 && sizeof(struct boot_colour) == 2, "as in the specification");

static void put(struct tags *t, const void *bytes, size_t n)
{
	if (t->full || n > t->size - t->at) {
		t->full = true;
		return;
	}
	memcpy(t->buf + t->at, bytes, n);
	t->at += n;
}

/* A tag of a fixed and a variable part. */
static void tag(struct tags *t, uint32_t type, const void *fixed, size_t nfixed, const void *rest, size_t nrest)
{
	static const uint8_t zero[TAG_ALIGN];
	struct mb2_tag head = { type, (uint32_t)(sizeof(head) + nfixed + nrest) };

	put(t, &head, sizeof(head));
	put(t, fixed, nfixed);
	put(t, rest, nrest);
	put(t, zero, -t->at % TAG_ALIGN);
}

void tags_begin(struct tags *t, void *buf, size_t size)
{
	struct mb2_header h = { 0, 0 };

	*t = (struct tags){ .buf = buf, .size = size };
	put(t, &h, sizeof(h));
}

void tags_command_line(struct tags *t, const char *text)
{
	tag(t, TAG_CMDLINE, NULL, 0, text, strlen(text) + 1);
}

void tags_loader_name(struct tags *t, const char *text)
{
	tag(t, TAG_LOADER_NAME, NULL, 0, text, strlen(text) + 1);
}

void tags_module(struct tags *t, uint32_t start, uint32_t end, const char *name)
{
	struct mb2_module m = { start, end };

	tag(t, TAG_MODULE, &m, sizeof(m), name, strlen(name) + 1);
}

void tags_memory_map(struct tags *t, const struct mem_range *ranges, uint32_t n)
{
	struct mb2_mmap m = { sizeof(struct mb2_mmap_entry), 0 };
	struct mb2_tag head = { TAG_MMAP, (uint32_t)(sizeof(head) + sizeof(m) + n * sizeof(struct mb2_mmap_entry)) };

	put(t, &head, sizeof(head));
	put(t, &m, sizeof(m));
	for (uint32_t i = 0; i < n; i++) {
		struct mb2_mmap_entry e = { ranges[i].base, ranges[i].len, ranges[i].type, 0 };

		put(t, &e, sizeof(e));
	}
}

void tags_screen(struct tags *t, const struct boot_screen *screen)
{
	struct mb2_framebuffer f = {
		.address = screen->base.v, .pitch = screen->pitch, .width = screen->width, .height = screen->height,
		.bpp = screen->bpp, .type = FRAMEBUFFER_RGB, .red = screen->red, .green = screen->green, .blue = screen->blue,
	};

	if (screen->kind == BOOT_SCREEN_RGB)
		tag(t, TAG_FRAMEBUFFER, &f, sizeof(f), NULL, 0);
}

void tags_efi_system_table(struct tags *t, uint64_t address)
{
	tag(t, TAG_EFI64, &address, sizeof(address), NULL, 0);
}

void tags_efi_map(struct tags *t, const struct efi_map *map, uint32_t descriptor_version)
{
	struct mb2_mmap m = { (uint32_t)map->descriptor_size, descriptor_version };

	tag(t, TAG_EFI_MMAP, &m, sizeof(m), map->descriptors, map->size);
}

void tags_rsdp(struct tags *t, bool is_new, const void *rsdp, size_t size)
{
	tag(t, is_new ? TAG_ACPI_NEW : TAG_ACPI_OLD, NULL, 0, rsdp, size);
}

void tags_load_base(struct tags *t, uint32_t address)
{
	tag(t, TAG_LOAD_BASE, &address, sizeof(address), NULL, 0);
}

bool tags_end(struct tags *t)
{
	struct mb2_header h;

	tag(t, TAG_END, NULL, 0, NULL, 0);
	if (t->full)
		return false;
	h = (struct mb2_header){ (uint32_t)t->at, 0 };
	memcpy(t->buf, &h, sizeof(h));
	return true;
}
