/*
 * Sequences of map, unmap and protect between a few cut points, with allocations that fail, against an exact model: one
 * record for each interval between neighbouring cut points. Four bytes are one operation.
 */
#include <stdint.h>
#include <stdlib.h>
#include "tests/ept_fake.h"

#define MAX_STEPS 64
#define SMALL     MiB(16)  /* longer ranges are only mapped where large pages are possible */
#define HUGE_LEN  GiB(8)   /* longer ones not even with 2 MiB pages */

static const uint64_t cut[] = {
	0, KiB(4), KiB(640), MiB(1), MiB(2) - KiB(4), MiB(2), MiB(2) + KiB(4), MiB(4), MiB(6) + KiB(8), MiB(16),
	GiB(1) - MiB(2), GiB(1) - KiB(4), GiB(1), GiB(1) + KiB(4), GiB(1) + MiB(2) - KiB(8), GiB(1) + MiB(2),
	GiB(1) + MiB(512) + KiB(4), GiB(2) - MiB(2), GiB(2), GiB(2) + MiB(2), GiB(3), GiB(4), GiB(512) - GiB(1),
	GiB(512) - KiB(4), GiB(512), GiB(512) + MiB(2), GiB(513), BIT(48) - GiB(1), BIT(48) - MiB(2), BIT(48) - KiB(4), BIT(48),
};
#define CUTS      ARRAY_SIZE(cut)
#define INTERVALS (CUTS - 1)

struct interval { uint64_t hpa; uint32_t prot; enum x86_memtype type; };
static struct fake_memory mem;

static void check_page(const struct ept *e, uint64_t gpa, const struct interval *want, uint64_t start)
{
	struct ept_leaf walk, cpu;
	enum tf_err err = ept_walk(e, GPA(gpa), &walk);
	bool there = fake_translate(&mem, ept_pointer(e, false), gpa, &cpu);

	ASSERT((err == TF_OK) == there && there == (want->prot != 0));
	if (!there)
		return;
	ASSERT(walk.hpa.v == cpu.hpa.v && walk.hpa.v == want->hpa + (gpa - start));
	ASSERT(walk.size == cpu.size && walk.type == cpu.type);
	ASSERT(cpu.prot == (e->small_exec && cpu.size > PAGE_SIZE ? walk.prot & ~EPT_X : walk.prot));
	ASSERT(walk.prot == want->prot && walk.type == want->type);
}

static bool add_size(void *ctx, gpa_t gpa, const struct ept_leaf *leaf)
{
	(void)gpa;
	*(uint64_t *)ctx += leaf->size;
	return true;
}

static void check_all(const struct ept *e, const struct interval *model)
{
	uint64_t mapped = 0, expected = 0;

	for (unsigned k = 0; k < INTERVALS; k++) {
		check_page(e, cut[k], &model[k], cut[k]);
		check_page(e, cut[k + 1] - 1, &model[k], cut[k]);
		check_page(e, cut[k] + (cut[k + 1] - cut[k]) / 2, &model[k], cut[k]);
		if (model[k].prot)
			expected += cut[k + 1] - cut[k];
	}
	ept_for_each(e, add_size, &mapped);
	ASSERT(mapped == expected);
	fake_check_tables(&mem, e);
}

static void step(struct ept *e, struct interval *model, const uint8_t *op)
{
	static const uint32_t prots[] = { EPT_R, EPT_R | EPT_W, EPT_R | EPT_X, EPT_RWX, EPT_W, 0, EPT_W | EPT_X, 8 };
	static const uint64_t skews[] = { 0, KiB(4), MiB(2), GiB(1) };
	unsigned first = op[1] % CUTS, end = op[2] % CUTS, mapped = 0;
	uint32_t prot = prots[op[3] & 7];
	enum x86_memtype type = (enum x86_memtype)(op[3] >> 3 & 7);
	bool prot_ok = (prot & EPT_R) && prot <= EPT_RWX, type_ok = type <= 1 || (type >= 4 && type <= 6);
	uint64_t skew = skews[op[3] >> 6];
	enum tf_err err, want;

	if (end < first)
		return;
	uint64_t gpa = cut[first], len = cut[end] - gpa, hpa = gpa + GiB(1024) + skew;
	bool cheap = len <= SMALL || (e->large_2m && (skew & (MiB(2) - 1)) == 0 && len <= HUGE_LEN);

	for (unsigned k = first; k < end; k++)
		mapped += model[k].prot != 0;
	mem.budget = op[0] & 0x80 ? op[0] >> 2 & 7 : UINT32_MAX;
	switch (op[0] & 3) {
	case 0:
	case 1:
		want = !prot_ok || !type_ok ? TF_EINVAL : mapped ? TF_EEXIST : TF_OK;
		if (want == TF_OK && !cheap)
			return;
		err = ept_map(e, GPA(gpa), HPA(hpa), len, prot, type);
		break;
	case 2:
		want = TF_OK;
		err = ept_unmap(e, GPA(gpa), len);
		break;
	default:
		want = !prot_ok ? TF_EINVAL : mapped != end - first ? TF_ENOENT : TF_OK;
		err = ept_protect(e, GPA(gpa), len, prot);
		break;
	}
	ASSERT(err == want || (want == TF_OK && err == TF_ENOMEM && (mem.budget == 0 || mem.nused == FAKE_FRAMES)));
	for (unsigned k = first; k < end && !err; k++) {
		if ((op[0] & 3) < 2)
			model[k] = (struct interval){ hpa + (cut[k] - gpa), prot, type };
		else
			model[k].prot = (op[0] & 3) == 2 ? 0 : prot;
	}
}

static void fetch_all(struct ept *e, const struct interval *model)
{
	for (unsigned k = 0; k < INTERVALS; k++) {
		enum tf_err err = ept_make_executable(e, GPA(cut[k]));
		struct ept_leaf cpu;

		if (err == TF_ENOMEM && mem.nused == FAKE_FRAMES)
			continue;
		ASSERT(err == (model[k].prot & EPT_X ? TF_OK : TF_ENOENT));
		if (!err)
			ASSERT(fake_translate(&mem, ept_pointer(e, false), cut[k], &cpu) && (cpu.prot & EPT_X));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ept_host host = fake_host(&mem);
	struct interval model[INTERVALS] = { 0 };
	struct ept e;

	if (size < 1)
		return 0;
	ASSERT(mem.nused == 0);
	mem.budget = UINT32_MAX;
	ASSERT(ept_init(&e, &host, data[0] & 1, data[0] & 2) == TF_OK);
	e.small_exec = data[0] & 4;
	for (size_t at = 1; at + 4 <= size && at < 4 * MAX_STEPS; at += 4) {
		step(&e, model, data + at);
		mem.budget = UINT32_MAX;
	}
	check_all(&e, model);
	fetch_all(&e, model);
	check_all(&e, model);
	ept_destroy(&e);
	ASSERT(mem.nused == 0);
	return 0;
}
