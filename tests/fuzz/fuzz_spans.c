/* Sets of ranges, and the RAM of a memory map, against one flag for each unit. */
#include "fuzz_dev.h"
#include "lib/memmap.h"

#define UNITS 64u
#define SPANS 8u

static void check_set(const struct mem_spans *s, const bool *in)
{
	uint64_t total = 0, last = 0;

	for (size_t i = 0; i < s->n; i++) {
		ASSERT(s->span[i].start < s->span[i].end && (!i || s->span[i].start > last));
		last = s->span[i].end;
	}
	for (unsigned u = 0; u < UNITS; u++) {
		ASSERT(spans_contain(s, u, u + 1) == in[u] && spans_overlap(s, u, u + 1) == in[u]);
		total += in[u];
	}
	ASSERT(spans_total(s) == total);
}

/* Entries of a map are in pages, and not always whole ones; wrapping ones end at the top. */
static void check_map(struct fuzz_input *in)
{
	struct mem_range map[6];
	struct mem_span span[8];
	struct mem_spans ram = { span, 0, ARRAY_SIZE(span) };
	size_t n = 0;

	while (n < ARRAY_SIZE(map) && in->size) {
		uint8_t how = (uint8_t)fuzz_take(in, 1);
		uint64_t base = fuzz_take(in, 2), len = fuzz_take(in, 2);

		if (how & 0x80)
			base |= 0xffffffffffff0000;
		map[n++] = (struct mem_range){ base, len, (enum mem_type)(1 + how % 5) };
	}
	if (!memmap_ram(map, n, 16 * PAGE_SIZE, &ram))
		ASSERT(n > ARRAY_SIZE(span)); /* as many as entries are enough */
	for (uint64_t page = 0; page < 16; page++) {
		bool whole = true;

		for (uint64_t at = page * PAGE_SIZE; at < (page + 1) * PAGE_SIZE && whole; at++) {
			bool yes = false, no = false;

			for (size_t i = 0; i < n; i++) {
				uint64_t end = map[i].base + map[i].len;
				bool wraps = end < map[i].base, here = at >= map[i].base && (wraps || at < end);

				if (here)
					*(map[i].type == MEM_RAM ? &yes : &no) = true;
			}
			whole = yes && !no;
		}
		ASSERT(spans_overlap(&ram, page * PAGE_SIZE, (page + 1) * PAGE_SIZE) == whole);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	struct mem_span span[SPANS];
	struct mem_spans s = { span, 0, SPANS };
	bool member[UNITS] = { 0 };

	if (fuzz_take(&in, 1) & 1) {
		check_map(&in);
		return 0;
	}
	while (in.size) {
		uint8_t a = (uint8_t)fuzz_take(&in, 1), b = (uint8_t)fuzz_take(&in, 1) % UNITS;
		unsigned from = MIN((unsigned)a % UNITS, (unsigned)b), to = MAX((unsigned)a % UNITS, (unsigned)b);
		struct mem_span before[SPANS];
		size_t n = s.n;

		memcpy(before, span, sizeof(before));
		if (a & 0x40 ? spans_remove(&s, from, to) : spans_add(&s, from, to))
			for (unsigned u = from; u < to; u++)
				member[u] = !(a & 0x40);
		else
			ASSERT(n == s.n && !memcmp(before, span, n * sizeof(*span)));
		check_set(&s, member);
	}
	return 0;
}
