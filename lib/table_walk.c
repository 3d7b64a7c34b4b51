#include "lib/table_walk.h"

static void walk(const struct table_walk *w, uint64_t frame, unsigned level, uint64_t addr, uint64_t rights)
{
	const struct table_format *f = w->format;
	const uint64_t *table = w->table(w->ctx, frame, addr);
	uint64_t size = table_level_size(level);

	if (!table)
		return;
	for (unsigned i = 0; i < TABLE_ENTRIES; i++, addr += size) {
		uint64_t entry = table[i];

		if (!(entry & f->present))
			continue;
		bool leaf = level == 0 || (level < TABLE_LEVELS - 1 && (entry & TABLE_LARGE));
		const char *what = f->wrong(entry, level, leaf, w->phys_bits);
		uint64_t granted = rights & (entry ^ f->inverted);

		if (what) {
			w->wrong(w->ctx, addr, entry, what);
			continue;
		}
		if (leaf) {
			const struct table_leaf l = { addr, entry & TABLE_ADDR & ~(size - 1), size, entry, granted };

			w->leaf(w->ctx, &l);
		} else {
			walk(w, entry & TABLE_ADDR, level - 1, addr, granted);
		}
	}
}

void table_walk(const struct table_walk *w, uint64_t root)
{
	walk(w, root, TABLE_LEVELS - 1, 0, w->format->rights);
}
