/*
 * The executor against the CPU itself: the same instruction bytes run natively, on the same registers, flags and memory,
 * and everything that the architecture defines must come out equal. 64-bit mode; test_insn.c has the other two.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>
#include "guest/insn.h"
#include "tests/unit/rng.h"

/* One low mapping, so that 32-bit addresses and displacements reach it: code, the native frame, and the memory. */
#define ARENA       0x30000000ull
#define FRAME       (ARENA + PAGE_SIZE)
#define MEMORY      (ARENA + 2 * PAGE_SIZE)
#define MEMORY_SIZE (5 * PAGE_SIZE)
#define MIDDLE      (MEMORY + 2 * PAGE_SIZE)

enum { RCX = 1, RSP = 4, RSI = 6, RDI = 7 };
#define ARITHMETIC (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

struct frame {
	uint64_t in[16], out[16];
	uint64_t flags_in, flags_out;
	uint64_t host_rsp, flags_in_at, flags_out_end;
};

static struct frame *const frame = (struct frame *)FRAME;
static uint8_t *slot, *suffix; /* where the instruction goes, and where it jumps afterwards */
static uint8_t shadow[MEMORY_SIZE];
/* MOV between a 64-bit register and an absolute address: opcode 8B loads, 89 stores. */
static uint8_t *emit_mov(uint8_t *p, uint8_t opcode, unsigned reg, const void *at)
{
	uint32_t address = (uint32_t)(uintptr_t)at;

	*p++ = 0x48 | (reg >> 3) << 2;
	*p++ = opcode;
	*p++ = (uint8_t)((reg & 7) << 3 | 4);
	*p++ = 0x25;
	memcpy(p, &address, 4);
	return p + 4;
}

static uint8_t *emit(uint8_t *p, const char *bytes, size_t n)
{
	memcpy(p, bytes, n);
	return p + n;
}
#define EMIT(p, s) emit(p, s, sizeof(s) - 1)

static int setup(void **state)
{
	uint8_t *p = mmap((void *)ARENA, 2 * PAGE_SIZE + MEMORY_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	(void)state;
	if (p != (void *)ARENA)
		return -1;
	p = EMIT(p, "\x53\x55\x41\x54\x41\x55\x41\x56\x41\x57"); /* push rbx rbp r12 r13 r14 r15 */
	p = emit_mov(p, 0x89, RSP, &frame->host_rsp);
	p = emit_mov(p, 0x8b, RSP, &frame->flags_in_at);
	p = EMIT(p, "\x9d"); /* popfq */
	for (unsigned r = 0; r < 16; r++)
		p = emit_mov(p, 0x8b, r, &frame->in[r]);
	slot = p;
	suffix = p = slot + INSN_MAX + 8;
	for (unsigned r = 0; r < 16; r++)
		p = emit_mov(p, 0x89, r, &frame->out[r]);
	p = emit_mov(p, 0x8b, RSP, &frame->flags_out_end);
	p = EMIT(p, "\x9c"); /* pushfq */
	p = emit_mov(p, 0x8b, RSP, &frame->host_rsp);
	EMIT(p, "\xfc\x41\x5f\x41\x5e\x41\x5d\x41\x5c\x5d\x5b\xc3"); /* cld; pop the same; ret */
	frame->flags_in_at = (uintptr_t)&frame->flags_in;
	frame->flags_out_end = (uintptr_t)(&frame->flags_out + 1);
	return 0;
}

static void run_natively(const uint8_t *bytes, uint8_t len)
{
	int32_t jump = (int32_t)(suffix - (slot + len + 5));

	memcpy(slot, bytes, len);
	slot[len] = 0xe9;
	memcpy(slot + len + 1, &jump, 4);
	((void (*)(void))ARENA)();
}

static enum tf_err flat(void *ctx, enum insn_seg seg, uint64_t offset, uint8_t size, bool write, uint64_t *out)
{
	(void)ctx;
	(void)seg;
	(void)write;
	/* A guest instruction must not reach outside: the native run would destroy the test itself. */
	if (offset < MEMORY || offset > MEMORY + MEMORY_SIZE - size)
		return TF_EFAULT;
	*out = offset;
	return TF_OK;
}

static enum tf_err shadow_read(void *ctx, uint64_t linear, uint8_t size, uint64_t *value)
{
	(void)ctx;
	*value = rng(); /* what lies above the size must not matter */
	memcpy(value, shadow + (linear - MEMORY), size);
	return TF_OK;
}

static enum tf_err shadow_write(void *ctx, uint64_t linear, uint8_t size, uint64_t value)
{
	(void)ctx;
	memcpy(shadow + (linear - MEMORY), &value, size);
	return TF_OK;
}

/* The encodings: an opcode (0x1xx: after 0F) and, for a group, ModRM.reg. */
static const struct shape {
	uint16_t opcode;
	int8_t reg;
	bool modrm;
	uint8_t imm; /* bytes; 4: by the operand size */
} shapes[] = {
#define ALU(op) \
	{ op, -1, true, 0 }, { op + 1, -1, true, 0 }, { op + 2, -1, true, 0 }, { op + 3, -1, true, 0 }
#define GROUP1(reg) { 0x80, reg, true, 1 }, { 0x81, reg, true, 4 }, { 0x83, reg, true, 1 }
	ALU(0x00), ALU(0x08), ALU(0x20), ALU(0x28), ALU(0x30), ALU(0x38),
	GROUP1(0), GROUP1(1), GROUP1(4), GROUP1(5), GROUP1(6), GROUP1(7),
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
};

static bool is_string(const struct insn *i)
{
	return i->op == INSN_MOVS || i->op == INSN_STOS || i->op == INSN_LODS;
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
	if (s->opcode >= 0xa4 && s->opcode <= 0xad && (r >> 12 & 3))
		bytes[n++] = r >> 14 & 1 ? 0xf2 : 0xf3;
	if (r >> 15 & 1)
		bytes[n++] = 0x40 | (r >> 16 & 0xf);
	if (s->opcode >= 0x100)
		bytes[n++] = 0x0f;
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
	if (!s->modrm) {
		patch_disp(s, bytes, i, target, i->addrsize);
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

static uint64_t defined_flags(const struct insn *i)
{
	switch (i->op) {
	case INSN_AND: case INSN_OR: case INSN_XOR: case INSN_TEST:
		return ARITHMETIC & ~RFLAGS_AF;
	case INSN_BT: case INSN_BTS: case INSN_BTR: case INSN_BTC:
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
				.linear = flat, .read = shadow_read, .write = shadow_write };
	struct insn i;
	uint64_t target = MIDDLE + rng() % (PAGE_SIZE - 8);

	encode(s, bytes);
	if (insn_decode(bytes, INSN_MAX, INSN_64, &i) != TF_OK) {
		assert_non_null(memchr(bytes, 0xf0, 4)); /* nothing but a forbidden LOCK is refused */
		return false;
	}
	for (unsigned r = 0; r < 16; r++)
		gpr[r] = rng() & 3 ? rng() : (uint64_t)(int8_t)rng();
	/* A locked access across cache lines may trap or stall on the host. */
	if (i.lock || i.op == INSN_XCHG)
		target = ALIGN_DOWN(target, i.memsize);
	if ((is_bit(&i) && !aim_bit(&i, gpr)) || !aim(s, bytes, &i, gpr, target))
		return false;

	for (size_t k = 0; k < MEMORY_SIZE; k += 8) {
		uint64_t value = rng();
		memcpy(shadow + k, &value, 8);
	}
	/* Equal operands and carries are rare in random ones. */
	if (!is_string(&i) && (rng() & 7) == 0)
		memcpy(shadow + (target - MEMORY), &gpr[i.reg], 8);
	memcpy((void *)MEMORY, shadow, MEMORY_SIZE);
	memcpy(frame->in, gpr, sizeof(gpr));
	frame->flags_in = flags;

	for (unsigned rounds = 0; rip == (uintptr_t)slot; rounds++) {
		enum tf_err err = insn_execute(&i, &env, 1 + rng() % 16);

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
	uint64_t mask = defined_flags(&i) | RFLAGS_DF;
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

		for (unsigned tries = 0; tries < 4000 && done < 1500; tries++)
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
