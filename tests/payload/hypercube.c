/*
 * Random operations, one after the other, from a seed: ports, memory of devices, string I/O, devices programmed wrongly, MSRs,
 * control and debug registers, XCR0, privileged instructions. Whatever exception or interrupt one of them ends in, the next
 * one follows. `count=N`, `seed=N` (0: from the clock); `ends`: also what ends this guest. The idea and the name are those of
 * Schumilo et al., "HYPER-CUBE: High-Dimensional Hypervisor Fuzzing", NDSS 2020.
 */
#include "hypercube.h"

#define COUNT 100000

bool cube_ends;
uint8_t cube_scratch[SCRATCH_SIZE] __attribute__((aligned(4096)));
static uint64_t state;
static volatile uint64_t done, faults, interrupts;

__attribute__((noreturn)) void trap_return(void);

/* Sebastiano Vigna's xorshift64* */
uint64_t cube_random(void)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * 0x2545f4914f6cdd1dull;
}

uint64_t cube_value(void)
{
	static const uint64_t special[] = {
		0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000,
		0x7fffffffffff, 0x800000000000, 0xffff800000000000, 0x7fffffffffffffff, 0x8000000000000000, ~0ull,
	};

	switch (cube_below(4)) {
	case 0: return special[cube_below(ARRAY_SIZE(special))];
	case 1: return BIT(cube_below(64));
	case 2: return cube_random() & 0xff;
	default: return cube_random();
	}
}

static void on_interrupt(struct frame *f)
{
	(void)f;
	interrupts++;
	trap_return();
}

/* No handler looks at its frame: with the PIC's vectors among the exceptions it may be a word too short. */
static bool on_trap(struct frame *f)
{
	(void)f;
	__asm__ volatile("mov %0, %%dr7" :: "r"(0x400ull));
	faults++;
	trap_return();
}

static void (*const kinds[])(void) = {
	cube_port, cube_port, cube_string, cube_mmio, cube_mmio, cube_device, cube_device, cube_msr, cube_msr, cube_control,
	cube_debug, cube_instruction,
};

static void run(uint64_t count)
{
	while (done < count) {
		done++;
		if (!trap_catch())
			kinds[cube_below(ARRAY_SIZE(kinds))]();
		trap_release();
	}
}

void payload_main(void)
{
	uint64_t seed = option_number("seed", 1), count = option_number("count", COUNT);

	cube_ends = option("ends");
	seed = seed ? seed : rdtsc();
	print("# hypercube: seed %lu\n", seed);
	print_flush();
	state = seed * 0x9e3779b97f4a7c15ull | 1;
	for (unsigned i = 32; i < 256; i++)
		if (i != USER_DONE)
			irq_set(i, on_interrupt);
	trap_hook = on_trap;
	run(count);
	trap_hook = NULL;
	print_init();
	print("hypercube: %lu operations\n", done);
	print("# hypercube: %lu faults, %lu interrupts\n", faults, interrupts);
}
