/* What CPUID says of several vCPUs: SDM 2A, "CPUID--CPU Identification", and 3A, "Hierarchical Mapping of Shared Resources". */
#include "vtx_fixture.h"
#include "arch/x86_64/tsc.h"

#define TYPE_THREAD 1
#define TYPE_CORE   2

/* Numbers of vCPUs, and the bits of an APIC ID that they need. */
static const struct { uint32_t vcpus; unsigned bits; } sizes[] = {
	{ 1, 0 }, { 2, 1 }, { 3, 2 }, { 4, 2 }, { 5, 3 }, { 33, 6 }, { 64, 6 },
};

static struct cpuid_regs ask(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid_regs r;

	cpuid_guest(machine.v, leaf, subleaf, &r);
	return r;
}

static void start_of(uint32_t vcpus, uint32_t id)
{
	start(LONG);
	cpuid_table_init(&machine.vm.cpuid, VM_HYPERVISOR_ON, vcpus, tsc_hz);
	machine.v->lapic.id = id;
}

static void one_package(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint32_t last = sizes[i].vcpus - 1;

		start_of(sizes[i].vcpus, last);
		struct cpuid_regs r = ask(1, 0);
		assert_int_equal(r.ebx >> 16 & 0xff, 1 << sizes[i].bits);
		assert_int_equal(r.ebx >> 24, last);
		assert_int_equal(r.edx >> 28 & 1, sizes[i].vcpus > 1); /* HTT: EBX[23:16] is valid */
	}
}

/* Level by level: how far to shift an x2APIC ID, how many logical processors there are, and what the level is. */
static void one_thread_per_core(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint32_t last = sizes[i].vcpus - 1;

		start_of(sizes[i].vcpus, last);
		struct cpuid_regs thread = ask(0xb, 0), core = ask(0xb, 1), none = ask(0xb, 2);
		assert_int_equal(thread.eax, 0);
		assert_int_equal(thread.ebx, 1);
		assert_int_equal(thread.ecx, TYPE_THREAD << 8);
		assert_int_equal(core.eax, sizes[i].bits);
		assert_int_equal(core.ebx, sizes[i].vcpus);
		assert_int_equal(core.ecx, TYPE_CORE << 8 | 1);
		assert_int_equal(last >> core.eax, 0); /* the package */
		assert_int_equal(none.eax | none.ebx, 0);
		assert_int_equal(none.ecx, 2);
		assert_true(thread.edx == last && core.edx == last && none.edx == last);
	}
}

static void who_shares_a_cache(void **state)
{
	static const uint32_t types[] = { 0x121, 0x122, 0x143, 0x163 };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint32_t ids = (1u << sizes[i].bits) - 1;

		start_of(sizes[i].vcpus, 0);
		for (unsigned c = 0; c < 4; c++) {
			struct cpuid_regs r = ask(4, c);

			assert_int_equal(r.eax >> 14 & 0xfff, c == 3 ? ids : 0);
			assert_int_equal(r.eax >> 26, ids);
			assert_int_equal(r.eax & 0x3fff, types[c]);
		}
		assert_int_equal(ask(4, 4).eax, 0);
	}
}

/* Leaf 1Fh is beyond the last: it answers as that one. */
static void no_newer_topology_leaf(void **state)
{
	(void)state;
	start_of(64, 5);
	assert_true(ask(0, 0).eax < 0x1f);
	assert_int_equal(ask(0x1f, 1).ebx, ask(ask(0, 0).eax, 0).ebx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(one_package, end),
		cmocka_unit_test_teardown(one_thread_per_core, end),
		cmocka_unit_test_teardown(who_shares_a_cache, end),
		cmocka_unit_test_teardown(no_newer_topology_leaf, end),
	};

	return cmocka_run_group_tests_name("cpuid", tests, NULL, NULL);
}
