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
	assert_string_equal(out.modules[1].name, "empty a b");
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
	refused_for("256");
}

static void bad_modules(void **state)
{
	char name[BOOT_STRING + 1];

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
	name[BOOT_STRING] = '\0';
	begin();
	tag_module(0x1000, 0x2000, name);
	end();
	refused_for("longer");
	name[BOOT_STRING - 1] = '\0';
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
		cmocka_unit_test(bad_strings), cmocka_unit_test(long_loader_name), cmocka_unit_test(bad_sizes),
	};

	return cmocka_run_group_tests_name("multiboot2", tests, NULL, NULL);
}
