/*
 * The instruction decoder against Zydis, over millions of encodings: whatever ours accepts, Zydis must accept and read
 * the same way; whatever Zydis calls one of our instructions with a memory operand, ours must accept.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <Zydis/Zydis.h>
#include "guest/insn.h"
#include "tests/unit/rng.h"

#define MODES 3

static ZydisDecoder decoder[MODES];
static unsigned long compared, accepted;
static int setup(void **state)
{
	(void)state;
	return !(ZYAN_SUCCESS(ZydisDecoderInit(&decoder[INSN_16], ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16)) &&
		 ZYAN_SUCCESS(ZydisDecoderInit(&decoder[INSN_32], ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32)) &&
		 ZYAN_SUCCESS(ZydisDecoderInit(&decoder[INSN_64], ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)));
}

static const struct { ZydisMnemonic mnemonic; enum insn_op op; } names[] = {
	{ ZYDIS_MNEMONIC_MOV, INSN_MOV_LOAD }, { ZYDIS_MNEMONIC_MOV, INSN_MOV_STORE }, { ZYDIS_MNEMONIC_MOV, INSN_MOV_IMM },
	{ ZYDIS_MNEMONIC_MOVZX, INSN_MOVZX }, { ZYDIS_MNEMONIC_MOVSX, INSN_MOVSX }, { ZYDIS_MNEMONIC_MOVSXD, INSN_MOVSX },
	{ ZYDIS_MNEMONIC_STOSB, INSN_STOS }, { ZYDIS_MNEMONIC_STOSW, INSN_STOS }, { ZYDIS_MNEMONIC_STOSD, INSN_STOS },
	{ ZYDIS_MNEMONIC_STOSQ, INSN_STOS }, { ZYDIS_MNEMONIC_MOVSB, INSN_MOVS }, { ZYDIS_MNEMONIC_MOVSW, INSN_MOVS },
	{ ZYDIS_MNEMONIC_MOVSD, INSN_MOVS }, { ZYDIS_MNEMONIC_MOVSQ, INSN_MOVS }, { ZYDIS_MNEMONIC_LODSB, INSN_LODS },
	{ ZYDIS_MNEMONIC_LODSW, INSN_LODS }, { ZYDIS_MNEMONIC_LODSD, INSN_LODS }, { ZYDIS_MNEMONIC_LODSQ, INSN_LODS },
	{ ZYDIS_MNEMONIC_AND, INSN_AND }, { ZYDIS_MNEMONIC_OR, INSN_OR }, { ZYDIS_MNEMONIC_XOR, INSN_XOR },
	{ ZYDIS_MNEMONIC_ADD, INSN_ADD }, { ZYDIS_MNEMONIC_SUB, INSN_SUB }, { ZYDIS_MNEMONIC_CMP, INSN_CMP },
	{ ZYDIS_MNEMONIC_TEST, INSN_TEST }, { ZYDIS_MNEMONIC_XCHG, INSN_XCHG }, { ZYDIS_MNEMONIC_BT, INSN_BT },
	{ ZYDIS_MNEMONIC_BTS, INSN_BTS }, { ZYDIS_MNEMONIC_BTR, INSN_BTR }, { ZYDIS_MNEMONIC_BTC, INSN_BTC },
#define SAME(name) { ZYDIS_MNEMONIC_##name, INSN_##name }
	SAME(ADC), SAME(SBB), SAME(INC), SAME(DEC), SAME(NOT), SAME(NEG), SAME(ROL), SAME(ROR), SAME(RCL), SAME(RCR),
	SAME(SHL), SAME(SHR), SAME(SAR), SAME(SHLD), SAME(SHRD), SAME(MUL), SAME(IMUL), SAME(DIV), SAME(IDIV),
	{ ZYDIS_MNEMONIC_IMUL, INSN_IMUL_REG }, SAME(XADD), SAME(CMPXCHG), SAME(CMPXCHG8B),
	{ ZYDIS_MNEMONIC_CMPXCHG16B, INSN_CMPXCHG8B }, { ZYDIS_MNEMONIC_MOVNTI, INSN_MOV_STORE },
	{ ZYDIS_MNEMONIC_MOVBE, INSN_MOVBE_LOAD }, { ZYDIS_MNEMONIC_MOVBE, INSN_MOVBE_STORE }, SAME(XLAT),
	{ ZYDIS_MNEMONIC_CMPSB, INSN_CMPS }, { ZYDIS_MNEMONIC_CMPSW, INSN_CMPS }, { ZYDIS_MNEMONIC_CMPSD, INSN_CMPS },
	{ ZYDIS_MNEMONIC_CMPSQ, INSN_CMPS }, { ZYDIS_MNEMONIC_SCASB, INSN_SCAS }, { ZYDIS_MNEMONIC_SCASW, INSN_SCAS },
	{ ZYDIS_MNEMONIC_SCASD, INSN_SCAS }, { ZYDIS_MNEMONIC_SCASQ, INSN_SCAS },
	SAME(BSF), SAME(BSR), SAME(TZCNT), SAME(LZCNT), SAME(POPCNT), SAME(PUSH), SAME(POP), SAME(CALL), SAME(JMP),
	SAME(CLFLUSH), { ZYDIS_MNEMONIC_CLFLUSHOPT, INSN_CLFLUSH }, { ZYDIS_MNEMONIC_CLWB, INSN_CLFLUSH },
#define CONDITION(cc) { ZYDIS_MNEMONIC_CMOV##cc, INSN_CMOVCC }, { ZYDIS_MNEMONIC_SET##cc, INSN_SETCC }
	CONDITION(O), CONDITION(NO), CONDITION(B), CONDITION(NB), CONDITION(Z), CONDITION(NZ), CONDITION(BE), CONDITION(NBE),
	CONDITION(S), CONDITION(NS), CONDITION(P), CONDITION(NP), CONDITION(L), CONDITION(NL), CONDITION(LE), CONDITION(NLE),
};

static const struct { ZydisMnemonic cmov, set; } conditions[] = {
#define NAMES(cc) { ZYDIS_MNEMONIC_CMOV##cc, ZYDIS_MNEMONIC_SET##cc }
	NAMES(O), NAMES(NO), NAMES(B), NAMES(NB), NAMES(Z), NAMES(NZ), NAMES(BE), NAMES(NBE),
	NAMES(S), NAMES(NS), NAMES(P), NAMES(NP), NAMES(L), NAMES(NL), NAMES(LE), NAMES(NLE),
};

static bool is_string(enum insn_op op)
{
	return op == INSN_STOS || op == INSN_MOVS || op == INSN_LODS || op == INSN_CMPS || op == INSN_SCAS;
}

/* Whether our decoder promises this: one of the mnemonics with general registers and memory, legacy encoding. */
static bool promised(const ZydisDecodedInstruction *zi, const ZydisDecodedOperand *ops)
{
	bool memory = false, named = false;

	if (zi->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY)
		return false;
	for (size_t k = 0; k < ARRAY_SIZE(names); k++)
		named |= names[k].mnemonic == zi->mnemonic;
	/* SSE2's MOVSD and CMPSD share their mnemonics with string instructions; MOVNTI is SSE2, too. */
	if (!named || (zi->meta.isa_set == ZYDIS_ISA_SET_SSE2 && zi->mnemonic != ZYDIS_MNEMONIC_MOVNTI &&
		       zi->mnemonic != ZYDIS_MNEMONIC_CLFLUSH))
		return false;
	if (zi->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
		return false;
	/* What only the stack pointer addresses is not promised. */
	if (ops[0].type != ZYDIS_OPERAND_TYPE_MEMORY && (zi->mnemonic == ZYDIS_MNEMONIC_PUSH || zi->mnemonic == ZYDIS_MNEMONIC_POP ||
							  zi->mnemonic == ZYDIS_MNEMONIC_CALL || zi->mnemonic == ZYDIS_MNEMONIC_JMP))
		return false;
	for (unsigned k = 0; k < zi->operand_count; k++) {
		if (ops[k].type == ZYDIS_OPERAND_TYPE_MEMORY)
			memory = true;
		if (ops[k].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    ZydisRegisterGetClass(ops[k].reg.value) == ZYDIS_REGCLASS_SEGMENT)
			return false; /* MOV to and from segment registers is not promised */
	}
	return memory;
}

static const char *text(const uint8_t *bytes, enum insn_mode mode, const char *what)
{
	static char line[256];
	int at = snprintf(line, sizeof(line), "%s: mode %d:", what, (int)mode);

	for (unsigned k = 0; k < INSN_MAX; k++)
		at += snprintf(line + at, sizeof(line) - (size_t)at, " %02x", bytes[k]);
	return line;
}

#define REQUIRE(x) do { if (!(x)) fail_msg("%s", text(bytes, mode, #x)); } while (0)

static ZydisRegister gpr(const struct insn *i, uint8_t reg, uint8_t size)
{
	if (size == 1 && !i->rex && reg >= 4)
		return (ZydisRegister)(ZYDIS_REGISTER_AH + reg - 4);
	return ZydisRegisterEncode(size == 1 ? ZYDIS_REGCLASS_GPR8 : size == 2 ? ZYDIS_REGCLASS_GPR16 :
		size == 4 ? ZYDIS_REGCLASS_GPR32 : ZYDIS_REGCLASS_GPR64,
		size == 1 && reg >= 4 ? (ZyanU8)(reg + 4) : reg); /* the class counts AH to BH between BL and SPL */
}

static uint64_t low(uint64_t value, uint8_t size)
{
	return size == 8 ? value : value & (BIT(8 * size) - 1);
}

static void compare_memory(const uint8_t *bytes, enum insn_mode mode, const struct insn *i, const ZydisDecodedOperand *o)
{
	static const ZydisRegister seg[] = {
		[SEG_ES] = ZYDIS_REGISTER_ES, [SEG_CS] = ZYDIS_REGISTER_CS, [SEG_SS] = ZYDIS_REGISTER_SS,
		[SEG_DS] = ZYDIS_REGISTER_DS, [SEG_FS] = ZYDIS_REGISTER_FS, [SEG_GS] = ZYDIS_REGISTER_GS,
	};
	ZydisRegister base = ZYDIS_REGISTER_NONE, index = ZYDIS_REGISTER_NONE;

	if (i->rip_relative)
		base = i->addrsize == 8 ? ZYDIS_REGISTER_RIP : ZYDIS_REGISTER_EIP;
	else if (i->base != INSN_NO_REG)
		base = gpr(i, i->base, i->addrsize);
	if (i->index != INSN_NO_REG)
		index = gpr(i, i->index, i->addrsize);
	/*
	 * Zydis 4.0 reports R13D as the base, and no displacement, for mod 0, SIB base 5 with REX.B and an address-size
	 * prefix. SDM 2A, "32-Bit Addressing Forms with the SIB Byte", knows no base there, whatever REX.B is, and
	 * test_insn_exec shows that the CPU agrees.
	 */
	bool zydis_wrong = base == ZYDIS_REGISTER_NONE && o->mem.base == ZYDIS_REGISTER_R13D &&
			   !o->mem.disp.has_displacement && i->mode == INSN_64 && i->addrsize == 4;

	/* Before an indirect branch Zydis takes 3Eh for CET's no-track prefix; it is an override all the same. */
	if (i->op != INSN_CALL && i->op != INSN_JMP)
		REQUIRE(o->mem.segment == seg[i->seg]);
	REQUIRE(o->mem.base == base || zydis_wrong);
	REQUIRE(o->mem.index == index);
	REQUIRE(index == ZYDIS_REGISTER_NONE ? i->scale == 1 : o->mem.scale == i->scale);
	REQUIRE(zydis_wrong || low((uint64_t)o->mem.disp.value, i->addrsize) == low((uint64_t)i->disp, i->addrsize));
	/* Zydis reads 4 bytes for MOVSXD with a 16-bit destination; SDM 2B, "MOVSX/MOVSXD", says r16, r/m16. */
	if (i->op == INSN_MOVSX && i->opsize == 2 && i->memsize == 2 && o->size == 32)
		return;
	if (i->op == INSN_CLFLUSH) /* a whole line, for Zydis; its address is checked as a byte's (SDM 2A, "CLFLUSH") */
		return;
	REQUIRE(o->size == 8u * i->memsize);
}

static void compare_accepted(const uint8_t *bytes, enum insn_mode mode, const struct insn *i,
			     const ZydisDecodedInstruction *zi, const ZydisDecodedOperand *ops)
{
	unsigned mem_at = zi->operand_count, reg_at = 2;
	bool named = false, raw_rep = false, raw_lock = false;
	uint8_t last_rep = 0;

	for (size_t k = 0; k < ARRAY_SIZE(names); k++)
		named |= names[k].mnemonic == zi->mnemonic && names[k].op == i->op;
	REQUIRE(named);
	REQUIRE(i->mode == mode);
	REQUIRE(i->len == zi->length);
	REQUIRE(8 * i->addrsize == zi->address_width);
	for (unsigned k = 0; k < zi->raw.prefix_count; k++) {
		if ((zi->raw.prefixes[k].value & 0xfe) == 0xf2)
			last_rep = zi->raw.prefixes[k].value;
		raw_rep |= (zi->raw.prefixes[k].value & 0xfe) == 0xf2;
		raw_lock |= zi->raw.prefixes[k].value == 0xf0;
	}
	REQUIRE(i->lock == raw_lock);
	REQUIRE(i->rep == (raw_rep && is_string(i->op)));
	REQUIRE((i->rex != 0) == !!(zi->attributes & ZYDIS_ATTRIB_HAS_REX));

	if (i->op == INSN_MOVS) {
		REQUIRE(i->to_mem && !i->has_imm);
		REQUIRE(ops[0].type == ZYDIS_OPERAND_TYPE_MEMORY && ops[0].mem.segment == ZYDIS_REGISTER_ES);
		REQUIRE(ops[0].size == 8u * i->opsize && i->opsize == i->memsize);
		compare_memory(bytes, mode, i, &ops[1]);
		return;
	}
	for (unsigned k = 0; k < zi->operand_count; k++)
		if (ops[k].type == ZYDIS_OPERAND_TYPE_MEMORY) {
			mem_at = k;
			break;
		}
	REQUIRE(mem_at < 2);
	if (i->op == INSN_XLAT) {
		REQUIRE(i->base == 3 && i->memsize == 1 && ops[mem_at].size == 8);
		return;
	}
	if (i->op == INSN_CMPS)
		REQUIRE(ops[1].type == ZYDIS_OPERAND_TYPE_MEMORY && ops[1].mem.segment == ZYDIS_REGISTER_ES);
	if (i->op == INSN_CMPS || i->op == INSN_SCAS)
		REQUIRE(i->repne == (i->rep && last_rep == 0xf2));
	compare_memory(bytes, mode, i, &ops[mem_at]);
	if (i->op == INSN_CMOVCC || i->op == INSN_SETCC)
		REQUIRE(i->cc < ARRAY_SIZE(conditions) &&
			zi->mnemonic == (i->op == INSN_SETCC ? conditions[i->cc].set : conditions[i->cc].cmov));
	if (i->op > INSN_BTC) { /* with fewer operands, or more */
		switch (i->op) {
		case INSN_CMOVCC: case INSN_IMUL_REG: case INSN_MOVBE_LOAD: case INSN_BSF ... INSN_POPCNT:
			REQUIRE(mem_at == 1 && !i->to_mem);
			reg_at = 0;
			break;
		case INSN_SHLD: case INSN_SHRD: case INSN_XADD: case INSN_CMPXCHG: case INSN_MOVBE_STORE:
			REQUIRE(mem_at == 0 && i->to_mem);
			reg_at = 1;
			break;
		default:
			if (i->op == INSN_ADC || i->op == INSN_SBB)
				REQUIRE(i->to_mem == (mem_at == 0));
			break;
		}
		if (reg_at < 2)
			REQUIRE(ops[reg_at].type == ZYDIS_OPERAND_TYPE_REGISTER && ops[reg_at].reg.value == gpr(i, i->reg, i->opsize));
		for (unsigned k = 0; k < zi->operand_count_visible; k++)
			if (ops[k].type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
				REQUIRE(i->has_imm && i->imm == low(ops[k].imm.value.u, i->opsize));
		return;
	}

	const ZydisDecodedOperand *other = &ops[1 - mem_at];
	if (i->op == INSN_MOVZX || i->op == INSN_MOVSX)
		REQUIRE(i->opsize >= i->memsize);
	else
		REQUIRE(i->opsize == i->memsize);
	/* TEST and BT write nothing and do not order their operands: to_mem stays clear. */
	if (i->op == INSN_TEST || i->op == INSN_BT)
		REQUIRE(!i->to_mem);
	else if (i->op == INSN_XCHG)
		REQUIRE(i->to_mem);
	else
		REQUIRE(i->to_mem == (mem_at == 0));
	REQUIRE(i->has_imm == (other->type == ZYDIS_OPERAND_TYPE_IMMEDIATE));
	if (i->has_imm) {
		REQUIRE(i->imm == low(other->imm.value.u, i->opsize));
	} else {
		REQUIRE(other->type == ZYDIS_OPERAND_TYPE_REGISTER);
		REQUIRE(other->reg.value == gpr(i, i->reg, i->opsize));
		REQUIRE(other->size == 8u * i->opsize);
	}
}

/* Decodes 15 bytes both ways; returns our verdict. */
static enum tf_err compare(const uint8_t *bytes, enum insn_mode mode, struct insn *i)
{
	ZydisDecodedInstruction zi;
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
	enum tf_err err = insn_decode(bytes, INSN_MAX, mode, i);
	bool ok = ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder[mode], bytes, INSN_MAX, &zi, ops));

	compared++;
	REQUIRE(err == TF_OK || err == TF_ENOTSUP || err == TF_EINVAL);
	if (err) {
		REQUIRE(!(ok && promised(&zi, ops)));
		return err;
	}
	accepted++;
	REQUIRE(ok);
	compare_accepted(bytes, mode, i, &zi, ops);
	return TF_OK;
}

/* Every shorter prefix of a good encoding asks for more bytes, and the length itself is enough. */
static void check_truncation(const uint8_t *bytes, enum insn_mode mode, uint8_t len)
{
	struct insn i;

	for (uint8_t n = 0; n < len; n++)
		REQUIRE(insn_decode(bytes, n, mode, &i) == TF_ETRUNC);
	REQUIRE(insn_decode(bytes, len, mode, &i) == TF_OK && i.len == len);
}

static const uint8_t prefix_bytes[] = { 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65 };

static unsigned put_prefixes(uint8_t *bytes, enum insn_mode mode, uint64_t r)
{
	unsigned n = 0, count = r & 3;

	r >>= 2;
	for (unsigned k = 0; k < count; k++, r /= 12) {
		if (mode == INSN_64 && r % 12 == 11)
			bytes[n++] = 0x40 | (rng() & 0xf); /* a REX that another prefix may cancel */
		else
			bytes[n++] = prefix_bytes[r % ARRAY_SIZE(prefix_bytes)];
	}
	if (mode == INSN_64 && (rng() & 1))
		bytes[n++] = 0x40 | (rng() & 0xf);
	return n;
}

static void fill(uint8_t *bytes)
{
	uint64_t a = rng(), b = rng();

	memcpy(bytes, &a, 8);
	memcpy(bytes + 8, &b, 7);
}

static unsigned put_opcode(uint8_t *bytes, unsigned n, unsigned opcode)
{
	if (opcode >= 0x100)
		bytes[n++] = 0x0f;
	bytes[n++] = (uint8_t)opcode;
	return n;
}

/* Every opcode of both maps, every ModRM byte, without and with prefixes. */
static void test_opcodes(void **state)
{
	(void)state;
	for (enum insn_mode mode = INSN_16; mode <= INSN_64; mode++)
		for (unsigned opcode = 0; opcode < 0x200; opcode++)
			for (unsigned modrm = 0; modrm < 0x100; modrm++)
				for (unsigned round = 0; round < 16; round++) {
					uint8_t bytes[INSN_MAX];
					struct insn i;
					unsigned n;

					fill(bytes);
					n = put_opcode(bytes, round ? put_prefixes(bytes, mode, rng()) : 0, opcode);
					bytes[n] = (uint8_t)modrm;
					if (compare(bytes, mode, &i) == TF_OK && round == 1)
						check_truncation(bytes, mode, i.len);
				}
}

/* Every SIB byte with every mod, every REX, with one and two of our opcodes' shapes. */
static void test_sib(void **state)
{
	static const unsigned opcodes[] = { 0x8b, 0x88, 0xc7, 0xc6, 0x81, 0x1b6, 0x1ba };

	(void)state;
	for (enum insn_mode mode = INSN_16; mode <= INSN_64; mode++)
		for (unsigned o = 0; o < ARRAY_SIZE(opcodes); o++)
			for (unsigned rex = 0; rex <= (mode == INSN_64 ? 16 : 0); rex++)
				for (unsigned mod = 0; mod < 3; mod++)
					for (unsigned sib = 0; sib < 0x100; sib++) {
						uint8_t bytes[INSN_MAX];
						struct insn i;
						unsigned n = 0;

						fill(bytes);
						if (rng() & 1)
							bytes[n++] = 0x67;
						if (rex)
							bytes[n++] = (uint8_t)(0x3f + rex);
						n = put_opcode(bytes, n, opcodes[o]);
						bytes[n++] = (uint8_t)(mod << 6 | (rng() & 7) << 3 | 4);
						bytes[n] = (uint8_t)sib;
						compare(bytes, mode, &i);
					}
}

/* Long chains of prefixes, to and beyond 15 bytes. */
static void test_prefix_chains(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 1000000; round++) {
		enum insn_mode mode = (enum insn_mode)(rng() % MODES);
		uint8_t bytes[INSN_MAX];
		struct insn i;
		unsigned n = 0, count = rng() % INSN_MAX;

		fill(bytes);
		while (n < count)
			bytes[n++] = rng() & 1 && mode == INSN_64 ? 0x40 | (rng() & 0xf) :
				prefix_bytes[rng() % ARRAY_SIZE(prefix_bytes)];
		compare(bytes, mode, &i);
	}
}

static void test_random_bytes(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 3000000; round++) {
		uint8_t bytes[INSN_MAX];
		struct insn i;

		fill(bytes);
		compare(bytes, (enum insn_mode)(rng() % MODES), &i);
	}
	print_message("%lu encodings compared, %lu accepted\n", compared, accepted);
	assert_true(compared > 8000000 && accepted > 1000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_opcodes),
		cmocka_unit_test(test_sib),
		cmocka_unit_test(test_prefix_chains),
		cmocka_unit_test(test_random_bytes),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
