/* Instructions that compute with a memory operand, exchange it, or use the stack besides. */
#include "guest/insn_internal.h"

enum { RAX = 0, RCX = 1, RDX = 2, RBX = 3, RSP = 4 };

enum tf_err insn_exec_alu(const struct insn *i, struct insn_env *env)
{
	bool discard = i->op == INSN_CMP || i->op == INSN_TEST, store = i->to_mem && !discard;
	uint64_t linear, memory, result, flags = *env->rflags;
	uint64_t other = i->has_imm ? i->imm : insn_reg_read(i, env, i->reg, i->opsize);
	enum tf_err err = insn_operand_read(i, env, store, &linear, &memory);

	if (err)
		return err;
	result = insn_alu(i->op, i->to_mem ? memory : other, i->to_mem ? other : memory, i->opsize, &flags);
	if (store)
		return insn_operand_write(i, env, linear, result, flags);
	if (!discard)
		insn_reg_write(i, env, i->reg, i->opsize, result);
	*env->rflags = flags;
	return insn_complete(i, env);
}

enum tf_err insn_exec_shift(const struct insn *i, struct insn_env *env)
{
	bool has_fill = i->op == INSN_SHLD || i->op == INSN_SHRD;
	uint64_t linear, memory, flags = *env->rflags, fill = has_fill ? insn_reg_read(i, env, i->reg, i->opsize) : 0;
	uint8_t count = (uint8_t)(i->has_imm ? i->imm : env->gpr[RCX]);
	enum tf_err err = insn_operand_read(i, env, true, &linear, &memory);

	if (err)
		return err;
	memory = insn_shift(i->op, memory, fill, count, i->opsize, &flags);
	return insn_operand_write(i, env, linear, memory, flags);
}

/* MUL, IMUL, DIV, IDIV: a byte's double is AX, a wider operand's rDX:rAX. */
enum tf_err insn_exec_double(const struct insn *i, struct insn_env *env)
{
	bool is_signed = i->op == INSN_IMUL || i->op == INSN_IDIV;
	uint8_t size = i->opsize;
	uint64_t linear, memory, low = insn_truncate(env->gpr[RAX], size);
	uint64_t high = size == 1 ? env->gpr[RAX] >> 8 & 0xff : insn_truncate(env->gpr[RDX], size);
	enum tf_err err = insn_operand_read(i, env, false, &linear, &memory);

	if (err)
		return err;
	if (i->op == INSN_MUL || i->op == INSN_IMUL)
		low = insn_multiply(is_signed, low, memory, size, &high, env->rflags);
	else if (!insn_divide(is_signed, &high, &low, memory, size))
		return TF_ERANGE;
	if (size == 1) {
		insn_reg_write(i, env, RAX, 2, high << 8 | low);
	} else {
		insn_reg_write(i, env, RAX, size, low);
		insn_reg_write(i, env, RDX, size, high);
	}
	return insn_complete(i, env);
}

/* Loads whose result depends on what the target holds, or on the flags. */
enum tf_err insn_exec_load_with(const struct insn *i, struct insn_env *env)
{
	uint64_t linear, memory, high, target = insn_reg_read(i, env, i->reg, i->opsize);
	enum tf_err err = insn_operand_read(i, env, false, &linear, &memory);

	if (err)
		return err;
	switch (i->op) {
	case INSN_CMOVCC: /* the memory is read in any case, and the upper half of a 32-bit target cleared */
		memory = insn_condition(i->cc, *env->rflags) ? memory : target;
		break;
	case INSN_IMUL_REG:
		memory = insn_multiply(true, memory, i->has_imm ? i->imm : target, i->opsize, &high, env->rflags);
		break;
	default:
		env->gpr[i->reg] = insn_scan(i->op, env->gpr[i->reg], memory, i->opsize, env->rflags);
		return insn_complete(i, env);
	}
	insn_reg_write(i, env, i->reg, i->opsize, memory);
	return insn_complete(i, env);
}

/* SDM 2A, "BT-Bit Test": a bit number in a register is signed and counts from the operand on, far beyond its width. */
enum tf_err insn_exec_bit(const struct insn *i, struct insn_env *env)
{
	uint64_t linear, memory, bit = i->imm, offset = insn_offset(i, env);
	enum tf_err err;

	if (!i->has_imm) {
		int64_t number = insn_sign_extend(insn_reg_read(i, env, i->reg, i->opsize), i->opsize);
		unsigned bits_log2 = i->opsize == 2 ? 4 : i->opsize == 4 ? 5 : 6;

		offset += (uint64_t)(number >> bits_log2) * i->opsize;
		bit = (uint64_t)number;
	}
	bit = BIT(bit & (8u * i->opsize - 1));
	err = insn_locate(i, env, offset, i->to_mem, &linear);
	if (!err)
		err = insn_mem_read(env, linear, i->memsize, i->to_mem, &memory);
	if (!err && i->to_mem)
		err = env->write(env->ctx, linear, i->memsize, i->op == INSN_BTS ? memory | bit :
			i->op == INSN_BTR ? memory & ~bit : memory ^ bit);
	if (err)
		return err;
	*env->rflags = (*env->rflags & ~RFLAGS_CF) | (memory & bit ? RFLAGS_CF : 0);
	return insn_complete(i, env);
}

enum tf_err insn_exec_exchange(const struct insn *i, struct insn_env *env)
{
	uint64_t linear, memory, flags = *env->rflags, value = insn_reg_read(i, env, i->reg, i->opsize);
	enum tf_err err = insn_operand_read(i, env, true, &linear, &memory);

	if (err)
		return err;
	if (i->op == INSN_XADD)
		value = insn_alu(INSN_ADD, memory, value, i->opsize, &flags);
	err = insn_operand_write(i, env, linear, value, flags);
	if (!err)
		insn_reg_write(i, env, i->reg, i->opsize, memory);
	return err;
}

/* One that does not compare equal is written back as it was (SDM 2A, "CMPXCHG"). */
enum tf_err insn_exec_cmpxchg(const struct insn *i, struct insn_env *env)
{
	uint64_t linear, memory, flags = *env->rflags, accumulator = insn_reg_read(i, env, RAX, i->opsize);
	enum tf_err err = insn_operand_read(i, env, true, &linear, &memory);

	if (err)
		return err;
	insn_alu(INSN_CMP, accumulator, memory, i->opsize, &flags);
	err = insn_operand_write(i, env, linear, flags & RFLAGS_ZF ? insn_reg_read(i, env, i->reg, i->opsize) : memory, flags);
	if (!err && !(flags & RFLAGS_ZF))
		insn_reg_write(i, env, RAX, i->opsize, memory);
	return err;
}

enum tf_err insn_exec_cmpxchg8b(const struct insn *i, struct insn_env *env)
{
	uint8_t size = i->opsize;
	uint64_t linear, low, high;
	enum tf_err err = insn_locate(i, env, insn_offset(i, env), true, &linear);

	if (!err)
		err = insn_mem_read(env, linear, 8, true, &low);
	if (!err && size == 8)
		err = insn_mem_read(env, linear + 8, 8, true, &high);
	if (err)
		return err;
	if (size == 4) {
		high = low >> 32;
		low = (uint32_t)low;
	}
	bool equal = low == insn_reg_read(i, env, RAX, size) && high == insn_reg_read(i, env, RDX, size);
	uint64_t new_low = equal ? insn_reg_read(i, env, RBX, size) : low, new_high = equal ? insn_reg_read(i, env, RCX, size) : high;

	err = env->write(env->ctx, linear, 8, size == 8 ? new_low : new_high << 32 | new_low);
	if (!err && size == 8)
		err = env->write(env->ctx, linear + 8, 8, new_high);
	if (err)
		return err;
	if (!equal) {
		insn_reg_write(i, env, RAX, size, low);
		insn_reg_write(i, env, RDX, size, high);
	}
	*env->rflags = equal ? *env->rflags | RFLAGS_ZF : *env->rflags & ~RFLAGS_ZF;
	return insn_complete(i, env);
}

static enum tf_err push(const struct insn *i, struct insn_env *env, uint64_t value)
{
	uint64_t linear, sp = insn_truncate(env->gpr[RSP] - i->opsize, env->stack_size);
	enum tf_err err = env->linear(env->ctx, SEG_SS, sp, i->opsize, true, &linear);

	if (!err)
		err = env->write(env->ctx, linear, i->opsize, value);
	if (!err)
		insn_reg_write(i, env, RSP, env->stack_size, sp);
	return err;
}

enum tf_err insn_exec_push(const struct insn *i, struct insn_env *env)
{
	uint64_t linear, value;
	enum tf_err err = insn_operand_read(i, env, false, &linear, &value);

	if (!err)
		err = push(i, env, value);
	return err ? err : insn_complete(i, env);
}

/* An address that is relative to RSP is computed with what RSP is after the POP. */
enum tf_err insn_exec_pop(const struct insn *i, struct insn_env *env)
{
	uint64_t stack, linear, value, offset = insn_offset(i, env) + (i->base == RSP ? i->opsize : 0);
	enum tf_err err = env->linear(env->ctx, SEG_SS, insn_truncate(env->gpr[RSP], env->stack_size), i->opsize, false, &stack);

	if (!err)
		err = insn_mem_read(env, stack, i->opsize, false, &value);
	if (!err)
		err = insn_locate(i, env, offset, true, &linear);
	if (!err)
		err = env->write(env->ctx, linear, i->opsize, value);
	if (err)
		return err;
	insn_reg_write(i, env, RSP, env->stack_size, env->gpr[RSP] + i->opsize);
	return insn_complete(i, env);
}

enum tf_err insn_exec_branch(const struct insn *i, struct insn_env *env)
{
	uint64_t linear, target, next = *env->rip + i->len;
	enum tf_err err = insn_operand_read(i, env, false, &linear, &target);

	if (!err) /* the code segment's limit, or a canonical address */
		err = env->linear(env->ctx, SEG_CS, target, 1, false, &linear);
	if (!err && i->op == INSN_CALL)
		err = push(i, env, insn_truncate(next, i->opsize));
	if (err)
		return err;
	*env->rip = target;
	*env->rflags &= ~RFLAGS_RF;
	return TF_OK;
}
