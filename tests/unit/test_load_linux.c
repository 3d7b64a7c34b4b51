/* guest/load_linux.c against Linux Documentation/arch/x86/boot.rst; with the real Debian kernel too where the cache has one. */
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "load_bench.h"

#define SETUP_SECTS 3
#define SETUP       ((SETUP_SECTS + 1) * 512)
#define CODE        0x1000
#define HDR_END     0x26c
#define PREF        MiB(16)

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	uint8_t *k = f->file = calloc(1, SETUP + CODE);

	fake_ram_init(&f->ram, MiB(63));
	memset(k, 0xcc, SETUP); /* what is outside the header must not reach boot_params */
	memset(k + 0x1f1, 0, HDR_END - 0x1f1);
	k[0x1f1] = SETUP_SECTS;
	put32(k + 0x1f4, CODE / 16);
	put16(k + 0x1fe, 0xaa55);
	k[0x200] = 0xeb;
	k[0x201] = HDR_END - 0x202;
	memcpy(k + 0x202, "HdrS", 4);
	put16(k + 0x206, 0x020f);
	k[0x211] = 0x81; /* LOADED_HIGH, CAN_USE_HEAP */
	put32(k + 0x22c, 0x7fffffff);
	put32(k + 0x230, MiB(2));
	k[0x234] = 1;
	put16(k + 0x236, 0x1);
	put32(k + 0x238, 255);
	put64(k + 0x258, PREF);
	put32(k + 0x260, MiB(1));
	for (unsigned i = 0; i < CODE; i++)
		k[SETUP + i] = (uint8_t)(i * 7 + 1);
	f->req = (struct load_request){ .kernel = { k, SETUP + CODE, "vmlinuz" }, .cmdline = "console=ttyS0", .mem = &f->ram.mem };
	*state = f;
	return 0;
}

static void test_entry_state(void **state)
{
	struct fixture *f = *state;
	const uint8_t *gdt, *bp;

	loads(f);
	assert_int_equal(f->out.mode, LOAD_LONG64);
	assert_int_equal(f->out.rip, PREF + 0x200);
	assert_int_equal(f->out.cs, 0x10);
	assert_int_equal(f->out.ds, 0x18);
	assert_true(f->out.gdt_limit >= 0x1f);
	gdt = at(f, f->out.gdt_base, f->out.gdt_limit + 1u);
	assert_int_equal(get64(gdt + 0x10), 0x00af9b000000ffff); /* 64-bit code, accessed, flat */
	assert_int_equal(get64(gdt + 0x18), 0x00cf93000000ffff);
	assert_memory_equal(at(f, PREF, CODE), f->file + SETUP, CODE);
	bp = at(f, f->out.rsi, 4096);
	assert_string_equal(at(f, get32(bp + 0x228), 14), "console=ttyS0");
	assert_true(f->out.rsp % 16 == 0 && f->out.rsp > 0);
	at(f, f->out.rsp - 64, 64);
}

/* "The rest of boot_params must be zero": only the header, e820, RSDP and what the loader owns differ from zero. */
static void test_boot_params(void **state)
{
	struct fixture *f = *state;
	const uint8_t *bp;

	loads(f);
	bp = at(f, f->out.rsi, 4096);
	for (unsigned i = 0; i < 0x1f1; i++)
		if (bp[i] && !(i >= 0x70 && i < 0x78) && i != 0x1e8)
			fail_msg("boot_params byte %x is %x", i, bp[i]);
	for (unsigned i = HDR_END; i < 0x2d0; i++)
		assert_int_equal(bp[i], 0);
	assert_int_equal(get64(bp + 0x70), FAKE_ACPI);
	assert_int_equal(bp[0x1f1], SETUP_SECTS);
	assert_memory_equal(bp + 0x1fe, f->file + 0x1fe, 0x210 - 0x1fe);
	assert_memory_equal(bp + 0x22c, f->file + 0x22c, HDR_END - 0x22c);
	assert_int_equal(bp[0x210], 0xff);
	assert_int_equal(bp[0x211], 0x81);
	assert_int_equal(get32(bp + 0x214), PREF);
	assert_int_equal(bp[0x1e8], 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(get64(bp + 0x2d0 + 20 * i), f->ram.map[i].base);
		assert_int_equal(get64(bp + 0x2d8 + 20 * i), f->ram.map[i].len);
		assert_int_equal(get32(bp + 0x2e0 + 20 * i), f->ram.map[i].type);
	}
}

/* A walk through the tables, as the CPU would do it, over 4 GiB. */
static void test_identity_tables(void **state)
{
	struct fixture *f = *state;

	loads(f);
	for (uint64_t va = 0; va < GiB(4); va += MiB(2)) {
		uint64_t e = get64(at(f, f->out.cr3 + (va >> 39) * 8, 8));

		assert_int_equal(e & 0x83, 0x3);
		e = get64(at(f, (e & ~0xfffull) + (va >> 30 & 511) * 8, 8));
		assert_int_equal(e & 0x83, 0x3);
		e = get64(at(f, (e & ~0xfffull) + (va >> 21 & 511) * 8, 8));
		assert_int_equal(e, va | 0x83);
	}
}

static void test_initrd(void **state)
{
	static uint8_t initrd[5000];
	struct fixture *f = *state;
	const uint8_t *bp;

	memset(initrd, 0x5a, sizeof(initrd));
	f->req.initrd = (struct load_blob){ initrd, sizeof(initrd), "x" };
	loads(f);
	bp = at(f, f->out.rsi, 4096);
	assert_int_equal(get32(bp + 0x21c), 5000);
	assert_int_equal(get32(bp + 0x218), MiB(64) - 8192); /* as high as RAM allows, page aligned */
	assert_memory_equal(at(f, get32(bp + 0x218), 5000), initrd, 5000);

	put32(f->file + 0x22c, MiB(40) - 1);
	loads(f);
	assert_int_equal(get32(at(f, f->out.rsi, 4096) + 0x218), MiB(40) - 8192);
	put32(f->file + 0x22c, MiB(1) + 100);
	refused(f, TF_ENOMEM, "initrd_addr_max");
}

static void test_initrd_never_meets_the_kernel(void **state)
{
	struct fixture *f = *state;
	uint8_t *initrd = calloc(1, MiB(48));
	const uint8_t *bp;

	f->req.initrd = (struct load_blob){ initrd, MiB(46), "x" };
	loads(f); /* 47 MiB lie above the kernel's 1 MiB at 16 MiB */
	bp = at(f, f->out.rsi, 4096);
	assert_int_equal(get32(bp + 0x218), MiB(18));
	f->req.initrd.size = MiB(48);
	refused(f, TF_ENOMEM, "initrd");
	free(initrd);
}

/* RAM in pieces: nothing but a page is in one of them, at any place (fake_ram.h). */
static void test_files_of_many_pages(void **state)
{
	static uint8_t initrd[MiB(5) + 123];
	struct fixture *f = *state;
	uint64_t size = SETUP + MiB(7) + 32;
	uint8_t *k = realloc(f->file, size);
	const uint8_t *bp;

	assert_non_null(k);
	f->file = k;
	for (uint64_t i = 0; i < sizeof(initrd); i++)
		initrd[i] = (uint8_t)(i * 31 ^ i >> 12);
	for (uint64_t i = SETUP; i < size; i++)
		k[i] = (uint8_t)(i * 13 ^ i >> 11);
	put32(k + 0x1f4, (uint32_t)((size - SETUP) / 16));
	put32(k + 0x260, MiB(9));
	f->req.kernel = (struct load_blob){ k, size, "vmlinuz" };
	f->req.initrd = (struct load_blob){ initrd, sizeof(initrd), "x" };
	loads(f);
	assert_memory_equal(at(f, PREF, size - SETUP), k + SETUP, size - SETUP);
	bp = at(f, f->out.rsi, 4096);
	assert_memory_equal(at(f, get32(bp + 0x218), sizeof(initrd)), initrd, sizeof(initrd));
}

static void test_relocation(void **state)
{
	struct fixture *f = *state;

	f->ram.map[2].base = MiB(17); /* pref_address is not RAM: the next aligned place is */
	f->ram.map[2].len = MiB(47);
	loads(f);
	assert_int_equal(f->out.rip, MiB(18) + 0x200);
	assert_int_equal(get32(at(f, f->out.rsi, 4096) + 0x214), MiB(18));
	put32(f->file + 0x230, MiB(3));
	refused(f, TF_EINVAL, "kernel_alignment");
	put32(f->file + 0x230, 0);
	refused(f, TF_EINVAL, "kernel_alignment");
	f->file[0x234] = 0;
	refused(f, TF_ENOMEM, "relocatable_kernel");
}

static void test_header_checks(void **state)
{
	struct fixture *f = *state;
	uint8_t *k = f->file;

	f->req.kind = VM_LINUX;
	k[0x1ff] = 0;
	refused(f, TF_EINVAL, "boot_flag");
	k[0x1ff] = 0xaa;
	k[0x202] = 'h';
	refused(f, TF_EINVAL, "HdrS");
	k[0x202] = 'H';
	put16(k + 0x206, 0x020b);
	refused(f, TF_ENOTSUP, "version");
	put16(k + 0x206, 0x020c);
	loads(f);
	put16(k + 0x236, 0xfffe);
	refused(f, TF_ENOTSUP, "XLF_KERNEL_64");
	put16(k + 0x236, 1);
	k[0x211] = 0x80;
	refused(f, TF_ENOTSUP, "LOADED_HIGH");
	k[0x211] = 1;
	k[0x201] = 0x264 - 0x202 - 1;
	refused(f, TF_EINVAL, "init_size");
	k[0x201] = 0x290 - 0x202 + 1;
	refused(f, TF_EINVAL, "boot_params");
	k[0x201] = 0x290 - 0x202;
	loads(f);
}

static void test_sizes(void **state)
{
	struct fixture *f = *state;
	uint8_t *k = f->file;

	k[0x1f1] = 64;
	refused(f, TF_ETRUNC, "setup_sects");
	k[0x1f1] = 0; /* means 4: the code starts one sector later, and the file is one sector short */
	refused(f, TF_ETRUNC, "syssize");
	put32(k + 0x1f4, (CODE - 512) / 16);
	loads(f);
	assert_memory_equal(at(f, PREF, 16), k + SETUP + 512, 16);
	k[0x1f1] = SETUP_SECTS;
	put32(k + 0x1f4, 0xffffffff);
	refused(f, TF_ETRUNC, "syssize");
	put32(k + 0x1f4, 0);
	put32(k + 0x260, MiB(49));
	refused(f, TF_ENOMEM, "init_size");
	put32(k + 0x260, 0xffffffff);
	refused(f, TF_ENOMEM, "init_size");
	put32(k + 0x260, 0); /* the code itself needs its room anyway */
	loads(f);
	put64(k + 0x258, 0xfffffffffffff000);
	refused(f, TF_ENOMEM, "init_size");
	f->req.kernel.size = SETUP + 0x200;
	put64(k + 0x258, PREF);
	refused(f, TF_ETRUNC, "entry");
}

static void test_cmdline_size(void **state)
{
	struct fixture *f = *state;
	char text[300];

	memset(text, 'a', sizeof(text));
	text[255] = '\0';
	f->req.cmdline = text;
	loads(f);
	text[255] = 'a';
	text[256] = '\0';
	refused(f, TF_ERANGE, "cmdline_size");
	f->req.cmdline = NULL;
	loads(f);
	assert_string_equal(at(f, get32(at(f, f->out.rsi, 4096) + 0x228), 1), "");
}

static void test_truncated_files(void **state)
{
	struct fixture *f = *state;

	f->req.kind = VM_LINUX;
	for (uint64_t n = 0; n <= SETUP + CODE - 16; n += n < 0x300 ? 1 : 61) { /* syssize counts paragraphs of 16 */
		uint8_t *copy = malloc(n ? n : 1);

		memcpy(copy, f->file, n);
		f->req.kernel = (struct load_blob){ copy, n, "cut" };
		assert_int_not_equal(load_kernel(&f->req, &f->out, &f->why), TF_OK);
		assert_non_null(f->why);
		free(copy);
	}
}

static void test_wrong_companions(void **state)
{
	struct fixture *f = *state;

	f->req.nmodules = 1;
	f->req.modules[0] = f->req.kernel;
	refused(f, TF_EINVAL, "modules");
	f->req.nmodules = VM_MAX_MODULES + 1;
	refused(f, TF_ERANGE, "modules");
	f->req.nmodules = 0;
	memset(f->file + 0x202, 0, 4);
	refused(f, TF_ENOTSUP, "header");
}

/* The first kernel that the cache of tools/fetch-kernel.sh has. */
static uint8_t *real_kernel(uint64_t *size)
{
	const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	uint8_t *data = NULL;
	char pattern[512];
	glob_t found;

	snprintf(pattern, sizeof(pattern), "%s%s/trefoil/kernels/*/boot/vmlinuz-*", xdg ? xdg : home ? home : "", xdg ? "" : "/.cache");
	if (glob(pattern, 0, NULL, &found) == 0) {
		FILE *in = fopen(found.gl_pathv[0], "rb");

		if (in && fseek(in, 0, SEEK_END) == 0) {
			*size = (uint64_t)ftell(in);
			rewind(in);
			data = malloc(*size);
			if (fread(data, 1, *size, in) != *size) {
				free(data);
				data = NULL;
			}
		}
		if (in)
			fclose(in);
		globfree(&found);
	}
	return data;
}

static void test_real_kernel(void **state)
{
	struct fixture *f = *state;
	uint64_t size = 0, skip;
	uint8_t *k = real_kernel(&size);

	if (!k)
		skip();
	fake_ram_free(&f->ram);
	fake_ram_init(&f->ram, MiB(127));
	f->req.kernel = (struct load_blob){ k, size, "vmlinuz" };
	loads(f);
	skip = (k[0x1f1] + 1ull) * 512;
	assert_int_equal(f->out.rip, get64(k + 0x258) + 0x200);
	assert_memory_equal(at(f, f->out.rip - 0x200, size - skip), k + skip, size - skip);
	free(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_entry_state), T(test_boot_params), T(test_identity_tables), T(test_initrd),
		T(test_initrd_never_meets_the_kernel), T(test_files_of_many_pages), T(test_relocation), T(test_header_checks), T(test_sizes),
		T(test_cmdline_size), T(test_truncated_files), T(test_wrong_companions), T(test_real_kernel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
