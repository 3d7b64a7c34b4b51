/* The Multiboot loaders against Multiboot 0.6.96 and Multiboot2 2.0, with kernels built here byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>
#include "load_bench.h"

#define FILE_SIZE 0x3000
#define HEADER    0x1000  /* where the header is in the file */
#define LINK      MiB(2)

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fake_ram_init(&f->ram, MiB(15));
	f->file = calloc(1, FILE_SIZE);
	for (unsigned i = 0; i < FILE_SIZE; i++)
		f->file[i] = (uint8_t)(i >> 4);
	f->req = (struct load_request){ .kernel = { f->file, FILE_SIZE, "k" }, .cmdline = "a=1 b", .mem = &f->ram.mem };
	*state = f;
	return 0;
}

static void mb1_header(struct fixture *f, uint32_t flags)
{
	put32(f->file + HEADER, 0x1badb002);
	put32(f->file + HEADER + 4, flags);
	put32(f->file + HEADER + 8, -(0x1badb002 + flags));
}

static void mb1_address(struct fixture *f, uint32_t header, uint32_t load, uint32_t end, uint32_t bss, uint32_t entry)
{
	uint32_t field[] = { header, load, end, bss, entry };

	memcpy(f->file + HEADER + 12, field, sizeof(field));
}

/* An ELF header and two segments: file 2000h..2800h to LINK, and 2800h..2900h to LINK + 10000h with a bss. */
static void elf32(struct fixture *f)
{
	uint8_t *e = f->file, *p = e + 0x40;

	memset(e, 0, 0x100);
	memcpy(e, "\177ELF\1\1\1", 7);
	put16(e + 16, 2);
	put16(e + 18, 3);
	put32(e + 24, 0xc0000010); /* virtual */
	put32(e + 28, 0x40);
	put16(e + 42, 32);
	put16(e + 44, 2);
	put32(p, 1); put32(p + 4, 0x2000); put32(p + 8, 0xc0000000); put32(p + 12, LINK); put32(p + 16, 0x800); put32(p + 20, 0x800);
	p += 32;
	put32(p, 1); put32(p + 4, 0x2800); put32(p + 8, 0xc0010000); put32(p + 12, LINK + 0x10000); put32(p + 16, 0x100);
	put32(p + 20, 0x1000);
}

static void elf64(struct fixture *f)
{
	uint8_t *e = f->file, *p = e + 0x40;

	memset(e, 0, 0x100);
	memcpy(e, "\177ELF\2\1\1", 7);
	put16(e + 16, 2);
	put16(e + 18, 62);
	put64(e + 24, 0xffffffff80000020);
	put64(e + 32, 0x40);
	put16(e + 54, 56);
	put16(e + 56, 1);
	put32(p, 1); put64(p + 8, 0x2000); put64(p + 16, 0xffffffff80000000); put64(p + 24, LINK);
	put64(p + 32, 0x800); put64(p + 40, 0x2000);
}

static void flat_gdt(struct fixture *f)
{
	const uint8_t *gdt = at(f, f->out.gdt_base, f->out.gdt_limit + 1u);

	assert_int_equal(f->out.mode, LOAD_PROTECTED32);
	assert_int_equal(f->out.cr3, 0);
	assert_true(f->out.gdt_limit >= 0x1f);
	assert_int_equal(get64(gdt + f->out.cs), 0x00cf9b000000ffff);
	assert_int_equal(get64(gdt + f->out.ds), 0x00cf93000000ffff);
}

static void test_mb1_elf32(void **state)
{
	struct fixture *f = *state;

	mb1_header(f, 3);
	elf32(f);
	memset(at(f, LINK, 0x20000), 0xee, 0x20000);
	loads(f);
	flat_gdt(f);
	assert_int_equal(f->out.rax, 0x2badb002);
	assert_int_equal(f->out.rip, LINK + 0x10);
	assert_memory_equal(at(f, LINK, 0x800), f->file + 0x2000, 0x800);
	assert_memory_equal(at(f, LINK + 0x10000, 0x100), f->file + 0x2800, 0x100);
	for (unsigned i = 0x100; i < 0x1000; i++)
		assert_int_equal(*at(f, LINK + 0x10000 + i, 1), 0);
	assert_int_equal(*at(f, LINK + 0x11000, 1), 0xee);
}

static void test_mb1_elf64(void **state)
{
	struct fixture *f = *state;

	mb1_header(f, 0);
	elf64(f);
	loads(f);
	assert_int_equal(f->out.rip, LINK + 0x20);
	assert_memory_equal(at(f, LINK, 0x800), f->file + 0x2000, 0x800);
}

static void test_mb1_info(void **state)
{
	struct fixture *f = *state;
	uint8_t one[5000], two[1] = { 9 };
	const uint8_t *i, *m;
	uint64_t entry;

	memset(one, 7, sizeof(one));
	mb1_header(f, 3);
	elf32(f);
	f->req.nmodules = 2;
	f->req.modules[0] = (struct load_blob){ one, sizeof(one), "first x" };
	f->req.modules[1] = (struct load_blob){ two, 1, "second" };
	loads(f);
	i = at(f, f->out.rbx, 116);
	assert_int_equal(get32(i) & 0x24d, 0x24d); /* memory, command line, modules, map, loader's name */
	assert_int_equal(get32(i) & ~0x24du, 0);
	assert_int_equal(get32(i + 4), 0x9f000 / 1024);
	assert_int_equal(get32(i + 8), 15 * 1024);
	assert_string_equal(at(f, get32(i + 16), 6), "a=1 b");
	assert_string_equal(at(f, get32(i + 64), 8), "Trefoil");
	assert_int_equal(get32(i + 20), 2);
	m = at(f, get32(i + 24), 32);
	assert_true(get32(m) % 4096 == 0 && get32(m) >= LINK + 0x11000);
	assert_int_equal(get32(m + 4) - get32(m), 5000);
	assert_memory_equal(at(f, get32(m), 5000), one, 5000);
	assert_string_equal(at(f, get32(m + 8), 8), "first x");
	assert_true(get32(m + 16) % 4096 == 0 && get32(m + 16) >= get32(m + 4));
	assert_int_equal(*at(f, get32(m + 16), 1), 9);
	assert_string_equal(at(f, get32(m + 24), 7), "second");
	/* A map entry's size does not count itself. */
	entry = get32(i + 48);
	for (unsigned n = 0; n < 3; n++) {
		const uint8_t *e = at(f, entry, 24);

		assert_int_equal(get64(e + 4), f->ram.map[n].base);
		assert_int_equal(get64(e + 12), f->ram.map[n].len);
		assert_int_equal(get32(e + 20), f->ram.map[n].type);
		entry += get32(e) + 4;
	}
	assert_int_equal(entry, get32(i + 48) + get32(i + 44));
}

static void test_mb1_address_fields(void **state)
{
	struct fixture *f = *state;

	mb1_header(f, 0x10003);
	mb1_address(f, LINK + 0x800, LINK, LINK + 0x1000, LINK + 0x3000, LINK + 4);
	memset(at(f, LINK, 0x4000), 0xee, 0x4000);
	loads(f);
	assert_int_equal(f->out.rip, LINK + 4);
	assert_memory_equal(at(f, LINK, 0x1000), f->file + HEADER - 0x800, 0x1000);
	assert_int_equal(*at(f, LINK + 0x1000, 1), 0);
	assert_int_equal(*at(f, LINK + 0x2fff, 1), 0);
	assert_int_equal(*at(f, LINK + 0x3000, 1), 0xee);
	mb1_address(f, LINK + 0x800, LINK, 0, 0, LINK + 4); /* all of the file, no bss */
	loads(f);
	assert_memory_equal(at(f, LINK, FILE_SIZE - HEADER + 0x800), f->file + HEADER - 0x800, FILE_SIZE - HEADER + 0x800);

	mb1_address(f, LINK, LINK + 4, 0, 0, LINK + 4);
	refused(f, TF_EINVAL, "load_addr");
	mb1_address(f, LINK + 0x1001, LINK, 0, 0, LINK + 4);
	refused(f, TF_EINVAL, "load_addr");
	mb1_address(f, LINK, LINK, LINK - 1, 0, LINK + 4);
	refused(f, TF_EINVAL, "load_end_addr");
	mb1_address(f, LINK, LINK, LINK + FILE_SIZE, 0, LINK + 4);
	refused(f, TF_ETRUNC, "load_end_addr");
	mb1_address(f, LINK, LINK, LINK + 0x100, LINK + 0xff, LINK + 4);
	refused(f, TF_EINVAL, "bss_end_addr");
	mb1_address(f, LINK, LINK, LINK + 0x100, 0, LINK + 0x100);
	refused(f, TF_ERANGE, "entry_addr");
	mb1_address(f, MiB(900), MiB(900), MiB(900) + 0x100, 0, MiB(900));
	refused(f, TF_EFAULT, "RAM");
}

static void test_mb1_header(void **state)
{
	struct fixture *f = *state;

	elf32(f);
	mb1_header(f, 4);
	refused(f, TF_ENOTSUP, "video");
	mb1_header(f, 0x8000);
	refused(f, TF_ENOTSUP, "required");
	mb1_header(f, 0x20000); /* an unknown optional bit */
	loads(f);
	f->file[HEADER + 8]++;
	refused(f, TF_ENOTSUP, "header");
	mb1_header(f, 0);
	memmove(f->file + 8192 - 12, f->file + HEADER, 12); /* the last place inside 8 KiB, and one behind it */
	memset(f->file + HEADER, 0, 12);
	assert_true(load_is_multiboot(&f->req.kernel));
	memmove(f->file + 8192 - 8, f->file + 8192 - 12, 12);
	assert_false(load_is_multiboot(&f->req.kernel));
	mb1_header(f, 0);
	memmove(f->file + HEADER + 2, f->file + HEADER, 12); /* not 4-aligned */
	memset(f->file + HEADER, 0, 2);
	assert_false(load_is_multiboot(&f->req.kernel));
	mb1_header(f, 0);
	f->req.initrd = f->req.kernel;
	refused(f, TF_EINVAL, "initrd");
}

static void test_elf_checks(void **state)
{
	struct fixture *f = *state;
	uint8_t *e = f->file, *p = e + 0x40;

	mb1_header(f, 0);
	elf32(f); put16(e + 18, 62);
	refused(f, TF_ENOTSUP, "e_machine");
	elf32(f); e[5] = 2;
	refused(f, TF_EINVAL, "endian");
	elf32(f); e[4] = 3;
	refused(f, TF_EINVAL, "class");
	elf32(f); put16(e + 44, 0xffff);
	refused(f, TF_ENOTSUP, "e_phnum");
	elf32(f); put32(e + 28, FILE_SIZE - 63);
	refused(f, TF_ETRUNC, "program headers");
	elf32(f); put16(e + 42, 31);
	refused(f, TF_EINVAL, "e_phentsize");
	elf32(f); put32(p + 4, FILE_SIZE - 0x7ff);
	refused(f, TF_ETRUNC, "p_offset");
	elf32(f); put32(p + 20, 0x7ff);
	refused(f, TF_EINVAL, "p_filesz");
	elf32(f); put32(p + 12, 0xfffffff0);
	refused(f, TF_ERANGE, "4 GiB");
	elf32(f); put32(p + 12, MiB(100));
	refused(f, TF_EFAULT, "RAM");
	elf32(f); put32(e + 24, 0x10);
	refused(f, TF_ERANGE, "e_entry");
	elf32(f); put32(p, 2); put32(p + 32, 4);
	refused(f, TF_EINVAL, "PT_LOAD");
	elf64(f); put64(p + 8, 0xfffffffffffffff0);
	refused(f, TF_ETRUNC, "p_offset");
	elf64(f); put64(p + 40, 0xffffffffffffffff);
	refused(f, TF_ERANGE, "4 GiB");
	elf64(f); put64(e + 32, 0xffffffffffffffff);
	refused(f, TF_ETRUNC, "program headers");
}

static uint8_t *mb2_tag(struct fixture *f, uint16_t type, uint16_t flags, uint32_t size)
{
	uint8_t *t = f->file + f->tag;

	memset(t, 0, (size + 7) & ~7u);
	put16(t, type);
	put16(t + 2, flags);
	put32(t + 4, size);
	f->tag += (size + 7) & ~7u;
	put32(f->file + HEADER + 8, (uint32_t)(f->tag - HEADER));
	put32(f->file + HEADER + 12, -(0xe85250d6 + get32(f->file + HEADER + 4) + (uint32_t)(f->tag - HEADER)));
	return t + 8;
}

static void mb2_begin(struct fixture *f)
{
	put32(f->file + HEADER, 0xe85250d6);
	put32(f->file + HEADER + 4, 0);
	f->tag = HEADER + 16;
}

/* One tag and the end. */
static void mb2_one(struct fixture *f, uint16_t type, uint16_t flags, uint32_t size, const void *body)
{
	mb2_begin(f);
	memcpy(mb2_tag(f, type, flags, size), body, size - 8);
	mb2_tag(f, 0, 0, 8);
}

static const uint8_t *mb2_info_tag(struct fixture *f, uint32_t type, unsigned n)
{
	uint64_t gpa = f->out.rbx, end = gpa + get32(at(f, gpa, 8));

	assert_int_equal(gpa % 8, 0);
	for (gpa += 8; gpa < end; gpa += (get32(at(f, gpa, 8) + 4) + 7) & ~7u) {
		const uint8_t *t = at(f, gpa, 8);

		assert_true(get32(t + 4) >= 8 && gpa + get32(t + 4) <= end);
		if (get32(t) == type && n-- == 0)
			return t;
		if (get32(t) == 0) {
			assert_int_equal(gpa + 8, end);
			return NULL;
		}
	}
	fail_msg("no end tag");
	return NULL;
}

static void test_mb2_info(void **state)
{
	static const uint32_t wanted[] = { 1, 2, 3, 4, 6, 14, 15 };
	struct fixture *f = *state;
	uint8_t module[3] = { 1, 2, 3 };
	const uint8_t *t;

	elf32(f);
	mb2_one(f, 1, 0, 8 + sizeof(wanted), wanted);
	memcpy(f->ram.acpi, "RSD PTR 0123456789abcdef0123456789ab", 36);
	f->req.nmodules = 1;
	f->req.modules[0] = (struct load_blob){ module, 3, "mod arg" };
	loads(f);
	flat_gdt(f);
	assert_int_equal(f->out.rax, 0x36d76289);
	assert_int_equal(f->out.rip, LINK + 0x10);
	t = mb2_info_tag(f, 1, 0);
	assert_string_equal(t + 8, "a=1 b");
	assert_int_equal(get32(t + 4), 8 + 6);
	assert_string_equal(mb2_info_tag(f, 2, 0) + 8, "Trefoil");
	t = mb2_info_tag(f, 3, 0);
	assert_memory_equal(at(f, get32(t + 8), 3), module, 3);
	assert_int_equal(get32(t + 12) - get32(t + 8), 3);
	assert_int_equal(get32(t + 8) % 4096, 0);
	assert_string_equal(t + 16, "mod arg");
	assert_null(mb2_info_tag(f, 3, 1));
	t = mb2_info_tag(f, 4, 0);
	assert_int_equal(get32(t + 8), 0x9f000 / 1024);
	assert_int_equal(get32(t + 12), 15 * 1024);
	t = mb2_info_tag(f, 6, 0);
	assert_int_equal(get32(t + 8), 24);
	assert_int_equal(get32(t + 4), 16 + 3 * 24);
	assert_int_equal(get64(t + 16 + 48), MiB(1));
	assert_int_equal(get32(t + 16 + 24 + 16), 2);
	t = mb2_info_tag(f, 15, 0);
	assert_int_equal(get32(t + 4), 8 + 36);
	assert_memory_equal(t + 8, f->ram.acpi, 36);
	assert_int_equal(get32(mb2_info_tag(f, 14, 0) + 4), 8 + 20);
	assert_null(mb2_info_tag(f, 21, 0));
}

static void test_mb2_required_tags(void **state)
{
	static const struct { uint16_t type; uint32_t body[4]; uint32_t len; const char *word; } bad[] = {
		{ 1, { 7 }, 4, "VBE" }, { 1, { 1, 8 }, 8, "framebuffer" }, { 1, { 9 }, 4, "ELF" }, { 1, { 12 }, 4, "EFI 64-bit" },
		{ 1, { 22 }, 4, "unknown" }, { 1, { 0xffffffff }, 4, "unknown" }, { 4, { 3 }, 4, "console" },
		{ 5, { 0, 0, 0 }, 12, "framebuffer" }, { 11, { 0 }, 4, "unknown" }, { 0x7777, { 0 }, 4, "unknown" },
	};
	struct fixture *f = *state;

	elf32(f);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		mb2_one(f, bad[i].type, 0, 8 + bad[i].len, bad[i].body);
		refused(f, TF_ENOTSUP, bad[i].word);
		mb2_one(f, bad[i].type, 1, 8 + bad[i].len, bad[i].body); /* optional */
		loads(f);
	}
	mb2_one(f, 4, 0, 12, &(uint32_t){ 2 }); /* EGA text is supported, not required */
	loads(f);
	mb2_one(f, 6, 0, 8, "");
	loads(f);
	mb2_one(f, 9, 0, 12, &(uint32_t){ 5 });
	loads(f);
}

static void test_mb2_address(void **state)
{
	uint32_t address[] = { LINK + 0x800, LINK, LINK + 0x1000, LINK + 0x3000 };
	struct fixture *f = *state;

	mb2_one(f, 2, 0, 24, address);
	refused(f, TF_EINVAL, "entry");
	mb2_begin(f);
	memcpy(mb2_tag(f, 2, 0, 24), address, 16);
	put32(mb2_tag(f, 3, 0, 12), LINK + 8);
	mb2_tag(f, 0, 0, 8);
	loads(f);
	assert_int_equal(f->out.rip, LINK + 8);
	assert_memory_equal(at(f, LINK, 0x1000), f->file + HEADER - 0x800, 0x1000);

	address[1] = 0xffffffff; /* from the start of the file */
	address[0] = LINK + HEADER;
	mb2_begin(f);
	memcpy(mb2_tag(f, 2, 0, 24), address, 16);
	put32(mb2_tag(f, 3, 0, 12), LINK + 8);
	mb2_tag(f, 0, 0, 8);
	loads(f);
	assert_memory_equal(at(f, LINK, 0x1000), f->file, 0x1000);
	address[0] = HEADER - 4;
	memcpy(f->file + HEADER + 24, address, 16);
	refused(f, TF_ERANGE, "header_addr");
}

static void test_mb2_relocatable(void **state)
{
	uint32_t body[] = { MiB(4), MiB(8) - 1, MiB(1), 0 };
	struct fixture *f = *state;
	const uint8_t *t;

	elf32(f);
	mb2_one(f, 10, 0, 24, body); /* the link address is below min_addr */
	loads(f);
	assert_int_equal(f->out.rip, MiB(4) + 0x10);
	assert_memory_equal(at(f, MiB(4), 0x800), f->file + 0x2000, 0x800);
	assert_memory_equal(at(f, MiB(4) + 0x10000, 0x100), f->file + 0x2800, 0x100);
	t = mb2_info_tag(f, 21, 0);
	assert_int_equal(get32(t + 4), 12);
	assert_int_equal(get32(t + 8), MiB(4));

	body[3] = 2; /* highest: 11000h bytes below 8 MiB, aligned to 1 MiB */
	mb2_one(f, 10, 0, 24, body);
	loads(f);
	assert_int_equal(f->out.rip, MiB(7) + 0x10);
	body[0] = MiB(1);
	body[3] = 0; /* no preference: where it was linked */
	mb2_one(f, 10, 0, 24, body);
	loads(f);
	assert_int_equal(f->out.rip, LINK + 0x10);
	body[3] = 1;
	mb2_one(f, 10, 0, 24, body);
	loads(f);
	assert_int_equal(f->out.rip, MiB(1) + 0x10);
	body[1] = MiB(1) + 0x10ffe;
	mb2_one(f, 10, 0, 24, body);
	refused(f, TF_ENOMEM, "max_addr");
	body[2] = 3;
	mb2_one(f, 10, 0, 24, body);
	refused(f, TF_EINVAL, "align");
}

static void test_mb2_header(void **state)
{
	struct fixture *f = *state;

	elf32(f);
	mb2_begin(f);
	mb2_tag(f, 6, 0, 8);
	refused(f, TF_ETRUNC, "end tag");
	mb2_one(f, 6, 0, 8, "");
	put32(f->file + HEADER + 16 + 4, 7);
	refused(f, TF_ETRUNC, "size");
	put32(f->file + HEADER + 16 + 4, 0xfffffff8);
	refused(f, TF_ETRUNC, "size");
	mb2_one(f, 3, 0, 8, "");
	refused(f, TF_ETRUNC, "too short");
	put32(f->file + HEADER + 4, 4);
	mb2_tag(f, 0, 0, 8);
	refused(f, TF_ENOTSUP, "i386");
	put32(f->file + HEADER + 4, 0);
	put32(f->file + HEADER + 8, FILE_SIZE);
	put32(f->file + HEADER + 12, -(0xe85250d6 + FILE_SIZE));
	refused(f, TF_ETRUNC, "header_length");
	f->file[HEADER + 12]++;
	f->req.kind = VM_MULTIBOOT2;
	refused(f, TF_EINVAL, "no Multiboot2 header");
}

static void test_long_strings(void **state)
{
	static char text[VM_CMDLINE_MAX];
	struct fixture *f = *state;
	uint8_t byte[VM_MAX_MODULES];
	const uint8_t *t;

	memset(text, 'x', sizeof(text) - 1);
	elf32(f);
	f->req.cmdline = text;
	f->req.nmodules = VM_MAX_MODULES; /* several pages of boot information */
	for (unsigned i = 0; i < VM_MAX_MODULES; i++) {
		byte[i] = (uint8_t)i;
		f->req.modules[i] = (struct load_blob){ &byte[i], 1, text + i };
	}
	mb1_header(f, 3);
	loads(f);
	t = at(f, f->out.rbx, 116);
	assert_string_equal(at(f, get32(t + 16), sizeof(text)), text);
	for (unsigned i = 0; i < VM_MAX_MODULES; i++)
		assert_string_equal(at(f, get32(at(f, get32(t + 24) + 16 * i, 16) + 8), sizeof(text) - i), text + i);
	mb2_one(f, 6, 0, 8, "");
	loads(f);
	assert_string_equal(mb2_info_tag(f, 1, 0) + 8, text);
	for (unsigned i = 0; i < VM_MAX_MODULES; i++) {
		t = mb2_info_tag(f, 3, i);
		assert_string_equal(t + 16, text + i);
		assert_int_equal(*at(f, get32(t + 8), 1), i);
	}
}

/* RAM is what the map says: a segment may lie in two ranges that touch, and not in what is reserved. */
static void test_segments_and_the_map(void **state)
{
	struct fixture *f = *state;
	uint8_t *p = f->file + 0x40;
	struct mem_range map[] = {
		f->ram.map[0], f->ram.map[1], { MiB(1), LINK + 0x400 - MiB(1), MEM_RAM }, { LINK + 0x400, MiB(1), MEM_RAM },
	};

	mb1_header(f, 3);
	elf32(f);
	f->ram.mem.map = map;
	f->ram.mem.nmap = 4;
	loads(f);
	assert_memory_equal(at(f, LINK, 0x800), f->file + 0x2000, 0x800);
	map[3].base++;
	refused(f, TF_EFAULT, "RAM");
	map[3].base--;
	map[3].type = MEM_NVS;
	refused(f, TF_EFAULT, "RAM");
	map[3].type = MEM_RAM;
	map[3].len = 0xc00; /* the second segment is behind it */
	refused(f, TF_EFAULT, "RAM");

	elf32(f);
	f->ram.mem.map = f->ram.map;
	f->ram.mem.nmap = 3;
	f->ram.acpi[0x20] = 0x77;
	put32(p + 12, FAKE_ACPI); /* there, and reserved: the ACPI tables stay as they are */
	refused(f, TF_EFAULT, "RAM");
	assert_int_equal(f->ram.acpi[0x20], 0x77);
	put32(p + 12, MiB(1) - 0x400);
	refused(f, TF_EFAULT, "RAM");
	assert_int_equal(f->ram.acpi[FAKE_ACPI_LEN - 1], 0);
}

/* A kernel that fills the low memory keeps it: the boot data goes elsewhere. */
static void test_kernel_in_low_memory(void **state)
{
	struct fixture *f = *state;
	uint8_t *p = f->file + 0x40;

	mb1_header(f, 3);
	elf32(f);
	put32(p + 12, 0);
	put32(p + 20, 0x9f000);
	put32(p + 32, 0);
	loads(f);
	assert_true(f->out.rbx >= MiB(1) && f->out.gdt_base >= MiB(1) && f->out.rsp >= MiB(1));
	assert_memory_equal(at(f, 0, 0x800), f->file + 0x2000, 0x800);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_mb1_elf32), T(test_mb1_elf64), T(test_mb1_info), T(test_mb1_address_fields), T(test_mb1_header),
		T(test_elf_checks), T(test_mb2_info), T(test_mb2_required_tags), T(test_mb2_address), T(test_mb2_relocatable),
		T(test_mb2_header), T(test_long_strings), T(test_segments_and_the_map),
		T(test_kernel_in_low_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
