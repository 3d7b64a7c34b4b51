/* Splitting large pages at the edges of a range. */
#include "ept/entry.h"

#define MAX_SPLITS 4 /* each of two edges: 1 GiB to 2 MiB, 2 MiB to 4 KiB */

/* Frames set aside before the first entry changes, so that a lack of memory is known while nothing is linked yet. */
struct reserve {
	hpa_t frame[MAX_SPLITS];
	unsigned n;
};

/* How many tables it takes until `edge` lies between two pages, beginning with a page of `level` around it. */
static unsigned split_depth(uint64_t edge, unsigned level)
{
	unsigned n = 0;

	for (; level > 0 && !IS_ALIGNED(edge, level_size(level)); level--)
		n++;
	return n;
}

/* The tables that splitting at both edges takes; they share those of the pages that both lie in. */
static unsigned splits_needed(const struct ept *e, uint64_t start, uint64_t end)
{
	unsigned level, n = 0;

	if (ept_leaf_find(e, start, &level))
		n += split_depth(start, level);
	if (!ept_leaf_find(e, end, &level))
		return n;
	n += split_depth(end, level);
	for (; level > 0; level--) {
		uint64_t size = level_size(level);

		if (start / size != end / size || IS_ALIGNED(start, size))
			break;
		n--;
	}
	return n;
}

/* Replaces pages by tables of the next smaller ones until `edge` lies between two pages. */
static void split_at(struct ept *e, uint64_t edge, struct reserve *reserve)
{
	unsigned level;
	uint64_t *entry;

	while ((entry = ept_leaf_find(e, edge, &level)) && split_depth(edge, level)) {
		ASSERT(reserve->n > 0);
		hpa_t frame = reserve->frame[--reserve->n];
		uint64_t *table = table_of(e, frame), old = *entry;
		uint64_t flags = EPT_RWX | EPTE_SMALL_EXEC | EPTE_LARGE;
		uint64_t leaf = (old & ~flags) | leaf_bits(e, level - 1, leaf_prot(old));

		for (unsigned i = 0; i < ENTRIES; i++)
			table[i] = leaf + i * level_size(level - 1);
		entry_set(entry, frame.v | EPT_RWX | (old & EPTE_ACCESSED));
	}
}

enum tf_err ept_split_edges(struct ept *e, uint64_t start, uint64_t end)
{
	struct reserve reserve = { .n = 0 };
	unsigned need;

	if (start == end)
		return TF_OK;
	need = splits_needed(e, start, end);
	ASSERT(need <= MAX_SPLITS);
	while (reserve.n < need) {
		enum tf_err err = ept_table_alloc(e, &reserve.frame[reserve.n]);

		if (err) {
			while (reserve.n)
				ept_table_free(e, reserve.frame[--reserve.n]);
			return err;
		}
		reserve.n++;
	}
	split_at(e, start, &reserve);
	split_at(e, end, &reserve);
	ASSERT(reserve.n == 0);
	return TF_OK;
}
