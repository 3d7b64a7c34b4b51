/*
 * What test_insn_exec.c cannot let the CPU do: divide errors, branches, stacks of 16 and 32 bits, and what a fault leaves
 * undone. SDM 2A to 2C, "Instruction Set Reference".
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "guest/insn.h"

#define MEMORY KiB(4)
#define RIP0   0x1000
#define LIMIT  0xf000 /* of CS: targets from here on fault */
enum { RAX, RCX, RDX, RBX, RSP };

static struct guest {
	uint64_t gpr[16], rip, rflags;
	uint8_t memory[MEMORY], stack_size;
	enum insn_seg fail_seg;
	bool fail, rmw;
	unsigned reads, writes;
	struct insn insn;
} g;

static enum tf_err guest_linear(void *ctx, enum insn_seg seg, uint64_t offset, uint8_t size, bool write, uint64_t *out)
{
	(void)ctx, (void)size, (void)write;
	if ((g.fail && seg == g.fail_seg) || (seg == SEG_CS && offset >= LIMIT))
		return TF_EFAULT;
	*out = offset % MEMORY;
	return TF_OK;
}

static enum tf_err guest_read(void *ctx, uint64_t linear, uint8_t size, bool rmw, uint64_t *value)
{
	(void)ctx;
	g.reads++;
	g.rmw = rmw;
	*value = 0;
	memcpy(value, g.memory + linear, size);
	return TF_OK;
}

static enum tf_err guest_write(void *ctx, uint64_t linear, uint8_t size, uint64_t value)
{
	(void)ctx;
	g.writes++;
	memcpy(g.memory + linear, &value, size);
	return TF_OK;
}

static int fresh(void **state)
{
	(void)state;
	memset(&g, 0, sizeof(g));
	g.rip = RIP0;
	g.rflags = RFLAGS_RSV1;
	g.stack_size = 8;
	g.gpr[RBX] = 0x40;
	return 0;
}

static enum tf_err execute(void)
{
	struct insn_env env = { .gpr = g.gpr, .rip = &g.rip, .rflags = &g.rflags, .stack_size = g.stack_size, .linear = guest_linear,
				.read = guest_read, .write = guest_write };

	return insn_execute(&g.insn, &env, 100);
}

#define RUN(mode, s) ({ \
	assert_int_equal(insn_decode((const uint8_t *)(s), sizeof(s) - 1, mode, &g.insn), TF_OK); \
	assert_int_equal(g.insn.len, sizeof(s) - 1); \
	execute(); \
})

static void put(uint64_t at, uint64_t value, uint8_t size) { memcpy(g.memory + at, &value, size); }

static uint64_t get(uint64_t at, uint8_t size)
{
	uint64_t value = 0;

	memcpy(&value, g.memory + at, size);
	return value;
}

static void divide(const char *insn, size_t len, uint64_t high, uint64_t low, uint64_t divisor, bool ok)
{
	fresh(NULL);
	g.gpr[RAX] = low;
	g.gpr[RDX] = high;
	put(0x40, divisor, 8);
	assert_int_equal(insn_decode((const uint8_t *)insn, len, INSN_64, &g.insn), TF_OK);
	assert_int_equal(execute(), ok ? TF_OK : TF_ERANGE);
	assert_int_equal(g.rip, ok ? RIP0 + len : RIP0);
	if (!ok) {
		assert_int_equal(g.gpr[RAX], low);
		assert_int_equal(g.gpr[RDX], high);
	}
}

#define DIV8   "\xf6\x33", 2
#define DIV32  "\xf7\x33", 2
#define DIV64  "\x48\xf7\x33", 3
#define IDIV8  "\xf6\x3b", 2
#define IDIV16 "\x66\xf7\x3b", 3
#define IDIV64 "\x48\xf7\x3b", 3

/* SDM 2A, "DIV" and "IDIV": #DE for a divisor of 0 and for a quotient that does not fit. */
static void test_divide_error(void **state)
{
	(void)state;
	divide(DIV32, 0, 5, 0, false);
	divide(DIV64, 0, 5, 0, false);
	divide(DIV8, 0, 0x0fff, 0x10, true);
	divide(DIV8, 0, 0x1000, 0x10, false);
	divide(DIV32, 4, 0, 5, true);
	divide(DIV32, 5, 0, 5, false);
	divide(DIV64, UINT64_MAX - 1, UINT64_MAX, UINT64_MAX, true);
	assert_int_equal(g.gpr[RAX], UINT64_MAX);
	divide(DIV64, UINT64_MAX, 0, UINT64_MAX, false);
	/* Signed: the most negative quotient fits, the same one positive does not. */
	divide(IDIV8, 0, 0xff80, 1, true); /* -128 / 1 */
	assert_int_equal(g.gpr[RAX], 0x0080);
	divide(IDIV8, 0, 0xff80, 0xff, false); /* -128 / -1 */
	divide(IDIV8, 0, 0x0080, 1, false);
	divide(IDIV8, 0, 0x0080, 0xff, true); /* 128 / -1 */
	assert_int_equal(g.gpr[RAX], 0x0080);
	divide(IDIV16, 0xffff, 0xfff9, 2, true); /* -7 / 2 = -3, rest -1 */
	assert_int_equal(g.gpr[RAX], 0xfffd);
	assert_int_equal(g.gpr[RDX], 0xffff);
	divide(IDIV64, UINT64_MAX, BIT(63), UINT64_MAX, false);
	divide(IDIV64, UINT64_MAX, BIT(63), 1, true);
	assert_int_equal(g.gpr[RAX], BIT(63));
	divide(IDIV64, BIT(63), 0, 1, false);
}

static void test_branches(void **state)
{
	(void)state;
	g.gpr[RSP] = 0x200;
	put(0x40, 0xabcd, 8);
	assert_int_equal(RUN(INSN_64, "\xff\x23"), TF_OK); /* jmp [rbx] */
	assert_int_equal(g.rip, 0xabcd);
	assert_int_equal(g.writes, 0);
	g.rip = RIP0;
	assert_int_equal(RUN(INSN_64, "\x66\xff\x13"), TF_OK); /* call [rbx]: 64 bits in spite of the prefix */
	assert_int_equal(g.rip, 0xabcd);
	assert_int_equal(g.gpr[RSP], 0x1f8);
	assert_int_equal(get(0x1f8, 8), RIP0 + 3);
	/* A target beyond the limit, or a stack that faults: nothing has happened. */
	g.rip = RIP0;
	put(0x40, LIMIT, 8);
	assert_int_equal(RUN(INSN_64, "\xff\x13"), TF_EFAULT);
	assert_int_equal(g.rip, RIP0);
	assert_int_equal(g.gpr[RSP], 0x1f8);
	put(0x40, 0xabcd, 8);
	g.fail = true;
	g.fail_seg = SEG_SS;
	assert_int_equal(RUN(INSN_64, "\xff\x13"), TF_EFAULT);
	assert_int_equal(g.rip, RIP0);
	assert_int_equal(g.gpr[RSP], 0x1f8);
	g.fail = false;
	/* 16 bits: half of the target, and two bytes pushed. */
	g.stack_size = 2;
	put(0x40, 0xffff1234, 4);
	g.gpr[RSP] = 0xaaaa0000;
	assert_int_equal(RUN(INSN_16, "\xff\x16\x40\x00"), TF_OK);
	assert_int_equal(g.rip, 0x1234);
	assert_int_equal(g.gpr[RSP], 0xaaaafffe);
	assert_int_equal(get(0xffe, 2), RIP0 + 4);
}

static void test_stack(void **state)
{
	(void)state;
	put(0x40, 0x1122334455667788, 8);
	g.gpr[RSP] = 0x100000200;
	assert_int_equal(RUN(INSN_64, "\xff\x33"), TF_OK); /* push qword [rbx] */
	assert_int_equal(g.gpr[RSP], 0x1000001f8);
	assert_int_equal(get(0x1f8, 8), 0x1122334455667788);
	assert_false(g.rmw);
	g.stack_size = 4;
	g.gpr[RSP] = 0x200;
	assert_int_equal(RUN(INSN_32, "\xff\x33"), TF_OK);
	assert_int_equal(g.gpr[RSP], 0x1fc);
	assert_int_equal(RUN(INSN_32, "\x66\xff\x33"), TF_OK);
	assert_int_equal(g.gpr[RSP], 0x1fa);
	/* POP with an address relative to ESP counts from ESP after it. */
	put(0x1fa, 0xcafef00d, 4);
	assert_int_equal(RUN(INSN_32, "\x8f\x44\x24\x10"), TF_OK); /* pop [esp + 16] */
	assert_int_equal(g.gpr[RSP], 0x1fe);
	assert_int_equal(get(0x20e, 4), 0xcafef00d);
	/* A target that faults leaves the stack pointer alone. */
	g.fail = true;
	g.fail_seg = SEG_DS;
	assert_int_equal(RUN(INSN_32, "\x8f\x03"), TF_EFAULT);
	assert_int_equal(g.gpr[RSP], 0x1fe);
}

/* What will be written must be writable when it is read: a device is not read for nothing. */
static void test_intention(void **state)
{
	(void)state;
	assert_int_equal(RUN(INSN_64, "\xf0\x0f\xb1\x0b"), TF_OK); /* lock cmpxchg [rbx], ecx */
	assert_true(g.rmw);
	assert_int_equal(RUN(INSN_64, "\xd1\x23"), TF_OK); /* shl dword [rbx], 1 */
	assert_true(g.rmw);
	assert_int_equal(RUN(INSN_64, "\x0f\xba\x2b\x01"), TF_OK); /* bts */
	assert_true(g.rmw);
	assert_int_equal(RUN(INSN_64, "\x0f\xba\x23\x01"), TF_OK); /* bt */
	assert_false(g.rmw);
	assert_int_equal(RUN(INSN_64, "\xf7\x23"), TF_OK); /* mul */
	assert_false(g.rmw);
	g.reads = 0;
	assert_int_equal(RUN(INSN_64, "\x0f\x92\x03"), TF_OK); /* setc: only written */
	assert_int_equal(g.reads, 0);
	g.writes = 0;
	assert_int_equal(RUN(INSN_64, "\x0f\xae\x3b"), TF_OK); /* clflush: neither */
	assert_int_equal(RUN(INSN_64, "\x66\x0f\xae\x33"), TF_OK); /* clwb */
	assert_int_equal(g.reads + g.writes, 0);
	/* Not equal: what was there is written again, as the bus sees it on a CPU. */
	put(0x40, 7, 4);
	assert_int_equal(RUN(INSN_64, "\x0f\xb1\x0b"), TF_OK);
	assert_int_equal(g.writes, 1);
	assert_int_equal(g.gpr[RAX], 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_divide_error, fresh),
		cmocka_unit_test_setup(test_branches, fresh),
		cmocka_unit_test_setup(test_stack, fresh),
		cmocka_unit_test_setup(test_intention, fresh),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
