/*
 * The innocent neighbour: computes over its memory, `rounds` times, and prints a digest of it each time or every `each`
 * times, which depends on nothing but the memory. `secret=N`: before that it fills all the rest of its RAM with that secret.
 */
#include "secret.h"

#define WORDS  (MiB(1) / sizeof(uint64_t))
#define FACTOR 0x9e3779b97f4a7c15ull

static uint64_t memory[WORDS];

static bool in_image(uint64_t a) { return a >= (uint64_t)image_start && a < (uint64_t)image_end; }

/* From 1 MiB on: what is below is the loader's too. */
static void plant(uint64_t number)
{
	char secret[SECRET_LEN];
	uint64_t copies = 0;

	secret_make(number, secret);
	for (unsigned i = 0; i < boot_nmap; i++) {
		if (boot_map[i].type != 1 || boot_map[i].base < MiB(1))
			continue;
		for (uint64_t a = boot_map[i].base; a + PAGE <= boot_map[i].base + boot_map[i].len && a < GiB(4); a += SECRET_LEN) {
			if (in_image(a) || in_image(a + SECRET_LEN - 1))
				continue;
			memcpy((void *)a, secret, SECRET_LEN);
			copies++;
		}
	}
	print("# neighbour: %lu copies\n", copies);
}

/* Each word from itself and the one before: a byte that somebody else has written changes all later digests. */
static uint64_t work(void)
{
	uint64_t digest = memory[WORDS - 1];

	for (unsigned i = 0; i < WORDS; i++) {
		digest = (digest ^ memory[i]) * FACTOR;
		memory[i] = digest ^ digest >> 29;
	}
	return digest;
}

void payload_main(void)
{
	uint64_t rounds = option_number("rounds", 100), each = option_number("each", 1), state = FACTOR;

	if (option("secret"))
		plant(option_number("secret", 0));
	for (unsigned i = 0; i < WORDS; i++)
		memory[i] = xorshift(&state);
	print("neighbour: begins\n");
	for (uint64_t n = 1; n <= rounds; n++) {
		uint64_t digest = work();

		if (n % each == 0)
			print("neighbour: %lu %lx\n", n, digest);
	}
	print("neighbour: ends\n");
}
