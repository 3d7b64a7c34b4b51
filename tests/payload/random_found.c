/* Sequences of the payloads random and random32 in which a guest once saw something else than the bare machine, at their smallest. */
#include "legacy.h"

#define IO_ABSENT 0x6f0
#define LAST      0xffffffffu

static void limited(uint32_t base, uint32_t pages, uint32_t at)
{
	set_descriptor(SEL_FREE, base, pages, ACC_DATA, FLAG_G | FLAG_DB);
	__asm__ volatile("mov %w0, %%fs" :: "r"(SEL_FREE));
	REPORT("outsd by fs", __asm__ volatile("fs outsl" : "+S"(at) : "d"(IO_ABSENT) : "memory"));
	__asm__ volatile("mov %w0, %%fs" :: "r"(SEL_DATA));
}

/* The last byte of a segment of 4 GiB, and on at offset 0. */
static void wraparound(void)
{
	uint32_t at = LAST, n = 1;

	REPORT("outsd at the end of 4 GiB", __asm__ volatile("outsl" : "+S"(at) : "d"(IO_ABSENT) : "memory"));
	print("esi=%x\n", at);
	at = LAST - 2;
	n = 2;
	REPORT("rep outsw at the end of 4 GiB", __asm__ volatile("rep outsw" : "+S"(at), "+c"(n) : "d"(IO_ABSENT) : "memory"));
	print("esi=%x ecx=%x\n", at, n);
	at = LAST - 1;
	REPORT("outsd by ss", __asm__ volatile("ss outsl" : "+S"(at) : "d"(IO_ABSENT) : "memory"));
	print("esi=%x\n", at);
	/* It is one with another base, or with one page less. */
	limited(1, 0xfffff, LAST - 1);
	limited(0, 0xffffe, 0xffffefff);
	limited(0, 0xffffe, 0xffffeffc);
}

void payload_main(void)
{
	wraparound();
}
