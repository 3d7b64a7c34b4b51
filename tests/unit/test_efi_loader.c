/* The EFI loader's pure parts: memory map, pixel formats, list of files, and tags that the hypervisor's parser reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "boot/efi/names.h"
#include "boot/efi/pixels.h"
#include "boot/efi/tags.h"
#include "boot/multiboot2.h"
#include <tf/string.h>

/* UEFI Specification, "EFI_BOOT_SERVICES.GetMemoryMap()": types and attributes. */
enum { RESERVED, LOADER_CODE, LOADER_DATA, BS_CODE, BS_DATA, RT_CODE, RT_DATA, CONVENTIONAL, UNUSABLE, ACPI_RECLAIM, ACPI_NVS,
       MMIO, MMIO_PORT, PAL, PERSISTENT };
#define WB 8ull
#define SP (1ull << 18)
#define STRIDE 48 /* as today's firmware: 8 more than the structure */

static uint8_t descriptors[1024 * STRIDE];
static size_t ndescriptors;
static struct mem_range ranges[1024];

static void descriptor(uint32_t type, uint64_t start, uint64_t pages, uint64_t attributes)
{
	uint64_t d[STRIDE / 8] = { type, start, 0, pages, attributes, 0xaaaaaaaaaaaaaaaaull };

	memcpy(descriptors + ndescriptors++ * STRIDE, d, STRIDE);
}

static struct efi_map the_map(void)
{
	return (struct efi_map){ descriptors, ndescriptors * STRIDE, STRIDE };
}

static uint32_t convert(uint32_t max, bool *cut)
{
	struct efi_map map = the_map();

	return efi_map_convert(&map, ranges, max, cut);
}

static void check_range(uint32_t i, uint64_t base, uint64_t len, enum mem_type type)
{
	assert_int_equal(ranges[i].base, base);
	assert_int_equal(ranges[i].len, len);
	assert_int_equal(ranges[i].type, type);
}

static int fresh(void **state)
{
	(void)state;
	ndescriptors = 0;
	return 0;
}

/* ACPI Specification 6.5, "UEFI Memory Types and mapping to ACPI address range types" */
static void types_are_those_of_acpi(void **state)
{
	static const enum mem_type want[] = {
		[RESERVED] = MEM_RESERVED, [LOADER_CODE] = MEM_RAM, [LOADER_DATA] = MEM_RAM, [BS_CODE] = MEM_RAM,
		[BS_DATA] = MEM_RAM, [RT_CODE] = MEM_RESERVED, [RT_DATA] = MEM_RESERVED, [CONVENTIONAL] = MEM_RAM,
		[UNUSABLE] = MEM_BAD, [ACPI_RECLAIM] = MEM_ACPI, [ACPI_NVS] = MEM_NVS, [MMIO] = MEM_RESERVED,
		[MMIO_PORT] = MEM_RESERVED, [PAL] = MEM_RESERVED, [PERSISTENT] = MEM_RESERVED, [15] = MEM_RESERVED,
	};
	bool cut;

	(void)state;
	for (uint32_t i = 0; i < ARRAY_SIZE(want); i++)
		descriptor(i, i * 0x10000, 1, WB); /* gaps between them */
	descriptor(0x80000001, 0x200000, 1, WB);   /* "reserved for use by UEFI OS loaders" */
	assert_int_equal(convert(64, &cut), ARRAY_SIZE(want) + 1);
	assert_false(cut);
	for (uint32_t i = 0; i < ARRAY_SIZE(want); i++)
		check_range(i, i * 0x10000, 0x1000, want[i]);
	check_range(ARRAY_SIZE(want), 0x200000, 0x1000, MEM_RESERVED);
}

static void memory_that_is_no_plain_ram(void **state)
{
	bool cut;

	(void)state;
	descriptor(CONVENTIONAL, 0, 1, WB | SP);
	descriptor(CONVENTIONAL, 0x10000, 1, 1);
	assert_int_equal(convert(64, &cut), 2);
	check_range(0, 0, 0x1000, MEM_RESERVED);
	check_range(1, 0x10000, 0x1000, MEM_RESERVED);
}

static void sorted_and_merged(void **state)
{
	bool cut;

	(void)state;
	descriptor(CONVENTIONAL, 0x100000, 0x100, WB);
	descriptor(BS_DATA, 0x300000, 0x100, WB);
	descriptor(RT_DATA, 0x400000, 1, WB);
	descriptor(BS_CODE, 0, 0x80, WB);
	descriptor(LOADER_DATA, 0x200000, 0x100, WB); /* closes the gap */
	descriptor(ACPI_NVS, 0x401000, 1, WB);
	assert_int_equal(convert(64, &cut), 4);
	check_range(0, 0, 0x80000, MEM_RAM);
	check_range(1, 0x100000, 0x300000, MEM_RAM);
	check_range(2, 0x400000, 0x1000, MEM_RESERVED);
	check_range(3, 0x401000, 0x1000, MEM_NVS);
}

static void merging_downwards(void **state)
{
	bool cut;

	(void)state;
	for (uint64_t i = 100; i-- > 0;)
		descriptor(i % 2 ? LOADER_CODE : BS_DATA, i << 12, 1, WB);
	assert_int_equal(convert(1, &cut), 1);
	assert_false(cut);
	check_range(0, 0, 100 << 12, MEM_RAM);
}

static void impossible_descriptors_are_passed_over(void **state)
{
	bool cut;

	(void)state;
	descriptor(CONVENTIONAL, 0x1000, 0, WB);
	descriptor(CONVENTIONAL, 0x1000, UINT64_MAX, WB);
	descriptor(CONVENTIONAL, 0xfffffffffffff000ull, 2, WB);
	descriptor(CONVENTIONAL, 0x5000, 1, WB);
	assert_int_equal(convert(64, &cut), 1);
	check_range(0, 0x5000, 0x1000, MEM_RAM);
}

static void no_room(void **state)
{
	bool cut;

	(void)state;
	for (uint64_t i = 0; i < 10; i++)
		descriptor(CONVENTIONAL, i << 20, 1, WB);
	assert_int_equal(convert(9, &cut), 9);
	assert_true(cut);
	check_range(8, 8 << 20, 0x1000, MEM_RAM);
}

static void a_stride_that_is_too_small(void **state)
{
	struct efi_map map = { descriptors, sizeof(descriptors), 39 };
	bool cut;

	(void)state;
	assert_int_equal(efi_map_convert(&map, ranges, 64, &cut), 0);
	map.descriptor_size = 0;
	assert_int_equal(efi_map_convert(&map, ranges, 64, &cut), 0);
}

static void finding_a_place(void **state)
{
	struct efi_map map;
	uint64_t at;

	(void)state;
	descriptor(BS_DATA, 0x200000, 0x1000, WB);          /* taken */
	descriptor(CONVENTIONAL, 0x1200000, 0x300, WB);      /* 3 MiB from 18 MiB */
	descriptor(CONVENTIONAL, 0x4100000, 0x500, WB);      /* 5 MiB from 65 MiB */
	descriptor(CONVENTIONAL, 0x8000000, 0x10000, WB | SP);
	descriptor(CONVENTIONAL, 0x100000000ull, 0x100000, WB);
	map = the_map();
	assert_true(efi_map_find(&map, 0x80000, 0x200000, 0x200000, 0xffffffff, false, &at));
	assert_int_equal(at, 0x1200000);
	assert_true(efi_map_find(&map, 0x300000, 0x200000, 0x200000, 0xffffffff, false, &at));
	assert_int_equal(at, 0x1200000);
	assert_true(efi_map_find(&map, 0x301000, 0x200000, 0x200000, 0xffffffff, false, &at));
	assert_int_equal(at, 0x4200000);
	assert_false(efi_map_find(&map, 0x401000, 0x200000, 0x200000, 0xffffffff, false, &at)); /* aligned, 4 MiB are left */
	assert_true(efi_map_find(&map, 0x80000, 0x200000, 0x200000, 0xffffffff, true, &at));
	assert_int_equal(at, 0x4400000);
	assert_true(efi_map_find(&map, 0x80000, 0x200000, 0x1200001, 0xffffffff, false, &at));
	assert_int_equal(at, 0x1400000);
	assert_true(efi_map_find(&map, 0x1000, 0x1000, 0, 0x1200fff, false, &at)); /* highest is the last byte */
	assert_false(efi_map_find(&map, 0x1000, 0x1000, 0, 0x1200ffe, false, &at));
}

static struct pixel_mode mode_of(uint32_t format)
{
	return (struct pixel_mode){ .width = 1024, .height = 768, .pixels_per_line = 1040, .format = format, .base = 0x80000000 };
}

static void check_colour(struct boot_colour c, unsigned shift, unsigned bits)
{
	assert_int_equal(c.shift, shift);
	assert_int_equal(c.bits, bits);
}

static void pixel_formats(void **state)
{
	struct pixel_mode mode = mode_of(PIXEL_BGRX);
	struct boot_screen s;

	(void)state;
	assert_true(pixels_screen(&mode, &s));
	assert_int_equal(s.kind, BOOT_SCREEN_RGB);
	assert_int_equal(s.base.v, 0x80000000);
	assert_int_equal(s.pitch, 1040 * 4);
	assert_int_equal(s.width, 1024);
	assert_int_equal(s.height, 768);
	assert_int_equal(s.bpp, 32);
	check_colour(s.red, 16, 8);
	check_colour(s.green, 8, 8);
	check_colour(s.blue, 0, 8);
	mode = mode_of(PIXEL_RGBX);
	assert_true(pixels_screen(&mode, &s));
	check_colour(s.red, 0, 8);
	check_colour(s.blue, 16, 8);
	mode = mode_of(PIXEL_BIT_MASK);
	mode.red = 0xf800, mode.green = 0x07e0, mode.blue = 0x001f;
	assert_true(pixels_screen(&mode, &s));
	assert_int_equal(s.bpp, 16);
	assert_int_equal(s.pitch, 1040 * 2);
	check_colour(s.red, 11, 5);
	check_colour(s.green, 5, 6);
	check_colour(s.blue, 0, 5);
	mode.red = 0x3ff00000, mode.green = 0x000ffc00, mode.blue = 0x3ff, mode.reserved = 0xc0000000;
	assert_true(pixels_screen(&mode, &s));
	assert_int_equal(s.bpp, 32);
	check_colour(s.red, 20, 10);
	mode.red = 0xff000000, mode.green = 0xff0000, mode.blue = 0xff00, mode.reserved = 0xff;
	assert_true(pixels_screen(&mode, &s));
	check_colour(s.red, 24, 8);
	check_colour(s.blue, 8, 8);
}

static void no_screen(const struct pixel_mode *mode)
{
	struct boot_screen s;

	memset(&s, 0xff, sizeof(s));
	assert_false(pixels_screen(mode, &s));
	assert_int_equal(s.kind, BOOT_SCREEN_NONE);
}

static void modes_that_cannot_be_painted_to(void **state)
{
	struct pixel_mode mode = mode_of(PIXEL_BLT_ONLY);

	(void)state;
	no_screen(&mode);
	mode = mode_of(77);
	no_screen(&mode);
	mode = mode_of(PIXEL_RGBX), mode.base = 0;
	no_screen(&mode);
	mode = mode_of(PIXEL_RGBX), mode.width = 0;
	no_screen(&mode);
	mode = mode_of(PIXEL_RGBX), mode.height = 0;
	no_screen(&mode);
	mode = mode_of(PIXEL_RGBX), mode.pixels_per_line = 1023;
	no_screen(&mode);
	mode = mode_of(PIXEL_RGBX), mode.pixels_per_line = 0x40000000; /* the pitch has 32 bits */
	no_screen(&mode);
	mode = mode_of(PIXEL_RGBX), mode.base = UINT64_MAX - 0x1000;
	no_screen(&mode);
	mode = mode_of(PIXEL_RGBX), mode.size = 1040 * 4 - 1;
	no_screen(&mode);
	mode = mode_of(PIXEL_BIT_MASK); /* no masks */
	no_screen(&mode);
	mode.red = 0xff0000, mode.green = 0xf0f0, mode.blue = 0xf; /* two runs */
	no_screen(&mode);
	mode.green = 0xff00, mode.blue = 0x1ff; /* overlap */
	no_screen(&mode);
}

static void only_lines_that_lie_in_the_framebuffer(void **state)
{
	struct pixel_mode mode = mode_of(PIXEL_RGBX);
	struct boot_screen s;

	(void)state;
	mode.size = 1040 * 4 * 768;
	assert_true(pixels_screen(&mode, &s));
	assert_int_equal(s.height, 768);
	mode.size--;
	assert_true(pixels_screen(&mode, &s));
	assert_int_equal(s.height, 767);
	mode.size = 1024 * 4 * 768; /* the width without the padding */
	assert_true(pixels_screen(&mode, &s));
	assert_int_equal(s.height, 756);
	assert_int_equal(s.pitch, 1040 * 4);
}

static void ignore(void *ctx, unsigned line, const char *vm, const char *key, const char *expected)
{
	(void)ctx, (void)line, (void)vm, (void)key, (void)expected;
}

static void files_are_listed_once_and_in_order(void **state)
{
	static const char text[] =
		"[vm a]\nkernel = vmlinuz\ninitrd = a.img\nmemory = 64M\n"
		"[vm b]\nkernel = vmlinuz\ninitrd = b.img\nmemory = 64M\n"
		"[vm broken]\nkernel = lost\nmemory = none\n"
		"[vm c]\nkind = multiboot\nkernel = gnumach\nmodule = boot/exec -x --y\nmodule = \"a.img root\"\nmemory = 64M\n";
	static const char *const want[] = { "vmlinuz", "a.img", "b.img", "gnumach", "boot/exec" };
	const struct config_report report = { .error = ignore };
	struct config *config = malloc(sizeof(*config));
	struct names names;

	(void)state;
	assert_int_equal(config_parse(text, sizeof(text) - 1, config, &report), TF_OK);
	names_collect(config, &names);
	assert_int_equal(names.n, ARRAY_SIZE(want));
	assert_false(names.cut);
	for (size_t i = 0; i < ARRAY_SIZE(want); i++)
		assert_string_equal(names.name[i], want[i]);
	free(config);
}

static void more_files_than_modules(void **state)
{
	struct config *config = calloc(1, sizeof(*config));
	static struct names names;

	(void)state;
	config->nvms = 33; /* 66 files, and trefoil.conf is a module of its own */
	for (uint32_t i = 0; i < config->nvms; i++) {
		assert_true(tf_snprintf(config->vms[i].kernel, VM_PATH_MAX, "k%u", i) > 0);
		assert_true(tf_snprintf(config->vms[i].initrd, VM_PATH_MAX, "i%u", i) > 0);
	}
	names_collect(config, &names);
	assert_int_equal(names.n, BOOT_MAX_MODULES - 1);
	assert_true(names.cut);
	free(config);
}

static size_t write_all(uint8_t *buf, size_t size, bool *ok)
{
	static const uint8_t rsdp[36] = "RSD PTR ";
	struct pixel_mode mode = mode_of(PIXEL_RGBX);
	struct efi_map map;
	struct boot_screen s;
	struct tags t;
	bool cut;

	ndescriptors = 0;
	descriptor(BS_CODE, 0, 0x9f, WB);
	descriptor(CONVENTIONAL, 0x100000, 0xff00, WB);
	map = the_map();
	assert_true(pixels_screen(&mode, &s));
	tags_begin(&t, buf, size);
	tags_screen(&t, &s);
	tags_command_line(&t, "");
	tags_loader_name(&t, "a loader");
	tags_load_base(&t, 0x600000);
	tags_module(&t, 0x700000, 0x700027, "trefoil.conf");
	tags_module(&t, 0xfffff000, 0xffffffff, "boot/kernel");
	tags_efi_system_table(&t, 0x123456789aull);
	tags_rsdp(&t, false, rsdp, 20);
	tags_rsdp(&t, true, rsdp, 36);
	tags_memory_map(&t, ranges, efi_map_convert(&map, ranges, 64, &cut));
	tags_efi_map(&t, &map, 1);
	*ok = tags_end(&t);
	return t.at;
}

static void the_hypervisor_understands_it(void **state)
{
	static struct boot_info info;
	uint8_t *buf = malloc(4096);
	const char *why;
	size_t n;
	bool ok;

	(void)state;
	n = write_all(buf, 4096, &ok);
	assert_true(ok);
	assert_int_equal(n % 8, 0);
	assert_int_equal(multiboot2_parse(buf, n, &info, &why), TF_OK);
	assert_string_equal(info.cmdline, "");
	assert_string_equal(info.loader, "a loader");
	assert_int_equal(info.load_base.v, 0x600000);
	assert_int_equal(info.nmodules, 2);
	assert_int_equal(info.modules[0].start.v, 0x700000);
	assert_int_equal(info.modules[0].size, 0x27);
	assert_string_equal(info.modules[0].name, "trefoil.conf");
	assert_int_equal(info.modules[1].start.v, 0xfffff000);
	assert_int_equal(info.modules[1].size, 0xfff);
	assert_string_equal(info.modules[1].name, "boot/kernel");
	assert_true(info.efi);
	assert_true(info.has_rsdp);
	assert_memory_equal(info.rsdp, "RSD PTR ", 8);
	assert_int_equal(info.nranges, 2);
	assert_int_equal(info.ranges[1].base, 0x100000);
	assert_int_equal(info.ranges[1].len, 0xff00000);
	assert_int_equal(info.ranges[1].type, MEM_RAM);
	assert_int_equal(info.screen.kind, BOOT_SCREEN_RGB);
	assert_int_equal(info.screen.base.v, 0x80000000);
	assert_int_equal(info.screen.pitch, 1040 * 4);
	assert_int_equal(info.screen.width, 1024);
	assert_int_equal(info.screen.height, 768);
	assert_int_equal(info.screen.bpp, 32);
	check_colour(info.screen.red, 0, 8);
	check_colour(info.screen.blue, 16, 8);
	free(buf);
}

static void a_buffer_of_any_size(void **state)
{
	uint8_t *full = malloc(4096);
	bool ok;
	size_t need = write_all(full, 4096, &ok);

	(void)state;
	for (size_t size = 0; size <= need; size++) {
		uint8_t *buf = malloc(size ? size : 1); /* the sanitizer watches its end */

		(void)write_all(buf, size, &ok);
		assert_int_equal(ok, size == need);
		free(buf);
	}
	free(full);
}

static void without_a_screen_there_is_no_tag(void **state)
{
	struct boot_screen none = { .kind = BOOT_SCREEN_NONE };
	uint8_t buf[64];
	struct tags t;

	(void)state;
	tags_begin(&t, buf, sizeof(buf));
	tags_screen(&t, &none);
	assert_int_equal(t.at, 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(types_are_those_of_acpi, fresh),
		cmocka_unit_test_setup(memory_that_is_no_plain_ram, fresh),
		cmocka_unit_test_setup(sorted_and_merged, fresh),
		cmocka_unit_test_setup(merging_downwards, fresh),
		cmocka_unit_test_setup(impossible_descriptors_are_passed_over, fresh),
		cmocka_unit_test_setup(no_room, fresh),
		cmocka_unit_test_setup(a_stride_that_is_too_small, fresh),
		cmocka_unit_test_setup(finding_a_place, fresh),
		cmocka_unit_test(pixel_formats),
		cmocka_unit_test(modes_that_cannot_be_painted_to),
		cmocka_unit_test(only_lines_that_lie_in_the_framebuffer),
		cmocka_unit_test(files_are_listed_once_and_in_order),
		cmocka_unit_test(more_files_than_modules),
		cmocka_unit_test(the_hypervisor_understands_it),
		cmocka_unit_test(a_buffer_of_any_size),
		cmocka_unit_test(without_a_screen_there_is_no_tag),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
