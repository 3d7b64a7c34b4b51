/* The instruction decoder: SDM 2A, "Instruction Format". The opcodes are in insn_forms.h. */
#include "guest/insn_forms.h"

/* The two registers of a 16-bit address: SDM 2A, "16-Bit Addressing Forms with the ModR/M Byte". */
enum { RCX = 1, RBX = 3, RSP = 4, RBP = 5, RSI = 6, RDI = 7 };
static const uint8_t base16[8] = { RBX, RBX, RBP, RBP, RSI, RDI, RBP, RBX };
static const uint8_t index16[8] = { RSI, RDI, RSI, RDI, INSN_NO_REG, INSN_NO_REG, INSN_NO_REG, INSN_NO_REG };

struct cursor {
	const uint8_t *bytes;
	size_t n, at;
	enum tf_err err; /* the first error stays; what is fetched after it is 0 */
};

struct prefixes {
	bool opsize, addrsize, lock, has_seg;
	enum insn_seg seg;
	uint8_t rex, rep; /* rep: F2h or F3h, the last of them */
};

#define REPNE 0xf2
#define REPE  0xf3

#define REX_B BIT(0)
#define REX_X BIT(1)
#define REX_R BIT(2)
#define REX_W BIT(3)

static uint64_t fetch(struct cursor *c, unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < size && !c->err; i++) {
		if (c->at >= INSN_MAX)
			c->err = TF_EINVAL;
		else if (c->at >= c->n)
			c->err = TF_ETRUNC;
		else
			value |= (uint64_t)c->bytes[c->at++] << 8 * i;
	}
	return c->err ? 0 : value;
}

static int64_t fetch_signed(struct cursor *c, unsigned size)
{
	unsigned shift = 64 - 8 * size;

	return (int64_t)(fetch(c, size) << shift) >> shift;
}

/* In 64-bit mode only FS and GS have a base, and the other overrides do not even replace an earlier FS or GS. */
static void segment_prefix(struct prefixes *p, enum insn_mode mode, enum insn_seg seg)
{
	if (mode == INSN_64 && seg != SEG_FS && seg != SEG_GS)
		return;
	p->has_seg = true;
	p->seg = seg;
}

/* Reads prefixes, in any number and order, and returns the first byte of the opcode. */
static uint8_t fetch_prefixes(struct cursor *c, enum insn_mode mode, struct prefixes *p)
{
	for (;;) {
		uint8_t byte = (uint8_t)fetch(c, 1);

		if (c->err)
			return 0;
		if (mode == INSN_64 && (byte & 0xf0) == 0x40) {
			p->rex = byte;
			continue;
		}
		switch (byte) {
		case 0x26: segment_prefix(p, mode, SEG_ES); break;
		case 0x2e: segment_prefix(p, mode, SEG_CS); break;
		case 0x36: segment_prefix(p, mode, SEG_SS); break;
		case 0x3e: segment_prefix(p, mode, SEG_DS); break;
		case 0x64: segment_prefix(p, mode, SEG_FS); break;
		case 0x65: segment_prefix(p, mode, SEG_GS); break;
		case 0x66: p->opsize = true; break;
		case 0x67: p->addrsize = true; break;
		case 0xf0: p->lock = true; break;
		case 0xf2:
		case 0xf3: p->rep = byte; break;
		default: return byte;
		}
		p->rex = 0; /* SDM 2A, "REX Prefixes": one that is not the last prefix is ignored */
	}
}

static void decode_address16(struct cursor *c, uint8_t mod, uint8_t rm, struct insn *i)
{
	i->base = base16[rm];
	i->index = index16[rm];
	if (mod == 0 && rm == 6) {
		i->base = INSN_NO_REG;
		i->disp = fetch_signed(c, 2);
	} else if (mod) {
		i->disp = fetch_signed(c, mod);
	}
}

static void decode_address(struct cursor *c, uint8_t mod, uint8_t rm, struct insn *i)
{
	unsigned disp_size = mod == 1 ? 1 : mod == 2 ? 4 : 0;
	uint8_t base = rm;

	if (rm == RSP) {
		uint8_t sib = (uint8_t)fetch(c, 1);
		uint8_t index = (sib >> 3 & 7) | (i->rex & REX_X ? 8 : 0);

		base = sib & 7;
		i->scale = (uint8_t)(1u << (sib >> 6));
		if (index != RSP)
			i->index = index;
		else
			i->scale = 1;
	}
	if (mod == 0 && base == RBP) {
		disp_size = 4;
		i->rip_relative = rm == RBP && i->mode == INSN_64;
	} else {
		i->base = base | (i->rex & REX_B ? 8 : 0);
	}
	if (disp_size)
		i->disp = fetch_signed(c, disp_size);
}

static uint64_t truncate(uint64_t value, uint8_t size)
{
	return size == 8 ? value : value & (BIT(8 * size) - 1);
}

static void decode_widths(const struct prefixes *p, unsigned flags, struct insn *i)
{
	static const uint8_t wide[] = { [INSN_16] = 2, [INSN_32] = 4, [INSN_64] = 8 };
	bool narrow = (i->mode == INSN_16) != p->opsize; /* a 16-bit operand size */

	i->addrsize = wide[i->mode];
	if (p->addrsize)
		i->addrsize = i->mode == INSN_32 ? 2 : 4;
	i->opsize = flags & F_BYTE ? 1 : i->rex & REX_W ? 8 : narrow && !(flags & F_PLAIN) ? 2 : 4;
	if (i->mode == INSN_64 && ((flags & F_FIX64) || ((flags & F_DEF64) && !narrow)))
		i->opsize = 8;
	i->memsize = flags & F_SRC8 ? 1 : flags & F_SRC16 ? 2 : flags & F_SRC32 ? MIN(i->opsize, (uint8_t)4) : i->opsize;
}

/* Some prefixes are part of the opcode. False: with these it is not one of ours. */
static bool settle_prefixes(const struct prefixes *p, uint8_t reg, struct form *f)
{
	switch (f->op) {
	case INSN_POPCNT:
		return p->rep == REPE;
	case INSN_BSF:
	case INSN_BSR:
		if (p->rep == REPE)
			f->op = f->op == INSN_BSF ? INSN_TZCNT : INSN_LZCNT;
		return true;
	case INSN_MOVBE_LOAD:
	case INSN_MOVBE_STORE:
		return !p->rep;
	case INSN_CLFLUSH: /* 66 0F AE /6 is CLWB, with /7 CLFLUSHOPT */
		return !p->rep && (p->opsize || reg == 7);
	}
	return true;
}

static void decode_immediate(struct cursor *c, unsigned flags, struct insn *i)
{
	i->has_imm = flags & (F_IMM8 | F_UIMM8 | F_IMM | F_ONE);
	if (flags & F_ONE)
		i->imm = 1;
	else if (flags & F_UIMM8)
		i->imm = fetch(c, 1);
	else if (i->has_imm)
		i->imm = truncate((uint64_t)fetch_signed(c, flags & F_IMM8 ? 1 : MIN(i->opsize, (uint8_t)4)), i->opsize);
}

static const struct form *find_form(struct cursor *c, uint8_t *opcode)
{
	static const struct form none;

	if (*opcode != 0x0f)
		return &one_byte[*opcode];
	*opcode = (uint8_t)fetch(c, 1);
	if (*opcode != 0x38)
		return &two_byte[*opcode];
	*opcode = (uint8_t)fetch(c, 1);
	return (*opcode & 0xfe) == 0xf0 ? &movbe[*opcode & 1] : &none;
}

enum tf_err insn_decode(const uint8_t *bytes, size_t n, enum insn_mode mode, struct insn *out)
{
	struct cursor c = { .bytes = bytes, .n = n };
	struct prefixes p = { 0 };
	struct insn i = { .mode = mode, .base = INSN_NO_REG, .index = INSN_NO_REG, .scale = 1 };
	uint8_t opcode = fetch_prefixes(&c, mode, &p), mod = 0, rm = 0, reg = 0;
	struct form f = *find_form(&c, &opcode);

	if (c.err)
		return c.err;
	if (!(f.flags & F_VALID) || ((f.flags & F_ONLY64) && mode != INSN_64))
		return TF_ENOTSUP;
	if ((f.flags & F_NOT64) && mode == INSN_64)
		return TF_EINVAL;

	if (f.flags & F_MODRM) {
		uint8_t modrm = (uint8_t)fetch(&c, 1);

		if (c.err)
			return c.err;
		mod = modrm >> 6;
		rm = modrm & 7;
		reg = modrm >> 3 & 7;
		i.reg = reg | (p.rex & REX_R ? 8 : 0);
		if (f.flags & F_GROUP) {
			struct form member = group[f.op][reg];

			if (!(member.flags & F_VALID)) /* Groups 8 and 11 have no other member with a memory operand. */
				return mod != 3 && (f.op == GROUP_8 || f.op == GROUP_11) ? TF_EINVAL : TF_ENOTSUP;
			i.reg = f.op == GROUP_2 ? RCX : 0;
			f.op = member.op;
			f.flags |= member.flags;
		}
		if (mod == 3)
			return p.lock ? TF_EINVAL : TF_ENOTSUP;
		if (!settle_prefixes(&p, reg, &f))
			return TF_ENOTSUP;
	}
	if ((p.lock && !(f.flags & F_LOCK)) || ((f.flags & F_PLAIN) && (p.opsize || p.rep)))
		return TF_EINVAL;

	i.op = (enum insn_op)f.op;
	i.rex = p.rex;
	i.lock = p.lock;
	i.rep = p.rep && (f.flags & F_STRING);
	i.repne = i.rep && p.rep == REPNE;
	i.to_mem = f.flags & F_TO_MEM;
	if (i.op == INSN_SETCC || i.op == INSN_CMOVCC)
		i.cc = opcode & 0xf;
	decode_widths(&p, f.flags, &i);
	if (i.op == INSN_CMPXCHG8B) {
		i.opsize = i.rex & REX_W ? 8 : 4;
		i.memsize = 2 * i.opsize;
	}
	if (f.flags & F_MOFFS)
		i.disp = (int64_t)fetch(&c, i.addrsize);
	else if (f.flags & F_STRING)
		i.base = i.op == INSN_STOS || i.op == INSN_SCAS ? RDI : RSI;
	else if (i.op == INSN_XLAT)
		i.base = RBX;
	else if (i.addrsize == 2)
		decode_address16(&c, mod, rm, &i);
	else
		decode_address(&c, mod, rm, &i);

	if (i.op == INSN_STOS || i.op == INSN_SCAS)
		i.seg = SEG_ES;
	else if (p.has_seg)
		i.seg = p.seg;
	else
		i.seg = i.base == RBP || i.base == RSP ? SEG_SS : SEG_DS;
	decode_immediate(&c, f.flags, &i);
	if (c.err)
		return c.err;
	i.len = (uint8_t)c.at;
	*out = i;
	return TF_OK;
}
