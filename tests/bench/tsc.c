/* Prints the TSC: the instruction count on an emulator whose tick is one instruction. */
#include <stdio.h>
#include <termios.h>

int main(void)
{
	printf("tsc=%llu\n", __builtin_ia32_rdtsc());
	fflush(stdout);
	return tcdrain(1); /* the machine is switched off next */
}
