/* guest/mtrr.c against SDM 3A, "Memory Type Range Registers (MTRRs)". */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "guest/mtrr.h"

#define PHYS_BITS 39
#define CAP       0xfe
#define BASE(n)   (0x200u + 2 * (n))
#define MASK(n)   (0x201u + 2 * (n))
#define DEF_TYPE  0x2ff

static const uint32_t fixed[] = { 0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f };

static struct mtrrs make(void)
{
	struct mtrrs m;

	mtrr_reset(&m, PHYS_BITS);
	return m;
}

static uint64_t get(const struct mtrrs *m, uint32_t msr)
{
	uint64_t v = 0;

	assert_int_equal(mtrr_read(m, msr, &v), TF_OK);
	return v;
}

/* The type of one address by the registers alone, as a CPU finds it ("MTRR Precedences"). */
static unsigned type_at(const struct mtrrs *m, uint64_t addr)
{
	uint64_t def = get(m, DEF_TYPE);
	unsigned type = 256;

	if (!(def & BIT(11)))
		return MT_UC;
	if (addr < 0x100000 && (def & BIT(10))) {
		unsigned reg = addr < 0x80000 ? 0 : addr < 0xc0000 ? 1 + (unsigned)((addr - 0x80000) >> 17) :
			       3 + (unsigned)((addr - 0xc0000) >> 15);
		unsigned shift = addr < 0x80000 ? 16 : addr < 0xc0000 ? 14 : 12;

		return get(m, fixed[reg]) >> (8 * (addr >> shift & 7)) & 0xff;
	}
	for (unsigned i = 0; i < (get(m, CAP) & 0xff); i++) {
		uint64_t mask = get(m, MASK(i)), base = get(m, BASE(i));

		if ((mask & BIT(11)) && (addr & mask & ~0xfffull) == (base & mask & ~0xfffull))
			type = type == 256 ? base & 0xff : (unsigned)MIN((uint64_t)type, base & 0xff);
	}
	return type == 256 ? def & 0xff : type;
}

static void after_reset(void **state)
{
	struct mtrrs m = make();

	(void)state;
	assert_int_equal(get(&m, CAP) & 0xff, MTRR_VARIABLE);
	assert_true(get(&m, CAP) & BIT(8));  /* fixed ranges */
	assert_true(get(&m, CAP) & BIT(10)); /* write combining */
	assert_false(get(&m, CAP) & BIT(11)); /* no SMRR: there is no SMM */
	assert_int_equal(get(&m, DEF_TYPE) & (BIT(10) | BIT(11)), BIT(10) | BIT(11));
	assert_int_equal(type_at(&m, 0), MT_WB);
	assert_int_equal(type_at(&m, 0x9ffff), MT_WB);
	assert_int_equal(type_at(&m, 0xa0000), MT_UC);
	assert_int_equal(type_at(&m, 0xbffff), MT_UC);
	assert_int_equal(type_at(&m, 0xc0000), MT_WB);
	assert_int_equal(type_at(&m, 0xfffff), MT_WB);
	assert_int_equal(type_at(&m, MiB(1)), MT_WB);
	assert_int_equal(type_at(&m, GiB(3) - 1), MT_WB);
	assert_int_equal(type_at(&m, GiB(3)), MT_UC);
	assert_int_equal(type_at(&m, GiB(4) - 1), MT_UC);
	assert_int_equal(type_at(&m, GiB(4)), MT_WB);
	assert_int_equal(type_at(&m, BIT(PHYS_BITS) - 1), MT_WB);
}

static void which_registers(void **state)
{
	struct mtrrs m = make();
	uint64_t v;

	(void)state;
	for (uint32_t msr = 0; msr < 0x400; msr++) {
		bool is = msr == CAP || msr == DEF_TYPE || (msr >= BASE(0) && msr < BASE(MTRR_VARIABLE));

		for (unsigned i = 0; i < ARRAY_SIZE(fixed); i++)
			is |= msr == fixed[i];
		assert_int_equal(mtrr_read(&m, msr, &v), is ? TF_OK : TF_ENOENT);
		assert_int_equal(mtrr_write(&m, msr, 0), !is ? TF_ENOENT : msr == CAP ? TF_EINVAL : TF_OK);
	}
	assert_int_equal(mtrr_read(&m, UINT32_MAX, &v), TF_ENOENT);
	assert_int_equal(mtrr_write(&m, UINT32_MAX, 0), TF_ENOENT);
}

/* Each register keeps its own value. */
static void read_back(void **state)
{
	struct mtrrs m = make();

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(fixed); i++)
		assert_int_equal(mtrr_write(&m, fixed[i], i % 2 ? 0x0001040506000104ull : 0x0605040100060504ull), TF_OK);
	for (uint32_t i = 0; i < MTRR_VARIABLE; i++) {
		assert_int_equal(mtrr_write(&m, BASE(i), MiB(i + 1) | MT_WC), TF_OK);
		assert_int_equal(mtrr_write(&m, MASK(i), (BIT(PHYS_BITS) - MiB(i + 1)) | (i % 2 ? BIT(11) : 0)), TF_OK);
	}
	assert_int_equal(mtrr_write(&m, DEF_TYPE, BIT(11) | MT_WT), TF_OK);
	for (unsigned i = 0; i < ARRAY_SIZE(fixed); i++)
		assert_int_equal(get(&m, fixed[i]), i % 2 ? 0x0001040506000104ull : 0x0605040100060504ull);
	for (uint32_t i = 0; i < MTRR_VARIABLE; i++) {
		assert_int_equal(get(&m, BASE(i)), MiB(i + 1) | MT_WC);
		assert_int_equal(get(&m, MASK(i)), (BIT(PHYS_BITS) - MiB(i + 1)) | (i % 2 ? BIT(11) : 0));
	}
	assert_int_equal(get(&m, DEF_TYPE), BIT(11) | MT_WT);
}

/* "Attempting to write a reserved encoding or bit causes #GP", and then nothing has changed. */
static void refused(struct mtrrs *m, uint32_t msr, uint64_t v)
{
	uint64_t before = get(m, msr);

	assert_int_equal(mtrr_write(m, msr, v), TF_EINVAL);
	assert_int_equal(get(m, msr), before);
}

static void reserved_bits(void **state)
{
	struct mtrrs m = make();

	(void)state;
	for (unsigned bit = 0; bit < 64; bit++) {
		if (bit >= 8 && bit != 10 && bit != 11)
			refused(&m, DEF_TYPE, BIT(bit) | MT_WB);
		if ((bit >= 8 && bit < 12) || bit >= PHYS_BITS) {
			refused(&m, BASE(0), BIT(bit) | MT_WB);
			refused(&m, BASE(MTRR_VARIABLE - 1), BIT(bit) | MT_WB);
		} else if (bit >= 12) {
			assert_int_equal(mtrr_write(&m, BASE(1), BIT(bit) | MT_WB), TF_OK);
		}
		if (bit < 11 || bit >= PHYS_BITS)
			refused(&m, MASK(1), BIT(bit));
		else
			assert_int_equal(mtrr_write(&m, MASK(1), BIT(bit)), TF_OK);
	}
}

static void reserved_types(void **state)
{
	struct mtrrs m = make();

	(void)state;
	for (unsigned type = 0; type < 256; type++) {
		if (type == 0 || type == 1 || (type >= 4 && type <= 6)) {
			assert_int_equal(mtrr_write(&m, DEF_TYPE, BIT(11) | type), TF_OK);
			assert_int_equal(mtrr_write(&m, BASE(2), MiB(1) | type), TF_OK);
			continue;
		}
		refused(&m, DEF_TYPE, BIT(11) | type);
		refused(&m, BASE(2), MiB(1) | type);
		for (unsigned i = 0; i < 8; i++)
			refused(&m, fixed[type % ARRAY_SIZE(fixed)], (uint64_t)type << (8 * i));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(after_reset), cmocka_unit_test(which_registers), cmocka_unit_test(read_back),
		cmocka_unit_test(reserved_bits), cmocka_unit_test(reserved_types),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
