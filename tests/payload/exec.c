/*
 * Code in every 2 MiB of RAM: at the start, and across the end into the next 2 MiB. A line with # says how many of the
 * first and of the second calls took long: pages that become executable only when they are executed show there.
 */
#include "payload.h"

#define STEP MiB(2)
#define LONG 1000 /* TSC ticks */

static const uint8_t code[] = { 0xb8, 0, 0, 0, 0, 0xc3 }; /* mov $value, %eax; ret */

static bool ours(uint64_t a, uint64_t len) { return a < (uint64_t)image_end && a + len > (uint64_t)image_start; }

static bool ram(uint64_t a, uint64_t len)
{
	for (unsigned i = 0; i < boot_nmap; i++)
		if (boot_map[i].type == 1 && a >= boot_map[i].base && a + len <= boot_map[i].base + boot_map[i].len)
			return !ours(a, len);
	return false;
}

static uint64_t wrong, calls, took_long[2];

static uint32_t call(uint64_t a, unsigned pass)
{
	uint64_t t = rdtsc();
	uint32_t value = ((uint32_t (*)(void))a)();

	took_long[pass] += rdtsc() - t > LONG;
	calls++;
	return value;
}

static void try(uint64_t a)
{
	if (!ram(a, sizeof(code)))
		return;
	for (unsigned pass = 0; pass < 2; pass++) {
		uint32_t value = (uint32_t)(a >> 8) ^ (pass ? 0x5a5a5a5a : 0);

		memcpy((void *)a, code, sizeof(code));
		memcpy((void *)(a + 1), &value, sizeof(value));
		if (call(a, pass) != value && wrong++ < 4)
			print("exec: %lx is wrong\n", a);
	}
}

void payload_main(void)
{
	for (uint64_t a = MiB(1); a < GiB(3); a = (a + STEP) & ~(STEP - 1)) {
		try(a);
		try(a + STEP - (a & (STEP - 1)) - 3);
	}
	print("# exec: %lu calls, long: %lu then %lu\n", calls, took_long[0], took_long[1]);
	print("exec: %s\n", wrong ? "bad" : "ok");
}
