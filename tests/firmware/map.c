/* The memory map that Trefoil gets to see. */
#include "shim.h"

#define RANGES_MAX 1024

struct range map[RANGES_MAX];
unsigned map_n;

void map_add(uint64_t base, uint64_t len, enum memory type)
{
	if (map_n == RANGES_MAX)
		fail("too many memory ranges");
	map[map_n++] = (struct range){ base, len, type, 0 };
}

static void insert(unsigned at, struct range r)
{
	map_add(0, 0, RAM);
	for (unsigned i = map_n - 1; i > at; i--)
		map[i] = map[i - 1];
	map[at] = r;
}

void map_punch(uint64_t base, uint64_t len, enum memory type)
{
	uint64_t end = base + len;

	for (unsigned i = 0; i < map_n; i++) {
		struct range r = map[i];
		uint64_t rend = r.base + r.len;

		if (r.base > base || rend < end)
			continue;
		map[i].len = base - r.base;
		if (rend > end)
			insert(i + 1, (struct range){ end, rend - end, r.type, 0 });
		if (type)
			insert(i + 1, (struct range){ base, len, type, 0 });
		return;
	}
	fail("a hole outside of all memory");
}

static const struct range *largest(void)
{
	const struct range *best = &map[0];

	for (unsigned i = 0; i < map_n; i++)
		if (map[i].type == RAM && map[i].base < GIB(4) && (best->type != RAM || map[i].len > best->len))
			best = &map[i];
	return best;
}

uint64_t map_ram_top(void)
{
	const struct range *r = largest();

	return r->base + r->len;
}

/* Pages here and there that are not RAM. */
static void punch_holes(unsigned n, uint32_t step)
{
	static const enum memory types[] = { RESERVED, NVS, BAD, ACPI };
	const struct range r = *largest();

	for (uint32_t at = (uint32_t)r.base + step; n && at + PAGE < r.base + r.len; at += step) {
		if (page_used(at) || page_used(at - PAGE) || page_used(at + PAGE))
			continue;
		map_punch(at, PAGE, types[n-- % ARRAY_SIZE(types)]);
	}
	if (n)
		fail("too little RAM for so many holes");
}

/* A gap that is not mentioned at all, and address space that is taken far above. */
static void make_sparse(void)
{
	const struct range r = *largest();
	uint32_t gap = MIB(16), at = ((uint32_t)(r.base + r.len) / 2) & ~(gap - 1);

	for (uint32_t page = at; page < at + gap; page += PAGE)
		if (page_used(page))
			fail("something is in the middle of the RAM");
	map_punch(at, gap, 0);
	map_add(GIB(1012), GIB(12), RESERVED);
	map_add(GIB(1024), GIB(64), RESERVED);
}

/* Ranges that contradict each other: what any of them calls something else is not RAM. */
static void make_overlaps(void)
{
	const struct range r = *largest();

	map_add(r.base, r.len, RAM);
	map_add(r.base + MIB(1), 0, RESERVED);
	map_add(0xf0000, 0x10000, RAM);
	map_add(r.base + r.len - MIB(3), MIB(2), BAD);
	map_add(r.base + r.len - MIB(2), MIB(2), NVS);
	map_add(r.base + r.len / 2 + 123, MIB(1) + 456, RAM);
	map_add(~0ull - MIB(1), MIB(1), RESERVED);
}

#define KEPT MIB(128) /* for Trefoil itself */

/* RAM below `border` is taken, but for a little: guests get theirs from above. */
static void only_above(uint64_t border)
{
	for (unsigned i = 0; i < map_n; i++) {
		uint64_t base = map[i].base > KEPT ? map[i].base : KEPT, end = map[i].base + map[i].len;

		if (map[i].type == RAM && base < border && end > base)
			map_punch(base, (end < border ? end : border) - base, RESERVED);
	}
}

static void reverse(void)
{
	for (unsigned i = 0; i < map_n / 2; i++) {
		struct range r = map[i];

		map[i] = map[map_n - 1 - i];
		map[map_n - 1 - i] = r;
	}
}

void map_edit(void)
{
	const char *how = option("map");

	if (!how)
		return;
	if (option_is("map", "many"))
		punch_holes(140, KIB(512));
	else if (option_is("map", "toomany"))
		punch_holes(300, KIB(128));
	else if (option_is("map", "sparse"))
		make_sparse();
	else if (option_is("map", "overlap"))
		make_overlaps();
	else if (option_is("map", "unsorted"))
		reverse();
	else if (option_is("map", "high")) /* RAM that is not there, and that nobody has to use */
		map_add(GIB(600), GIB(2), RAM);
	else if (option_is("map", "beyond")) /* no CPU has an address for it */
		map_add(1ull << 52, GIB(2), RAM);
	else if (option_is("map", "huge")) /* more than there is room to manage */
		map_add(GIB(512), GIB(480), RAM);
	else if (option_is("map", "pieces")) /* more than there are zones */
		for (unsigned i = 0; i < 40; i++)
			map_add(GIB(64) + i * GIB(4), MIB(2), RAM);
	else if (option_is("map", "above-4g"))
		only_above(GIB(4));
	else if (option_is("map", "above-512g"))
		only_above(GIB(512));
	else if (option_is("map", "none")) /* what there is, is not RAM */
		for (unsigned i = 0; i < map_n; i++)
			map[i].type = map[i].base ? RESERVED : map[i].type;
	else
		fail("map=many, toomany, sparse, overlap, unsorted, high, beyond, huge, pieces, above-4g, above-512g, none");
}
