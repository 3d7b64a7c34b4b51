/* One instruction, executed by the CPU itself and by the executor, in 64-bit mode, on the same memory. */
#pragma once
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
#include "guest/insn_internal.h"
#include "tests/unit/rng.h"

/* One low mapping, so that 32-bit addresses and displacements reach it: code, the native frame, and the memory. */
#define ARENA       0x30000000ull
#define FRAME       (ARENA + PAGE_SIZE)
#define MEMORY      (ARENA + 2 * PAGE_SIZE)
#define MEMORY_SIZE (5 * PAGE_SIZE)
#define MIDDLE      (MEMORY + 2 * PAGE_SIZE)

enum { RAX = 0, RCX = 1, RDX = 2, RBX = 3, RSP = 4, RSI = 6, RDI = 7 };
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

static enum tf_err shadow_read(void *ctx, uint64_t linear, uint8_t size, bool rmw, uint64_t *value)
{
	(void)ctx;
	(void)rmw;
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
