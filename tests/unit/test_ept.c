/* Guest-physical address spaces against a naive model, the SDM's entry layout, and an allocator that fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "tests/ept_fake.h"

static struct fake_memory *mem;
static struct ept ept;
static uint64_t seed;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void start(bool large_2m, bool large_1g)
{
	struct ept_host host = fake_host(mem);

	memset(mem, 0, sizeof(*mem));
	mem->budget = UINT32_MAX;
	seed = 0x853c49e6748fea9bull;
	assert_int_equal(ept_init(&ept, &host, large_2m, large_1g), TF_OK);
	assert_int_equal(ept.tables, 1);
}

static void finish(void)
{
	fake_check_tables(mem, &ept);
	ept_destroy(&ept);
	assert_int_equal(mem->nused, 0);
	assert_int_equal(ept.tables, 0);
}

static int setup(void **state)
{
	(void)state;
	mem = malloc(sizeof(*mem));
	return mem ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	free(mem);
	return 0;
}

static void map(uint64_t gpa, uint64_t hpa, uint64_t len)
{
	assert_int_equal(ept_map(&ept, GPA(gpa), HPA(hpa), len, EPT_RWX, MT_WB), TF_OK);
}

static uint64_t raw(uint64_t table, unsigned index)
{
	return mem->frame[fake_index(mem, table)][index];
}

/* Page sizes in use, and a digest of everything that is mapped. */
struct census { unsigned n4k, n2m, n1g; uint64_t last, digest; };

static bool count_leaf(void *ctx, gpa_t gpa, const struct ept_leaf *leaf)
{
	struct census *c = ctx;
	const uint64_t words[] = { gpa.v, leaf->hpa.v, leaf->size, leaf->prot, (uint64_t)leaf->type };

	assert_true(gpa.v >= c->last);
	c->last = gpa.v + leaf->size;
	c->n4k += leaf->size == KiB(4);
	c->n2m += leaf->size == MiB(2);
	c->n1g += leaf->size == GiB(1);
	for (unsigned k = 0; k < ARRAY_SIZE(words); k++)
		c->digest = (c->digest ^ words[k]) * 0x9e3779b97f4a7c15ull + (c->digest >> 29);
	return true;
}

static struct census census(void)
{
	struct census c = { 0 };

	ept_for_each(&ept, count_leaf, &c);
	return c;
}

static void assert_census(unsigned n4k, unsigned n2m, unsigned n1g)
{
	struct census c = census();

	assert_int_equal(c.n4k, n4k);
	assert_int_equal(c.n2m, n2m);
	assert_int_equal(c.n1g, n1g);
}

/* SDM 3C, "Extended-Page-Table Pointer (EPTP)", and the formats of the entries, as numbers. */
static void test_layout(void **state)
{
	(void)state;
	start(true, true);
	assert_int_equal(ept_pointer(&ept, false), ept.root.v | 0x1e);
	assert_int_equal(ept_pointer(&ept, true), ept.root.v | 0x5e);

	assert_int_equal(ept_map(&ept, GPA(GiB(3)), HPA(GiB(64)), GiB(1), EPT_R | EPT_W | EPT_X, MT_WB), TF_OK);
	assert_int_equal(ept_map(&ept, GPA(MiB(2)), HPA(MiB(6)), MiB(2), EPT_R | EPT_X, MT_WT), TF_OK);
	assert_int_equal(ept_map(&ept, GPA(KiB(8)), HPA(0xfee00000), KiB(4), EPT_R | EPT_W, MT_UC), TF_OK);
	assert_int_equal(ept_map(&ept, GPA(KiB(12)), HPA(0xffffffffff000), KiB(4), EPT_R, MT_WC), TF_OK);
	assert_int_equal(ept_map(&ept, GPA(KiB(16)), HPA(KiB(4)), KiB(4), EPT_R, MT_WP), TF_OK);
	uint64_t pml4e = raw(ept.root.v, 0);
	assert_int_equal(pml4e & 0xfff, 7);
	uint64_t pdpt = pml4e & ~0xfffull;
	assert_int_equal(raw(pdpt, 3), GiB(64) | 0xb7); /* bit 7, type 6, RWX */
	uint64_t pd = raw(pdpt, 0) & ~0xfffull;
	assert_int_equal(raw(pd, 1), MiB(6) | 0xa5); /* bit 7, type 4, R X */
	uint64_t pt = raw(pd, 0) & ~0xfffull;
	assert_int_equal(raw(pt, 2), 0xfee00003);
	assert_int_equal(raw(pt, 3), 0xffffffffff009);
	assert_int_equal(raw(pt, 4), 0x1029);
	finish();
}

static void test_page_sizes(void **state)
{
	(void)state;
	start(true, true);
	map(GiB(1) - MiB(2) - KiB(4), GiB(5) - MiB(2) - KiB(4), GiB(1) + MiB(2) + KiB(8));
	assert_census(1 + 1, 1, 1);
	finish();

	start(true, true); /* the physical side is only 2 MiB-aligned */
	map(GiB(1), GiB(5) + MiB(2), GiB(1));
	assert_census(0, 512, 0);
	assert_int_equal(ept.tables, 3);
	finish();

	start(true, true); /* and only 4 KiB-aligned */
	map(MiB(2), KiB(4), MiB(4));
	assert_census(1024, 0, 0);
	assert_int_equal(ept.tables, 5);
	finish();

	start(true, false);
	map(GiB(1), GiB(5), GiB(1));
	assert_census(0, 512, 0);
	finish();

	start(false, true); /* 1 GiB pages are of no use if they cannot be split to 2 MiB ones */
	map(GiB(1), GiB(1), GiB(1));
	assert_census(512 * 512, 0, 0);
	finish();

	start(true, true); /* to the very end of the space */
	map(BIT(48) - GiB(2), BIT(52) - GiB(2), GiB(2));
	assert_census(0, 0, 2);
	struct ept_leaf leaf;
	assert_int_equal(ept_walk(&ept, GPA(BIT(48) - 1), &leaf), TF_OK);
	assert_int_equal(leaf.hpa.v, BIT(52) - 1);
	assert_int_equal(ept_walk(&ept, GPA(BIT(48)), &leaf), TF_ENOENT);
	assert_int_equal(ept_walk(&ept, GPA(UINT64_MAX), &leaf), TF_ENOENT);
	finish();
}

static void test_splits(void **state)
{
	(void)state;
	start(true, true);
	map(GiB(1), GiB(7), GiB(2));
	assert_int_equal(ept.tables, 2);
	assert_int_equal(ept_unmap(&ept, GPA(GiB(1) + MiB(4)), MiB(2)), TF_OK); /* 1 GiB to 2 MiB once */
	assert_int_equal(ept.tables, 3);
	assert_census(0, 511, 1);
	assert_int_equal(ept_unmap(&ept, GPA(GiB(2) + KiB(4)), KiB(4)), TF_OK); /* both edges in one 2 MiB page */
	assert_int_equal(ept.tables, 5);
	assert_census(511, 511 + 511, 0);
	assert_int_equal(ept_protect(&ept, GPA(GiB(2) + MiB(8) - KiB(4)), KiB(8), EPT_R), TF_OK); /* in two */
	assert_int_equal(ept.tables, 7);
	struct ept_leaf leaf;
	assert_int_equal(ept_walk(&ept, GPA(GiB(2) + MiB(8) + 5), &leaf), TF_OK);
	assert_int_equal(leaf.hpa.v, GiB(8) + MiB(8) + 5);
	assert_int_equal(leaf.size, KiB(4));
	assert_int_equal(leaf.prot, EPT_R);
	assert_int_equal(leaf.type, MT_WB);
	assert_int_equal(ept_walk(&ept, GPA(GiB(2) + MiB(8) + KiB(4)), &leaf), TF_OK);
	assert_int_equal(leaf.prot, EPT_RWX);
	assert_int_equal(ept_unmap(&ept, GPA(0), BIT(48)), TF_OK);
	assert_int_equal(ept.tables, 1);
	assert_int_equal(ept_unmap(&ept, GPA(0), BIT(48)), TF_OK); /* holes are fine */
	finish();
}

static void assert_page(uint64_t gpa, uint32_t cpu_prot, uint64_t size)
{
	struct ept_leaf cpu;

	assert_true(fake_translate(mem, ept_pointer(&ept, true), gpa, &cpu));
	assert_int_equal(cpu.prot, cpu_prot);
	assert_int_equal(cpu.size, size);
	assert_int_equal(cpu.hpa.v, gpa);
}

/* "Machine Check Error Avoidance on Page Size Change": no page that is executable is large. */
static void test_small_exec(void **state)
{
	(void)state;
	start(true, true);
	ept.small_exec = true;
	map(GiB(1), GiB(1), GiB(2));
	map(MiB(2), MiB(2), MiB(2));
	map(MiB(8), MiB(8), KiB(8));
	assert_int_equal(ept_map(&ept, GPA(MiB(4)), HPA(MiB(4)), MiB(2), EPT_R | EPT_W, MT_WB), TF_OK);
	assert_page(GiB(1), EPT_R | EPT_W, GiB(1));
	assert_page(MiB(2), EPT_R | EPT_W, MiB(2));
	assert_page(MiB(8), EPT_RWX, KiB(4));
	struct ept_leaf leaf;
	assert_int_equal(ept_walk(&ept, GPA(GiB(1)), &leaf), TF_OK);
	assert_int_equal(leaf.prot, EPT_RWX); /* as it was mapped */
	assert_int_equal(ept_exec_tables(&ept), 2 * (512 + 1) + 1);

	uint64_t tables = ept.tables;
	assert_int_equal(ept_make_executable(&ept, GPA(GiB(1) + MiB(6) + 123)), TF_OK);
	assert_int_equal(ept.tables, tables + 2);
	assert_page(GiB(1) + MiB(6), EPT_RWX, KiB(4));
	assert_page(GiB(1) + MiB(8) - KiB(4), EPT_RWX, KiB(4));
	assert_page(GiB(1) + MiB(8), EPT_R | EPT_W, MiB(2));
	assert_page(GiB(1), EPT_R | EPT_W, MiB(2));
	assert_page(GiB(2), EPT_R | EPT_W, GiB(1));
	assert_int_equal(ept_make_executable(&ept, GPA(GiB(1) + MiB(6) + KiB(8))), TF_OK); /* it is already */
	assert_int_equal(ept_make_executable(&ept, GPA(MiB(8))), TF_OK);
	assert_int_equal(ept.tables, tables + 2);
	assert_int_equal(ept_exec_tables(&ept), 511 + 512 + 1 + 1);
	assert_int_equal(ept_make_executable(&ept, GPA(MiB(4))), TF_ENOENT);
	assert_int_equal(ept_make_executable(&ept, GPA(MiB(10))), TF_ENOENT);
	assert_int_equal(ept_make_executable(&ept, GPA(BIT(48))), TF_ENOENT);

	/* What splits for another reason is executable in its small pages, and what is no more to be executed is not. */
	assert_int_equal(ept_protect(&ept, GPA(MiB(2)), KiB(4), EPT_R), TF_OK);
	assert_page(MiB(2), EPT_R, KiB(4));
	assert_page(MiB(2) + KiB(4), EPT_RWX, KiB(4));
	assert_int_equal(ept_protect(&ept, GPA(GiB(2)), GiB(1), EPT_R), TF_OK);
	assert_int_equal(ept_make_executable(&ept, GPA(GiB(2))), TF_ENOENT);
	assert_int_equal(ept_protect(&ept, GPA(GiB(2)), GiB(1), EPT_R | EPT_X), TF_OK);
	assert_page(GiB(2), EPT_R, GiB(1));
	for (unsigned budget = 0; budget < 2; budget++) {
		mem->budget = budget;
		assert_int_equal(ept_make_executable(&ept, GPA(GiB(2) + MiB(4))), TF_ENOMEM);
		assert_page(GiB(2) + MiB(4), EPT_R, GiB(1));
	}
	mem->budget = UINT32_MAX;
	assert_int_equal(ept_make_executable(&ept, GPA(GiB(2) + MiB(4))), TF_OK);
	assert_page(GiB(2) + MiB(4), EPT_R | EPT_X, KiB(4));
	fake_check_tables(mem, &ept);
	finish();

	start(true, true); /* on other CPUs nothing changes */
	map(GiB(1), GiB(1), GiB(1));
	assert_page(GiB(1), EPT_RWX, GiB(1));
	assert_int_equal(ept_exec_tables(&ept), 0);
	assert_int_equal(ept_make_executable(&ept, GPA(GiB(1))), TF_OK);
	assert_page(GiB(1), EPT_RWX, GiB(1));
	finish();
}

/* SDM 3C, "Accessed and Dirty Flags for EPT": a split must not lose what the CPU has recorded. */
static void test_accessed_dirty(void **state)
{
	(void)state;
	start(true, true);
	map(0, 0, GiB(1));
	uint64_t pdpt = raw(ept.root.v, 0) & ~0xfffull;
	mem->frame[fake_index(mem, pdpt)][0] |= 0x300;
	assert_int_equal(ept_protect(&ept, GPA(MiB(2)), MiB(2), EPT_R), TF_OK);
	uint64_t pd = raw(pdpt, 0) & 0xffffffffff000;
	assert_int_equal(raw(pd, 0) & 0xfff, 0x3b7);
	assert_int_equal(raw(pd, 1) & 0xfff, 0x3b1);
	assert_int_equal(raw(pdpt, 0) & 0xfff, 0x107);
	finish();
}

static void test_refusals(void **state)
{
	(void)state;
	start(true, true);
	map(MiB(4), MiB(4), MiB(4));
	struct census before = census();
#define MAP(gpa, hpa, len, prot, type) ept_map(&ept, GPA(gpa), HPA(hpa), len, prot, (enum x86_memtype)(type))
	assert_int_equal(MAP(1, 0, KiB(4), EPT_R, MT_WB), TF_EINVAL);
	assert_int_equal(MAP(0, 0x800, KiB(4), EPT_R, MT_WB), TF_EINVAL);
	assert_int_equal(MAP(0, 0, 0xfff, EPT_R, MT_WB), TF_EINVAL);
	assert_int_equal(MAP(0, 0, KiB(4), 0, MT_WB), TF_EINVAL);
	assert_int_equal(MAP(0, 0, KiB(4), EPT_W, MT_WB), TF_EINVAL); /* a misconfiguration */
	assert_int_equal(MAP(0, 0, KiB(4), EPT_W | EPT_X, MT_WB), TF_EINVAL);
	assert_int_equal(MAP(0, 0, KiB(4), EPT_R | 8, MT_WB), TF_EINVAL);
	for (int type = 0; type < 9; type++)
		if (type == 2 || type == 3 || type > 6) /* reserved; UC- is the PAT's alone */
			assert_int_equal(MAP(0, 0, KiB(4), EPT_R, type), TF_EINVAL);
	assert_int_equal(MAP(BIT(48), 0, KiB(4), EPT_R, MT_WB), TF_ERANGE);
	assert_int_equal(MAP(BIT(48) - KiB(4), 0, KiB(8), EPT_R, MT_WB), TF_ERANGE);
	assert_int_equal(MAP(KiB(8), 0, 0ull - KiB(4), EPT_R, MT_WB), TF_ERANGE); /* the sum overflows */
	assert_int_equal(MAP(0, BIT(52) - KiB(4), KiB(8), EPT_R, MT_WB), TF_ERANGE);
	assert_int_equal(MAP(0, 0ull - KiB(4), KiB(8), EPT_R, MT_WB), TF_ERANGE);
	assert_int_equal(MAP(0, 0, MiB(4) + KiB(4), EPT_R, MT_WB), TF_EEXIST); /* only the last page is in the way */
	assert_int_equal(MAP(MiB(8) - KiB(4), 0, KiB(8), EPT_R, MT_WB), TF_EEXIST);
	assert_int_equal(MAP(0, 0, GiB(4), EPT_R, MT_WB), TF_EEXIST);
	assert_int_equal(ept_unmap(&ept, GPA(MiB(4) + 1), KiB(4)), TF_EINVAL);
	assert_int_equal(ept_unmap(&ept, GPA(KiB(4)), BIT(48)), TF_ERANGE);
	assert_int_equal(ept_protect(&ept, GPA(MiB(4)), MiB(4) + KiB(4), EPT_R), TF_ENOENT);
	assert_int_equal(ept_protect(&ept, GPA(MiB(4) - KiB(4)), KiB(8), EPT_R), TF_ENOENT);
	assert_int_equal(ept_protect(&ept, GPA(MiB(4)), MiB(2), EPT_W), TF_EINVAL);
	assert_int_equal(ept_protect(&ept, GPA(MiB(4)), MiB(2) + 1, EPT_R), TF_EINVAL);
	/* An empty range is nothing to do, wherever it lies. */
	assert_int_equal(MAP(MiB(4), 0, 0, EPT_R, MT_WB), TF_OK);
	assert_int_equal(ept_unmap(&ept, GPA(MiB(4) + KiB(4)), 0), TF_OK);
	assert_int_equal(ept_protect(&ept, GPA(MiB(4) + KiB(4)), 0, EPT_R), TF_OK);
	assert_int_equal(census().digest, before.digest);
	finish();
}

static bool stop_at_third(void *ctx, gpa_t gpa, const struct ept_leaf *leaf)
{
	(void)gpa;
	(void)leaf;
	return ++*(unsigned *)ctx < 3;
}

static void test_for_each_stops(void **state)
{
	unsigned calls = 0;

	(void)state;
	start(true, true);
	map(GiB(1) - MiB(4), 0, MiB(8));
	map(GiB(600), 0, GiB(1));
	ept_for_each(&ept, stop_at_third, &calls);
	assert_int_equal(calls, 3);
	finish();
}

/* Lets each allocation of an operation fail in turn: nothing may have changed, until there is enough. */
static unsigned fail_each(enum tf_err (*operation)(void))
{
	struct census before = census();
	unsigned tables = mem->nused;

	for (unsigned budget = 0; budget < 64; budget++) {
		mem->budget = budget;
		enum tf_err err = operation();
		unsigned left = mem->budget;

		mem->budget = UINT32_MAX;
		fake_check_tables(mem, &ept);
		if (err == TF_OK) {
			assert_int_equal(left, 0); /* what it takes, it needs */
			return budget;
		}
		assert_int_equal(err, TF_ENOMEM);
		assert_int_equal(census().digest, before.digest);
		assert_int_equal(mem->nused, tables);
	}
	fail();
	return 0;
}

static enum tf_err map_across(void)
{
	return ept_map(&ept, GPA(GiB(512) - MiB(2) - KiB(4)), HPA(GiB(8) - MiB(2) - KiB(4)), GiB(1) + MiB(4) + KiB(8),
		       EPT_RWX, MT_WB);
}

static enum tf_err unmap_inside_one(void) { return ept_unmap(&ept, GPA(GiB(1) + KiB(4)), KiB(4)); }
static enum tf_err protect_inside_one(void) { return ept_protect(&ept, GPA(GiB(1) + KiB(4)), MiB(6), EPT_R); }
static enum tf_err unmap_over_two(void) { return ept_unmap(&ept, GPA(GiB(2) - KiB(4)), KiB(8)); }
static enum tf_err unmap_half(void) { return ept_unmap(&ept, GPA(GiB(1) + KiB(4)), GiB(1) - KiB(4)); }

static void test_no_memory(void **state)
{
	struct ept_host host = fake_host(mem);

	(void)state;
	memset(mem, 0, sizeof(*mem));
	assert_int_equal(ept_init(&ept, &host, true, true), TF_ENOMEM);
	assert_int_equal(mem->nused, 0);

	start(true, true);
	map(GiB(512) - MiB(8), 0, MiB(2)); /* so that a part of the tables is there before */
	/* A PDPT, two PDs and two PTs; the PDPT and a PD exist: 1 + 1 + 2. */
	assert_int_equal(fail_each(map_across), 4);
	finish();

	static const struct { enum tf_err (*operation)(void); unsigned tables; } splits[] = {
		{ unmap_inside_one, 2 }, { protect_inside_one, 3 }, { unmap_over_two, 4 }, { unmap_half, 2 },
	};
	for (unsigned k = 0; k < ARRAY_SIZE(splits); k++) {
		start(true, true);
		map(GiB(1), GiB(1), GiB(2));
		assert_int_equal(fail_each(splits[k].operation), splits[k].tables);
		finish();
	}
}

/* The naive model: one record per 4 KiB page of a window that has a whole 1 GiB page and a bit at each side. */
#define WINDOW     (GiB(1) - MiB(6))
#define WINDOW_END (GiB(2) + MiB(6))
#define PAGES      ((WINDOW_END - WINDOW) / PAGE_SIZE)

struct page { uint64_t hpa; uint8_t prot, type; };
static struct page model[PAGES]; /* prot 0: not mapped */
static uint64_t verified;

static void verify_page(uint64_t page)
{
	const struct page *want = &model[page];
	uint64_t offset = rnd() % PAGE_SIZE, gpa = WINDOW + page * PAGE_SIZE + offset;
	struct ept_leaf walk, cpu;
	enum tf_err err = ept_walk(&ept, GPA(gpa), &walk);
	bool there = fake_translate(mem, ept_pointer(&ept, true), gpa, &cpu);

	verified++;
	assert_int_equal(err, want->prot ? TF_OK : TF_ENOENT);
	assert_int_equal(there, want->prot != 0);
	if (!there)
		return;
	assert_int_equal(walk.hpa.v, want->hpa + offset);
	assert_int_equal(walk.prot, want->prot);
	assert_int_equal(walk.type, want->type);
	assert_int_equal(cpu.hpa.v, walk.hpa.v);
	assert_int_equal(cpu.size, walk.size);
	assert_int_equal(cpu.prot, ept.small_exec && cpu.size > PAGE_SIZE ? walk.prot & ~EPT_X : walk.prot);
	assert_int_equal(cpu.type, walk.type);
}

static void verify_around(uint64_t first, uint64_t end)
{
	const uint64_t pages[] = { first, end - 1, first - 1, end, first + (end - first) / 2 };

	for (unsigned k = 0; k < ARRAY_SIZE(pages); k++)
		if (pages[k] < PAGES)
			verify_page(pages[k]);
	for (unsigned k = 0; k < 20; k++)
		verify_page(rnd() % PAGES);
}

static void random_range(uint64_t *first, uint64_t *end)
{
	static const uint64_t grains[] = { 1, 1, 16, 512, 512, 512 * 32 };
	uint64_t grain = grains[rnd() % ARRAY_SIZE(grains)], base = WINDOW / PAGE_SIZE;

	if (rnd() % 12 == 0) {
		*first = GiB(1) / PAGE_SIZE - base;
		*end = GiB(2) / PAGE_SIZE - base;
		return;
	}
	*first = rnd() % PAGES;
	if (grain > 16)
		*first = ALIGN_UP(*first + base, grain) - base;
	*end = *first + (1 + rnd() % 8) * grain;
	if (*first >= PAGES)
		*first = PAGES - 1;
	if (*end > PAGES || *end <= *first)
		*end = PAGES;
}

static bool all(uint64_t first, uint64_t end, bool mapped)
{
	for (uint64_t p = first; p < end; p++)
		if ((model[p].prot != 0) != mapped)
			return false;
	return true;
}

static void random_fetch(void)
{
	uint64_t page = rnd() % PAGES, gpa = WINDOW + page * PAGE_SIZE + rnd() % PAGE_SIZE;
	struct ept_leaf cpu;

	mem->budget = rnd() % 4 ? UINT32_MAX : (uint32_t)(rnd() % 3);
	enum tf_err err = ept_make_executable(&ept, GPA(gpa));
	if (err == TF_ENOMEM)
		assert_int_equal(mem->budget, 0);
	else
		assert_int_equal(err, model[page].prot & EPT_X ? TF_OK : TF_ENOENT);
	mem->budget = UINT32_MAX;
	bool there = fake_translate(mem, ept_pointer(&ept, true), gpa, &cpu);
	if (!err)
		assert_true(there && (cpu.prot & EPT_X));
	verify_around(page, page + 1);
	fake_check_tables(mem, &ept);
}

static void random_step(void)
{
	static const uint32_t prots[] = { EPT_R, EPT_R | EPT_W, EPT_R | EPT_X, EPT_RWX };
	static const enum x86_memtype types[] = { MT_UC, MT_WC, MT_WT, MT_WP, MT_WB };
	uint32_t prot = prots[rnd() % ARRAY_SIZE(prots)];
	enum x86_memtype type = types[rnd() % ARRAY_SIZE(types)];
	uint64_t first, end, skew = rnd() % 6 ? 0 : rnd() % 2 ? KiB(4) : MiB(2);
	unsigned what = rnd() % 16;

	random_range(&first, &end);
	gpa_t gpa = GPA(WINDOW + first * PAGE_SIZE);
	uint64_t len = (end - first) * PAGE_SIZE, hpa = gpa.v + GiB(4 + rnd() % 1000) + skew;

	mem->budget = rnd() % 4 ? UINT32_MAX : (uint32_t)(rnd() % 5);
	enum tf_err want = TF_OK, err;
	if (what < 8) {
		want = all(first, end, false) ? TF_OK : TF_EEXIST;
		err = ept_map(&ept, gpa, HPA(hpa), len, prot, type);
	} else if (what < 12) {
		err = ept_unmap(&ept, gpa, len);
	} else {
		want = all(first, end, true) ? TF_OK : TF_ENOENT;
		err = ept_protect(&ept, gpa, len, prot);
	}
	if (err == TF_ENOMEM)
		assert_int_equal(mem->budget, 0);
	else
		assert_int_equal(err, want);
	mem->budget = UINT32_MAX;
	for (uint64_t p = first; p < end && !err; p++) {
		if (what < 8)
			model[p] = (struct page){ hpa + (p - first) * PAGE_SIZE, (uint8_t)prot, (uint8_t)type };
		else if (what < 12)
			model[p].prot = 0;
		else
			model[p].prot = (uint8_t)prot;
	}
	verify_around(first, end);
	fake_check_tables(mem, &ept);
}

static void test_random(void **state)
{
	(void)state;
	for (unsigned sizes = 0; sizes < 5; sizes++) {
		start(sizes >= 1, sizes >= 2);
		ept.small_exec = sizes >= 3;
		seed += sizes;
		memset(model, 0, sizeof(model));
		for (unsigned step = 0; step < 600; step++) {
			random_step();
			random_fetch();
			if (step % 200 == 199)
				for (uint64_t p = 0; p < PAGES; p++)
					verify_page(p);
			if (step % 150 == 149) { /* begin again with an empty window: large pages become possible */
				assert_int_equal(ept_unmap(&ept, GPA(WINDOW), WINDOW_END - WINDOW), TF_OK);
				memset(model, 0, sizeof(model));
				assert_int_equal(ept.tables, 1);
			}
		}
		finish();
	}
	assert_true(verified > PAGES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layout),
		cmocka_unit_test(test_page_sizes),
		cmocka_unit_test(test_splits),
		cmocka_unit_test(test_small_exec),
		cmocka_unit_test(test_accessed_dirty),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_for_each_stops),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
