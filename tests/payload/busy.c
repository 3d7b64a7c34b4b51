/*
 * How much it gets: `count` times the same work, in ticks. It begins when a character is typed, so that who is beside it can have
 * settled, or at once with `wait=0`.
 */
#include "payload.h"

#define LSR_DR    1
#define MAX_COUNT 64

void payload_main(void)
{
	uint64_t work = option_number("work", 10000000), count = option_number("count", 10), ticks[MAX_COUNT];

	print("busy: ready\n");
	print_flush();
	while (option_number("wait", 1) && !(inb(COM1 + 5) & LSR_DR))
		;
	for (uint64_t i = 0; i < count && i < MAX_COUNT; i++) {
		uint64_t loops = work / 2, start = rdtsc();

		__asm__ volatile("1: dec %0; jnz 1b" : "+r"(loops) :: "cc");
		ticks[i] = rdtsc() - start;
	}
	for (uint64_t i = 0; i < count && i < MAX_COUNT; i++)
		print("busy work=%lu ticks=%lu\n", work, ticks[i]);
}
