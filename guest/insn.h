/*
 * The instructions that access memory-mapped devices: a decoder and an executor. Pure: registers, memory and the device
 * come in through `struct insn_env`. Every integer instruction of the legacy opcode maps that has a memory operand is
 * there, with every prefix, addressing form and mode (16, 32, 64 bit). TF_ENOTSUP is the rest: x87 and vectors, what is
 * coded with VEX, ADCX, ADOX and CRC32, loads and stores of segment and descriptor-table registers, far branches, ARPL and
 * BOUND, and what reaches memory through the stack pointer alone.
 */
#pragma once
#include <tf/err.h>
#include <tf/x86.h>

#define INSN_MAX    15   /* SDM 2A, "Instruction Prefixes": a longer one is #GP, which is TF_EINVAL here */
#define INSN_NO_REG 0xff

enum insn_mode { INSN_16, INSN_32, INSN_64 };
enum insn_op {
	INSN_MOV_LOAD, INSN_MOV_STORE, INSN_MOV_IMM, INSN_MOVZX, INSN_MOVSX, INSN_STOS, INSN_MOVS, INSN_LODS,
	INSN_AND, INSN_OR, INSN_XOR, INSN_ADD, INSN_SUB, INSN_CMP, INSN_TEST, INSN_XCHG, INSN_BT,
	INSN_BTS, INSN_BTR, INSN_BTC,
	INSN_ADC, INSN_SBB, INSN_INC, INSN_DEC, INSN_NOT, INSN_NEG,
	INSN_ROL, INSN_ROR, INSN_RCL, INSN_RCR, INSN_SHL, INSN_SHR, INSN_SAR, INSN_SHLD, INSN_SHRD,
	INSN_MUL, INSN_IMUL, INSN_DIV, INSN_IDIV, /* with rAX and rDX */
	INSN_IMUL_REG, INSN_XADD, INSN_CMPXCHG, INSN_CMPXCHG8B,
	INSN_SETCC, INSN_CMOVCC, INSN_MOVBE_LOAD, INSN_MOVBE_STORE, INSN_XLAT, INSN_CMPS, INSN_SCAS,
	INSN_BSF, INSN_BSR, INSN_TZCNT, INSN_LZCNT, INSN_POPCNT,
	INSN_PUSH, INSN_POP, INSN_CALL, INSN_JMP,
	INSN_CLFLUSH, /* and CLFLUSHOPT, CLWB */
};
enum insn_seg { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS };

struct insn {
	enum insn_op op;
	enum insn_mode mode;
	uint8_t len;
	uint8_t opsize;     /* destination width in bytes: 1, 2, 4, 8 */
	uint8_t memsize;    /* width of the memory operand; 16 for CMPXCHG16B */
	uint8_t addrsize;   /* 2, 4, 8 */
	enum insn_seg seg;  /* of the memory operand (source of MOVS, LODS and CMPS) */
	uint8_t rex;
	uint8_t cc;         /* condition of SETcc and CMOVcc */
	bool rep, lock;
	bool repne;         /* the REP is F2h, which CMPS and SCAS tell from F3h */
	bool to_mem;        /* the memory operand is the destination (the first operand of CMP) */
	bool has_imm;
	uint64_t imm;       /* sign-extended to the operand size, zero above it; the byte itself for bit numbers and shift counts */
	uint8_t reg;        /* register operand, 0 to 15; with opsize 1 and no REX, 4 to 7 are AH CH DH BH */
	uint8_t base, index, scale; /* INSN_NO_REG: none; scale 1, 2, 4, 8 */
	bool rip_relative;
	int64_t disp;       /* or the moffs */
};

/* Decodes bytes[0..n). TF_ETRUNC: more bytes are needed; TF_ENOTSUP: not one of ours; TF_EINVAL: #UD. */
__must_check enum tf_err insn_decode(const uint8_t *bytes, size_t n, enum insn_mode mode, struct insn *out);

/*
 * How an executor reaches the guest. Registers are numbered as in ModRM/REX: RAX RCX RDX RBX RSP RBP RSI RDI R8-R15.
 * read and write take linear addresses (segment base added, truncated to the mode), sizes 1 to 8, and may stop the
 * instruction by returning an error (a fault that was injected), which insn_execute passes on. `rmw`: the instruction is
 * going to write there, too, so that the page must be writable now.
 */
struct insn_env {
	void *ctx;
	uint64_t *gpr;       /* 16 */
	uint64_t *rip, *rflags; /* RIP is advanced only when the instruction, or all of a REP, is complete */
	uint8_t stack_size;  /* bytes of the stack pointer that PUSH, POP and CALL use: 2, 4, 8 */
	/*
	 * Linear address of seg:offset with limit and canonical checks for an access of this size; an error is a fault
	 * that was injected.
	 */
	enum tf_err (*linear)(void *ctx, enum insn_seg seg, uint64_t offset, uint8_t size, bool write, uint64_t *out);
	enum tf_err (*read)(void *ctx, uint64_t linear, uint8_t size, bool rmw, uint64_t *value);
	enum tf_err (*write)(void *ctx, uint64_t linear, uint8_t size, uint64_t value);
};

/*
 * Executes one decoded instruction; a REP form runs at most `max_rep` iterations and then leaves RIP where it is with
 * RCX, RSI and RDI advanced, as an interrupt would. Flags are exactly the CPU's where the manual defines them; a complete
 * instruction clears RF. TF_ERANGE: #DE.
 */
__must_check enum tf_err insn_execute(const struct insn *i, struct insn_env *env, unsigned max_rep);
