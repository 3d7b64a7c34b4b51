/* The loader's promises: command line, memory map, machine state. */
#include "payload.h"

void payload_main(void)
{
	uint64_t total = 0;
	bool sorted = true, image = false;

	for (unsigned i = 0; i < boot_nmap; i++) {
		const struct range *r = &boot_map[i];

		print("# map %016lx %016lx type %u\n", r->base, r->len, r->type);
		if (r->type == 1)
			total += r->len;
		if (r->type == 1 && r->base <= (uint64_t)image_start && r->base + r->len >= (uint64_t)image_end)
			image = true;
		if (i && r->base < boot_map[i - 1].base + boot_map[i - 1].len)
			sorted = false;
	}
	print("hello: cmdline=%s\n", boot_cmdline);
	print("# hello: total %lu KiB\n", total >> 10);
	print("hello: memory %s, map %s, image %s\n", total >= MiB(3) ? "ok" : "too small", sorted ? "sorted" : "not sorted",
	      image ? "in RAM" : "not in RAM");
	print("hello: if=%u\n", (uint32_t)(rflags() >> 9 & 1));
}
