/* The instruction executor: SDM 2A to 2C, "Instruction Set Reference", the "Operation" section of each. */
#include "guest/insn.h"

enum { RAX = 0, RCX = 1, RSI = 6, RDI = 7 };

#define ARITHMETIC_FLAGS (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

static uint64_t truncate(uint64_t value, uint8_t size)
{
	return size >= 8 ? value : value & (BIT(8 * size) - 1);
}

static int64_t sign_extend(uint64_t value, uint8_t size)
{
	unsigned shift = 64 - 8 * size;

	return (int64_t)(value << shift) >> shift;
}

static bool is_high_byte(const struct insn *i, uint8_t reg, uint8_t size)
{
	return size == 1 && !i->rex && reg >= 4;
}

static uint64_t reg_read(const struct insn *i, const struct insn_env *env, uint8_t reg, uint8_t size)
{
	if (is_high_byte(i, reg, size))
		return env->gpr[reg - 4] >> 8 & 0xff;
	return truncate(env->gpr[reg], size);
}

/* SDM 1, "General-Purpose Registers in 64-Bit Mode": 32 bits zero the upper half, 8 and 16 leave the rest alone. */
static void reg_write(const struct insn *i, struct insn_env *env, uint8_t reg, uint8_t size, uint64_t value)
{
	uint64_t *r = &env->gpr[reg];

	value = truncate(value, size);
	if (is_high_byte(i, reg, size)) {
		r = &env->gpr[reg - 4];
		*r = (*r & ~0xff00ull) | value << 8;
	} else if (size >= 4) {
		*r = value;
	} else {
		*r = (*r & ~truncate(UINT64_MAX, size)) | value;
	}
}

static uint64_t effective_offset(const struct insn *i, const struct insn_env *env)
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

static enum tf_err operand_locate(const struct insn *i, struct insn_env *env, uint64_t offset, bool write,
				  uint64_t *linear)
{
	return env->linear(env->ctx, i->seg, truncate(offset, i->addrsize), i->memsize, write, linear);
}

static enum tf_err mem_read(struct insn_env *env, uint64_t linear, uint8_t size, uint64_t *value)
{
	enum tf_err err = env->read(env->ctx, linear, size, value);

	if (!err)
		*value = truncate(*value, size);
	return err;
}

static enum tf_err complete(const struct insn *i, struct insn_env *env)
{
	*env->rip += i->len;
	if (i->mode != INSN_64)
		*env->rip = (uint32_t)*env->rip;
	*env->rflags &= ~RFLAGS_RF;
	return TF_OK;
}

static uint64_t result_flags(uint64_t result, uint8_t size)
{
	static const uint16_t odd_parity = 0x6996; /* bit n: whether n has an odd number of ones */
	unsigned folded = (result ^ result >> 4) & 0xf;
	uint64_t flags = 0;

	if (!(odd_parity >> folded & 1))
		flags |= RFLAGS_PF;
	if (!result)
		flags |= RFLAGS_ZF;
	if (result >> (8 * size - 1) & 1)
		flags |= RFLAGS_SF;
	return flags;
}

/* a op b, both of `size`; `flags` receives the arithmetic flags. AF after a logical operation is undefined: clear. */
static uint64_t alu(enum insn_op op, uint64_t a, uint64_t b, uint8_t size, uint64_t *flags)
{
	uint64_t result, overflow, carry = 0;

	switch (op) {
	case INSN_ADD:
		result = truncate(a + b, size);
		carry = result < a ? RFLAGS_CF : 0;
		overflow = (a ^ result) & (b ^ result);
		break;
	case INSN_SUB:
	case INSN_CMP:
		result = truncate(a - b, size);
		carry = a < b ? RFLAGS_CF : 0;
		overflow = (a ^ b) & (a ^ result);
		break;
	default:
		result = op == INSN_OR ? a | b : op == INSN_XOR ? a ^ b : a & b;
		*flags = result_flags(result, size);
		return result;
	}
	*flags = result_flags(result, size) | carry;
	if ((a ^ b ^ result) & 0x10)
		*flags |= RFLAGS_AF;
	if (overflow >> (8 * size - 1) & 1)
		*flags |= RFLAGS_OF;
	return result;
}

static enum tf_err exec_alu(const struct insn *i, struct insn_env *env)
{
	bool discard = i->op == INSN_CMP || i->op == INSN_TEST, store = i->to_mem && !discard;
	uint64_t linear, memory, result, flags, other = i->has_imm ? i->imm : reg_read(i, env, i->reg, i->opsize);
	enum tf_err err = operand_locate(i, env, effective_offset(i, env), store, &linear);

	if (!err)
		err = mem_read(env, linear, i->memsize, &memory);
	if (err)
		return err;
	result = i->to_mem ? alu(i->op, memory, other, i->opsize, &flags) : alu(i->op, other, memory, i->opsize, &flags);
	if (store) {
		err = env->write(env->ctx, linear, i->memsize, result);
		if (err)
			return err;
	} else if (!discard) {
		reg_write(i, env, i->reg, i->opsize, result);
	}
	*env->rflags = (*env->rflags & ~ARITHMETIC_FLAGS) | flags;
	return complete(i, env);
}

/* SDM 2A, "BT-Bit Test": a bit number in a register is signed and counts from the operand on, far beyond its width. */
static enum tf_err exec_bit(const struct insn *i, struct insn_env *env)
{
	uint64_t linear, memory, bit = i->imm, offset = effective_offset(i, env);
	enum tf_err err;

	if (!i->has_imm) {
		int64_t number = sign_extend(reg_read(i, env, i->reg, i->opsize), i->opsize);
		unsigned bits_log2 = i->opsize == 2 ? 4 : i->opsize == 4 ? 5 : 6;

		offset += (uint64_t)(number >> bits_log2) * i->opsize;
		bit = (uint64_t)number;
	}
	bit = BIT(bit & (8u * i->opsize - 1));
	err = operand_locate(i, env, offset, i->to_mem, &linear);
	if (!err)
		err = mem_read(env, linear, i->memsize, &memory);
	if (!err && i->to_mem)
		err = env->write(env->ctx, linear, i->memsize, i->op == INSN_BTS ? memory | bit :
			i->op == INSN_BTR ? memory & ~bit : memory ^ bit);
	if (err)
		return err;
	*env->rflags = (*env->rflags & ~RFLAGS_CF) | (memory & bit ? RFLAGS_CF : 0);
	return complete(i, env);
}

static enum tf_err exec_xchg(const struct insn *i, struct insn_env *env)
{
	uint64_t linear, memory;
	enum tf_err err = operand_locate(i, env, effective_offset(i, env), true, &linear);

	if (!err)
		err = mem_read(env, linear, i->memsize, &memory);
	if (!err)
		err = env->write(env->ctx, linear, i->memsize, reg_read(i, env, i->reg, i->opsize));
	if (err)
		return err;
	reg_write(i, env, i->reg, i->opsize, memory);
	return complete(i, env);
}

static enum tf_err exec_load(const struct insn *i, struct insn_env *env)
{
	uint64_t linear, value;
	enum tf_err err = operand_locate(i, env, effective_offset(i, env), false, &linear);

	if (!err)
		err = mem_read(env, linear, i->memsize, &value);
	if (err)
		return err;
	if (i->op == INSN_MOVSX)
		value = (uint64_t)sign_extend(value, i->memsize);
	reg_write(i, env, i->reg, i->opsize, value);
	return complete(i, env);
}

static enum tf_err exec_store(const struct insn *i, struct insn_env *env)
{
	uint64_t linear, value = i->has_imm ? i->imm : reg_read(i, env, i->reg, i->opsize);
	enum tf_err err = operand_locate(i, env, effective_offset(i, env), true, &linear);

	if (!err)
		err = env->write(env->ctx, linear, i->memsize, value);
	return err ? err : complete(i, env);
}

static void reg_step(const struct insn *i, struct insn_env *env, uint8_t reg)
{
	uint64_t step = *env->rflags & RFLAGS_DF ? 0 - (uint64_t)i->opsize : i->opsize;

	reg_write(i, env, reg, i->addrsize, env->gpr[reg] + step);
}

/* One element. Every address is checked before a device sees the first access. */
static enum tf_err string_step(const struct insn *i, struct insn_env *env)
{
	bool from = i->op != INSN_STOS, to = i->op != INSN_LODS;
	uint64_t source = 0, target = 0, value = reg_read(i, env, RAX, i->opsize);
	enum tf_err err = TF_OK;

	if (from)
		err = operand_locate(i, env, env->gpr[RSI], false, &source);
	if (!err && to)
		err = env->linear(env->ctx, SEG_ES, truncate(env->gpr[RDI], i->addrsize), i->opsize, true, &target);
	if (!err && from)
		err = mem_read(env, source, i->opsize, &value);
	if (!err && to)
		err = env->write(env->ctx, target, i->opsize, value);
	if (err)
		return err;
	if (!to)
		reg_write(i, env, RAX, i->opsize, value);
	if (from)
		reg_step(i, env, RSI);
	if (to)
		reg_step(i, env, RDI);
	return TF_OK;
}

static enum tf_err exec_string(const struct insn *i, struct insn_env *env, unsigned max_rep)
{
	enum tf_err err;

	if (!i->rep) {
		err = string_step(i, env);
		return err ? err : complete(i, env);
	}
	for (unsigned n = 0; truncate(env->gpr[RCX], i->addrsize); n++) {
		if (n == max_rep)
			return TF_OK;
		err = string_step(i, env);
		if (err)
			return err;
		reg_write(i, env, RCX, i->addrsize, env->gpr[RCX] - 1);
	}
	return complete(i, env);
}

enum tf_err insn_execute(const struct insn *i, struct insn_env *env, unsigned max_rep)
{
	switch (i->op) {
	case INSN_MOV_LOAD:
	case INSN_MOVZX:
	case INSN_MOVSX:
		return exec_load(i, env);
	case INSN_MOV_STORE:
	case INSN_MOV_IMM:
		return exec_store(i, env);
	case INSN_STOS:
	case INSN_MOVS:
	case INSN_LODS:
		return exec_string(i, env, max_rep);
	case INSN_AND:
	case INSN_OR:
	case INSN_XOR:
	case INSN_ADD:
	case INSN_SUB:
	case INSN_CMP:
	case INSN_TEST:
		return exec_alu(i, env);
	case INSN_XCHG:
		return exec_xchg(i, env);
	case INSN_BT:
	case INSN_BTS:
	case INSN_BTR:
	case INSN_BTC:
		return exec_bit(i, env);
	}
	return TF_ENOTSUP;
}
