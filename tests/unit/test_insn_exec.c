/*
 * The executor against the CPU itself: the same instruction bytes run natively, on the same registers, flags and memory,
 * and everything that the architecture defines must come out equal. 64-bit mode; test_insn.c has the other two.
 */
#include "native_insn.h"

/* The encodings: an opcode (0x1xx: after 0F; 0x3xx: with F3 besides; 0x5xx: after 0F 38) and, for a group, ModRM.reg. */
#define AFTER_0F   0x100
#define AFTER_F3   0x200
#define AFTER_0F38 0x400
static const struct shape {
	uint16_t opcode;
	int8_t reg;
	bool modrm;
	uint8_t imm; /* bytes; 4: by the operand size */
} shapes[] = {
#define ALU(op) \
	{ op, -1, true, 0 }, { op + 1, -1, true, 0 }, { op + 2, -1, true, 0 }, { op + 3, -1, true, 0 }
#define GROUP1(reg) { 0x80, reg, true, 1 }, { 0x81, reg, true, 4 }, { 0x83, reg, true, 1 }
	ALU(0x00), ALU(0x08), ALU(0x10), ALU(0x18), ALU(0x20), ALU(0x28), ALU(0x30), ALU(0x38),
	GROUP1(0), GROUP1(1), GROUP1(2), GROUP1(3), GROUP1(4), GROUP1(5), GROUP1(6), GROUP1(7),
	{ 0x84, -1, true, 0 }, { 0x85, -1, true, 0 }, { 0xf6, 0, true, 1 }, { 0xf7, 0, true, 4 },
	{ 0xf6, 1, true, 1 }, { 0xf7, 1, true, 4 },
	{ 0x86, -1, true, 0 }, { 0x87, -1, true, 0 },
	{ 0x88, -1, true, 0 }, { 0x89, -1, true, 0 }, { 0x8a, -1, true, 0 }, { 0x8b, -1, true, 0 },
	{ 0xc6, 0, true, 1 }, { 0xc7, 0, true, 4 }, { 0x63, -1, true, 0 },
	{ 0x1b6, -1, true, 0 }, { 0x1b7, -1, true, 0 }, { 0x1be, -1, true, 0 }, { 0x1bf, -1, true, 0 },
	{ 0x1a3, -1, true, 0 }, { 0x1ab, -1, true, 0 }, { 0x1b3, -1, true, 0 }, { 0x1bb, -1, true, 0 },
	{ 0x1ba, 4, true, 1 }, { 0x1ba, 5, true, 1 }, { 0x1ba, 6, true, 1 }, { 0x1ba, 7, true, 1 },
	{ 0xa0, -1, false, 0 }, { 0xa1, -1, false, 0 }, { 0xa2, -1, false, 0 }, { 0xa3, -1, false, 0 },
	{ 0xa4, -1, false, 0 }, { 0xa5, -1, false, 0 }, { 0xaa, -1, false, 0 }, { 0xab, -1, false, 0 },
	{ 0xac, -1, false, 0 }, { 0xad, -1, false, 0 },
	{ 0xa6, -1, false, 0 }, { 0xa7, -1, false, 0 }, { 0xae, -1, false, 0 }, { 0xaf, -1, false, 0 },
	{ 0xd7, -1, false, 0 },
#define GROUP2(reg) \
	{ 0xc0, reg, true, 1 }, { 0xc1, reg, true, 1 }, { 0xd0, reg, true, 0 }, { 0xd1, reg, true, 0 }, \
	{ 0xd2, reg, true, 0 }, { 0xd3, reg, true, 0 }
	GROUP2(0), GROUP2(1), GROUP2(2), GROUP2(3), GROUP2(4), GROUP2(5), GROUP2(6), GROUP2(7),
	{ 0x1a4, -1, true, 1 }, { 0x1a5, -1, true, 0 }, { 0x1ac, -1, true, 1 }, { 0x1ad, -1, true, 0 },
	{ 0xf6, 2, true, 0 }, { 0xf7, 2, true, 0 }, { 0xf6, 3, true, 0 }, { 0xf7, 3, true, 0 },
	{ 0xf6, 4, true, 0 }, { 0xf7, 4, true, 0 }, { 0xf6, 5, true, 0 }, { 0xf7, 5, true, 0 },
	{ 0xf6, 6, true, 0 }, { 0xf7, 6, true, 0 }, { 0xf6, 7, true, 0 }, { 0xf7, 7, true, 0 },
	{ 0xfe, 0, true, 0 }, { 0xff, 0, true, 0 }, { 0xfe, 1, true, 0 }, { 0xff, 1, true, 0 },
	{ 0x69, -1, true, 4 }, { 0x6b, -1, true, 1 }, { 0x1af, -1, true, 0 },
	{ 0x1b0, -1, true, 0 }, { 0x1b1, -1, true, 0 }, { 0x1c0, -1, true, 0 }, { 0x1c1, -1, true, 0 }, { 0x1c7, 1, true, 0 },
	{ 0x1c3, -1, true, 0 }, { 0x1bc, -1, true, 0 }, { 0x1bd, -1, true, 0 },
	{ 0x3b8, -1, true, 0 }, { 0x3bc, -1, true, 0 }, { 0x3bd, -1, true, 0 }, { 0x5f0, -1, true, 0 }, { 0x5f1, -1, true, 0 },
	{ 0xff, 6, true, 0 }, { 0x8f, 0, true, 0 },
#define CONDITIONS(op) \
	{ op, -1, true, 0 }, { op + 1, -1, true, 0 }, { op + 2, -1, true, 0 }, { op + 3, -1, true, 0 }, \
	{ op + 4, -1, true, 0 }, { op + 5, -1, true, 0 }, { op + 6, -1, true, 0 }, { op + 7, -1, true, 0 }
	CONDITIONS(0x140), CONDITIONS(0x148), CONDITIONS(0x190), CONDITIONS(0x198),
};

static bool is_string(const struct insn *i)
{
	return i->op == INSN_MOVS || i->op == INSN_STOS || i->op == INSN_LODS || i->op == INSN_CMPS || i->op == INSN_SCAS;
}

static bool is_bit(const struct insn *i)
{
	return i->op == INSN_BT || i->op == INSN_BTS || i->op == INSN_BTR || i->op == INSN_BTC;
}

static void encode(const struct shape *s, uint8_t *bytes)
{
	static const uint8_t segments[] = { 0x26, 0x2e, 0x36, 0x3e }; /* FS and GS have a base of their own here */
	unsigned n = 0;
	uint64_t r = rng();

	for (unsigned k = 0; k < INSN_MAX; k++)
		bytes[k] = (uint8_t)rng();
	if ((r & 7) == 0)
		bytes[n++] = segments[r >> 3 & 3];
	if ((r >> 5 & 3) == 0)
		bytes[n++] = 0x66;
	if ((r >> 7 & 3) == 0)
		bytes[n++] = 0x67;
	if ((r >> 9 & 7) == 0)
		bytes[n++] = 0xf0;
	if (s->opcode >= 0xa4 && s->opcode <= 0xaf && (r >> 12 & 3))
		bytes[n++] = r >> 14 & 1 ? 0xf2 : 0xf3;
	if (s->opcode & AFTER_F3)
		bytes[n++] = 0xf3;
	if (r >> 15 & 1)
		bytes[n++] = 0x40 | (r >> 16 & 0xf);
	if (s->opcode & AFTER_0F)
		bytes[n++] = 0x0f;
	if (s->opcode & AFTER_0F38)
		bytes[n++] = 0x38;
	bytes[n++] = (uint8_t)s->opcode;
	if (s->modrm)
		bytes[n] = (uint8_t)((r >> 20 & 3) % 3 << 6 | (s->reg < 0 ? r >> 22 & 7 : (uint64_t)s->reg) << 3 | (r >> 25 & 7));
}

static void patch_disp(const struct shape *s, uint8_t *bytes, struct insn *i, uint64_t disp, unsigned size)
{
	unsigned imm = s->imm == 4 && i->opsize == 2 ? 2 : s->imm;

	memcpy(bytes + i->len - imm - size, &disp, size);
	assert_int_equal(insn_decode(bytes, INSN_MAX, INSN_64, i), TF_OK);
}

/* Chooses registers and displacement so that the operand lies at `target`; false where the encoding cannot. */
static bool aim(const struct shape *s, uint8_t *bytes, struct insn *i, uint64_t *gpr, uint64_t target)
{
	uint64_t high = i->addrsize == 4 ? rng() << 32 : 0, small = rng() & 0xffff;

	if (is_string(i)) {
		gpr[RSI] = (MIDDLE + rng() % PAGE_SIZE) | high;
		gpr[RDI] = (rng() & 1 ? MIDDLE + rng() % PAGE_SIZE : gpr[RSI] + rng() % 32) | high;
		gpr[RCX] = (rng() % 40 + 1) | high;
		if (rng() % 40 == 0) { /* CPUs differ in the upper halves when a 32-bit count is 0 at once */
			gpr[RCX] = 0;
			gpr[RSI] = (uint32_t)gpr[RSI];
			gpr[RDI] = (uint32_t)gpr[RDI];
		}
		return true;
	}
	if (i->op == INSN_XLAT) {
		gpr[RBX] = target - (gpr[RAX] & 0xff);
		gpr[RBX] = i->addrsize == 4 ? (uint32_t)gpr[RBX] | high : gpr[RBX];
	} else if (!s->modrm) {
		patch_disp(s, bytes, i, target, i->addrsize);
	} else if ((i->op == INSN_PUSH || i->op == INSN_POP) && i->base == RSP) {
		if (i->index != INSN_NO_REG || i->disp == (int8_t)i->disp)
			return false;
		patch_disp(s, bytes, i, target - gpr[RSP], 4);
	} else if (i->rip_relative) {
		patch_disp(s, bytes, i, target - ((uintptr_t)slot + i->len), 4);
	} else if (i->base == INSN_NO_REG && i->index == INSN_NO_REG) {
		patch_disp(s, bytes, i, target, 4);
	} else if (i->base == INSN_NO_REG) {
		gpr[i->index] = small | high;
		patch_disp(s, bytes, i, target - small * i->scale, 4);
	} else if (i->base == i->index) {
		if (i->disp == (int8_t)i->disp)
			return false;
		gpr[i->base] = small | high;
		patch_disp(s, bytes, i, target - small * (1 + i->scale), 4);
	} else {
		uint64_t rest = (uint64_t)i->disp;

		if (i->index != INSN_NO_REG)
			rest += gpr[i->index] * i->scale;
		gpr[i->base] = i->addrsize == 4 ? (uint32_t)(target - rest) | high : target - rest;
	}
	return true;
}

/* A bit number that stays near: the 16-bit form reaches 4 KiB, the others are kept to 2 KiB. */
static bool aim_bit(const struct insn *i, uint64_t *gpr)
{
	int64_t number = (int64_t)(rng() % 32768) - 16384;

	if (i->has_imm)
		return true;
	if (i->reg == i->base || i->reg == i->index)
		return false;
	if (i->opsize == 8)
		gpr[i->reg] = (uint64_t)number;
	else if (i->opsize == 4)
		gpr[i->reg] = (uint32_t)number | rng() << 32;
	return true;
}

static bool is_division(const struct insn *i) { return i->op == INSN_DIV || i->op == INSN_IDIV; }

/* Quotients that fit, mostly; not where the dividend is an address, too. */
static bool aim_division(const struct insn *i, uint64_t *gpr)
{
	if (i->base == RAX || i->base == RDX || i->index == RAX || i->index == RDX)
		return false;
	if (i->opsize == 1)
		gpr[RAX] = rng() & 1 ? (uint64_t)(int8_t)rng() : rng() & 0xfff;
	else
		gpr[RDX] = i->op == INSN_DIV ? rng() & 3 : (uint64_t)(insn_sign_extend(gpr[RAX], i->opsize) >> 63);
	return true;
}

static unsigned shift_count(const struct insn *i, const uint64_t *gpr)
{
	return (unsigned)(i->has_imm ? i->imm : gpr[RCX]) & (i->opsize == 8 ? 63 : 31);
}

/* Those of a shift or rotation by `count`. */
static uint64_t defined_by_count(const struct insn *i, unsigned count)
{
	uint64_t defined = ARITHMETIC;

	if (!count)
		return defined;
	if (count > 1)
		defined &= ~RFLAGS_OF;
	if (i->op >= INSN_SHL)
		defined &= ~RFLAGS_AF;
	if (i->op >= INSN_SHL && i->op != INSN_SAR && count >= 8u * i->opsize)
		defined &= ~RFLAGS_CF;
	return defined;
}

static uint64_t defined_flags(const struct insn *i, unsigned count)
{
	switch (i->op) {
	case INSN_AND: case INSN_OR: case INSN_XOR: case INSN_TEST:
		return ARITHMETIC & ~RFLAGS_AF;
	case INSN_BT: case INSN_BTS: case INSN_BTR: case INSN_BTC:
		return RFLAGS_CF | RFLAGS_ZF;
	case INSN_ROL ... INSN_SHRD:
		return defined_by_count(i, count);
	case INSN_MUL: case INSN_IMUL: case INSN_IMUL_REG:
		return RFLAGS_CF | RFLAGS_OF;
	case INSN_DIV: case INSN_IDIV:
		return 0;
	case INSN_BSF: case INSN_BSR:
		return RFLAGS_ZF;
	case INSN_TZCNT: case INSN_LZCNT:
		return RFLAGS_CF | RFLAGS_ZF;
	default:
		return ARITHMETIC;
	}
}

static const char *text(const struct insn *i, const uint8_t *bytes)
{
	static char line[64];
	int at = 0;

	for (unsigned k = 0; k < i->len; k++)
		at += snprintf(line + at, sizeof(line) - (size_t)at, "%02x ", bytes[k]);
	return line;
}

static bool run_case(const struct shape *s)
{
	uint8_t bytes[INSN_MAX];
	uint64_t gpr[16], flags = (rng() & (ARITHMETIC | RFLAGS_DF)) | RFLAGS_RSV1, rip = (uintptr_t)slot;
	struct insn_env env = { .gpr = gpr, .rip = &rip, .rflags = &flags,
				.stack_size = 8, .linear = flat, .read = shadow_read, .write = shadow_write };
	struct insn i;
	uint64_t target = MIDDLE + rng() % (PAGE_SIZE - 16), same = rng() & 0xff;
	unsigned count;

	encode(s, bytes);
	if (insn_decode(bytes, INSN_MAX, INSN_64, &i) != TF_OK) {
		assert_true(memchr(bytes, 0xf0, 4) || s->opcode == 0x1c3); /* only a forbidden LOCK, and 66h with MOVNTI */
		return false;
	}
	for (unsigned r = 0; r < 16; r++)
		gpr[r] = rng() & 3 ? rng() : (uint64_t)(int8_t)rng();
	/* A locked access across cache lines may trap or stall on the host. */
	if (i.lock || i.op == INSN_XCHG)
		target = ALIGN_DOWN(target, i.memsize);
	if (i.op == INSN_CMPXCHG8B)
		target = ALIGN_DOWN(target, 16);
	if (i.op == INSN_PUSH || i.op == INSN_POP)
		gpr[RSP] = MIDDLE + ALIGN_DOWN(rng() % (PAGE_SIZE - 16), 8);
	if ((is_bit(&i) && !aim_bit(&i, gpr)) || !aim(s, bytes, &i, gpr, target) || (is_division(&i) && !aim_division(&i, gpr)))
		return false;
	count = shift_count(&i, gpr);
	if ((i.op == INSN_SHLD || i.op == INSN_SHRD) && count > 8u * i.opsize)
		return false; /* the result is undefined */

	for (size_t k = 0; k < MEMORY_SIZE; k += 8) {
		uint64_t value = rng();
		memcpy(shadow + k, &value, 8);
	}
	/* Equal operands and carries are rare in random ones. */
	if (!is_string(&i) && (rng() & 7) == 0)
		memcpy(shadow + (target - MEMORY), &gpr[i.op == INSN_CMPXCHG ? RAX : i.reg], 8);
	if (i.op == INSN_CMPXCHG8B && (rng() & 1)) {
		memcpy(shadow + (target - MEMORY), &gpr[RAX], i.opsize);
		memcpy(shadow + (target - MEMORY) + i.opsize, &gpr[RDX], i.opsize);
	}
	if ((i.op == INSN_CMPS || i.op == INSN_SCAS) && (rng() & 1)) { /* so that REPE comes somewhere */
		memset(shadow, (int)same, MEMORY_SIZE);
		shadow[2 * PAGE_SIZE + rng() % PAGE_SIZE]++;
		memset(&gpr[RAX], (int)same, 8);
	}
	if ((rng() & 7) == 0)
		memset(shadow + (target - MEMORY), 0, 16);
	memcpy((void *)MEMORY, shadow, MEMORY_SIZE);
	memcpy(frame->in, gpr, sizeof(gpr));
	frame->flags_in = flags;

	for (unsigned rounds = 0; rip == (uintptr_t)slot; rounds++) {
		enum tf_err err = insn_execute(&i, &env, 1 + rng() % 16);

		if (err == TF_ERANGE && is_division(&i))
			return false; /* the CPU would fault: test_insn.c */
		if (err || rounds > 64)
			fail_msg("%s: error %d after %u rounds", text(&i, bytes), (int)err, rounds);
	}
	run_natively(bytes, i.len);

	if (rip != (uintptr_t)slot + i.len)
		fail_msg("%s: RIP %llx", text(&i, bytes), (unsigned long long)rip);
	for (unsigned r = 0; r < 16; r++)
		if (gpr[r] != frame->out[r])
			fail_msg("%s: register %u is %llx, on the CPU %llx (was %llx)", text(&i, bytes), r,
				 (unsigned long long)gpr[r], (unsigned long long)frame->out[r], (unsigned long long)frame->in[r]);
	uint64_t mask = defined_flags(&i, count) | RFLAGS_DF;
	if ((flags ^ frame->flags_out) & mask)
		fail_msg("%s: flags %llx, on the CPU %llx", text(&i, bytes), (unsigned long long)(flags & mask),
			 (unsigned long long)(frame->flags_out & mask));
	if (memcmp(shadow, (void *)MEMORY, MEMORY_SIZE))
		fail_msg("%s: memory differs", text(&i, bytes));
	return true;
}

static void test_against_cpu(void **state)
{
	unsigned long total = 0;

	(void)state;
	for (unsigned k = 0; k < ARRAY_SIZE(shapes); k++) {
		unsigned done = 0;

		for (unsigned tries = 0; tries < 6000 && done < 1500; tries++)
			done += run_case(&shapes[k]);
		assert_true(done >= 1500);
		total += done;
	}
	print_message("%lu instructions equal to the CPU's\n", total);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_cpu),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
