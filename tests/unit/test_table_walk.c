/* The audit's reader of EPT and of the hypervisor's page tables: on tables of ept.c, and on entries written by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "arch/x86_64/pte.h"
#include "ept/ept_audit.h"
#include "tests/ept_fake.h"

#define SEEN_MAX  64
#define PHYS_BITS 39

static struct fake_memory *mem;

static struct seen {
	unsigned tables, leaves, wrongs;
	struct table_leaf leaf[SEEN_MAX];
	struct { uint64_t addr, entry; const char *what; } wrong[SEEN_MAX];
	uint64_t refused; /* a frame that is not to be read */
} seen;

static int setup(void **state)
{
	(void)state;
	mem = malloc(sizeof(*mem));
	memset(mem, 0, sizeof(*mem));
	mem->budget = UINT32_MAX;
	memset(&seen, 0, sizeof(seen));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(mem);
	return 0;
}

static const uint64_t *see_table(void *ctx, uint64_t frame, uint64_t addr)
{
	(void)addr;
	seen.tables++;
	return frame == seen.refused ? NULL : fake_virt(ctx, HPA(frame));
}

static void see_leaf(void *ctx, const struct table_leaf *leaf)
{
	(void)ctx;
	assert_true(seen.leaves < SEEN_MAX);
	assert_true(!seen.leaves || leaf->addr >= seen.leaf[seen.leaves - 1].addr + seen.leaf[seen.leaves - 1].size);
	seen.leaf[seen.leaves++] = *leaf;
}

static void see_wrong(void *ctx, uint64_t addr, uint64_t entry, const char *what)
{
	(void)ctx;
	assert_true(seen.wrongs < SEEN_MAX);
	seen.wrong[seen.wrongs].addr = addr;
	seen.wrong[seen.wrongs].entry = entry;
	seen.wrong[seen.wrongs++].what = what;
}

static void walk_bits(const struct table_format *format, uint64_t root, unsigned bits)
{
	const struct table_walk w = { format, bits, mem, see_table, see_leaf, see_wrong };

	table_walk(&w, root);
}

static uint64_t new_frame(void)
{
	hpa_t p;

	assert_int_equal(fake_alloc(mem, &p), TF_OK);
	return p.v;
}

static uint64_t *table(uint64_t frame) { return fake_virt(mem, HPA(frame)); }

static void assert_leaf(unsigned i, uint64_t addr, uint64_t frame, uint64_t size, uint64_t rights)
{
	assert_true(i < seen.leaves);
	assert_int_equal(seen.leaf[i].addr, addr);
	assert_int_equal(seen.leaf[i].frame, frame);
	assert_int_equal(seen.leaf[i].size, size);
	assert_int_equal(seen.leaf[i].rights, rights);
}

static void what_ept_maps_is_seen(void **state)
{
	struct ept_host host = fake_host(mem);
	struct ept ept;

	(void)state;
	assert_int_equal(ept_init(&ept, &host, true, true), TF_OK);
	assert_int_equal(ept_map(&ept, GPA(KiB(8)), HPA(0x7000), KiB(4), EPT_R, MT_WB), TF_OK);
	assert_int_equal(ept_map(&ept, GPA(MiB(2)), HPA(MiB(64)), MiB(4), EPT_RWX, MT_WB), TF_OK);
	assert_int_equal(ept_map(&ept, GPA(GiB(1)), HPA(GiB(5)), GiB(1), EPT_R | EPT_W, MT_UC), TF_OK);
	assert_int_equal(ept_map(&ept, GPA(BIT(47)), HPA(GiB(2)), KiB(4), EPT_RWX, MT_WB), TF_OK);
	walk_bits(&ept_table_format, ept.root.v, 52);
	assert_int_equal(seen.wrongs, 0);
	assert_int_equal(seen.tables, ept.tables);
	assert_int_equal(seen.leaves, 5);
	assert_leaf(0, KiB(8), 0x7000, KiB(4), EPT_R);
	assert_leaf(1, MiB(2), MiB(64), MiB(2), EPT_RWX);
	assert_leaf(2, MiB(4), MiB(66), MiB(2), EPT_RWX);
	assert_leaf(3, GiB(1), GiB(5), GiB(1), EPT_R | EPT_W);
	assert_leaf(4, BIT(47), GiB(2), KiB(4), EPT_RWX);
	ept_destroy(&ept);
}

/* Root, PDPT, PD, PT at address 0, with these bits in the entries that refer to tables; frame[3] is the PT. */
static void chain(uint64_t frame[4], uint64_t bits)
{
	for (unsigned i = 0; i < 4; i++)
		frame[i] = new_frame();
	for (unsigned i = 0; i < 3; i++)
		table(frame[i])[0] = frame[i + 1] | bits;
}

static void rights_are_those_of_all_levels(void **state)
{
	uint64_t f[4];

	(void)state;
	chain(f, EPT_RWX);
	table(f[1])[0] &= ~EPT_W;
	table(f[3])[5] = 0x5000 | EPT_RWX | MT_WB << 3;
	walk_bits(&ept_table_format, f[0], 52);
	assert_leaf(0, 0x5000, 0x5000, KiB(4), EPT_R | EPT_X);

	memset(&seen, 0, sizeof(seen));
	for (unsigned i = 0; i < 3; i++)
		table(f[i])[0] = f[i + 1] | PTE_P | PTE_W | PTE_U;
	table(f[3])[5] = 0;
	table(f[3])[1] = 0x1000 | PTE_P | PTE_W | PTE_U;
	table(f[3])[2] = 0x2000 | PTE_P | PTE_NX;
	walk_bits(&pte_table_format, f[0], 52);
	assert_int_equal(seen.wrongs, 0);
	assert_leaf(0, 0x1000, 0x1000, KiB(4), PTE_W | PTE_U | PTE_NX); /* PTE_NX of the rights: executable */
	assert_leaf(1, 0x2000, 0x2000, KiB(4), 0);

	memset(&seen, 0, sizeof(seen));
	table(f[0])[0] = f[1] | PTE_P | PTE_U;           /* read-only from the top */
	table(f[2])[0] = f[3] | PTE_P | PTE_W | PTE_NX;  /* and neither executable nor user's below */
	walk_bits(&pte_table_format, f[0], 52);
	assert_leaf(0, 0x1000, 0x1000, KiB(4), 0);
}

/* One entry of the level (3 is the root) that is wrong, or right: the walk goes on behind it either way. */
static const char *verdict(const struct table_format *format, unsigned level, uint64_t entry)
{
	uint64_t f[4], good = format == &ept_table_format ? EPT_RWX : PTE_P | PTE_W;
	const char *what = NULL;

	setup(NULL);
	chain(f, good);
	table(f[3 - level])[7] = entry;
	seen.refused = entry & TABLE_ADDR;
	walk_bits(format, f[0], 52); /* the fake frames are high */
	assert_true(seen.wrongs <= 1);
	if (seen.wrongs) {
		assert_int_equal(seen.wrong[0].addr, 7 * table_level_size(level));
		assert_int_equal(seen.wrong[0].entry, entry);
		what = seen.wrong[0].what;
	}
	teardown(NULL);
	return what;
}

/* SDM 3C, "EPT Misconfigurations" */
static void ept_misconfigurations(void **state)
{
	const struct table_format *f = &ept_table_format;
	const uint64_t wb = MT_WB << 3;

	(void)state;
	for (unsigned level = 0; level < 4; level++) {
		assert_non_null(verdict(f, level, GiB(1) | EPT_W | wb));
		assert_non_null(verdict(f, level, GiB(1) | EPT_W | EPT_X | wb));
		assert_non_null(verdict(f, level, GiB(1) | EPT_X | wb));
	}
	for (unsigned level = 1; level < 4; level++) {
		assert_null(verdict(f, level, GiB(1) | EPT_RWX | BIT(8)));
		for (unsigned bit = 3; bit < 7; bit++)
			assert_non_null(verdict(f, level, GiB(1) | EPT_RWX | BIT(bit)));
	}
	assert_non_null(verdict(f, 3, GiB(1) | EPT_RWX | BIT(7)));
	for (unsigned level = 0; level < 3; level++) {
		uint64_t large = level ? BIT(7) : 0;

		for (unsigned type = 0; type < 8; type++)
			assert_true(!verdict(f, level, GiB(1) | EPT_RWX | large | type << 3) ==
				    (type == 0 || type == 1 || type == 4 || type == 5 || type == 6));
		for (unsigned bit = 12; bit < 12 + 9 * level; bit++)
			assert_non_null(verdict(f, level, GiB(1) | BIT(bit) | EPT_RWX | large | wb));
		assert_null(verdict(f, level, GiB(1) | BIT(8) | BIT(9) | BIT(52) | EPT_R | large | wb));
	}
}

/* SDM 3A, "Reserved Bits and 4-Level Paging" and the formats of the entries */
static void reserved_bits_of_page_tables(void **state)
{
	const struct table_format *f = &pte_table_format;

	(void)state;
	assert_non_null(verdict(f, 3, GiB(1) | PTE_P | PTE_PS));
	assert_null(verdict(f, 2, GiB(1) | PTE_P | PTE_PS | BIT(12))); /* PAT */
	assert_non_null(verdict(f, 2, GiB(1) | PTE_P | PTE_PS | BIT(13)));
	assert_non_null(verdict(f, 1, GiB(1) | PTE_P | PTE_PS | BIT(20)));
	assert_null(verdict(f, 1, GiB(1) | PTE_P | PTE_PS | BIT(21)));
	assert_null(verdict(f, 0, GiB(1) | PTE_P | PTE_PS)); /* PAT there */
	assert_non_null(verdict(f, 0, GiB(1) | PTE_P | BIT(52)));
	assert_null(verdict(f, 0, GiB(1) | PTE_W | PTE_NX | BIT(62))); /* not present: anything goes */
}

static void addresses_beyond_the_cpu(void **state)
{
	uint64_t f[4];

	(void)state;
	chain(f, EPT_RWX); /* the frames are above PHYS_BITS */
	walk_bits(&ept_table_format, f[0], PHYS_BITS);
	assert_int_equal(seen.wrongs, 1);
	assert_int_equal(seen.tables, 1);
	walk_bits(&pte_table_format, f[0], PHYS_BITS);
	assert_int_equal(seen.wrongs, 2);
}

static void a_table_that_is_refused_is_passed_by(void **state)
{
	uint64_t f[4];

	(void)state;
	chain(f, EPT_RWX);
	table(f[1])[1] = GiB(1) | EPT_R | BIT(7) | MT_WB << 3;
	seen.refused = f[3];
	table(f[0])[1] = f[3] | EPT_RWX;
	walk_bits(&ept_table_format, f[0], 52);
	assert_int_equal(seen.tables, 5);
	assert_int_equal(seen.leaves, 1);
	assert_int_equal(seen.wrongs, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_ept_maps_is_seen, setup, teardown),
		cmocka_unit_test_setup_teardown(rights_are_those_of_all_levels, setup, teardown),
		cmocka_unit_test(ept_misconfigurations),
		cmocka_unit_test(reserved_bits_of_page_tables),
		cmocka_unit_test_setup_teardown(addresses_beyond_the_cpu, setup, teardown),
		cmocka_unit_test_setup_teardown(a_table_that_is_refused_is_passed_by, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
