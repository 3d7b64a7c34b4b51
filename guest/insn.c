/* The instruction decoder: SDM 2A, "Instruction Format", and SDM 2D, "Opcode Map". */
#include "guest/insn.h"

enum form_flags {
	F_VALID  = 1 << 0,
	F_BYTE   = 1 << 1,  /* byte operands; else 16, 32 or 64 bit */
	F_MODRM  = 1 << 2,
	F_TO_MEM = 1 << 3,
	F_LOCK   = 1 << 4,  /* LOCK is allowed with a memory destination */
	F_IMM8   = 1 << 5,  /* an immediate byte */
	F_IMM    = 1 << 6,  /* an immediate of the operand size, at most 4 bytes */
	F_MOFFS  = 1 << 7,
	F_STRING = 1 << 8,
	F_SRC8   = 1 << 9,  /* the memory operand's width, where it is not the operand size */
	F_SRC16  = 1 << 10,
	F_SRC32  = 1 << 11, /* at most 4 bytes */
	F_GROUP  = 1 << 12, /* ModRM.reg chooses the operation: `group` below */
	F_ONLY64 = 1 << 13,
	F_NOT64  = 1 << 14,
	F_UIMM8  = 1 << 15, /* an immediate byte that is not sign-extended: the number of a bit */
};

enum group_id { GROUP_1, GROUP_3, GROUP_8, GROUP_11, NGROUPS };

struct form {
	uint16_t flags;
	uint8_t op; /* enum insn_op, or enum group_id with F_GROUP */
};

/* The four memory forms of an arithmetic instruction: r/m,r (8 and full width) and r,r/m. */
#define ALU(base, name, lock) \
	[(base)]     = { F_VALID | F_MODRM | F_TO_MEM | (lock) | F_BYTE, INSN_##name }, \
	[(base) + 1] = { F_VALID | F_MODRM | F_TO_MEM | (lock), INSN_##name }, \
	[(base) + 2] = { F_VALID | F_MODRM | F_BYTE, INSN_##name }, \
	[(base) + 3] = { F_VALID | F_MODRM, INSN_##name }
/* An opcode whose lowest bit is the width. */
#define PAIR(base, flags, op) \
	[(base)] = { F_VALID | F_BYTE | (flags), op }, [(base) + 1] = { F_VALID | (flags), op }

static const struct form one_byte[256] = {
	ALU(0x00, ADD, F_LOCK), ALU(0x08, OR, F_LOCK), ALU(0x20, AND, F_LOCK), ALU(0x28, SUB, F_LOCK),
	ALU(0x30, XOR, F_LOCK), ALU(0x38, CMP, 0),
	[0x63] = { F_VALID | F_MODRM | F_SRC32 | F_ONLY64, INSN_MOVSX },
	[0x80] = { F_VALID | F_MODRM | F_GROUP | F_TO_MEM | F_BYTE | F_IMM8, GROUP_1 },
	[0x81] = { F_VALID | F_MODRM | F_GROUP | F_TO_MEM | F_IMM, GROUP_1 },
	[0x82] = { F_VALID | F_MODRM | F_GROUP | F_TO_MEM | F_BYTE | F_IMM8 | F_NOT64, GROUP_1 },
	[0x83] = { F_VALID | F_MODRM | F_GROUP | F_TO_MEM | F_IMM8, GROUP_1 },
	PAIR(0x84, F_MODRM, INSN_TEST),
	PAIR(0x86, F_MODRM | F_TO_MEM | F_LOCK, INSN_XCHG),
	PAIR(0x88, F_MODRM | F_TO_MEM, INSN_MOV_STORE),
	PAIR(0x8a, F_MODRM, INSN_MOV_LOAD),
	PAIR(0xa0, F_MOFFS, INSN_MOV_LOAD),
	PAIR(0xa2, F_MOFFS | F_TO_MEM, INSN_MOV_STORE),
	PAIR(0xa4, F_STRING | F_TO_MEM, INSN_MOVS),
	PAIR(0xaa, F_STRING | F_TO_MEM, INSN_STOS),
	PAIR(0xac, F_STRING, INSN_LODS),
	PAIR(0xc6, F_MODRM | F_GROUP | F_TO_MEM | F_IMM, GROUP_11),
	PAIR(0xf6, F_MODRM | F_GROUP | F_IMM, GROUP_3),
};

static const struct form two_byte[256] = {
	[0xa3] = { F_VALID | F_MODRM, INSN_BT },
	[0xab] = { F_VALID | F_MODRM | F_TO_MEM | F_LOCK, INSN_BTS },
	[0xb3] = { F_VALID | F_MODRM | F_TO_MEM | F_LOCK, INSN_BTR },
	[0xbb] = { F_VALID | F_MODRM | F_TO_MEM | F_LOCK, INSN_BTC },
	[0xb6] = { F_VALID | F_MODRM | F_SRC8, INSN_MOVZX },
	[0xb7] = { F_VALID | F_MODRM | F_SRC16, INSN_MOVZX },
	[0xba] = { F_VALID | F_MODRM | F_GROUP | F_UIMM8, GROUP_8 },
	[0xbe] = { F_VALID | F_MODRM | F_SRC8, INSN_MOVSX },
	[0xbf] = { F_VALID | F_MODRM | F_SRC16, INSN_MOVSX },
};

/* SDM 2D, "Opcode Extensions for One-Byte and Two-byte Opcodes". The flags are added to those of the opcode. */
static const struct form group[NGROUPS][8] = {
	[GROUP_1] = {
		[0] = { F_VALID | F_LOCK, INSN_ADD }, [1] = { F_VALID | F_LOCK, INSN_OR },
		[4] = { F_VALID | F_LOCK, INSN_AND }, [5] = { F_VALID | F_LOCK, INSN_SUB },
		[6] = { F_VALID | F_LOCK, INSN_XOR }, [7] = { F_VALID, INSN_CMP },
	},
	/* /1 is an alias that every CPU executes, though the manual leaves it out. */
	[GROUP_3] = { [0] = { F_VALID, INSN_TEST }, [1] = { F_VALID, INSN_TEST } },
	[GROUP_8] = {
		[4] = { F_VALID, INSN_BT }, [5] = { F_VALID | F_TO_MEM | F_LOCK, INSN_BTS },
		[6] = { F_VALID | F_TO_MEM | F_LOCK, INSN_BTR }, [7] = { F_VALID | F_TO_MEM | F_LOCK, INSN_BTC },
	},
	[GROUP_11] = { [0] = { F_VALID, INSN_MOV_IMM } },
};

/* The two registers of a 16-bit address: SDM 2A, "16-Bit Addressing Forms with the ModR/M Byte". */
enum { RBX = 3, RSP = 4, RBP = 5, RSI = 6, RDI = 7 };
static const uint8_t base16[8] = { RBX, RBX, RBP, RBP, RSI, RDI, RBP, RBX };
static const uint8_t index16[8] = { RSI, RDI, RSI, RDI, INSN_NO_REG, INSN_NO_REG, INSN_NO_REG, INSN_NO_REG };

struct cursor {
	const uint8_t *bytes;
	size_t n, at;
	enum tf_err err; /* the first error stays; what is fetched after it is 0 */
};

struct prefixes {
	bool opsize, addrsize, lock, rep, has_seg;
	enum insn_seg seg;
	uint8_t rex;
};

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
		case 0xf3: p->rep = true; break;
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
	i->opsize = flags & F_BYTE ? 1 : i->rex & REX_W ? 8 : narrow ? 2 : 4;
	i->memsize = flags & F_SRC8 ? 1 : flags & F_SRC16 ? 2 : flags & F_SRC32 ? MIN(i->opsize, (uint8_t)4) : i->opsize;
}

enum tf_err insn_decode(const uint8_t *bytes, size_t n, enum insn_mode mode, struct insn *out)
{
	struct cursor c = { .bytes = bytes, .n = n };
	struct prefixes p = { 0 };
	struct insn i = { .mode = mode, .base = INSN_NO_REG, .index = INSN_NO_REG, .scale = 1 };
	const struct form *table = one_byte;
	uint8_t opcode = fetch_prefixes(&c, mode, &p), mod = 0, rm = 0;

	if (opcode == 0x0f) {
		table = two_byte;
		opcode = (uint8_t)fetch(&c, 1);
	}
	if (c.err)
		return c.err;

	struct form f = table[opcode];
	if (!(f.flags & F_VALID) || ((f.flags & F_ONLY64) && mode != INSN_64))
		return TF_ENOTSUP;
	if ((f.flags & F_NOT64) && mode == INSN_64)
		return TF_EINVAL;

	if (f.flags & F_MODRM) {
		uint8_t modrm = (uint8_t)fetch(&c, 1), reg = modrm >> 3 & 7;

		if (c.err)
			return c.err;
		mod = modrm >> 6;
		rm = modrm & 7;
		if (f.flags & F_GROUP) {
			struct form member = group[f.op][reg];

			if (!(member.flags & F_VALID)) /* Groups 8 and 11 have no other member with a memory operand. */
				return mod != 3 && (f.op == GROUP_8 || f.op == GROUP_11) ? TF_EINVAL : TF_ENOTSUP;
			f.op = member.op;
			f.flags |= member.flags;
		} else {
			i.reg = reg | (p.rex & REX_R ? 8 : 0);
		}
		if (mod == 3)
			return p.lock ? TF_EINVAL : TF_ENOTSUP;
	}
	if (p.lock && !(f.flags & F_LOCK))
		return TF_EINVAL;

	i.op = (enum insn_op)f.op;
	i.rex = p.rex;
	i.lock = p.lock;
	i.rep = p.rep && (f.flags & F_STRING);
	i.to_mem = f.flags & F_TO_MEM;
	decode_widths(&p, f.flags, &i);
	if (f.flags & F_MOFFS)
		i.disp = (int64_t)fetch(&c, i.addrsize);
	else if (f.flags & F_STRING)
		i.base = i.op == INSN_STOS ? RDI : RSI;
	else if (i.addrsize == 2)
		decode_address16(&c, mod, rm, &i);
	else
		decode_address(&c, mod, rm, &i);

	if (i.op == INSN_STOS)
		i.seg = SEG_ES;
	else if (p.has_seg)
		i.seg = p.seg;
	else
		i.seg = i.base == RBP || i.base == RSP ? SEG_SS : SEG_DS;

	i.has_imm = f.flags & (F_IMM8 | F_UIMM8 | F_IMM);
	if (f.flags & F_UIMM8)
		i.imm = fetch(&c, 1);
	else if (i.has_imm)
		i.imm = truncate((uint64_t)fetch_signed(&c, f.flags & F_IMM8 ? 1 : MIN(i.opsize, (uint8_t)4)), i.opsize);
	if (c.err)
		return c.err;
	i.len = (uint8_t)c.at;
	*out = i;
	return TF_OK;
}
