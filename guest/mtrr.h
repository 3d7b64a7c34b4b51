/* The guest's MTRRs: kept and read back with the architecture's checks; guest RAM is write-back by EPT whatever they say. */
#pragma once
#include <tf/err.h>
#include <tf/x86.h>

#define MTRR_VARIABLE 8

struct mtrrs {
	uint64_t def_type, fixed[11], base[MTRR_VARIABLE], mask[MTRR_VARIABLE];
	unsigned phys_bits;
};

/* As firmware leaves them: all write-back, the VGA hole and everything from 3 GiB to 4 GiB uncached. */
void mtrr_reset(struct mtrrs *m, unsigned phys_bits);
/* TF_ENOENT: not an MTRR; TF_EINVAL: #GP. */
__must_check enum tf_err mtrr_read(const struct mtrrs *m, uint32_t msr, uint64_t *v);
__must_check enum tf_err mtrr_write(struct mtrrs *m, uint32_t msr, uint64_t v);
