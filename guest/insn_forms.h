/* The opcodes of guest/insn.c: SDM 2D, "Opcode Map". */
#pragma once
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
	F_UIMM8  = 1 << 15, /* an immediate byte that is not sign-extended: the number of a bit, a count */
	F_ONE    = 1 << 16, /* an implied immediate of 1 */
	F_DEF64  = 1 << 17, /* the operand size in 64-bit mode is 64 bits, or 16 */
	F_FIX64  = 1 << 18, /* it is 64 bits there, whatever the prefixes say */
	F_PLAIN  = 1 << 19, /* undefined with the prefixes 66h, F2h and F3h; 32 bits or, with REX.W, 64 */
};

enum group_id { GROUP_1, GROUP_1A, GROUP_2, GROUP_3, GROUP_4, GROUP_5, GROUP_8, GROUP_9, GROUP_11, GROUP_15, NGROUPS };

struct form {
	uint32_t flags : 24;
	uint32_t op : 8; /* enum insn_op, or enum group_id with F_GROUP */
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
	ALU(0x00, ADD, F_LOCK), ALU(0x08, OR, F_LOCK), ALU(0x10, ADC, F_LOCK), ALU(0x18, SBB, F_LOCK),
	ALU(0x20, AND, F_LOCK), ALU(0x28, SUB, F_LOCK), ALU(0x30, XOR, F_LOCK), ALU(0x38, CMP, 0),
	[0x63] = { F_VALID | F_MODRM | F_SRC32 | F_ONLY64, INSN_MOVSX },
	[0x69] = { F_VALID | F_MODRM | F_IMM, INSN_IMUL_REG },
	[0x6b] = { F_VALID | F_MODRM | F_IMM8, INSN_IMUL_REG },
	[0x80] = { F_VALID | F_MODRM | F_GROUP | F_TO_MEM | F_BYTE | F_IMM8, GROUP_1 },
	[0x81] = { F_VALID | F_MODRM | F_GROUP | F_TO_MEM | F_IMM, GROUP_1 },
	[0x82] = { F_VALID | F_MODRM | F_GROUP | F_TO_MEM | F_BYTE | F_IMM8 | F_NOT64, GROUP_1 },
	[0x83] = { F_VALID | F_MODRM | F_GROUP | F_TO_MEM | F_IMM8, GROUP_1 },
	PAIR(0x84, F_MODRM, INSN_TEST),
	PAIR(0x86, F_MODRM | F_TO_MEM | F_LOCK, INSN_XCHG),
	PAIR(0x88, F_MODRM | F_TO_MEM, INSN_MOV_STORE),
	PAIR(0x8a, F_MODRM, INSN_MOV_LOAD),
	[0x8f] = { F_VALID | F_MODRM | F_GROUP | F_TO_MEM | F_DEF64, GROUP_1A },
	PAIR(0xa0, F_MOFFS, INSN_MOV_LOAD),
	PAIR(0xa2, F_MOFFS | F_TO_MEM, INSN_MOV_STORE),
	PAIR(0xa4, F_STRING | F_TO_MEM, INSN_MOVS),
	PAIR(0xa6, F_STRING, INSN_CMPS),
	PAIR(0xaa, F_STRING | F_TO_MEM, INSN_STOS),
	PAIR(0xac, F_STRING, INSN_LODS),
	PAIR(0xae, F_STRING, INSN_SCAS),
	PAIR(0xc0, F_MODRM | F_GROUP | F_TO_MEM | F_UIMM8, GROUP_2),
	PAIR(0xc6, F_MODRM | F_GROUP | F_TO_MEM | F_IMM, GROUP_11),
	PAIR(0xd0, F_MODRM | F_GROUP | F_TO_MEM | F_ONE, GROUP_2),
	PAIR(0xd2, F_MODRM | F_GROUP | F_TO_MEM, GROUP_2),
	[0xd7] = { F_VALID | F_BYTE, INSN_XLAT },
	PAIR(0xf6, F_MODRM | F_GROUP, GROUP_3),
	[0xfe] = { F_VALID | F_MODRM | F_GROUP | F_BYTE, GROUP_4 },
	[0xff] = { F_VALID | F_MODRM | F_GROUP, GROUP_5 },
};

static const struct form two_byte[256] = {
	[0x40 ... 0x4f] = { F_VALID | F_MODRM, INSN_CMOVCC },
	[0x90 ... 0x9f] = { F_VALID | F_MODRM | F_TO_MEM | F_BYTE, INSN_SETCC },
	[0xa3] = { F_VALID | F_MODRM, INSN_BT },
	[0xa4] = { F_VALID | F_MODRM | F_TO_MEM | F_UIMM8, INSN_SHLD },
	[0xa5] = { F_VALID | F_MODRM | F_TO_MEM, INSN_SHLD },
	[0xab] = { F_VALID | F_MODRM | F_TO_MEM | F_LOCK, INSN_BTS },
	[0xac] = { F_VALID | F_MODRM | F_TO_MEM | F_UIMM8, INSN_SHRD },
	[0xad] = { F_VALID | F_MODRM | F_TO_MEM, INSN_SHRD },
	[0xae] = { F_VALID | F_MODRM | F_GROUP | F_SRC8, GROUP_15 },
	[0xaf] = { F_VALID | F_MODRM, INSN_IMUL_REG },
	PAIR(0xb0, F_MODRM | F_TO_MEM | F_LOCK, INSN_CMPXCHG),
	[0xb3] = { F_VALID | F_MODRM | F_TO_MEM | F_LOCK, INSN_BTR },
	[0xb6] = { F_VALID | F_MODRM | F_SRC8, INSN_MOVZX },
	[0xb7] = { F_VALID | F_MODRM | F_SRC16, INSN_MOVZX },
	[0xb8] = { F_VALID | F_MODRM, INSN_POPCNT },
	[0xba] = { F_VALID | F_MODRM | F_GROUP | F_UIMM8, GROUP_8 },
	[0xbb] = { F_VALID | F_MODRM | F_TO_MEM | F_LOCK, INSN_BTC },
	[0xbc] = { F_VALID | F_MODRM, INSN_BSF },
	[0xbd] = { F_VALID | F_MODRM, INSN_BSR },
	[0xbe] = { F_VALID | F_MODRM | F_SRC8, INSN_MOVSX },
	[0xbf] = { F_VALID | F_MODRM | F_SRC16, INSN_MOVSX },
	PAIR(0xc0, F_MODRM | F_TO_MEM | F_LOCK, INSN_XADD),
	[0xc3] = { F_VALID | F_MODRM | F_TO_MEM | F_PLAIN, INSN_MOV_STORE }, /* MOVNTI */
	[0xc7] = { F_VALID | F_MODRM | F_GROUP | F_TO_MEM, GROUP_9 },
};

/* 0F 38 F0 and F1 */
static const struct form movbe[2] = {
	{ F_VALID | F_MODRM, INSN_MOVBE_LOAD }, { F_VALID | F_MODRM | F_TO_MEM, INSN_MOVBE_STORE },
};

/* SDM 2D, "Opcode Extensions for One-Byte and Two-byte Opcodes". The flags are added to those of the opcode. */
static const struct form group[NGROUPS][8] = {
	[GROUP_1] = {
		{ F_VALID | F_LOCK, INSN_ADD }, { F_VALID | F_LOCK, INSN_OR }, { F_VALID | F_LOCK, INSN_ADC },
		{ F_VALID | F_LOCK, INSN_SBB }, { F_VALID | F_LOCK, INSN_AND }, { F_VALID | F_LOCK, INSN_SUB },
		{ F_VALID | F_LOCK, INSN_XOR }, { F_VALID, INSN_CMP },
	},
	[GROUP_1A] = { { F_VALID, INSN_POP } },
	/* In groups 2 and 3, /6 and /1 are aliases that every CPU executes, though the manual leaves them out. */
	[GROUP_2] = {
		{ F_VALID, INSN_ROL }, { F_VALID, INSN_ROR }, { F_VALID, INSN_RCL }, { F_VALID, INSN_RCR },
		{ F_VALID, INSN_SHL }, { F_VALID, INSN_SHR }, { F_VALID, INSN_SHL }, { F_VALID, INSN_SAR },
	},
	[GROUP_3] = {
		{ F_VALID | F_IMM, INSN_TEST }, { F_VALID | F_IMM, INSN_TEST },
		{ F_VALID | F_TO_MEM | F_LOCK, INSN_NOT }, { F_VALID | F_TO_MEM | F_LOCK, INSN_NEG },
		{ F_VALID, INSN_MUL }, { F_VALID, INSN_IMUL }, { F_VALID, INSN_DIV }, { F_VALID, INSN_IDIV },
	},
	[GROUP_4] = { { F_VALID | F_TO_MEM | F_LOCK, INSN_INC }, { F_VALID | F_TO_MEM | F_LOCK, INSN_DEC } },
	[GROUP_5] = {
		[0] = { F_VALID | F_TO_MEM | F_LOCK, INSN_INC }, [1] = { F_VALID | F_TO_MEM | F_LOCK, INSN_DEC },
		[2] = { F_VALID | F_FIX64, INSN_CALL }, [4] = { F_VALID | F_FIX64, INSN_JMP },
		[6] = { F_VALID | F_DEF64, INSN_PUSH },
	},
	[GROUP_8] = {
		[4] = { F_VALID, INSN_BT }, [5] = { F_VALID | F_TO_MEM | F_LOCK, INSN_BTS },
		[6] = { F_VALID | F_TO_MEM | F_LOCK, INSN_BTR }, [7] = { F_VALID | F_TO_MEM | F_LOCK, INSN_BTC },
	},
	[GROUP_9] = { [1] = { F_VALID | F_LOCK, INSN_CMPXCHG8B } },
	[GROUP_11] = { { F_VALID, INSN_MOV_IMM } },
	[GROUP_15] = { [6] = { F_VALID, INSN_CLFLUSH }, [7] = { F_VALID, INSN_CLFLUSH } },
};
