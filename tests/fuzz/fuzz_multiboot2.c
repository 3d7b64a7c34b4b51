/* Any bytes: no read beyond them, and what is accepted is consistent. */
#include "boot/multiboot2.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct boot_info info;
	const char *why;
	enum tf_err e = multiboot2_parse(data, size, &info, &why);

	check((e == TF_OK) == !why);
	if (e != TF_OK)
		return 0;
	check(info.nranges <= BOOT_MAX_RANGES && info.nmodules <= BOOT_MAX_MODULES);
	check(memchr(info.cmdline, 0, sizeof(info.cmdline)) && memchr(info.loader, 0, sizeof(info.loader)));
	for (uint32_t i = 0; i < info.nranges; i++) {
		check(info.ranges[i].base + info.ranges[i].len >= info.ranges[i].base);
		check(info.ranges[i].type >= MEM_RAM && info.ranges[i].type <= MEM_BAD);
	}
	for (uint32_t i = 0; i < info.nmodules; i++) {
		check(memchr(info.modules[i].name, 0, BOOT_STRING));
		check(info.modules[i].start.v + info.modules[i].size <= UINT32_MAX);
	}
	return 0;
}
