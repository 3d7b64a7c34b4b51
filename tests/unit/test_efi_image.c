/* The EFI loader's reading of trefoil.elf, on files that the test builds from the ELF and Multiboot2 specifications. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "boot/efi/image.h"

#define FILE_SIZE 0x3000
#define TEXT      0x1000 /* offset of the first segment, with the header at its start */
#define HEADER    TEXT
#define DATA      0x2000
#define PHDR(i)   (64 + 56 * (i))

static uint8_t file[FILE_SIZE];
static struct image image;
static const char *why;

static void put(size_t at, uint64_t v, size_t n) { memcpy(file + at, &v, n); }

static void segment(unsigned i, uint32_t type, uint32_t flags, uint64_t offset, uint64_t vaddr, uint64_t paddr, uint64_t filesz,
		    uint64_t memsz)
{
	put(PHDR(i), type, 4);
	put(PHDR(i) + 4, flags, 4);
	put(PHDR(i) + 8, offset, 8);
	put(PHDR(i) + 16, vaddr, 8);
	put(PHDR(i) + 24, paddr, 8);
	put(PHDR(i) + 32, filesz, 8);
	put(PHDR(i) + 40, memsz, 8);
	put(PHDR(i) + 48, 0x1000, 8);
}

static void header(size_t at, uint32_t length)
{
	put(at, 0xe85250d6, 4);
	put(at + 4, 0, 4);
	put(at + 8, length, 4);
	put(at + 12, (uint32_t)-(0xe85250d6u + length), 4);
}

/* A text segment at 2 MiB with a header of a relocatable and an end tag, and a data segment with 0x800 bytes of .bss. */
static int fresh(void **state)
{
	(void)state;
	memset(file, 0, sizeof(file));
	memcpy(file, "\177ELF\2\1\1", 7);
	put(16, 2, 2);
	put(18, 62, 2);
	put(20, 1, 4);
	put(24, 0xffffffff80000100ull, 8);
	put(32, 64, 8);
	put(52, 64, 2);
	put(54, 56, 2);
	put(56, 2, 2);
	segment(0, 1, 5, TEXT, 0xffffffff80000000ull, 0x200000, 0x400, 0x400);
	segment(1, 1, 6, DATA, 0xffffffff80001000ull, 0x201000, 0x800, 0x1000);
	memset(file + TEXT + 0x100, 0x11, 0x300);
	memset(file + DATA, 0x22, 0x800);
	header(HEADER, 16 + 24 + 8);
	put(HEADER + 16, 10, 2);
	put(HEADER + 20, 24, 4);
	put(HEADER + 24, 0x200000, 4);
	put(HEADER + 28, 0xffffffff, 4);
	put(HEADER + 32, 0x200000, 4);
	put(HEADER + 36, 1, 4);
	put(HEADER + 44, 8, 4);
	return 0;
}

/* On a copy whose end the sanitizer watches. */
static enum tf_err check(size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	enum tf_err err;

	memcpy(copy, file, len);
	err = image_check(copy, len, &image, &why);
	assert_int_equal(err == TF_OK, why == NULL);
	free(copy);
	return err;
}

static void refused(const char *expected)
{
	assert_int_equal(check(sizeof(file)), TF_EINVAL);
	if (!strstr(why, expected))
		fail_msg("\"%s\" is not in \"%s\"", expected, why);
}

static void a_good_file(void **state)
{
	uint8_t *to = malloc(0x2000);

	(void)state;
	assert_int_equal(check(sizeof(file)), TF_OK);
	assert_int_equal(image.link, 0x200000);
	assert_int_equal(image.size, 0x2000);
	assert_int_equal(image.entry, 0x100);
	assert_int_equal(image.lowest, 0x200000);
	assert_int_equal(image.highest, 0xffffffff);
	assert_int_equal(image.align, 0x200000);
	assert_false(image.prefer_high);
	memset(to, 0xee, 0x2000);
	image_load(file, &image, to);
	assert_memory_equal(to, file + TEXT, 0x400);
	for (unsigned i = 0x400; i < 0x2000; i++)
		assert_int_equal(to[i], i >= 0x1000 && i < 0x1800 ? 0x22 : 0);
	free(to);
}

static void cut_anywhere(void **state)
{
	(void)state;
	for (size_t n = 0; n < DATA + 0x800; n++)
		assert_int_equal(check(n), TF_EINVAL);
	assert_int_equal(check(DATA + 0x800), TF_OK);
}

static void wrong_elf_headers(void **state)
{
	static const struct { unsigned at, value, size; const char *why; } cases[] = {
		{ 0, 0x7e, 1, "no ELF file" },       { 4, 1, 1, "x86-64" },           { 5, 2, 1, "x86-64" },
		{ 18, 3, 2, "x86-64" },              { 6, 0, 1, "executable" },        { 16, 3, 2, "executable" },
		{ 20, 2, 4, "executable" },          { 54, 32, 2, "program headers" }, { 56, 0, 2, "program headers" },
		{ 56, 65535, 2, "program headers" }, { 32, FILE_SIZE - 56, 8, "cut off" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		fresh(state);
		put(cases[i].at, cases[i].value, cases[i].size);
		refused(cases[i].why);
	}
	fresh(state);
	put(32, UINT64_MAX, 8);
	refused("cut off");
}

static void wrong_segments(void **state)
{
	static const struct { unsigned at; uint64_t value; const char *why; } cases[] = {
		{ PHDR(1) + 32, 0x1001, "larger in the file" },
		{ PHDR(1) + 8, FILE_SIZE, "cut off" },
		{ PHDR(1) + 8, UINT64_MAX - 0xfff, "cut off" },
		{ PHDR(1) + 24, 0xfffff001, "below 4 GiB" },
		{ PHDR(1) + 24, UINT64_MAX, "below 4 GiB" },
		{ PHDR(1) + 40, UINT64_MAX, "below 4 GiB" },
		{ PHDR(1) + 16, UINT64_MAX - 0xff, "wraps" },
		{ PHDR(1) + 48, 0x3000, "alignment" },
		{ PHDR(1) + 48, 0x10000, "alignment" },
		{ PHDR(1) + 24, 0x200000, "over another" },
		{ PHDR(1) + 24, 0x2003ff, "over another" },
		{ PHDR(1) + 24, 0x1ff001, "over another" },
		{ PHDR(1) + 24, 0x8000000, "64 MiB" },
		{ 24, 0xffffffff80000400ull, "entry point" },
		{ 24, 0xffffffff80001000ull, "entry point" }, /* data */
		{ 24, 0x200100, "entry point" },              /* a physical address */
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		fresh(state);
		put(cases[i].at, cases[i].value, 8);
		refused(cases[i].why);
	}
	fresh(state);
	put(PHDR(1) + 4, 7, 4);
	refused("writable and executable");
	fresh(state);
	put(PHDR(1), 3, 4);
	refused("dynamically");
	fresh(state);
	put(PHDR(0), 0, 4);
	put(PHDR(1), 0, 4);
	refused("no segment");
}

static void a_segment_below_the_first(void **state)
{
	fresh(state);
	segment(1, 1, 6, DATA, 0xffffffff80001000ull, 0x1fe000, 0x800, 0x1000);
	refused("multiple of the alignment");
}

static void wrong_multiboot2_headers(void **state)
{
	static const struct { unsigned at, value, size; const char *why; } cases[] = {
		{ HEADER, 0, 4, "no multiboot2 header" },
		{ HEADER + 12, 1, 4, "checksum" },
		{ HEADER + 16, 4, 2, "does not know" },              /* console flags, which we do not do */
		{ HEADER + 20, 7, 4, "tags are wrong" },
		{ HEADER + 20, 0x80, 4, "tags are wrong" },
		{ HEADER + 20, 16, 4, "too short" },
		{ HEADER + 24, 0xffffffff, 4, "relocatable tag is wrong" }, /* lowest is highest */
		{ HEADER + 32, 0, 4, "relocatable tag is wrong" },
		{ HEADER + 32, 0x300000, 4, "relocatable tag is wrong" },
		{ HEADER + 32, 0x80000000, 4, "relocatable tag is wrong" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		fresh(state);
		put(cases[i].at, cases[i].value, cases[i].size);
		refused(cases[i].why);
	}
	fresh(state);
	put(HEADER + 4, 4, 4); /* MIPS, with a checksum that is right */
	put(HEADER + 12, (uint32_t)-(0xe85250d6u + 4 + 48), 4);
	refused("another architecture");
	fresh(state);
	header(HEADER, 0x8000);
	refused("32 KiB");
	fresh(state);
	header(HEADER, 8);
	refused("32 KiB");
	fresh(state);
	header(HEADER, 40); /* without the end tag */
	refused("tags are wrong");
	fresh(state);
	header(HEADER, 24);
	memset(file + HEADER + 16, 0, 8);
	put(HEADER + 20, 8, 4);
	refused("no relocatable tag");
}

static void optional_tags_may_be_unknown(void **state)
{
	fresh(state);
	header(HEADER, 48 + 16);
	memmove(file + HEADER + 32, file + HEADER + 16, 32);
	put(HEADER + 16, 99, 2);
	put(HEADER + 18, 1, 2);
	put(HEADER + 20, 12, 4); /* then 4 bytes of padding */
	assert_int_equal(check(sizeof(file)), TF_OK);
	put(HEADER + 18, 0, 2);
	refused("does not know");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_good_file, fresh),
		cmocka_unit_test_setup(cut_anywhere, fresh),
		cmocka_unit_test(wrong_elf_headers),
		cmocka_unit_test(wrong_segments),
		cmocka_unit_test(a_segment_below_the_first),
		cmocka_unit_test(wrong_multiboot2_headers),
		cmocka_unit_test(optional_tags_may_be_unknown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
