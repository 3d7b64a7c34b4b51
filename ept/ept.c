/* EPT tables: SDM 3C, "EPT Translation Mechanism" and "EPT Misconfigurations". */
#include "ept/entry.h"

/* SDM 3C, "Extended-Page-Table Pointer (EPTP)" */
#define EPTP_WALK_SHIFT   3
#define EPTP_ACCESS_DIRTY BIT(6)

enum tf_err ept_table_alloc(struct ept *e, hpa_t *frame)
{
	enum tf_err err = e->host.alloc(e->host.ctx, frame);

	if (!err)
		e->tables++;
	return err;
}

void ept_table_free(struct ept *e, hpa_t frame)
{
	ASSERT(e->tables > 0);
	e->tables--;
	e->host.free(e->host.ctx, frame);
}

uint64_t *ept_leaf_find(const struct ept *e, uint64_t gpa, unsigned *level)
{
	hpa_t frame = e->root;

	if (gpa >= GPA_LIMIT)
		return NULL;
	for (unsigned l = ROOT_LEVEL;; l--) {
		uint64_t *entry = entry_of(table_of(e, frame), gpa, l);

		if (!is_present(*entry))
			return NULL;
		if (is_leaf(*entry, l)) {
			*level = l;
			return entry;
		}
		frame = entry_frame(*entry);
	}
}

/* Where the entry that covers `gpa` ends, or the range does. */
static uint64_t entry_end(uint64_t gpa, uint64_t end, unsigned level)
{
	return MIN(ALIGN_DOWN(gpa, level_size(level)) + level_size(level), end);
}

/* An entry that would be an EPT misconfiguration is refused: write without read, a reserved memory type. */
static bool prot_valid(uint32_t prot)
{
	return (prot & EPT_R) && !(prot & ~(uint32_t)EPT_RWX);
}

static bool memtype_valid(enum x86_memtype type)
{
	return type == MT_UC || type == MT_WC || type == MT_WT || type == MT_WP || type == MT_WB;
}

static enum tf_err range_check(uint64_t gpa, uint64_t len)
{
	if (!IS_ALIGNED(gpa | len, PAGE_SIZE))
		return TF_EINVAL;
	if (gpa > GPA_LIMIT || len > GPA_LIMIT - gpa)
		return TF_ERANGE;
	return TF_OK;
}

static bool table_empty(const uint64_t *table)
{
	for (unsigned i = 0; i < ENTRIES; i++)
		if (table[i])
			return false;
	return true;
}

static uint64_t mapped_bytes(const struct ept *e, hpa_t frame, unsigned level, uint64_t gpa, uint64_t end)
{
	uint64_t *table = table_of(e, frame), sum = 0;

	for (uint64_t next; gpa < end; gpa = next) {
		uint64_t entry = *entry_of(table, gpa, level);

		next = entry_end(gpa, end, level);
		if (!is_present(entry))
			continue;
		sum += is_leaf(entry, level) ? next - gpa : mapped_bytes(e, entry_frame(entry), level - 1, gpa, next);
	}
	return sum;
}

static bool leaf_fits(const struct ept *e, unsigned level, uint64_t hpa, uint64_t len)
{
	bool offered = level == 0 || (level == 1 && e->large_2m) || (level == 2 && e->large_1g);

	return offered && len == level_size(level) && IS_ALIGNED(hpa, level_size(level));
}

/* `leaf` is the entry for a 4 KiB page at `gpa`. The range is known to be unmapped. */
static enum tf_err map_range(struct ept *e, hpa_t frame, unsigned level, uint64_t gpa, uint64_t end, uint64_t leaf)
{
	uint64_t *table = table_of(e, frame);

	for (uint64_t next; gpa < end; leaf += next - gpa, gpa = next) {
		uint64_t *entry = entry_of(table, gpa, level);

		next = entry_end(gpa, end, level);
		if (leaf_fits(e, level, leaf & EPTE_ADDR, next - gpa)) {
			entry_set(entry, (leaf & ~(uint64_t)EPT_RWX) | leaf_bits(e, level, leaf & EPT_RWX));
			continue;
		}
		if (!is_present(*entry)) {
			hpa_t child;
			enum tf_err err = ept_table_alloc(e, &child);

			if (err)
				return err;
			entry_set(entry, child.v | EPT_RWX);
		}
		enum tf_err err = map_range(e, entry_frame(*entry), level - 1, gpa, next, leaf);
		if (err)
			return err;
	}
	return TF_OK;
}

/* Clears the range, whose edges are edges of pages, and frees the tables that became (or were left) empty. */
static void unmap_range(struct ept *e, hpa_t frame, unsigned level, uint64_t gpa, uint64_t end)
{
	uint64_t *table = table_of(e, frame);

	for (uint64_t next; gpa < end; gpa = next) {
		uint64_t *entry = entry_of(table, gpa, level);

		next = entry_end(gpa, end, level);
		if (!is_present(*entry))
			continue;
		if (is_leaf(*entry, level)) {
			ASSERT(next - gpa == level_size(level));
			entry_set(entry, 0);
			continue;
		}
		hpa_t child = entry_frame(*entry);
		unmap_range(e, child, level - 1, gpa, next);
		if (table_empty(table_of(e, child))) {
			entry_set(entry, 0);
			ept_table_free(e, child);
		}
	}
}

static void protect_range(struct ept *e, hpa_t frame, unsigned level, uint64_t gpa, uint64_t end, uint32_t prot)
{
	uint64_t *table = table_of(e, frame);

	for (uint64_t next; gpa < end; gpa = next) {
		uint64_t *entry = entry_of(table, gpa, level);

		next = entry_end(gpa, end, level);
		if (is_leaf(*entry, level)) {
			ASSERT(next - gpa == level_size(level));
			uint64_t bits = leaf_bits(e, level, prot);

			/* One atomic step each, because a CPU may be setting the accessed and dirty flags. */
			__atomic_fetch_or(entry, bits, __ATOMIC_RELEASE);
			__atomic_fetch_and(entry, ~((EPT_RWX | EPTE_SMALL_EXEC) & ~bits), __ATOMIC_RELEASE);
		} else {
			protect_range(e, entry_frame(*entry), level - 1, gpa, next, prot);
		}
	}
}

static struct ept_leaf leaf_describe(uint64_t entry, unsigned level)
{
	return (struct ept_leaf){
		.hpa = entry_frame(entry),
		.size = level_size(level),
		.prot = (uint32_t)leaf_prot(entry),
		.type = (enum x86_memtype)((entry & EPTE_MEMTYPE) >> EPTE_MEMTYPE_SHIFT),
	};
}

static void free_below(struct ept *e, hpa_t frame, unsigned level)
{
	uint64_t *table = table_of(e, frame);

	for (unsigned i = 0; i < ENTRIES; i++)
		if (is_present(table[i]) && !is_leaf(table[i], level))
			free_below(e, entry_frame(table[i]), level - 1);
	ept_table_free(e, frame);
}

static bool each_below(const struct ept *e, hpa_t frame, unsigned level, uint64_t gpa,
		       bool (*fn)(void *ctx, gpa_t gpa, const struct ept_leaf *leaf), void *ctx)
{
	const uint64_t *table = table_of(e, frame);

	for (unsigned i = 0; i < ENTRIES; i++, gpa += level_size(level)) {
		uint64_t entry = table[i];

		if (!is_present(entry))
			continue;
		if (is_leaf(entry, level)) {
			struct ept_leaf leaf = leaf_describe(entry, level);

			if (!fn(ctx, GPA(gpa), &leaf))
				return false;
		} else if (!each_below(e, entry_frame(entry), level - 1, gpa, fn, ctx)) {
			return false;
		}
	}
	return true;
}

enum tf_err ept_init(struct ept *e, const struct ept_host *host, bool large_2m, bool large_1g)
{
	/* A 1 GiB page is only of use if it can be split into 2 MiB ones. */
	*e = (struct ept){ .host = *host, .large_2m = large_2m, .large_1g = large_1g && large_2m };
	return ept_table_alloc(e, &e->root);
}

void ept_destroy(struct ept *e)
{
	free_below(e, e->root, ROOT_LEVEL);
	ASSERT(e->tables == 0);
	e->root = HPA(0);
}

enum tf_err ept_map(struct ept *e, gpa_t gpa, hpa_t hpa, uint64_t len, uint32_t prot, enum x86_memtype type)
{
	enum tf_err err = range_check(gpa.v, len);

	if (err)
		return err;
	if (!IS_ALIGNED(hpa.v, PAGE_SIZE) || !prot_valid(prot) || !memtype_valid(type))
		return TF_EINVAL;
	if (hpa.v > HPA_LIMIT || len > HPA_LIMIT - hpa.v)
		return TF_ERANGE;
	if (mapped_bytes(e, e->root, ROOT_LEVEL, gpa.v, gpa.v + len))
		return TF_EEXIST;
	err = map_range(e, e->root, ROOT_LEVEL, gpa.v, gpa.v + len, hpa.v | prot | (uint64_t)type << EPTE_MEMTYPE_SHIFT);
	if (err)
		unmap_range(e, e->root, ROOT_LEVEL, gpa.v, gpa.v + len);
	return err;
}

enum tf_err ept_unmap(struct ept *e, gpa_t gpa, uint64_t len)
{
	enum tf_err err = range_check(gpa.v, len);

	if (!err)
		err = ept_split_edges(e, gpa.v, gpa.v + len);
	if (!err)
		unmap_range(e, e->root, ROOT_LEVEL, gpa.v, gpa.v + len);
	return err;
}

enum tf_err ept_protect(struct ept *e, gpa_t gpa, uint64_t len, uint32_t prot)
{
	enum tf_err err = range_check(gpa.v, len);

	if (err)
		return err;
	if (!prot_valid(prot))
		return TF_EINVAL;
	if (mapped_bytes(e, e->root, ROOT_LEVEL, gpa.v, gpa.v + len) != len)
		return TF_ENOENT;
	err = ept_split_edges(e, gpa.v, gpa.v + len);
	if (!err)
		protect_range(e, e->root, ROOT_LEVEL, gpa.v, gpa.v + len, prot);
	return err;
}

enum tf_err ept_make_executable(struct ept *e, gpa_t gpa)
{
	uint64_t page = ALIGN_DOWN(gpa.v, PAGE_SIZE);
	unsigned level;
	const uint64_t *entry = ept_leaf_find(e, page, &level);

	if (!entry || !(leaf_prot(*entry) & EPT_X))
		return TF_ENOENT;
	return level && e->small_exec ? ept_split_edges(e, page, page + PAGE_SIZE) : TF_OK;
}

static bool count_exec_tables(void *ctx, gpa_t gpa, const struct ept_leaf *leaf)
{
	uint64_t *n = ctx;

	(void)gpa;
	for (unsigned level = 1; level <= 2; level++)
		if (leaf->prot & EPT_X)
			*n += leaf->size / level_size(level);
	return true;
}

uint64_t ept_exec_tables(const struct ept *e)
{
	uint64_t n = 0;

	if (e->small_exec)
		ept_for_each(e, count_exec_tables, &n);
	return n;
}

enum tf_err ept_walk(const struct ept *e, gpa_t gpa, struct ept_leaf *out)
{
	unsigned level;
	const uint64_t *entry = ept_leaf_find(e, gpa.v, &level);

	if (!entry)
		return TF_ENOENT;
	*out = leaf_describe(*entry, level);
	out->hpa.v += gpa.v & (out->size - 1);
	return TF_OK;
}

void ept_for_each(const struct ept *e, bool (*fn)(void *ctx, gpa_t gpa, const struct ept_leaf *leaf), void *ctx)
{
	each_below(e, e->root, ROOT_LEVEL, 0, fn, ctx);
}

uint64_t ept_pointer(const struct ept *e, bool access_dirty)
{
	return e->root.v | MT_WB | ROOT_LEVEL << EPTP_WALK_SHIFT | (access_dirty ? EPTP_ACCESS_DIRTY : 0);
}
