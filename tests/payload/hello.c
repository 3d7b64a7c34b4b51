/* The loader's promises: command line, memory map, machine state. */
#include "payload.h"

#define STEP MiB(2)

/* One word in every 2 MiB, and the last one, can be written and read. Above 4 GiB nothing is mapped here. */
static bool reach(const struct range *r)
{
	uint64_t end = r->base + r->len < GiB(4) ? r->base + r->len : GiB(4), next;

	for (uint64_t at = r->base; at + sizeof(uint64_t) <= end; at = next) {
		volatile uint64_t *word = (volatile uint64_t *)at;
		uint64_t old = *word;

		*word = ~old ^ at;
		if (*word != (~old ^ at))
			return false;
		*word = old;
		next = (at + STEP) & ~(STEP - 1);
		if (at < end - sizeof(*word) && next > end - sizeof(*word))
			next = end - sizeof(*word);
	}
	return true;
}

void payload_main(void)
{
	bool reached = true;
	uint64_t total = 0;
	bool sorted = true, image = false;

	for (unsigned i = 0; i < boot_nmap; i++) {
		const struct range *r = &boot_map[i];

		print("# map %016lx %016lx type %u\n", r->base, r->len, r->type);
		if (r->type == 1)
			total += r->len;
		if (r->type == 1 && r->base <= (uint64_t)image_start && r->base + r->len >= (uint64_t)image_end)
			image = true;
		if (r->type == 1 && r->base >= MiB(1))
			reached &= reach(r);
		if (i && r->base < boot_map[i - 1].base + boot_map[i - 1].len)
			sorted = false;
	}
	print("hello: cmdline=%s\n", boot_cmdline);
	print("# hello: total %lu KiB\n", total >> 10);
	print("hello: memory %s, map %s, image %s\n", total < MiB(3) ? "too small" : reached ? "ok" : "not there", sorted ? "sorted" : "not sorted",
	      image ? "in RAM" : "not in RAM");
	print("hello: if=%u\n", (uint32_t)(rflags() >> 9 & 1));
}
