/*
 * Any graphics mode, from UEFI's description or from the boot information: what is accepted comes through the tags
 * unchanged, and painting on it stays inside the memory that it says it has.
 */
#include "fuzz_dev.h"
#include "boot/efi/pixels.h"
#include "boot/efi/tags.h"
#include "boot/multiboot2.h"
#include "drivers/framebuffer.h"
#include "lib/font.h"

#define MEMORY_MAX MiB(1)

static struct boot_screen take_screen(struct fuzz_input *in)
{
	struct boot_screen s = {
		.kind = BOOT_SCREEN_RGB, .base = HPA(fuzz_take(in, 8)), .pitch = (uint32_t)fuzz_take(in, 3),
		.width = (uint32_t)fuzz_take(in, 2), .height = (uint32_t)fuzz_take(in, 2), .bpp = (uint8_t)fuzz_take(in, 1),
	};
	struct boot_colour *colours[] = { &s.red, &s.green, &s.blue };

	for (unsigned i = 0; i < ARRAY_SIZE(colours); i++)
		*colours[i] = (struct boot_colour){ (uint8_t)fuzz_take(in, 1), (uint8_t)fuzz_take(in, 1) };
	if (s.bpp == 8) {
		s.kind = BOOT_SCREEN_INDEXED;
		s.black = (uint8_t)fuzz_take(in, 1);
		s.white = (uint8_t)fuzz_take(in, 1);
	}
	return s;
}

static bool take_mode(struct fuzz_input *in, struct boot_screen *s)
{
	struct pixel_mode m = {
		.width = (uint32_t)fuzz_take(in, 2), .height = (uint32_t)fuzz_take(in, 2), .pixels_per_line = (uint32_t)fuzz_take(in, 4),
		.format = (uint32_t)fuzz_take(in, 1), .red = (uint32_t)fuzz_take(in, 4), .green = (uint32_t)fuzz_take(in, 4),
		.blue = (uint32_t)fuzz_take(in, 4), .reserved = (uint32_t)fuzz_take(in, 4), .base = fuzz_take(in, 8), .size = fuzz_take(in, 8),
	};

	if (!pixels_screen(&m, s))
		return false;
	ASSERT(s->kind == BOOT_SCREEN_RGB && (!m.size || (uint64_t)s->pitch * s->height <= m.size) && s->width == m.width);
	return true;
}

static void through_tags(const struct boot_screen *s)
{
	static const struct mem_range ram = { 0, MiB(64), MEM_RAM };
	static struct boot_info info;
	static _Alignas(8) uint8_t room[512];
	const char *why;
	struct tags t;

	tags_begin(&t, room, sizeof(room));
	tags_memory_map(&t, &ram, 1);
	tags_screen(&t, s);
	ASSERT(tags_end(&t) && multiboot2_parse(room, t.at, &info, &why) == TF_OK);
	if (info.screen.kind == BOOT_SCREEN_NONE)
		return;
	ASSERT(info.screen.base.v == s->base.v && info.screen.pitch == s->pitch && info.screen.width == s->width);
	ASSERT(info.screen.height == s->height && info.screen.bpp == s->bpp && info.screen.red.shift == s->red.shift);
}

static void paint(struct fuzz_input *in, const struct boot_screen *s)
{
	struct framebuffer fb;
	uint8_t *memory;

	if (!framebuffer_init(&fb, s) || framebuffer_size(&fb) > MEMORY_MAX)
		return;
	ASSERT(fb.cols && fb.rows && fb.scale >= 1 && fb.scale <= 2);
	memory = malloc(framebuffer_size(&fb)); /* exactly */
	framebuffer_clear(&fb, memory);
	framebuffer_paint(&fb, memory, fb.cols - 1, fb.rows - 1, (cell_t)(font_count - 1));
	for (unsigned i = 0; in->size && i < 16; i++) {
		uint32_t col = (uint32_t)fuzz_take(in, 1) % fb.cols, row = (uint32_t)fuzz_take(in, 1) % fb.rows;
		cell_t c = (cell_t)fuzz_take(in, sizeof(cell_t));

		if (cell_glyph(c) < font_count)
			framebuffer_paint(&fb, memory, col, row, c);
	}
	free(memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	struct boot_screen s = { 0 };

	if (fuzz_take(&in, 1) & 1) {
		s = take_screen(&in);
	} else {
		if (!take_mode(&in, &s))
			return 0;
		through_tags(&s);
	}
	paint(&in, &s);
	return 0;
}
