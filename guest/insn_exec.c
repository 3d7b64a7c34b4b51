/* The instruction executor: SDM 2A to 2C, "Instruction Set Reference", the "Operation" section of each. */
#include "guest/insn_internal.h"

enum { RAX = 0, RCX = 1, RSI = 6, RDI = 7 };

static bool is_high_byte(const struct insn *i, uint8_t reg, uint8_t size)
{
	return size == 1 && !i->rex && reg >= 4;
}

uint64_t insn_reg_read(const struct insn *i, const struct insn_env *env, uint8_t reg, uint8_t size)
{
	if (is_high_byte(i, reg, size))
		return env->gpr[reg - 4] >> 8 & 0xff;
	return insn_truncate(env->gpr[reg], size);
}

/* SDM 1, "General-Purpose Registers in 64-Bit Mode": 32 bits zero the upper half, 8 and 16 leave the rest alone. */
void insn_reg_write(const struct insn *i, struct insn_env *env, uint8_t reg, uint8_t size, uint64_t value)
{
	uint64_t *r = &env->gpr[reg];

	value = insn_truncate(value, size);
	if (is_high_byte(i, reg, size)) {
		r = &env->gpr[reg - 4];
		*r = (*r & ~0xff00ull) | value << 8;
	} else if (size >= 4) {
		*r = value;
	} else {
		*r = (*r & ~insn_truncate(UINT64_MAX, size)) | value;
	}
}

uint64_t insn_offset(const struct insn *i, const struct insn_env *env)
{
	uint64_t offset = (uint64_t)i->disp;

	if (i->rip_relative)
		offset += *env->rip + i->len;
	if (i->base != INSN_NO_REG)
		offset += env->gpr[i->base];
	if (i->index != INSN_NO_REG)
		offset += env->gpr[i->index] * i->scale;
	return offset;
}

enum tf_err insn_locate(const struct insn *i, struct insn_env *env, uint64_t offset, bool write,
				  uint64_t *linear)
{
	return env->linear(env->ctx, i->seg, insn_truncate(offset, i->addrsize), i->memsize, write, linear);
}

enum tf_err insn_mem_read(struct insn_env *env, uint64_t linear, uint8_t size, bool rmw, uint64_t *value)
{
	enum tf_err err = env->read(env->ctx, linear, size, rmw, value);

	if (!err)
		*value = insn_truncate(*value, size);
	return err;
}

enum tf_err insn_complete(const struct insn *i, struct insn_env *env)
{
	*env->rip += i->len;
	if (i->mode != INSN_64)
		*env->rip = (uint32_t)*env->rip;
	*env->rflags &= ~RFLAGS_RF;
	return TF_OK;
}

/* The memory operand as it is now, and where. */
enum tf_err insn_operand_read(const struct insn *i, struct insn_env *env, bool rmw, uint64_t *linear, uint64_t *value)
{
	enum tf_err err = insn_locate(i, env, insn_offset(i, env), rmw, linear);

	return err ? err : insn_mem_read(env, *linear, i->memsize, rmw, value);
}

/* Writes the result back to the operand that was read, and ends the instruction with these flags. */
enum tf_err insn_operand_write(const struct insn *i, struct insn_env *env, uint64_t linear, uint64_t value, uint64_t flags)
{
	enum tf_err err = env->write(env->ctx, linear, i->memsize, value);

	if (err)
		return err;
	*env->rflags = flags;
	return insn_complete(i, env);
}

static uint64_t swap_bytes(uint64_t value, uint8_t size)
{
	return __builtin_bswap64(value) >> (64 - 8 * size);
}

static enum tf_err exec_load(const struct insn *i, struct insn_env *env)
{
	uint64_t linear, value, offset = insn_offset(i, env);
	enum tf_err err;

	if (i->op == INSN_XLAT)
		offset += env->gpr[RAX] & 0xff;
	err = insn_locate(i, env, offset, false, &linear);
	if (!err)
		err = insn_mem_read(env, linear, i->memsize, false, &value);
	if (err)
		return err;
	if (i->op == INSN_MOVSX)
		value = (uint64_t)insn_sign_extend(value, i->memsize);
	else if (i->op == INSN_MOVBE_LOAD)
		value = swap_bytes(value, i->opsize);
	insn_reg_write(i, env, i->op == INSN_XLAT ? RAX : i->reg, i->opsize, value);
	return insn_complete(i, env);
}

static enum tf_err exec_store(const struct insn *i, struct insn_env *env)
{
	uint64_t linear, value = i->has_imm ? i->imm : insn_reg_read(i, env, i->reg, i->opsize);
	enum tf_err err = insn_locate(i, env, insn_offset(i, env), true, &linear);

	if (i->op == INSN_SETCC)
		value = insn_condition(i->cc, *env->rflags);
	else if (i->op == INSN_MOVBE_STORE)
		value = swap_bytes(value, i->opsize);
	if (!err)
		err = env->write(env->ctx, linear, i->memsize, value);
	return err ? err : insn_complete(i, env);
}

static void reg_step(const struct insn *i, struct insn_env *env, uint8_t reg)
{
	uint64_t step = *env->rflags & RFLAGS_DF ? 0 - (uint64_t)i->opsize : i->opsize;

	insn_reg_write(i, env, reg, i->addrsize, env->gpr[reg] + step);
}

static uint64_t target_offset(const struct insn *i, const struct insn_env *env)
{
	return insn_truncate(env->gpr[RDI], i->addrsize);
}

/* One element of STOS, LODS or MOVS. Every address is checked before a device sees the first access. */
static enum tf_err string_step(const struct insn *i, struct insn_env *env)
{
	bool from = i->op != INSN_STOS, to = i->op != INSN_LODS;
	uint64_t source = 0, target = 0, value = insn_reg_read(i, env, RAX, i->opsize);
	enum tf_err err = TF_OK;

	if (from)
		err = insn_locate(i, env, env->gpr[RSI], false, &source);
	if (!err && to)
		err = env->linear(env->ctx, SEG_ES, target_offset(i, env), i->opsize, true, &target);
	if (!err && from)
		err = insn_mem_read(env, source, i->opsize, false, &value);
	if (!err && to)
		err = env->write(env->ctx, target, i->opsize, value);
	if (err)
		return err;
	if (!to)
		insn_reg_write(i, env, RAX, i->opsize, value);
	if (from)
		reg_step(i, env, RSI);
	if (to)
		reg_step(i, env, RDI);
	return TF_OK;
}

/* One element of CMPS or SCAS. */
static enum tf_err compare_step(const struct insn *i, struct insn_env *env)
{
	bool two = i->op == INSN_CMPS;
	uint64_t source = 0, target, first = insn_reg_read(i, env, RAX, i->opsize), second;
	enum tf_err err = TF_OK;

	if (two)
		err = insn_locate(i, env, env->gpr[RSI], false, &source);
	if (!err)
		err = env->linear(env->ctx, SEG_ES, target_offset(i, env), i->opsize, false, &target);
	if (!err && two)
		err = insn_mem_read(env, source, i->opsize, false, &first);
	if (!err)
		err = insn_mem_read(env, target, i->opsize, false, &second);
	if (err)
		return err;
	insn_alu(INSN_CMP, first, second, i->opsize, env->rflags);
	if (two)
		reg_step(i, env, RSI);
	reg_step(i, env, RDI);
	return TF_OK;
}

static enum tf_err exec_string(const struct insn *i, struct insn_env *env, unsigned max_rep)
{
	bool compares = i->op == INSN_CMPS || i->op == INSN_SCAS;
	enum tf_err err;

	if (!i->rep) {
		err = compares ? compare_step(i, env) : string_step(i, env);
		return err ? err : insn_complete(i, env);
	}
	for (unsigned n = 0; insn_truncate(env->gpr[RCX], i->addrsize); n++) {
		if (n == max_rep)
			return TF_OK;
		err = compares ? compare_step(i, env) : string_step(i, env);
		if (err)
			return err;
		insn_reg_write(i, env, RCX, i->addrsize, env->gpr[RCX] - 1);
		if (compares && !(*env->rflags & RFLAGS_ZF) != i->repne)
			break;
	}
	return insn_complete(i, env);
}

enum tf_err insn_execute(const struct insn *i, struct insn_env *env, unsigned max_rep)
{
	uint64_t linear;
	enum tf_err err;

	switch (i->op) {
	case INSN_MOV_LOAD:
	case INSN_MOVZX:
	case INSN_MOVSX:
	case INSN_MOVBE_LOAD:
	case INSN_XLAT:
		return exec_load(i, env);
	case INSN_MOV_STORE:
	case INSN_MOV_IMM:
	case INSN_MOVBE_STORE:
	case INSN_SETCC:
		return exec_store(i, env);
	case INSN_STOS:
	case INSN_MOVS:
	case INSN_LODS:
	case INSN_CMPS:
	case INSN_SCAS:
		return exec_string(i, env, max_rep);
	case INSN_AND:
	case INSN_OR:
	case INSN_XOR:
	case INSN_ADD:
	case INSN_ADC:
	case INSN_SUB:
	case INSN_SBB:
	case INSN_CMP:
	case INSN_TEST:
	case INSN_INC:
	case INSN_DEC:
	case INSN_NOT:
	case INSN_NEG:
		return insn_exec_alu(i, env);
	case INSN_ROL ... INSN_SHRD:
		return insn_exec_shift(i, env);
	case INSN_MUL:
	case INSN_IMUL:
	case INSN_DIV:
	case INSN_IDIV:
		return insn_exec_double(i, env);
	case INSN_CMOVCC:
	case INSN_IMUL_REG:
	case INSN_BSF ... INSN_POPCNT:
		return insn_exec_load_with(i, env);
	case INSN_XCHG:
	case INSN_XADD:
		return insn_exec_exchange(i, env);
	case INSN_CMPXCHG:
		return insn_exec_cmpxchg(i, env);
	case INSN_CMPXCHG8B:
		return insn_exec_cmpxchg8b(i, env);
	case INSN_BT:
	case INSN_BTS:
	case INSN_BTR:
	case INSN_BTC:
		return insn_exec_bit(i, env);
	case INSN_PUSH:
		return insn_exec_push(i, env);
	case INSN_POP:
		return insn_exec_pop(i, env);
	case INSN_CALL:
	case INSN_JMP:
		return insn_exec_branch(i, env);
	case INSN_CLFLUSH: /* no device keeps its registers in a cache */
		err = insn_locate(i, env, insn_offset(i, env), false, &linear);
		return err ? err : insn_complete(i, env);
	}
	return TF_ENOTSUP;
}
