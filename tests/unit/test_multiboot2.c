/* The boot information parser, on tags that the test builds byte by byte from the specification. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "boot/multiboot2.h"

#define ROOM 65536

static uint8_t info[ROOM];
static size_t at;
static struct boot_info out;

static void put(const void *bytes, size_t n) { memcpy(info + at, bytes, n); at += n; }
static void put32(uint32_t v) { put(&v, sizeof(v)); }
static void put64(uint64_t v) { put(&v, sizeof(v)); }

static void begin(void)
{
	memset(info, 0xaa, sizeof(info));
	at = 8;
}

static void tag(uint32_t type, const void *body, uint32_t n)
{
	put32(type);
	put32(8 + n);
	put(body, n);
	at = (at + 7) & ~(size_t)7;
}

static void tag_string(uint32_t type, const char *s) { tag(type, s, (uint32_t)strlen(s) + 1); }

static void tag_module(uint32_t start, uint32_t end, const char *s)
{
	uint8_t body[1024];
	uint32_t n = (uint32_t)strlen(s) + 1;

	memcpy(body, &start, 4);
	memcpy(body + 4, &end, 4);
	memcpy(body + 8, s, n);
	tag(3, body, 8 + n);
}

struct entry { uint64_t base, len; uint32_t type; };

static void tag_mmap(const struct entry *e, uint32_t n, uint32_t entry_size)
{
	put32(6);
	put32(16 + n * entry_size);
	put32(entry_size);
	put32(0);
	for (uint32_t i = 0; i < n; i++) {
		size_t start = at;

		put64(e[i].base);
		put64(e[i].len);
		put32(e[i].type);
		at = start + entry_size;
	}
}

static const struct entry one_range = { 0x100000, 0x7f00000, 1 };

static void end(void)
{
	uint32_t head[2];

	tag(0, "", 0);
	head[0] = (uint32_t)at;
	head[1] = 0;
	memcpy(info, head, sizeof(head));
}

/* Parses a copy of exactly `len` bytes, so that a read beyond is caught. */
static enum tf_err parse_n(size_t len, const char **why)
{
	uint8_t *copy = malloc(len ? len : 1);
	enum tf_err e;

	assert_non_null(copy);
	memcpy(copy, info, len);
	memset(&out, 0xee, sizeof(out));
	*why = "not set";
	e = multiboot2_parse(copy, len, &out, why);
	free(copy);
	assert_true((e == TF_OK) == (*why == NULL));
	return e;
}

static enum tf_err parse(void)
{
	const char *why;

	return parse_n(at, &why);
}

static void refused_for(const char *part)
{
	const char *why;

	assert_int_equal(parse_n(at, &why), TF_EINVAL);
	if (!strstr(why, part))
		fail_msg("refused for \"%s\", not for \"%s\"", why, part);
}

static void everything(void **state)
{
	static const struct entry map[] = {
		{ 0, 0x9fc00, 1 },         { 0x9fc00, 0x400, 2 },          { 0x100000, 0x3ef0000, 1 },
		{ 0x3ff0000, 0xf000, 3 },  { 0x3fff000, 0x1000, 4 },       { 0x5000000, 0x1000, 5 },
		{ 0x6000000, 0x1000, 77 }, { 0x100000000, 0x40000000, 1 },
	};
	uint32_t base = 0x200000;
	uint8_t rsdp_new[36], rsdp_old[20];

	(void)state;
	memset(rsdp_new, 'N', sizeof(rsdp_new));
	memset(rsdp_old, 'O', sizeof(rsdp_old));
	begin();
	tag_string(1, "log=debug x");
	tag_string(2, "GRUB 2.06-13+deb12u1");
	tag_module(0x1000000, 0x1000200, "trefoil.conf");
	tag_module(0x2000000, 0x2000000, "empty a b");
	tag(9, "ELF sections, whatever they are", 31);
	tag(4242, "x", 1);
	tag_mmap(map, ARRAY_SIZE(map), 24);
	tag(15, rsdp_new, sizeof(rsdp_new));
	tag(14, rsdp_old, sizeof(rsdp_old));
	tag(21, &base, sizeof(base));
	end();
	assert_int_equal(parse(), TF_OK);

	assert_string_equal(out.cmdline, "log=debug x");
	assert_string_equal(out.loader, "GRUB 2.06-13+deb12u1");
	assert_int_equal(out.nmodules, 2);
	assert_int_equal(out.modules[0].start.v, 0x1000000);
	assert_int_equal(out.modules[0].size, 0x200);
	assert_string_equal(out.modules[0].name, "trefoil.conf");
	assert_int_equal(out.modules[1].size, 0);
	assert_string_equal(out.modules[1].name, "empty"); /* without its arguments */
	assert_int_equal(out.nranges, ARRAY_SIZE(map));
	for (size_t i = 0; i < ARRAY_SIZE(map); i++) {
		assert_int_equal(out.ranges[i].base, map[i].base);
		assert_int_equal(out.ranges[i].len, map[i].len);
		assert_int_equal(out.ranges[i].type, map[i].type == 77 ? MEM_RESERVED : map[i].type);
	}
	assert_true(out.has_rsdp);
	assert_memory_equal(out.rsdp, rsdp_new, sizeof(rsdp_new));
	assert_int_equal(out.load_base.v, base);
}

static void little(void **state)
{
	(void)state;
	begin();
	tag_mmap(&one_range, 1, 24);
	end();
	assert_int_equal(parse(), TF_OK);
	assert_string_equal(out.cmdline, "");
	assert_int_equal(out.nmodules, 0);
	assert_false(out.has_rsdp);
	assert_int_equal(out.load_base.v, 0);
}

/* "entry_size ... guaranteed to be a multiple of 8": later versions may append fields. */
static void larger_map_entries(void **state)
{
	static const struct entry map[] = { { 0x1000, 0x2000, 1 }, { 0x8000, 0x1000, 2 } };

	(void)state;
	begin();
	tag_mmap(map, 2, 40);
	end();
	assert_int_equal(parse(), TF_OK);
	assert_int_equal(out.nranges, 2);
	assert_int_equal(out.ranges[1].base, 0x8000);
	assert_int_equal(out.ranges[1].type, MEM_RESERVED);
}

static void old_rsdp(void **state)
{
	uint8_t old[20], longer[36], zero[16] = { 0 };

	(void)state;
	memset(old, 'O', sizeof(old));
	memset(longer, 'N', sizeof(longer));
	begin();
	tag(14, old, sizeof(old));
	tag_mmap(&one_range, 1, 24);
	end();
	assert_int_equal(parse(), TF_OK);
	assert_true(out.has_rsdp);
	assert_memory_equal(out.rsdp, old, 20);
	assert_memory_equal(out.rsdp + 20, zero, 16);

	/* Old first, new later: the new one wins. */
	begin();
	tag(14, old, sizeof(old));
	tag(15, longer, sizeof(longer));
	tag_mmap(&one_range, 1, 24);
	end();
	assert_int_equal(parse(), TF_OK);
	assert_memory_equal(out.rsdp, longer, sizeof(longer));

	begin();
	tag(14, old, 19);
	end();
	refused_for("RSDP");
	begin();
	tag(15, longer, 35);
	end();
	refused_for("RSDP");
}

static void bad_maps(void **state)
{
	static const struct entry wrap = { 0xfffffffffffff000, 0x2000, 1 };
	static struct entry many[BOOT_MAX_RANGES + 1];

	for (uint32_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = (struct entry){ 0x10000 * (uint64_t)i, 0x1000, 1 };

	(void)state;
	begin();
	end();
	refused_for("memory map is missing");
	for (uint32_t size = 0; size < 24; size += 8) {
		begin();
		tag_mmap(&one_range, 1, size);
		end();
		refused_for("entry size");
	}
	begin();
	tag_mmap(&one_range, 1, 28);
	end();
	refused_for("entry size");
	begin();
	tag_mmap(&wrap, 1, 24);
	end();
	refused_for("64 bits");
	begin();
	tag(6, (const uint32_t[]){ 24, 0, 0, 0 }, 16);
	end();
	refused_for("inside an entry");
	begin();
	tag(6, (const uint32_t[]){ 24 }, 4);
	end();
	refused_for("entry size");
	begin();
	tag_mmap(&one_range, 1, 24);
	tag_mmap(&one_range, 1, 24);
	end();
	refused_for("two memory maps");
	begin();
	tag_mmap(many, BOOT_MAX_RANGES, 24);
	end();
	assert_int_equal(parse(), TF_OK);
	assert_int_equal(out.nranges, BOOT_MAX_RANGES);
	begin();
	tag_mmap(many, BOOT_MAX_RANGES + 1, 24);
	end();
	refused_for("512");
}

/* Neighbours of one type are one range; a gap, another type, and a range out of order begin a new one. */
static void neighbours(void **state)
{
	static const struct entry map[] = {
		{ 0, 0x1000, 1 },      { 0x1000, 0x2000, 1 }, { 0x3000, 0, 2 },      { 0x3000, 0x1000, 1 }, { 0x4000, 0x1000, 2 },
		{ 0x5000, 0x1000, 9 }, { 0x7000, 0x1000, 1 }, { 0x6000, 0x1000, 1 },
	};
	static const struct mem_range want[] = {
		{ 0, 0x4000, MEM_RAM }, { 0x4000, 0x2000, MEM_RESERVED }, { 0x7000, 0x1000, MEM_RAM }, { 0x6000, 0x1000, MEM_RAM },
	};
	static struct entry pieces[3 * BOOT_MAX_RANGES];

	(void)state;
	begin();
	tag_mmap(map, ARRAY_SIZE(map), 24);
	end();
	assert_int_equal(parse(), TF_OK);
	assert_int_equal(out.nranges, ARRAY_SIZE(want));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		assert_int_equal(out.ranges[i].base, want[i].base);
		assert_int_equal(out.ranges[i].len, want[i].len);
		assert_int_equal(out.ranges[i].type, want[i].type);
	}
	for (uint32_t i = 0; i < ARRAY_SIZE(pieces); i++)
		pieces[i] = (struct entry){ 0x1000 * (uint64_t)i, 0x1000, 1 };
	begin();
	tag_mmap(pieces, ARRAY_SIZE(pieces), 24);
	end();
	assert_int_equal(parse(), TF_OK);
	assert_int_equal(out.nranges, 1);
}

struct efi_entry { uint32_t type; uint64_t base, pages, attribute; };

static void tag_efi_mmap(const struct efi_entry *e, uint32_t n, uint32_t entry_size)
{
	put32(17);
	put32(16 + n * entry_size);
	put32(entry_size);
	put32(1);
	for (uint32_t i = 0; i < n; i++) {
		size_t start = at;

		put64(e[i].type);
		put64(e[i].base);
		put64(0);
		put64(e[i].pages);
		put64(e[i].attribute);
		at = start + entry_size;
	}
}

/* ACPI 6.5, table "UEFI Memory Types and mapping to ACPI address range types" */
static void efi_map_alone(void **state)
{
	enum { WB = 8, SPECIFIC = 1 << 18 };
	static const struct { uint32_t efi; uint64_t attribute; enum mem_type type; } types[] = {
		{ 0, WB, MEM_RESERVED },        { 1, WB, MEM_RAM },             { 2, WB, MEM_RAM },       { 3, WB, MEM_RAM },
		{ 4, WB, MEM_RAM },             { 5, WB, MEM_RESERVED },        { 6, WB, MEM_RESERVED },  { 7, WB, MEM_RAM },
		{ 8, WB, MEM_BAD },             { 9, WB, MEM_ACPI },            { 10, WB, MEM_NVS },      { 11, WB, MEM_RESERVED },
		{ 12, WB, MEM_RESERVED },       { 13, WB, MEM_RESERVED },       { 14, WB, MEM_RESERVED }, { 15, WB, MEM_RESERVED },
		{ 0x80000001, WB, MEM_RESERVED }, { 7, WB | SPECIFIC, MEM_RESERVED }, { 7, 1, MEM_RESERVED },
	};
	struct efi_entry map[ARRAY_SIZE(types)];
	struct efi_entry wrong = { 7, 0, 1ull << 52, WB }, end_of_all = { 7, 0xfffffffffffff000, 2, WB };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		map[i] = (struct efi_entry){ types[i].efi, 0x100000 * (uint64_t)i, 2, types[i].attribute };
	for (uint32_t size = 40; size <= 48; size += 8) {
		begin();
		tag_efi_mmap(map, ARRAY_SIZE(map), size);
		end();
		assert_int_equal(parse(), TF_OK);
		assert_true(out.efi);
		assert_int_equal(out.nranges, ARRAY_SIZE(types));
		for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
			assert_int_equal(out.ranges[i].base, map[i].base);
			assert_int_equal(out.ranges[i].len, 0x2000);
			assert_int_equal(out.ranges[i].type, types[i].type);
		}
	}
	for (uint32_t size = 0; size < 40; size += 8) {
		begin();
		tag_efi_mmap(map, 1, size);
		end();
		refused_for("EFI memory map's entry size");
	}
	begin();
	tag_efi_mmap(&wrong, 1, 48);
	end();
	refused_for("64 bits");
	begin();
	tag_efi_mmap(&end_of_all, 1, 48);
	end();
	refused_for("64 bits");
	begin();
	tag(17, (const uint32_t[]){ 48, 1, 0, 0 }, 16);
	end();
	refused_for("inside an entry");
}

/* The loader's own map knows of the loader's own changes: UEFI's is not looked at then, before it or behind it. */
static void efi_map_beside_the_other(void **state)
{
	(void)state;
	for (int first = 0; first < 2; first++) {
		begin();
		if (first)
			tag(17, "garbage", 7);
		tag_mmap(&one_range, 1, 24);
		if (!first)
			tag(17, "garbage", 7);
		end();
		assert_int_equal(parse(), TF_OK);
		assert_true(out.efi);
		assert_int_equal(out.nranges, 1);
		assert_int_equal(out.ranges[0].base, one_range.base);
	}
}

static void efi_tags(void **state)
{
	uint64_t table = 0x123456789abc;
	uint32_t table32 = 0x1000;

	(void)state;
	begin();
	tag(12, &table, sizeof(table));
	tag_mmap(&one_range, 1, 24);
	end();
	assert_int_equal(parse(), TF_OK);
	assert_true(out.efi);
	assert_int_equal(out.efi_system_table.v, table);
	assert_int_equal(out.screen.kind, BOOT_SCREEN_NONE);

	begin();
	tag(11, &table32, sizeof(table32));
	tag_mmap(&one_range, 1, 24);
	end();
	assert_int_equal(parse(), TF_OK);
	assert_true(out.efi);
	assert_int_equal(out.efi_system_table.v, 0);

	begin();
	tag(12, &table, 7);
	tag_mmap(&one_range, 1, 24);
	end();
	refused_for("too short");

	begin();
	tag(12, &table, sizeof(table));
	tag(18, "", 0);
	tag_mmap(&one_range, 1, 24);
	end();
	refused_for("boot services");
}

#define FB_BASE 0xfd00000000ull

/* "Framebuffer info", up to the colours; the reserved field has the 16 bits of the specification's header file. */
static uint32_t screen_body(uint8_t *body, uint64_t base, uint32_t pitch, uint32_t width, uint32_t height, uint8_t bpp, uint8_t type)
{
	memcpy(body, &base, 8);
	memcpy(body + 8, &pitch, 4);
	memcpy(body + 12, &width, 4);
	memcpy(body + 16, &height, 4);
	body[20] = bpp;
	body[21] = type;
	body[22] = body[23] = 0;
	return 24;
}

static enum boot_screen_kind parse_screen(const uint8_t *body, uint32_t n)
{
	begin();
	tag(8, body, n);
	tag_mmap(&one_range, 1, 24);
	end();
	assert_int_equal(parse(), TF_OK);
	return out.screen.kind;
}

static void rgb_screens(void **state)
{
	static const struct { uint8_t bpp, bytes, colours[6]; } formats[] = {
		{ 32, 4, { 16, 8, 8, 8, 0, 8 } },  { 32, 4, { 0, 8, 8, 8, 16, 8 } }, { 32, 4, { 20, 10, 10, 10, 0, 10 } },
		{ 24, 3, { 16, 8, 8, 8, 0, 8 } },  { 16, 2, { 11, 5, 5, 6, 0, 5 } }, { 15, 2, { 10, 5, 5, 5, 0, 5 } },
	};
	uint8_t body[32];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		uint32_t n = screen_body(body, FB_BASE, 1030 * formats[i].bytes, 1024, 768, formats[i].bpp, 1);
		const struct boot_screen *s = &out.screen;

		memcpy(body + n, formats[i].colours, 6);
		assert_int_equal(parse_screen(body, n + 6), BOOT_SCREEN_RGB);
		assert_int_equal(s->base.v, FB_BASE);
		assert_int_equal(s->pitch, 1030 * formats[i].bytes);
		assert_int_equal(s->width, 1024);
		assert_int_equal(s->height, 768);
		assert_int_equal(s->bpp, formats[i].bpp);
		const uint8_t got[6] = { s->red.shift, s->red.bits, s->green.shift, s->green.bits, s->blue.shift, s->blue.bits };
		assert_memory_equal(got, formats[i].colours, 6);
		/* Cut short; a field beyond the pixel; a field without bits. */
		assert_int_equal(parse_screen(body, n + 5), BOOT_SCREEN_NONE);
		body[n] = (uint8_t)(formats[i].bpp - 1);
		assert_int_equal(parse_screen(body, n + 6), BOOT_SCREEN_NONE);
		body[n] = 0;
		body[n + 1] = 0;
		assert_int_equal(parse_screen(body, n + 6), BOOT_SCREEN_NONE);
	}
}

static void impossible_screens(void **state)
{
	static const struct { uint64_t base; uint32_t pitch, width, height; uint8_t bpp, type; } bad[] = {
		{ 0, 4096, 1024, 768, 32, 1 },        { FB_BASE, 4095, 1024, 768, 32, 1 },
		{ FB_BASE, 4096, 0, 768, 32, 1 },     { FB_BASE, 4096, 1024, 0, 32, 1 },
		{ FB_BASE, 4096, 1024, 768, 0, 1 },   { FB_BASE, 4096, 1024, 768, 8, 1 },
		{ FB_BASE, 4096, 1024, 768, 33, 1 },  { FB_BASE, 4096, 1024, 768, 255, 1 },
		{ FB_BASE, 4096, 1024, 768, 32, 3 },  { FB_BASE, 3000, 0x40000001, 768, 32, 1 },
		{ FB_BASE, 80, 80, 25, 16, 2 },       { 0xffffffffffff0000, 4096, 1024, 768, 32, 1 },
		{ 0xffffffffffff0000, 0xffffffff, 1024, 0xffffffff, 32, 1 },
	};
	static const uint8_t colours[6] = { 16, 8, 8, 8, 0, 8 };
	uint8_t body[32];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		uint32_t n = screen_body(body, bad[i].base, bad[i].pitch, bad[i].width, bad[i].height, bad[i].bpp, bad[i].type);

		memcpy(body + n, colours, sizeof(colours));
		if (parse_screen(body, n + sizeof(colours)) != BOOT_SCREEN_NONE)
			fail_msg("screen %zu is accepted", i);
	}
	for (uint32_t n = 0; n < 24; n++)
		assert_int_equal(parse_screen(body, n), BOOT_SCREEN_NONE);
}

static void indexed_screens(void **state)
{
	static const uint8_t palette[] = { 10, 10, 10, 0, 0, 255, 0, 0, 5, 250, 250, 250, 255, 0, 0 };
	uint8_t body[64];
	uint32_t n = screen_body(body, 0xa0000, 640, 640, 480, 8, 0);

	(void)state;
	body[n] = 5;
	body[n + 1] = 0;
	memcpy(body + n + 2, palette, sizeof(palette));
	assert_int_equal(parse_screen(body, n + 2 + sizeof(palette)), BOOT_SCREEN_INDEXED);
	assert_int_equal(out.screen.black, 2);
	assert_int_equal(out.screen.white, 3);
	assert_int_equal(parse_screen(body, n + 1 + sizeof(palette)), BOOT_SCREEN_NONE);
	assert_int_equal(parse_screen(body, n), BOOT_SCREEN_NONE);
	memset(body + n + 2, 7, sizeof(palette)); /* nothing could be read on it */
	assert_int_equal(parse_screen(body, n + 2 + sizeof(palette)), BOOT_SCREEN_NONE);
	body[n + 1] = 2; /* 517 entries */
	assert_int_equal(parse_screen(body, sizeof(body)), BOOT_SCREEN_NONE);
}

static void text_screens(void **state)
{
	uint8_t body[32];
	uint32_t n = screen_body(body, 0xb8000, 264, 132, 50, 0, 2);

	(void)state;
	assert_int_equal(parse_screen(body, n), BOOT_SCREEN_TEXT);
	assert_int_equal(out.screen.width, 132);
	assert_int_equal(out.screen.height, 50);
	assert_int_equal(out.screen.pitch, 264);
	assert_int_equal(out.screen.bpp, 16);

	/* A BIOS starts in text mode, also where the loader does not speak of it. */
	begin();
	tag_mmap(&one_range, 1, 24);
	end();
	assert_int_equal(parse(), TF_OK);
	assert_int_equal(out.screen.kind, BOOT_SCREEN_TEXT);
	assert_int_equal(out.screen.base.v, 0xb8000);
	assert_int_equal(out.screen.width, 80);
	assert_int_equal(out.screen.height, 25);
	assert_int_equal(out.screen.pitch, 160);
}

/* On it the refusal is shown: it is found, whatever the tags before it are like. */
static void screen_of_bad_information(void **state)
{
	uint8_t body[32];
	uint32_t n = screen_body(body, 0xb8000, 160, 80, 25, 16, 2);

	(void)state;
	begin();
	tag(3, "1234567", 7);
	tag(8, body, n);
	end();
	refused_for("too short");
	assert_int_equal(out.screen.kind, BOOT_SCREEN_TEXT);
	assert_int_equal(out.screen.height, 25);
}

static void bad_modules(void **state)
{
	char name[BOOT_NAME + 1];

	(void)state;
	begin();
	tag_module(0x2000, 0x1fff, "m");
	end();
	refused_for("before it starts");
	begin();
	tag(3, "1234567", 7);
	end();
	refused_for("too short");
	begin();
	tag(3, "12345678", 8);
	end();
	refused_for("does not end");
	begin();
	tag(3, "11112222name", 12);
	end();
	refused_for("does not end");

	memset(name, 'n', sizeof(name));
	name[BOOT_NAME] = '\0';
	begin();
	tag_module(0x1000, 0x2000, name);
	end();
	refused_for("longer");
	name[BOOT_NAME - 1] = '\0';
	begin();
	tag_module(0x1000, 0x2000, name);
	tag_mmap(&one_range, 1, 24);
	end();
	assert_int_equal(parse(), TF_OK);
	assert_string_equal(out.modules[0].name, name);

	begin();
	tag_mmap(&one_range, 1, 24);
	for (int i = 0; i < BOOT_MAX_MODULES; i++)
		tag_module(0x1000, 0x2000, "m");
	end();
	assert_int_equal(parse(), TF_OK);
	begin();
	for (int i = 0; i <= BOOT_MAX_MODULES; i++)
		tag_module(0x1000, 0x2000, "m");
	end();
	refused_for("64 modules");
}

static void bad_strings(void **state)
{
	(void)state;
	begin();
	tag(1, "abc", 3);
	end();
	refused_for("does not end");
	begin();
	tag(2, "abc", 3);
	end();
	refused_for("does not end");
	begin();
	tag(1, "", 0);
	end();
	refused_for("does not end");
}

/* A loader's name is for the log only: a long one is cut. */
static void long_loader_name(void **state)
{
	char name[200];

	(void)state;
	memset(name, 'G', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	begin();
	tag_string(2, name);
	tag_mmap(&one_range, 1, 24);
	end();
	assert_int_equal(parse(), TF_OK);
	assert_int_equal(strlen(out.loader), sizeof(out.loader) - 1);
}

static void bad_sizes(void **state)
{
	const char *why;
	uint32_t v;

	(void)state;
	begin();
	tag_mmap(&one_range, 1, 24);
	end();
	/* Every cut is refused, whether total_size knows of it or not. */
	for (size_t n = 0; n < at; n++) {
		assert_int_equal(parse_n(n, &why), TF_ETRUNC);
		v = (uint32_t)n;
		memcpy(info, &v, 4);
		if (n >= 8)
			assert_int_equal(parse_n(n, &why), TF_EINVAL);
		v = (uint32_t)at;
		memcpy(info, &v, 4);
	}
	/* What follows total_size is not looked at. */
	assert_int_equal(parse_n(at + 100, &why), TF_OK);

	for (v = 0; v < 8; v++) {
		memcpy(info + 12, &v, 4); /* the first tag's size */
		refused_for("tag's size");
	}
	v = UINT32_MAX;
	memcpy(info + 12, &v, 4);
	refused_for("tag's size");
	v = (uint32_t)at - 8 + 1;
	memcpy(info + 12, &v, 4);
	refused_for("tag's size");
	v = 7;
	memcpy(info, &v, 4);
	assert_int_equal(parse_n(at, &why), TF_ETRUNC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything), cmocka_unit_test(little), cmocka_unit_test(larger_map_entries),
		cmocka_unit_test(old_rsdp), cmocka_unit_test(bad_maps), cmocka_unit_test(bad_modules),
		cmocka_unit_test(neighbours), cmocka_unit_test(efi_map_alone), cmocka_unit_test(efi_map_beside_the_other),
		cmocka_unit_test(efi_tags), cmocka_unit_test(rgb_screens), cmocka_unit_test(impossible_screens),
		cmocka_unit_test(indexed_screens), cmocka_unit_test(text_screens), cmocka_unit_test(screen_of_bad_information),
		cmocka_unit_test(bad_strings), cmocka_unit_test(long_loader_name), cmocka_unit_test(bad_sizes),
	};

	return cmocka_run_group_tests_name("multiboot2", tests, NULL, NULL);
}
