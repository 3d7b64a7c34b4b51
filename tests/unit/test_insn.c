/* The decoder's refusals, and the executor where the host's CPU cannot be asked: 16 and 32 bit, faults, REP. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "guest/insn.h"

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI };
#define MEMORY KiB(128)
#define RIP0   0x1000

struct access { enum insn_seg seg; uint64_t offset; uint8_t size; bool write; };

static struct guest {
	uint64_t gpr[16], rip, rflags;
	uint8_t memory[MEMORY];
	struct access log[32]; /* of the calls of linear() */
	unsigned nlog, reads, writes;
	unsigned fail_linear, fail_read, fail_write; /* the n-th such call fails; 0: none */
	struct insn insn;
} g;

static enum tf_err guest_linear(void *ctx, enum insn_seg seg, uint64_t offset, uint8_t size, bool write, uint64_t *out)
{
	assert_ptr_equal(ctx, &g);
	assert_true(g.nlog < ARRAY_SIZE(g.log));
	g.log[g.nlog++] = (struct access){ seg, offset, size, write };
	if (g.nlog == g.fail_linear)
		return TF_EFAULT;
	*out = offset % MEMORY;
	return TF_OK;
}

static enum tf_err guest_read(void *ctx, uint64_t linear, uint8_t size, bool rmw, uint64_t *value)
{
	assert_ptr_equal(ctx, &g);
	(void)rmw;
	if (++g.reads == g.fail_read)
		return TF_EIO;
	*value = UINT64_MAX;
	memcpy(value, g.memory + linear, size);
	return TF_OK;
}

static enum tf_err guest_write(void *ctx, uint64_t linear, uint8_t size, uint64_t value)
{
	assert_ptr_equal(ctx, &g);
	if (++g.writes == g.fail_write)
		return TF_EIO;
	memcpy(g.memory + linear, &value, size);
	return TF_OK;
}

static int fresh(void **state)
{
	(void)state;
	memset(&g, 0, sizeof(g));
	g.rip = RIP0;
	g.rflags = RFLAGS_RSV1;
	return 0;
}

static enum tf_err execute(unsigned max_rep)
{
	struct insn_env env = { .ctx = &g, .gpr = g.gpr, .rip = &g.rip, .rflags = &g.rflags, .linear = guest_linear,
				.read = guest_read, .write = guest_write };

	return insn_execute(&g.insn, &env, max_rep);
}

#define DECODE(mode, s) insn_decode((const uint8_t *)(s), sizeof(s) - 1, mode, &g.insn)
#define RUN(mode, s) do { \
		assert_int_equal(DECODE(mode, s), TF_OK); \
		assert_int_equal(g.insn.len, sizeof(s) - 1); \
		assert_int_equal(execute(100), TF_OK); \
	} while (0)

static void put(uint64_t at, uint64_t value, uint8_t size)
{
	memcpy(g.memory + at, &value, size);
}

static uint64_t get(uint64_t at, uint8_t size)
{
	uint64_t value = 0;

	memcpy(&value, g.memory + at, size);
	return value;
}

static void assert_access(unsigned n, enum insn_seg seg, uint64_t offset, uint8_t size, bool write)
{
	assert_true(n < g.nlog);
	assert_int_equal(g.log[n].seg, seg);
	assert_int_equal(g.log[n].offset, offset);
	assert_int_equal(g.log[n].size, size);
	assert_int_equal(g.log[n].write, write);
}

/* SDM 2A, "LOCK-Assert LOCK# Signal Prefix" */
static void test_lock(void **state)
{
	(void)state;
	assert_int_equal(DECODE(INSN_64, "\xf0\x01\x03"), TF_OK); /* lock add [rbx], eax */
	assert_true(g.insn.lock);
	assert_int_equal(DECODE(INSN_64, "\xf0\x87\x03"), TF_OK);         /* xchg */
	assert_int_equal(DECODE(INSN_64, "\xf0\x80\x0b\x01"), TF_OK);     /* or byte [rbx], 1 */
	assert_int_equal(DECODE(INSN_64, "\xf0\x0f\xab\x03"), TF_OK);     /* bts */
	assert_int_equal(DECODE(INSN_64, "\xf0\x0f\xba\x33\x01"), TF_OK); /* btr imm */
	assert_int_equal(DECODE(INSN_64, "\xf0\x03\x03"), TF_EINVAL);     /* add eax, [rbx] */
	assert_int_equal(DECODE(INSN_64, "\xf0\x01\xc3"), TF_EINVAL);     /* add ebx, eax */
	assert_int_equal(DECODE(INSN_64, "\xf0\x39\x03"), TF_EINVAL);     /* cmp */
	assert_int_equal(DECODE(INSN_64, "\xf0\x80\x3b\x01"), TF_EINVAL); /* cmp imm */
	assert_int_equal(DECODE(INSN_64, "\xf0\x85\x03"), TF_EINVAL);     /* test */
	assert_int_equal(DECODE(INSN_64, "\xf0\x0f\xa3\x03"), TF_EINVAL); /* bt */
	assert_int_equal(DECODE(INSN_64, "\xf0\x0f\xba\x23\x01"), TF_EINVAL);
	assert_int_equal(DECODE(INSN_64, "\xf0\x89\x03"), TF_EINVAL);     /* mov */
	assert_int_equal(DECODE(INSN_64, "\xf0\xa4"), TF_EINVAL);         /* movs */
	assert_int_equal(DECODE(INSN_64, "\xf0\x0f\xb6\x03"), TF_EINVAL); /* movzx */
}

static void test_refusals(void **state)
{
	(void)state;
	assert_int_equal(DECODE(INSN_64, "\x0f\x28\x00"), TF_ENOTSUP);         /* movaps xmm0, [rax] */
	assert_int_equal(DECODE(INSN_64, "\xc5\xfe\x6f\x00"), TF_ENOTSUP);     /* vmovdqu ymm0, [rax] */
	assert_int_equal(DECODE(INSN_64, "\x62\xf1\x7e\x48"), TF_ENOTSUP);     /* EVEX */
	assert_int_equal(DECODE(INSN_64, "\x8e\x00"), TF_ENOTSUP);             /* mov es, [rax] */
	assert_int_equal(DECODE(INSN_64, "\xff\x18"), TF_ENOTSUP);             /* call far [rax] */
	assert_int_equal(DECODE(INSN_64, "\xff\x38"), TF_ENOTSUP);             /* FF /7 */
	assert_int_equal(DECODE(INSN_64, "\xfe\x10"), TF_ENOTSUP);             /* FE /2 */
	assert_int_equal(DECODE(INSN_64, "\x0f\xb8\x00"), TF_ENOTSUP);         /* POPCNT without its F3 */
	assert_int_equal(DECODE(INSN_64, "\xf2\x0f\x38\xf0\x00"), TF_ENOTSUP); /* crc32 eax, byte [rax] */
	assert_int_equal(DECODE(INSN_64, "\x66\x0f\x38\xf6\x00"), TF_ENOTSUP); /* adcx */
	assert_int_equal(DECODE(INSN_64, "\x0f\xae\x30"), TF_ENOTSUP);         /* xsaveopt [rax] */
	assert_int_equal(DECODE(INSN_64, "\x66\x0f\xc3\x00"), TF_EINVAL);     /* movnti has no such form */
	assert_int_equal(DECODE(INSN_64, "\x50"), TF_ENOTSUP);                 /* push rax */
	assert_int_equal(DECODE(INSN_64, "\xd9\x00"), TF_ENOTSUP);             /* fld dword [rax] */
	assert_int_equal(DECODE(INSN_64, "\x89\xc3"), TF_ENOTSUP);             /* no memory operand */
	assert_int_equal(DECODE(INSN_32, "\x63\x00"), TF_ENOTSUP);             /* arpl */
	assert_int_equal(DECODE(INSN_64, "\x63\x00"), TF_OK);                  /* movsxd */
	assert_int_equal(DECODE(INSN_64, "\x82\x00\x01"), TF_EINVAL);
	assert_int_equal(DECODE(INSN_32, "\x82\x00\x01"), TF_OK);
	assert_int_equal(DECODE(INSN_64, "\xc7\x08\0\0\0\0"), TF_EINVAL);      /* C7 /1 */
	assert_int_equal(DECODE(INSN_64, "\x0f\xba\x00\x01"), TF_EINVAL);      /* 0F BA /0 */
	assert_int_equal(DECODE(INSN_32, "\x48\x89\x00"), TF_ENOTSUP);         /* dec eax, no REX here */
}

static void test_length_limits(void **state)
{
	uint8_t bytes[32] = { 0 };
	struct insn i;

	(void)state;
	assert_int_equal(insn_decode(bytes, 0, INSN_64, &i), TF_ETRUNC);
	memset(bytes, 0x66, sizeof(bytes));
	assert_int_equal(insn_decode(bytes, 14, INSN_32, &i), TF_ETRUNC);
	assert_int_equal(insn_decode(bytes, 15, INSN_32, &i), TF_EINVAL);
	assert_int_equal(insn_decode(bytes, sizeof(bytes), INSN_32, &i), TF_EINVAL);
	/* mov [eax], cx with 13 prefixes is 15 bytes long; with 14 it is one too many. */
	memcpy(bytes + 13, "\x89\x08", 2);
	assert_int_equal(insn_decode(bytes, 14, INSN_32, &i), TF_ETRUNC);
	assert_int_equal(insn_decode(bytes, 15, INSN_32, &i), TF_OK);
	assert_int_equal(i.len, 15);
	memcpy(bytes + 13, "\x66\x89\x08", 3);
	assert_int_equal(insn_decode(bytes, 15, INSN_32, &i), TF_EINVAL);
	assert_int_equal(insn_decode(bytes, sizeof(bytes), INSN_32, &i), TF_EINVAL);
}

static void test_prefix_order(void **state)
{
	(void)state;
	assert_int_equal(DECODE(INSN_64, "\x48\x66\x89\x00"), TF_OK); /* the REX is cancelled by what follows */
	assert_int_equal(g.insn.opsize, 2);
	assert_int_equal(g.insn.rex, 0);
	assert_int_equal(DECODE(INSN_64, "\x66\x48\x89\x00"), TF_OK);
	assert_int_equal(g.insn.opsize, 8);
	assert_int_equal(DECODE(INSN_64, "\x64\x3e\x89\x00"), TF_OK); /* DS is null in 64-bit mode, FS stays */
	assert_int_equal(g.insn.seg, SEG_FS);
	assert_int_equal(DECODE(INSN_32, "\x64\x3e\x89\x00"), TF_OK);
	assert_int_equal(g.insn.seg, SEG_DS);
	assert_int_equal(DECODE(INSN_64, "\x3e\x89\x45\x00"), TF_OK);
	assert_int_equal(g.insn.seg, SEG_SS);
	assert_int_equal(DECODE(INSN_64, "\x41\x89\x45\x00"), TF_OK); /* R13 is not RBP */
	assert_int_equal(g.insn.seg, SEG_DS);
}

static void test_16bit_addresses(void **state)
{
	(void)state;
	g.gpr[RBX] = 0xaaaa0000fffffff0; /* the offset is 16 bits wide */
	g.gpr[RSI] = 0xbbbb000000000020;
	g.gpr[RAX] = 0x1122334455667788;
	put(0x20, 0xcafe, 2);
	RUN(INSN_16, "\x8b\x40\x10"); /* mov ax, [bx+si+16] */
	assert_access(0, SEG_DS, 0x20, 2, false);
	assert_int_equal(g.gpr[RAX], 0x112233445566cafe);
	assert_int_equal(g.rip, RIP0 + 3);

	g.gpr[RBP] = 0x100;
	RUN(INSN_16, "\x89\x46\xfe"); /* mov [bp-2], ax */
	assert_access(1, SEG_SS, 0xfe, 2, true);
	assert_int_equal(get(0xfe, 2), 0xcafe);
	RUN(INSN_16, "\x26\x89\x46\xfe"); /* es: */
	assert_access(2, SEG_ES, 0xfe, 2, true);
	RUN(INSN_16, "\x66\xa3\x34\x12"); /* mov [0x1234], eax */
	assert_access(3, SEG_DS, 0x1234, 4, true);
	RUN(INSN_16, "\x67\x66\x89\x04\x6b"); /* mov [ebx+ebp*2], eax */
	assert_access(4, SEG_DS, 0x1f0, 4, true);
	RUN(INSN_16, "\xc7\x06\x00\x80\x34\x12"); /* mov word [0x8000], 0x1234: the offset is not negative */
	assert_access(5, SEG_DS, 0x8000, 2, true);
	assert_int_equal(get(0x8000, 2), 0x1234);
}

static void test_32bit_addresses(void **state)
{
	(void)state;
	g.gpr[RCX] = 0x5555555500000010;
	put(8, 0x89abcdef, 4);
	RUN(INSN_32, "\x8b\x81\xf8\xff\xff\xff"); /* mov eax, [ecx-8] */
	assert_access(0, SEG_DS, 8, 4, false);
	assert_int_equal(g.gpr[RAX], 0x89abcdef);
	g.gpr[RCX] = 0xfffffffc;
	RUN(INSN_32, "\x8b\x41\x08"); /* wraps at 4 GiB */
	assert_access(1, SEG_DS, 4, 4, false);
	RUN(INSN_32, "\x67\x8b\x06\x34\x92"); /* mov eax, [word 0x9234] */
	assert_access(2, SEG_DS, 0x9234, 4, false);
	RUN(INSN_32, "\x2e\xa0\x78\x56\x34\x92"); /* mov al, cs:[0x92345678] */
	assert_access(3, SEG_CS, 0x92345678, 1, false);
	RUN(INSN_32, "\x8b\x05\x00\x00\x00\x90"); /* absolute, not relative to EIP */
	assert_access(4, SEG_DS, 0x90000000, 4, false);
	g.rip = 0xffffffff;
	RUN(INSN_32, "\x8b\x01");
	assert_int_equal(g.rip, 1);
}

static void test_rip_relative(void **state)
{
	(void)state;
	g.rip = 0xffffffff80000000;
	RUN(INSN_64, "\xc7\x05\x00\x10\x00\x00\x78\x56\x34\x12"); /* the immediate counts to the length */
	assert_access(0, SEG_DS, 0xffffffff8000100a, 4, true);
	assert_int_equal(g.rip, 0xffffffff8000000a);
	RUN(INSN_64, "\x67\x8b\x05\x00\x10\x00\x00");
	assert_access(1, SEG_DS, 0x80001011, 4, false);
}

/* What is written, and what is only read, decides the check of the segment and of the page. */
static void test_access_kind(void **state)
{
	(void)state;
	RUN(INSN_64, "\x01\x03");         /* add [rbx], eax */
	RUN(INSN_64, "\x03\x03");         /* add eax, [rbx] */
	RUN(INSN_64, "\x39\x03");         /* cmp [rbx], eax */
	RUN(INSN_64, "\x85\x03");         /* test */
	RUN(INSN_64, "\x87\x03");         /* xchg */
	RUN(INSN_64, "\x0f\xa3\x03");     /* bt */
	RUN(INSN_64, "\x0f\xb3\x03");     /* btr */
	RUN(INSN_64, "\x0f\xba\x23\x01"); /* bt imm */
	RUN(INSN_64, "\x0f\xba\x2b\x01"); /* bts imm */
	RUN(INSN_64, "\x0f\xb6\x03");     /* movzx */
	static const bool write[] = { true, false, false, false, true, false, true, false, true, false };
	for (unsigned n = 0; n < ARRAY_SIZE(write); n++)
		assert_access(n, SEG_DS, 0, n == 9 ? 1 : 4, write[n]);
	assert_int_equal(g.reads, 10);
	assert_int_equal(g.writes, 4);
}

static void test_bit_string(void **state)
{
	(void)state;
	g.gpr[RAX] = 0xffff; /* bit -1 */
	put(0xfffe, 0x8000, 2);
	RUN(INSN_16, "\x0f\xa3\x07"); /* bt [bx], ax */
	assert_access(0, SEG_DS, 0xfffe, 2, false);
	assert_true(g.rflags & RFLAGS_CF);
	g.gpr[RAX] = 0x12345678ffffffdf; /* -33 in 32 bits: one dword and one bit below the one before */
	g.gpr[RBX] = 0x100;
	RUN(INSN_32, "\x0f\xbb\x03"); /* btc [ebx], eax */
	assert_access(1, SEG_DS, 0xf8, 4, true);
	assert_int_equal(get(0xf8, 4), 0x80000000);
	assert_false(g.rflags & RFLAGS_CF);
	RUN(INSN_32, "\x0f\xba\x2b\x2f"); /* bts dword [ebx], 47: an immediate stays inside */
	assert_access(2, SEG_DS, 0x100, 4, true);
	assert_int_equal(get(0x100, 4), 0x8000);
}

static void test_rep_16bit(void **state)
{
	(void)state;
	g.gpr[RCX] = 0xabcd0003;
	g.gpr[RDI] = 0xef01fffc;
	g.gpr[RAX] = 0xbeef;
	RUN(INSN_16, "\xf3\xab"); /* rep stosw, DI wraps, the upper halves stay */
	assert_access(0, SEG_ES, 0xfffc, 2, true);
	assert_access(1, SEG_ES, 0xfffe, 2, true);
	assert_access(2, SEG_ES, 0, 2, true);
	assert_int_equal(g.gpr[RCX], 0xabcd0000);
	assert_int_equal(g.gpr[RDI], 0xef010002);
	assert_int_equal(g.nlog, 3);
	RUN(INSN_16, "\xf3\xab"); /* CX is 0: nothing, but complete */
	assert_int_equal(g.nlog, 3);
	assert_int_equal(g.rip, RIP0 + 4);
}

static void test_rep_bound(void **state)
{
	(void)state;
	g.gpr[RCX] = 12;
	g.gpr[RSI] = 0x100;
	g.gpr[RDI] = 0x200;
	g.rflags |= RFLAGS_RF;
	put(0x100, 0x1122334455667788, 8);
	assert_int_equal(DECODE(INSN_64, "\xf3\xa4"), TF_OK);
	assert_int_equal(execute(5), TF_OK);
	assert_int_equal(g.rip, RIP0);
	assert_true(g.rflags & RFLAGS_RF);
	assert_int_equal(g.gpr[RCX], 7);
	assert_int_equal(g.gpr[RSI], 0x105);
	assert_int_equal(g.gpr[RDI], 0x205);
	assert_int_equal(execute(7), TF_OK); /* exactly the rest: complete */
	assert_int_equal(g.rip, RIP0 + 2);
	assert_int_equal(g.gpr[RCX], 0);
	assert_false(g.rflags & RFLAGS_RF); /* SDM 3B, "Instruction-Breakpoint Exception Condition" */
	assert_int_equal(get(0x200, 8), 0x1122334455667788);
	assert_int_equal(g.writes, 12);
}

static void test_movs_segments(void **state)
{
	(void)state;
	g.gpr[RSI] = 0x10;
	g.gpr[RDI] = 0x20;
	g.rflags |= RFLAGS_DF;
	RUN(INSN_32, "\x65\xa5"); /* movs dword es:[edi], gs:[esi] */
	assert_access(0, SEG_GS, 0x10, 4, false);
	assert_access(1, SEG_ES, 0x20, 4, true);
	assert_int_equal(g.gpr[RSI], 0xc);
	assert_int_equal(g.gpr[RDI], 0x1c);
	RUN(INSN_32, "\x65\xaa"); /* STOS has no override */
	assert_access(2, SEG_ES, 0x1c, 1, true);
	RUN(INSN_32, "\x64\xac"); /* LODS has */
	assert_access(3, SEG_FS, 0xc, 1, false);
}

/* A fault leaves everything of the faulting step undone, and everything before it done. */
static void test_faults(void **state)
{
	struct guest before;

	(void)state;
	g.gpr[RAX] = 1;
	g.gpr[RBX] = 0x40;
	put(0x40, UINT32_MAX, 4);
	before = g;
	assert_int_equal(DECODE(INSN_64, "\x01\x03"), TF_OK);
	g.fail_write = 1;
	assert_int_equal(execute(1), TF_EIO);
	assert_int_equal(g.rflags, before.rflags);
	assert_int_equal(g.rip, RIP0);
	assert_int_equal(DECODE(INSN_64, "\x87\x03"), TF_OK); /* xchg */
	g.fail_write = 2;
	assert_int_equal(execute(1), TF_EIO);
	assert_int_equal(DECODE(INSN_64, "\x0f\xab\x03"), TF_OK); /* bts */
	g.fail_write = 3;
	assert_int_equal(execute(1), TF_EIO);
	assert_int_equal(DECODE(INSN_64, "\x8b\x03"), TF_OK); /* mov eax, [rbx] */
	g.fail_read = g.reads + 1;
	assert_int_equal(execute(1), TF_EIO);
	g.fail_linear = g.nlog + 1;
	assert_int_equal(execute(1), TF_EFAULT);
	assert_int_equal(g.rip, RIP0);
	assert_int_equal(g.rflags, before.rflags);
	assert_memory_equal(g.gpr, before.gpr, sizeof(g.gpr));
	assert_memory_equal(g.memory, before.memory, sizeof(g.memory));
}

static void test_rep_fault(void **state)
{
	(void)state;
	g.gpr[RCX] = 4;
	g.gpr[RSI] = 0x100;
	g.gpr[RDI] = 0x200;
	assert_int_equal(DECODE(INSN_64, "\xf3\x48\xa5"), TF_OK);
	g.fail_linear = 4; /* the second element's destination */
	assert_int_equal(execute(100), TF_EFAULT);
	assert_int_equal(g.gpr[RCX], 3);
	assert_int_equal(g.gpr[RSI], 0x108);
	assert_int_equal(g.gpr[RDI], 0x208);
	assert_int_equal(g.rip, RIP0);
	assert_int_equal(g.reads, 1); /* a device is not read for an element that cannot be stored */
	assert_int_equal(execute(100), TF_OK);
	assert_int_equal(g.rip, RIP0 + 3);
	assert_int_equal(g.writes, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_lock, fresh),
		cmocka_unit_test_setup(test_refusals, fresh),
		cmocka_unit_test_setup(test_length_limits, fresh),
		cmocka_unit_test_setup(test_prefix_order, fresh),
		cmocka_unit_test_setup(test_16bit_addresses, fresh),
		cmocka_unit_test_setup(test_32bit_addresses, fresh),
		cmocka_unit_test_setup(test_rip_relative, fresh),
		cmocka_unit_test_setup(test_access_kind, fresh),
		cmocka_unit_test_setup(test_bit_string, fresh),
		cmocka_unit_test_setup(test_rep_16bit, fresh),
		cmocka_unit_test_setup(test_rep_bound, fresh),
		cmocka_unit_test_setup(test_movs_segments, fresh),
		cmocka_unit_test_setup(test_faults, fresh),
		cmocka_unit_test_setup(test_rep_fault, fresh),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
