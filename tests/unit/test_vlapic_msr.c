/* The local APIC's MSRs: IA32_APIC_BASE transitions and the x2APIC registers, against the SDM's APIC chapter. */
#include "vlapic_bench.h"

#define GP TF_EINVAL

static enum tf_err rd(struct bench *b, uint32_t msr, uint64_t *value) { return vlapic_rdmsr(&b->l, msr, value); }
static enum tf_err wr(struct bench *b, uint32_t msr, uint64_t value) { return vlapic_wrmsr(&b->l, msr, value); }

/* SDM 3A, "x2APIC State Transitions" */
static void test_base_transitions(void **state)
{
	(void)state;
	enum { OFF = 0, XAPIC = 0x800, INVALID = 0x400, X2APIC = 0xc00 };
	static const struct { uint64_t from, to; enum tf_err err; } t[] = {
		{ OFF, OFF, TF_OK }, { OFF, XAPIC, TF_OK }, { OFF, INVALID, GP }, { OFF, X2APIC, GP },
		{ XAPIC, OFF, TF_OK }, { XAPIC, XAPIC, TF_OK }, { XAPIC, INVALID, GP }, { XAPIC, X2APIC, TF_OK },
		{ X2APIC, OFF, TF_OK }, { X2APIC, XAPIC, GP }, { X2APIC, INVALID, GP }, { X2APIC, X2APIC, TF_OK },
	};
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct bench *b = bench_new(1, false, false);
		uint64_t value;
		assert_int_equal(wr(b, MSR_IA32_APIC_BASE, 0xfee00000 | t[i].from), TF_OK);
		assert_int_equal(wr(b, MSR_IA32_APIC_BASE, 0xfee00000 | t[i].to), t[i].err);
		assert_int_equal(rd(b, MSR_IA32_APIC_BASE, &value), TF_OK);
		assert_int_equal(value, 0xfee00000 | (t[i].err == TF_OK ? t[i].to : t[i].from));
		bench_free(b);
	}
}

static void test_base_reserved_bits(void **state)
{
	(void)state;
	struct bench *b = bench_new(0, true, false);
	const uint64_t ok = 0xfee00900;
	for (unsigned bit = 0; bit < 64; bit++) {
		bool reserved = bit < 8 || bit == 9 || bit >= 36;
		if (bit == 10)
			continue;
		assert_int_equal(wr(b, MSR_IA32_APIC_BASE, ok ^ BIT(bit)), reserved ? GP : TF_OK);
		assert_int_equal(wr(b, MSR_IA32_APIC_BASE, ok), TF_OK);
	}
	b->l.phys_bits = 46;
	assert_int_equal(wr(b, MSR_IA32_APIC_BASE, ok | BIT(45)), TF_OK);
	assert_int_equal(wr(b, MSR_IA32_APIC_BASE, ok | BIT(46)), GP);
	assert_int_equal(b->l.base_msr, ok | BIT(45));
	bench_free(b);
}

static void test_mode_changes(void **state)
{
	(void)state;
	struct bench *b = bench_new(0x37, false, false);
	uint64_t value;
	mmio_write(b, APIC_SVR, SVR_ON);
	mmio_write(b, APIC_TPR, 0x20);
	mmio_write(b, APIC_LDR, 0x55000000);
	mmio_write(b, APIC_ICR_HI, 0x11000000);
	vlapic_inject(&b->l, 0x81, false);
	assert_int_equal(wr(b, MSR_IA32_APIC_BASE, 0xfee00c00), TF_OK);
	/* The state is kept, but for the ID's width, LDR and the ICR's upper half. */
	assert_int_equal(rd(b, 0x802, &value), TF_OK);
	assert_int_equal(value, 0x37);
	assert_int_equal(rd(b, 0x80d, &value), TF_OK);
	assert_int_equal(value, 0x3 << 16 | 1 << 7);
	assert_int_equal(rd(b, 0x808, &value), TF_OK);
	assert_int_equal(value, 0x20);
	assert_int_equal(rd(b, 0x824, &value), TF_OK);
	assert_int_equal(value, 2);
	assert_int_equal(rd(b, 0x830, &value), TF_OK);
	assert_int_equal(value, 0);
	assert_int_equal(mmio_read(b, APIC_VERSION), 0xffffffff); /* the MMIO page is gone */
	mmio_write(b, APIC_TPR, 0xf0);
	assert_int_equal(vlapic_pending(&b->l), 0x81);

	assert_int_equal(wr(b, MSR_IA32_APIC_BASE, 0xfee00000), TF_OK);
	assert_int_equal(rd(b, 0x802, &value), GP);
	assert_int_equal(wr(b, MSR_IA32_APIC_BASE, 0xfee00800), TF_OK);
	assert_int_equal(mmio_read(b, APIC_ID), 0x37000000);
	assert_int_equal(mmio_read(b, APIC_SVR), 0xff);
	assert_int_equal(mmio_read(b, APIC_LDR), 0);
	assert_int_equal(vlapic_highest_irr(&b->l), -1);
	bench_free(b);
}

/* SDM 3A, "Local APIC Register Address Map Supported by x2APIC" */
static void test_register_map(void **state)
{
	(void)state;
	struct bench *b = bench_x2apic(2);
	for (uint32_t n = 0; n < 0x100; n++) {
		bool array = n >= 0x10 && n <= 0x27, lvt = n >= 0x32 && n <= 0x37;
		bool readable = array || lvt || n == 0x02 || n == 0x03 || n == 0x08 || n == 0x0a || n == 0x0d || n == 0x0f ||
				n == 0x28 || n == 0x30 || n == 0x38 || n == 0x39 || n == 0x3e;
		bool writable = lvt || n == 0x08 || n == 0x0b || n == 0x0f || n == 0x28 || n == 0x38 || n == 0x3e;
		uint64_t value;
		assert_int_equal(rd(b, 0x800 + n, &value), readable ? TF_OK : GP);
		if (n != 0x30 && n != 0x3f)
			assert_int_equal(wr(b, 0x800 + n, 0), writable ? TF_OK : GP);
		if (n != 0x30)
			assert_int_equal(wr(b, 0x800 + n, BIT(32)), GP);
		if (n == 0x0f)
			assert_int_equal(wr(b, 0x80f, SVR_ON), TF_OK);
	}
	uint64_t value;
	assert_int_equal(rd(b, 0x7ff, &value), GP);
	assert_int_equal(rd(b, 0x900, &value), GP);
	assert_int_equal(wr(b, 0x900, 0), GP);
	assert_int_equal(wr(b, 0x828, 0), TF_OK);
	assert_int_equal(rd(b, 0x828, &value), TF_OK);
	assert_int_equal(value, 0); /* a #GP is not an APIC error */
	bench_free(b);
}

static void test_reserved_bits(void **state)
{
	(void)state;
	static const struct { uint32_t msr; uint64_t writable; } t[] = {
		{ 0x808, 0xff }, { 0x80b, 0 }, { 0x80f, 0x3ff }, { 0x828, 0 }, { 0x83f, 0xff }, { 0x83e, 0xb },
		{ 0x832, 0x710ff }, { 0x833, 0x117ff }, { 0x834, 0x117ff }, { 0x835, 0x1f7ff }, { 0x836, 0x1f7ff },
		{ 0x837, 0x110ff }, { 0x838, 0xffffffff }, { 0x830, 0xffffffff000cdfff },
	};
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		for (unsigned bit = 0; bit < 64; bit++) {
			struct bench *b = bench_x2apic(1);
			assert_int_equal(wr(b, t[i].msr, BIT(bit)), t[i].writable & BIT(bit) ? TF_OK : GP);
			bench_free(b);
		}
	}
}

static void test_icr(void **state)
{
	(void)state;
	struct bench *b = bench_x2apic(1);
	uint64_t value;
	assert_int_equal(wr(b, 0x830, 0x89abcdef00004841), TF_OK);
	assert_int_equal(b->ipis, 1);
	assert_int_equal(b->ipi.dest, 0x89abcdef);
	assert_true(b->ipi.logical);
	assert_int_equal(b->ipi.vector, 0x41);
	assert_int_equal(rd(b, 0x830, &value), TF_OK);
	assert_int_equal(value, 0x89abcdef00004841);
	assert_int_equal(wr(b, 0x830, 0xffffffff00004000), TF_OK); /* vector 0 */
	assert_int_equal(b->ipis, 1);
	assert_int_equal(wr(b, 0x828, 0), TF_OK);
	assert_int_equal(rd(b, 0x828, &value), TF_OK);
	assert_int_equal(value, 0x20);
	bench_free(b);
}

static void test_self_ipi_and_eoi(void **state)
{
	(void)state;
	struct bench *b = bench_x2apic(1);
	uint64_t value;
	assert_int_equal(wr(b, 0x83f, 0x77), TF_OK);
	assert_int_equal(vlapic_pending(&b->l), 0x77);
	vlapic_ack(&b->l, 0x77);
	assert_int_equal(wr(b, 0x80b, 1), GP);
	assert_int_equal(vlapic_highest_isr(&b->l), 0x77);
	assert_int_equal(wr(b, 0x80b, 0), TF_OK);
	assert_int_equal(vlapic_highest_isr(&b->l), -1);
	/* SDM 3A, "Error Status Register (ESR)": an illegal vector sent, and received "via a self IPI" */
	assert_int_equal(wr(b, 0x83f, 3), TF_OK);
	assert_int_equal(wr(b, 0x828, 0), TF_OK);
	assert_int_equal(rd(b, 0x828, &value), TF_OK);
	assert_int_equal(value, 0x60);
	bench_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_base_transitions), cmocka_unit_test(test_base_reserved_bits),
		cmocka_unit_test(test_mode_changes), cmocka_unit_test(test_register_map),
		cmocka_unit_test(test_reserved_bits), cmocka_unit_test(test_icr), cmocka_unit_test(test_self_ipi_and_eoi),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
