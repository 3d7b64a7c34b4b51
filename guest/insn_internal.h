/* What the files of the instruction executor share. */
#pragma once
#include "guest/insn.h"

static inline uint64_t insn_truncate(uint64_t value, uint8_t size)
{
	return size >= 8 ? value : value & (BIT(8 * size) - 1);
}

static inline int64_t insn_sign_extend(uint64_t value, uint8_t size)
{
	unsigned shift = 64 - 8 * size;

	return (int64_t)(value << shift) >> shift;
}

/*
 * insn_alu.c: what is computed. All take operands that are truncated to `size` and replace those bits of *rflags that the
 * instruction changes; bits that the manual calls undefined have some value. insn_alu: ADD to TEST, and INC DEC NOT NEG,
 * which use `a` alone.
 */
uint64_t insn_alu(enum insn_op op, uint64_t a, uint64_t b, uint8_t size, uint64_t *rflags);
/* The rotates and shifts; `fill` is what SHLD and SHRD shift in. */
uint64_t insn_shift(enum insn_op op, uint64_t value, uint64_t fill, unsigned count, uint8_t size, uint64_t *rflags);
/* MUL and IMUL: the product's lower half, and its upper one in *high. */
uint64_t insn_multiply(bool is_signed, uint64_t a, uint64_t b, uint8_t size, uint64_t *high, uint64_t *rflags);
/* DIV and IDIV of *high:*low: quotient and remainder are in *low and *high then. False: #DE. */
bool insn_divide(bool is_signed, uint64_t *high, uint64_t *low, uint64_t divisor, uint8_t size);
/* BSF BSR TZCNT LZCNT POPCNT, done by this CPU: `target` is the whole register. */
uint64_t insn_scan(enum insn_op op, uint64_t target, uint64_t source, uint8_t size, uint64_t *rflags);
/* SDM 1, "EFLAGS Condition Codes" */
bool insn_condition(uint8_t cc, uint64_t rflags);

/*
 * insn_exec.c: registers and the memory operand. `rmw`: it will be written, too. insn_complete goes to the next instruction;
 * insn_operand_write writes a result where it was read from, and then completes with these flags.
 */
uint64_t insn_reg_read(const struct insn *i, const struct insn_env *env, uint8_t reg, uint8_t size);
void insn_reg_write(const struct insn *i, struct insn_env *env, uint8_t reg, uint8_t size, uint64_t value);
uint64_t insn_offset(const struct insn *i, const struct insn_env *env);
__must_check enum tf_err insn_locate(const struct insn *i, struct insn_env *env, uint64_t offset, bool write, uint64_t *linear);
__must_check enum tf_err insn_mem_read(struct insn_env *env, uint64_t linear, uint8_t size, bool rmw, uint64_t *value);
__must_check enum tf_err insn_operand_read(const struct insn *i, struct insn_env *env, bool rmw, uint64_t *linear,
					   uint64_t *value);
__must_check enum tf_err insn_operand_write(const struct insn *i, struct insn_env *env, uint64_t linear, uint64_t value,
					    uint64_t flags);
__must_check enum tf_err insn_complete(const struct insn *i, struct insn_env *env);

/* insn_rmw.c */
__must_check enum tf_err insn_exec_alu(const struct insn *i, struct insn_env *env);
__must_check enum tf_err insn_exec_shift(const struct insn *i, struct insn_env *env);
__must_check enum tf_err insn_exec_double(const struct insn *i, struct insn_env *env);
__must_check enum tf_err insn_exec_load_with(const struct insn *i, struct insn_env *env);
__must_check enum tf_err insn_exec_bit(const struct insn *i, struct insn_env *env);
__must_check enum tf_err insn_exec_exchange(const struct insn *i, struct insn_env *env);
__must_check enum tf_err insn_exec_cmpxchg(const struct insn *i, struct insn_env *env);
__must_check enum tf_err insn_exec_cmpxchg8b(const struct insn *i, struct insn_env *env);
__must_check enum tf_err insn_exec_push(const struct insn *i, struct insn_env *env);
__must_check enum tf_err insn_exec_pop(const struct insn *i, struct insn_env *env);
__must_check enum tf_err insn_exec_branch(const struct insn *i, struct insn_env *env);
