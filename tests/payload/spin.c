/* Pure computing: a line per `work` iterations of two instructions; `count=N` ends after N lines. */
#include "payload.h"

void payload_main(void)
{
	uint64_t work = option_number("work", 1 << 24), count = option_number("count", 0);

	for (uint64_t n = 1; !count || n <= count; n++) {
		uint64_t c = work;

		__asm__ volatile("1: dec %0; jnz 1b" : "+r"(c) :: "cc");
		print("spin %lu\n", n);
	}
}
