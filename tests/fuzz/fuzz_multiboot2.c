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
	/* The screen counts in a refusal as well. */
	if (info.screen.kind != BOOT_SCREEN_NONE) {
		check(info.screen.width && info.screen.height && info.screen.base.v);
		check(info.screen.pitch >= (uint64_t)info.screen.width * ((info.screen.bpp + 7) / 8));
		check((uint64_t)info.screen.pitch * info.screen.height <= UINT64_MAX - info.screen.base.v);
	}
	if (e != TF_OK)
		return 0;
	check(info.nranges <= BOOT_MAX_RANGES && info.nmodules <= BOOT_MAX_MODULES);
	check(memchr(info.cmdline, 0, sizeof(info.cmdline)) && memchr(info.loader, 0, sizeof(info.loader)));
	for (uint32_t i = 0; i < info.nranges; i++) {
		check(info.ranges[i].base + info.ranges[i].len >= info.ranges[i].base);
		check(info.ranges[i].type >= MEM_RAM && info.ranges[i].type <= MEM_BAD);
	}
	for (uint32_t i = 0; i < info.nmodules; i++) {
		check(memchr(info.modules[i].name, 0, BOOT_NAME));
		check(info.modules[i].start.v + info.modules[i].size <= UINT32_MAX);
	}
	return 0;
}
