#include "guest/mtrr.h"
#include <tf/string.h>

/* SDM 3A, "Memory Type Range Registers (MTRRs)" */
#define CAP_FIXED     BIT(8)
#define CAP_WC        BIT(10)
#define DEF_FIXED     BIT(10)
#define DEF_ENABLE    BIT(11)
#define MASK_VALID    BIT(11)
#define ALL_WB        0x0606060606060606ull
#define FIXED_A0000   2

static int fixed_index(uint32_t msr)
{
	if (msr == MSR_IA32_MTRR_FIX64K_00000)
		return 0;
	if (msr == MSR_IA32_MTRR_FIX16K_80000 || msr == MSR_IA32_MTRR_FIX16K_A0000)
		return 1 + (int)(msr - MSR_IA32_MTRR_FIX16K_80000);
	if (msr >= MSR_IA32_MTRR_FIX4K_C0000 && msr < MSR_IA32_MTRR_FIX4K_C0000 + 8)
		return 3 + (int)(msr - MSR_IA32_MTRR_FIX4K_C0000);
	return -1;
}

void mtrr_reset(struct mtrrs *m, unsigned phys_bits)
{
	memset(m, 0, sizeof(*m));
	m->phys_bits = phys_bits;
	m->def_type = DEF_ENABLE | DEF_FIXED | MT_WB;
	for (unsigned i = 0; i < ARRAY_SIZE(m->fixed); i++)
		m->fixed[i] = ALL_WB;
	m->fixed[FIXED_A0000] = 0;
	m->base[0] = GiB(3) | MT_UC;
	m->mask[0] = ((BIT(phys_bits) - 1) & ~(GiB(1) - 1)) | MASK_VALID;
}

static bool type_ok(uint8_t t) { return t == MT_UC || t == MT_WC || t == MT_WT || t == MT_WP || t == MT_WB; }

enum tf_err mtrr_read(const struct mtrrs *m, uint32_t msr, uint64_t *v)
{
	int f = fixed_index(msr);
	uint32_t var = msr - MSR_IA32_MTRR_PHYSBASE0;

	if (msr == MSR_IA32_MTRRCAP)
		*v = MTRR_VARIABLE | CAP_FIXED | CAP_WC;
	else if (msr == MSR_IA32_MTRR_DEF_TYPE)
		*v = m->def_type;
	else if (f >= 0)
		*v = m->fixed[f];
	else if (var < 2 * MTRR_VARIABLE)
		*v = var & 1 ? m->mask[var / 2] : m->base[var / 2];
	else
		return TF_ENOENT;
	return TF_OK;
}

enum tf_err mtrr_write(struct mtrrs *m, uint32_t msr, uint64_t v)
{
	int f = fixed_index(msr);
	uint32_t var = msr - MSR_IA32_MTRR_PHYSBASE0;
	uint64_t beyond = ~(BIT(m->phys_bits) - 1);

	if (msr == MSR_IA32_MTRRCAP)
		return TF_EINVAL;
	if (msr == MSR_IA32_MTRR_DEF_TYPE) {
		if ((v & ~(DEF_ENABLE | DEF_FIXED | 0xff)) || !type_ok((uint8_t)v))
			return TF_EINVAL;
		m->def_type = v;
	} else if (f >= 0) {
		for (unsigned i = 0; i < 8; i++)
			if (!type_ok((uint8_t)(v >> (8 * i))))
				return TF_EINVAL;
		m->fixed[f] = v;
	} else if (var < 2 * MTRR_VARIABLE) {
		if (var & 1) {
			if (v & (beyond | (MASK_VALID - 1)))
				return TF_EINVAL;
			m->mask[var / 2] = v;
		} else {
			if ((v & (beyond | 0xf00)) || !type_ok((uint8_t)v))
				return TF_EINVAL;
			m->base[var / 2] = v;
		}
	} else {
		return TF_ENOENT;
	}
	return TF_OK;
}
