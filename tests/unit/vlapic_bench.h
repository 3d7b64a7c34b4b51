/* A local APIC on the bench: a clock that the test turns, and notes of everything the APIC did. */
#pragma once
#include "guest/dev/vlapic.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the above first */
#include <cmocka.h>

struct bench {
	struct vlapic l;
	struct dev_host host;
	void *page;
	uint64_t now, armed;
	unsigned kicks, eois, ipis, locals;
	uint8_t eoi_vector, local_delivery;
	struct apic_msg ipi;
	enum apic_shorthand shorthand;
};

static uint64_t bench_now(void *ctx) { return ((struct bench *)ctx)->now; }
static void bench_arm(void *ctx, uint64_t deadline) { ((struct bench *)ctx)->armed = deadline; }

static void bench_ipi(void *ctx, struct vlapic *from, const struct apic_msg *msg, enum apic_shorthand shorthand)
{
	struct bench *b = ctx;
	assert_ptr_equal(from, &b->l);
	b->ipis++;
	b->ipi = *msg;
	b->shorthand = shorthand;
}

static void bench_eoi(void *ctx, uint8_t vector)
{
	struct bench *b = ctx;
	b->eois++;
	b->eoi_vector = vector;
}

static void bench_local(void *ctx, struct vlapic *l, uint8_t delivery)
{
	struct bench *b = ctx;
	assert_ptr_equal(l, &b->l);
	b->locals++;
	b->local_delivery = delivery;
}

static void bench_kick(void *ctx, struct vlapic *l)
{
	struct bench *b = ctx;
	assert_ptr_equal(l, &b->l);
	b->kicks++;
}

static void bench_requested(void *ctx, struct vlapic *l, uint8_t vector)
{
	(void)vector;
	bench_kick(ctx, l);
}

static const struct vlapic_ops bench_ops = {
	.ipi = bench_ipi, .eoi = bench_eoi, .local = bench_local, .kick = bench_kick, .requested = bench_requested,
};

static struct bench *bench_new(uint32_t id, bool bsp, bool virtual_wire)
{
	struct bench *b = calloc(1, sizeof(*b));
	assert_non_null(b);
	b->page = aligned_alloc(4096, 4096);
	assert_non_null(b->page);
	memset(b->page, 0xa5, 4096);
	b->now = 1000000;
	b->host = (struct dev_host){ .ctx = b, .hz = 1000000000, .now = bench_now, .arm = bench_arm };
	vlapic_init(&b->l, b->page, id, bsp, virtual_wire, &b->host, &bench_ops, b);
	return b;
}

static void bench_free(struct bench *b)
{
	free(b->page);
	free(b);
}

__attribute__((unused)) static uint32_t mmio_read(struct bench *b, uint32_t offset)
{
	struct dev_access a = { .offset = offset, .size = 4 };
	vlapic_access(&b->l, &a);
	return (uint32_t)a.value;
}

__attribute__((unused)) static void mmio_write(struct bench *b, uint32_t offset, uint32_t value)
{
	struct dev_access a = { .offset = offset, .size = 4, .write = true, .value = value };
	vlapic_access(&b->l, &a);
}

/* SVR with the APIC software-enabled and spurious vector FFh. */
#define SVR_ON 0x1ff

__attribute__((unused)) static struct bench *bench_on(void)
{
	struct bench *b = bench_new(0, true, false);
	mmio_write(b, APIC_SVR, SVR_ON);
	return b;
}

__attribute__((unused)) static struct bench *bench_x2apic(uint32_t id)
{
	struct bench *b = bench_new(id, false, false);
	assert_int_equal(vlapic_wrmsr(&b->l, MSR_IA32_APIC_BASE, APIC_DEFAULT_BASE | APIC_BASE_ENABLE | APIC_BASE_X2APIC), TF_OK);
	assert_int_equal(vlapic_wrmsr(&b->l, 0x80f, SVR_ON), TF_OK);
	return b;
}
