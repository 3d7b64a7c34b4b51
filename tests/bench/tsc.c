/* Prints the TSC: the instruction count on an emulator whose tick is one instruction. */
#include <stdio.h>

int main(void)
{
	printf("tsc=%llu\n", __builtin_ia32_rdtsc());
	return 0;
}
