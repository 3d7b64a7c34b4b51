/* Patterns over all RAM of the map, sparsely: every 64 KiB, and both ends of every range. */
#include "payload.h"

#define STEP  KiB(64)
#define FIRST PAGE /* page 0 is the BIOS's */

static uint64_t pattern(uint64_t a, unsigned pass) { return (a * 0x9e3779b97f4a7c15ull) ^ (pass & 1 ? ~0ull : 0); }

static bool ours(uint64_t a) { return a >= (uint64_t)image_start && a < (uint64_t)image_end; }

static uint64_t errors, words;

static void touch(uint64_t a, unsigned pass, bool check)
{
	volatile uint64_t *p = window_phys(a);

	if (ours(a))
		return;
	if (!check) {
		*p = pattern(a, pass);
		words++;
	} else if (*p != pattern(a, pass)) {
		if (errors++ < 4)
			print("memory: %lx is wrong\n", a);
	}
}

static void sweep(unsigned pass, bool check)
{
	for (unsigned i = 0; i < boot_nmap; i++) {
		uint64_t lo = boot_map[i].base < FIRST ? FIRST : boot_map[i].base, end = boot_map[i].base + boot_map[i].len;

		if (boot_map[i].type != 1 || lo + 8 > end)
			continue;
		lo = (lo + 7) & ~7ull;
		for (uint64_t a = lo; a + 8 <= end; a += STEP)
			touch(a, pass, check);
		touch((end - 8) & ~7ull, pass, check);
	}
}

void payload_main(void)
{
	for (unsigned pass = 0; pass < 2; pass++) {
		sweep(pass, false);
		sweep(pass, true);
	}
	print("# memory: %lu words\n", words);
	print("memory: %s\n", errors ? "bad" : "ok");
}
