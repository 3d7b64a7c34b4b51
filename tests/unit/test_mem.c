/* guest/mem.c over a fake physical memory: what is mapped, what is promised, and what comes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>
#include "../ept_fake.h"
#include "lib/buddy.h"
#include "tests/unit/rng.h"

/* guest/mem.c is built here, with an access to frames of the host's own. */
#define phys_to_virt physmap_to_virt
#include "arch/x86_64/paging.h"
#undef phys_to_virt
static void *phys_to_virt(hpa_t p);
#include "guest/mem.c"

#define PHYS_BASE  GiB(64) /* where the machine's RAM begins */
#define PHYS_LEN   GiB(8)
#define MAX_LEAVES (1u << 16)

static struct {
	uint8_t *ram;          /* address space only: a page costs nothing until it is touched */
	void *storage;
	struct buddy buddy;
	uint64_t outstanding;  /* frames */
	unsigned max_order;    /* larger blocks are refused */
	unsigned fail_percent; /* of all requests, at random */
} machine;

static struct fake_memory tables;
static void *phys_to_virt(hpa_t p)
{
	assert_true(p.v >= PHYS_BASE && p.v < PHYS_BASE + PHYS_LEN);
	return machine.ram + (p.v - PHYS_BASE);
}

enum tf_err frame_alloc(unsigned order, hpa_t *out)
{
	uint64_t pfn;

	assert_true(order <= BUDDY_MAX_ORDER);
	if (order > machine.max_order || rng() % 100 < machine.fail_percent)
		return TF_ENOMEM;
	if (buddy_alloc(&machine.buddy, order, &pfn) != TF_OK)
		return TF_ENOMEM;
	machine.outstanding += 1ull << order;
	*out = HPA(pfn << PAGE_SHIFT);
	return TF_OK;
}

void frame_free(hpa_t p, unsigned order)
{
	buddy_free(&machine.buddy, p.v >> PAGE_SHIFT, order); /* asserts that it is such a block */
	machine.outstanding -= 1ull << order;
}

struct guest { struct ept ept; struct guest_mem mem; };

static int setup(void **state)
{
	struct guest *g = calloc(1, sizeof(*g));
	struct ept_host host = fake_host(&tables);

	memset(&tables, 0, sizeof(tables));
	tables.budget = UINT32_MAX;
	machine.ram = mmap(NULL, PHYS_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_true(machine.ram != MAP_FAILED);
	machine.storage = malloc(buddy_storage(PHYS_LEN >> PAGE_SHIFT));
	buddy_init(&machine.buddy, PHYS_BASE >> PAGE_SHIFT, PHYS_LEN >> PAGE_SHIFT, machine.storage);
	buddy_add(&machine.buddy, PHYS_BASE >> PAGE_SHIFT, PHYS_LEN >> PAGE_SHIFT);
	machine.outstanding = 0;
	machine.max_order = BUDDY_MAX_ORDER;
	machine.fail_percent = 0;
	assert_int_equal(ept_init(&g->ept, &host, true, true), TF_OK);
	*state = g;
	return 0;
}

static int teardown(void **state)
{
	struct guest *g = *state;

	ept_destroy(&g->ept);
	munmap(machine.ram, PHYS_LEN);
	free(machine.storage);
	free(g);
	return 0;
}

/* The guest's address space starts anew. */
static void unmap_all(struct guest *g)
{
	struct ept_host host = fake_host(&tables);

	ept_destroy(&g->ept);
	tables.budget = UINT32_MAX;
	assert_int_equal(ept_init(&g->ept, &host, true, true), TF_OK);
}

struct leaf { uint64_t gpa, hpa, size; };
struct leaves { struct leaf *leaf; size_t n; };

static bool collect(void *ctx, gpa_t gpa, const struct ept_leaf *l)
{
	struct leaves *all = ctx;

	assert_true(all->n < MAX_LEAVES);
	assert_int_equal(l->prot, EPT_RWX);
	assert_int_equal(l->type, MT_WB);
	all->leaf[all->n++] = (struct leaf){ gpa.v, l->hpa.v, l->size };
	return true;
}

static int by_hpa(const void *a, const void *b)
{
	const struct leaf *x = a, *y = b;

	return x->hpa < y->hpa ? -1 : x->hpa > y->hpa;
}

/* What the header promises, as intervals. */
static size_t promised(uint64_t bytes, struct mem_range *r)
{
	uint64_t low = MIN(bytes, GiB(3));
	size_t n = 0;

	r[n++] = (struct mem_range){ 0, 0xa0000, MEM_RAM };
	r[n++] = (struct mem_range){ 0xe0000, low - 0xe0000, MEM_RAM };
	if (bytes > low)
		r[n++] = (struct mem_range){ GiB(4), bytes - low, MEM_RAM };
	return n;
}

static bool inside(const struct mem_range *r, size_t n, uint64_t base, uint64_t len)
{
	for (size_t i = 0; i < n; i++)
		if (base >= r[i].base && len <= r[i].len && base - r[i].base <= r[i].len - len)
			return true;
	return false;
}

/* All of the promised addresses, nothing else, and no frame twice or that is not this guest's. */
static void check_mapping(struct guest *g, uint64_t bytes)
{
	struct leaves all = { calloc(MAX_LEAVES, sizeof(struct leaf)), 0 };
	struct mem_range want[3];
	size_t n = promised(bytes, want), at = 0;
	uint64_t next = 0, total = 0;

	ept_for_each(&g->ept, collect, &all);
	for (size_t i = 0; i < n; i++) {
		for (next = want[i].base; next < want[i].base + want[i].len; next += all.leaf[at++].size) {
			assert_true(at < all.n);
			assert_int_equal(all.leaf[at].gpa, next);
		}
		assert_int_equal(next, want[i].base + want[i].len);
		total += want[i].len;
	}
	assert_int_equal(at, all.n);

	qsort(all.leaf, all.n, sizeof(struct leaf), by_hpa);
	for (size_t i = 0; i < all.n; i++) {
		bool owned = false;

		if (i)
			assert_true(all.leaf[i - 1].hpa + all.leaf[i - 1].size <= all.leaf[i].hpa);
		for (uint32_t k = 0; k < g->mem.nslots; k++) {
			const struct mem_slot *s = &g->mem.slots[k];

			owned |= all.leaf[i].hpa >= s->hpa.v && all.leaf[i].hpa + all.leaf[i].size <= s->hpa.v + s->len;
		}
		assert_true(owned);
	}
	for (uint32_t k = 0; k < g->mem.nslots; k++) /* or it could not be mapped by large pages */
		assert_int_equal(g->mem.slots[k].gpa % g->mem.slots[k].len, 0);
	assert_int_equal(machine.outstanding << PAGE_SHIFT, bytes);
	assert_int_equal(total, bytes - 0x40000); /* the hole's frames are there and not mapped */
	free(all.leaf);
}

static void check_e820(struct guest *g, uint64_t bytes)
{
	const struct mem_range *map = g->mem.e820;
	struct mem_range mapped[3];
	size_t n = promised(bytes, mapped);
	uint64_t end = 0, ram = 0;

	assert_true(g->mem.ne820 <= MEM_MAX_E820);
	for (uint32_t i = 0; i < g->mem.ne820; i++) {
		assert_true(map[i].len > 0 && map[i].base >= end);
		end = map[i].base + map[i].len;
		if (map[i].type == MEM_RAM) {
			assert_true(inside(mapped, n, map[i].base, map[i].len));
			ram += map[i].len;
		}
	}
	assert_int_equal(ram, bytes - MiB(1) + 0x9fc00); /* but for EBDA, hole and BIOS, all of it */
	assert_int_equal(map[0].base, 0);
	assert_int_equal(map[0].len, 0x9fc00);
}

static void check_gone(struct guest *g)
{
	assert_int_equal(machine.outstanding, 0);
	assert_int_equal(machine.buddy.free_frames, PHYS_LEN >> PAGE_SHIFT);
	assert_null(mem_at(&g->mem, GPA(0), 1));
	assert_null(mem_at(&g->mem, GPA(MiB(1)), 1));
	assert_int_equal(mem_clear(&g->mem, 0, 1), 0);
}

static void test_layout(void **state)
{
	static const uint64_t sizes[] = {
		MiB(1), MiB(1) + KiB(4), MiB(4), MiB(4) + KiB(4), MiB(96), MiB(128) - KiB(4), GiB(1), GiB(2) + MiB(2), GiB(3) - KiB(4),
		GiB(3), GiB(3) + KiB(4), GiB(3) + MiB(6), GiB(5), GiB(6) + MiB(514) + KiB(12),
	};
	struct guest *g = *state;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		assert_int_equal(mem_create(&g->mem, &g->ept, sizes[i]), TF_OK);
		assert_int_equal(g->mem.bytes, sizes[i]);
		check_mapping(g, sizes[i]);
		check_e820(g, sizes[i]);
		mem_destroy(&g->mem);
		check_gone(g);
		unmap_all(g);
	}
}

static void test_large_pages(void **state)
{
	struct guest *g = *state;
	struct ept_leaf leaf;

	assert_int_equal(mem_create(&g->mem, &g->ept, GiB(5)), TF_OK);
	assert_int_equal(ept_walk(&g->ept, GPA(MiB(1)), &leaf), TF_OK);
	assert_int_equal(leaf.size, KiB(4)); /* beside the hole */
	assert_int_equal(ept_walk(&g->ept, GPA(MiB(2)), &leaf), TF_OK);
	assert_int_equal(leaf.size, MiB(2));
	assert_int_equal(ept_walk(&g->ept, GPA(GiB(1)), &leaf), TF_OK);
	assert_int_equal(leaf.size, GiB(1));
	assert_int_equal(ept_walk(&g->ept, GPA(GiB(5)), &leaf), TF_OK);
	assert_int_equal(leaf.size, GiB(1));
	mem_destroy(&g->mem);
}

static void test_refused_sizes(void **state)
{
	static const uint64_t sizes[] = { 0, 1, 4095, 4096, KiB(640), MiB(1) - KiB(4), MiB(4) + 1, MiB(4) + 2048 };
	struct guest *g = *state;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		assert_int_equal(mem_create(&g->mem, &g->ept, sizes[i]), TF_EINVAL);
		check_gone(g);
	}
	assert_int_equal(mem_create(&g->mem, &g->ept, PHYS_LEN + MiB(2)), TF_ENOMEM);
	check_gone(g);
}

static void test_small_blocks(void **state)
{
	struct guest *g = *state;

	machine.max_order = 9; /* 2 MiB: at most MEM_MAX_SLOTS of them */
	assert_int_equal(mem_create(&g->mem, &g->ept, MiB(2) * MEM_MAX_SLOTS), TF_OK);
	assert_int_equal(g->mem.nslots, MEM_MAX_SLOTS);
	check_mapping(g, MiB(2) * MEM_MAX_SLOTS);
	mem_destroy(&g->mem);
	unmap_all(g);
	assert_int_equal(mem_create(&g->mem, &g->ept, MiB(2) * MEM_MAX_SLOTS + KiB(4)), TF_ENOMEM);
	check_gone(g);
	unmap_all(g);
	machine.max_order = 8; /* the first MiB must be one block */
	assert_int_equal(mem_create(&g->mem, &g->ept, MiB(6)), TF_OK);
	check_mapping(g, MiB(6));
	mem_destroy(&g->mem);
	unmap_all(g);
	machine.max_order = 7;
	assert_int_equal(mem_create(&g->mem, &g->ept, MiB(6)), TF_ENOMEM);
	check_gone(g);
}

/* Frames in between are in use: no large block is left. */
static void test_fragmented(void **state)
{
	struct guest *g = *state;
	uint64_t pfn;

	for (uint64_t at = 0; at < PHYS_LEN; at += MiB(32))
		assert_int_equal(buddy_alloc(&machine.buddy, 13, &pfn), TF_OK);
	for (pfn = PHYS_BASE >> PAGE_SHIFT; pfn < (PHYS_BASE + PHYS_LEN) >> PAGE_SHIFT; pfn += 2 << 13)
		buddy_free(&machine.buddy, pfn, 13);
	assert_int_equal(mem_create(&g->mem, &g->ept, GiB(3) + MiB(100) + KiB(4)), TF_OK);
	check_mapping(g, GiB(3) + MiB(100) + KiB(4));
	check_e820(g, GiB(3) + MiB(100) + KiB(4));
	mem_destroy(&g->mem);
	assert_int_equal(machine.outstanding, 0);
}

static void test_random_failures(void **state)
{
	struct guest *g = *state;
	unsigned made = 0, refused = 0;

	for (unsigned round = 0; round < 400; round++) {
		uint64_t bytes = (MiB(1) + rng() % (rng() % 4 ? MiB(256) : GiB(5))) & ~(PAGE_SIZE - 1);

		machine.fail_percent = (unsigned)(rng() % 60);
		machine.max_order = 8 + (unsigned)(rng() % (BUDDY_MAX_ORDER - 7));
		tables.budget = rng() % 3 ? UINT32_MAX : (unsigned)(rng() % 30);
		enum tf_err e = mem_create(&g->mem, &g->ept, bytes);
		if (e == TF_OK) {
			made++;
			check_mapping(g, bytes);
			check_e820(g, bytes);
			mem_destroy(&g->mem);
		} else {
			assert_int_equal(e, TF_ENOMEM);
			refused++;
		}
		check_gone(g);
		unmap_all(g);
	}
	assert_true(made > 50 && refused > 50);
}

/* What the hypervisor writes is where the guest finds it, across any blocks. */
static void test_access(void **state)
{
	enum { LEN = 300000 };
	struct guest *g = *state;
	uint8_t *out = malloc(LEN), *in = malloc(LEN);
	const uint64_t bytes = GiB(3) + MiB(8);
	struct mem_range ram[3];
	size_t n = promised(bytes, ram);
	struct ept_leaf leaf;

	machine.max_order = 14;
	assert_int_equal(mem_create(&g->mem, &g->ept, bytes), TF_OK);
	for (unsigned round = 0; round < 300; round++) {
		static const uint64_t edges[] = { 0, 0xa0000, 0xe0000, MiB(1), MiB(2), MiB(128), GiB(3), GiB(4), GiB(4) + MiB(8) };
		uint64_t near = round % 3 ? g->mem.slots[rng() % g->mem.nslots].gpa : edges[rng() % ARRAY_SIZE(edges)];
		uint64_t len = 1 + rng() % (rng() % 2 ? 16 : LEN - 1), back = rng() % (len + 8), gpa = near > back ? near - back : near;
		bool whole = inside(ram, n, gpa, len);
		uint64_t probe = rng() % len;

		for (uint64_t i = 0; i < len; i++)
			out[i] = (uint8_t)rng();
		assert_int_equal(mem_write(&g->mem, GPA(gpa), out, len), whole ? TF_OK : TF_EFAULT);
		assert_int_equal(mem_read(&g->mem, GPA(gpa), in, len), whole ? TF_OK : TF_EFAULT);
		uint8_t *window = mem_at(&g->mem, GPA(gpa), len);
		if (!whole) {
			assert_null(window);
			continue;
		}
		assert_memory_equal(in, out, len);
		if (window)
			assert_memory_equal(window, out, len);
		assert_non_null(mem_at(&g->mem, GPA(gpa), MIN(len, PAGE_SIZE - (gpa & (PAGE_SIZE - 1)))));
		assert_int_equal(ept_walk(&g->ept, GPA(gpa + probe), &leaf), TF_OK);
		assert_int_equal(*(uint8_t *)phys_to_virt(leaf.hpa), out[probe]);
	}
	assert_null(mem_at(&g->mem, GPA(UINT64_MAX), 1));
	assert_null(mem_at(&g->mem, GPA(MiB(1)), UINT64_MAX));
	assert_null(mem_at(&g->mem, GPA(0x9ffff), 2));
	assert_null(mem_at(&g->mem, GPA(0xa0000), 1));
	assert_null(mem_at(&g->mem, GPA(0xdffff), 1));
	assert_int_equal(mem_read(&g->mem, GPA(UINT64_MAX - 1), in, 8), TF_EFAULT);
	mem_destroy(&g->mem);
	free(out);
	free(in);
}

static void test_clear(void **state)
{
	struct guest *g = *state;
	uint64_t done = 0, n;

	machine.max_order = 8;
	assert_int_equal(mem_create(&g->mem, &g->ept, MiB(5)), TF_OK);
	for (uint32_t i = 0; i < g->mem.nslots; i++)
		memset(phys_to_virt(g->mem.slots[i].hpa), 0xa5, g->mem.slots[i].len);
	while ((n = mem_clear(&g->mem, done, 300001)) != 0) {
		assert_true(n <= 300001);
		done += n;
	}
	assert_int_equal(done, MiB(5));
	for (uint32_t i = 0; i < g->mem.nslots; i++) {
		const uint8_t *p = phys_to_virt(g->mem.slots[i].hpa);

		assert_int_equal(p[0], 0);
		assert_memory_equal(p, p + 1, g->mem.slots[i].len - 1);
	}
	mem_destroy(&g->mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_layout), T(test_large_pages), T(test_refused_sizes), T(test_small_blocks), T(test_fragmented),
		T(test_random_failures), T(test_access), T(test_clear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
