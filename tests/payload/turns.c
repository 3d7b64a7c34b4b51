/* Beside another of itself on one CPU: how long its turns are, and how long those that are not its own, as it sees both. */
#include "payload.h"

#define TURNS  200
#define ABSENT 20000 /* ticks: more than any exit, fewer than any slice */

void payload_main(void)
{
	uint64_t runs = 0, gaps = 0, last = rdtsc(), start = last;

	for (unsigned n = 0; n <= TURNS;) {
		uint64_t now = rdtsc();

		if (now - last > ABSENT) {
			if (n++) { /* the first turn began before this */
				runs += last - start;
				gaps += now - last;
			}
			start = now;
		}
		last = now;
	}
	print("turns run=%lu gap=%lu\n", runs / TURNS, gaps / TURNS);
}
