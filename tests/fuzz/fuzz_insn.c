/*
 * Any bytes, in any mode, with any registers: the decoder and the executor end, keep to their bounds, and a decoded
 * instruction does not depend on what follows it. Input: mode, REP bound, a seed for registers and memory, a byte that
 * says which access fails; then the instruction's bytes.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <tf/assert.h>
#include "guest/insn.h"

#define HEADER 5

struct fuzz {
	uint64_t state;
	unsigned accesses, fail_at; /* 0: none fails */
	enum insn_mode mode;
};

static uint64_t rnd(uint64_t *state)
{
	*state += 0x9e3779b97f4a7c15ull;
	return (*state ^ *state >> 31) * 0xbf58476d1ce4e5b9ull;
}

static enum tf_err access(struct fuzz *f, uint8_t size)
{
	ASSERT(size == 1 || size == 2 || size == 4 || size == 8);
	return ++f->accesses == f->fail_at ? TF_EFAULT : TF_OK;
}

static enum tf_err fuzz_linear(void *ctx, enum insn_seg seg, uint64_t offset, uint8_t size, bool write, uint64_t *out)
{
	struct fuzz *f = ctx;

	(void)write;
	ASSERT((unsigned)seg <= SEG_GS);
	ASSERT(f->mode == INSN_64 || offset <= UINT32_MAX);
	*out = offset;
	return access(f, size == 16 ? 8 : size); /* CMPXCHG16B looks up all of its operand at once */
}

static enum tf_err fuzz_read(void *ctx, uint64_t linear, uint8_t size, bool rmw, uint64_t *value)
{
	struct fuzz *f = ctx;

	(void)linear;
	(void)rmw;
	*value = rnd(&f->state);
	return access(f, size);
}

static enum tf_err fuzz_write(void *ctx, uint64_t linear, uint8_t size, uint64_t value)
{
	(void)linear;
	ASSERT(size == 8 || !(value >> 8 * size));
	return access(ctx, size);
}

static void check_decoded(const uint8_t *bytes, const struct insn *i, enum insn_mode mode)
{
	struct insn again;

	ASSERT(i->len >= 1 && i->len <= INSN_MAX && i->mode == mode);
	ASSERT(i->reg < 16 && (i->base < 16 || i->base == INSN_NO_REG) && (i->index < 16 || i->index == INSN_NO_REG));
	ASSERT(i->opsize == 1 || i->opsize == 2 || i->opsize == 4 || (i->opsize == 8 && mode == INSN_64));
	ASSERT(i->memsize <= i->opsize || (i->op == INSN_CMPXCHG8B && i->memsize == 2 * i->opsize));
	ASSERT(insn_decode(bytes, i->len, mode, &again) == TF_OK && again.len == i->len && again.op == i->op);
	ASSERT(insn_decode(bytes, i->len - 1u, mode, &again) == TF_ETRUNC);
}

static void check_executed(const struct insn *i, struct fuzz *f, unsigned max_rep)
{
	uint64_t gpr[16], rip, rflags, old_rip, old_flags;
	struct insn_env env = { .ctx = f, .gpr = gpr, .rip = &rip, .rflags = &rflags,
				.stack_size = f->mode == INSN_64 ? 8 : f->state & 1 ? 4 : 2,
				.linear = fuzz_linear, .read = fuzz_read, .write = fuzz_write };
	enum tf_err err;

	for (unsigned r = 0; r < 16; r++)
		gpr[r] = rnd(&f->state) >> (rnd(&f->state) >> 58);
	old_rip = rip = f->mode == INSN_64 ? rnd(&f->state) : (uint32_t)rnd(&f->state);
	old_flags = rflags = rnd(&f->state) & UINT32_MAX;
	err = insn_execute(i, &env, max_rep);
	/* At most two locations, a read and a write for each element; CMPXCHG16B has two parts, CALL a target besides. */
	ASSERT(f->accesses <= 5 * (i->rep ? max_rep : 1));
	ASSERT(err == TF_OK || (err == TF_EFAULT && f->accesses == f->fail_at) ||
	       (err == TF_ERANGE && (i->op == INSN_DIV || i->op == INSN_IDIV)));
	if (err)
		ASSERT(rip == old_rip && (rflags == old_flags || i->rep));
	else if (!i->rep && i->op != INSN_CALL && i->op != INSN_JMP)
		ASSERT(rip != old_rip);
	ASSERT(!((rflags ^ old_flags) & ~(RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF | RFLAGS_RF)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = { 0 };
	struct insn i;
	enum tf_err err;

	if (size < HEADER)
		return 0;
	f.mode = (enum insn_mode)(data[0] % 3);
	f.state = data[2] | (uint64_t)data[3] << 8;
	f.fail_at = data[4];

	/* A copy of exactly the right size, so that the sanitizer sees a read beyond it. */
	size_t n = size - HEADER;
	uint8_t *bytes = malloc(n ? n : 1);

	if (!bytes)
		abort();
	memcpy(bytes, data + HEADER, n);
	err = insn_decode(bytes, n, f.mode, &i);
	ASSERT(err == TF_OK || err == TF_ETRUNC || err == TF_ENOTSUP || err == TF_EINVAL);
	ASSERT(err != TF_ETRUNC || n < INSN_MAX);
	if (err == TF_OK) {
		check_decoded(bytes, &i, f.mode);
		check_executed(&i, &f, data[1]);
	}
	free(bytes);
	return 0;
}
