/* RAM that nobody has touched since the machine was there: some pages of each 2 MiB. */
#include "bench.h"

#define FIRST MiB(16)
#define STEP  KiB(196)

static uint64_t next = FIRST;

static bool is_ram(void)
{
	const uint64_t end = FIRST + BENCH_SAMPLES * STEP;

	for (unsigned i = 0; i < boot_nmap; i++)
		if (boot_map[i].type == 1 && FIRST >= boot_map[i].base && end <= boot_map[i].base + boot_map[i].len)
			return FIRST >= (uint64_t)image_end;
	return false;
}

static void op_touch(void) { *(volatile uint64_t *)next = 1; }
static void go_on(void) { next += STEP; }

const struct operation bench_memory[] = {
	{ "first-touch", .op = op_touch, .present = is_ram, .after = go_on },
	{ },
};
