/* The search for other people's bytes. */
#include "probe.h"

#define ASCII_ONLY 0x8080808080808080ull
#define WORD       sizeof(uint64_t)
#define OWN        9 /* the secret that we plant, to see that the search finds */
#define LEFT       7 /* the secret that an earlier life has left */

static struct needle { const char *name; char text[SECRET_LEN + 1]; uint64_t found; } needles[] = {
	{ "neighbour", "", 0 }, { "module", "", 0 }, { "configuration", "", 0 }, { "earlier life", "", 0 }, { "own", "", 0 },
	{ "hypervisor's messages", "panic: machine stopped", 0 }, { "hypervisor's help", "--- power the machine off?", 0 },
};

static bool in_image(uint64_t a) { return a + WORD > (uint64_t)image_start && a < (uint64_t)image_end; }

/* Whether the eight bytes are some of the first fifteen of a needle: each copy has such a word at an aligned address. */
static void look(uint64_t word)
{
	for (unsigned i = 0; i < ARRAY_SIZE(needles); i++)
		for (unsigned k = 0; k < WORD; k++)
			needles[i].found += !memcmp(&word, needles[i].text + k, WORD);
}

/* With the needles made here, so that they stand nowhere in our image's file. */
static void make_needles(void)
{
	static const uint64_t numbers[] = { 1, 2, 3, LEFT, OWN };

	for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++)
		secret_make(numbers[i], needles[i].text);
}

/* All that is behind the map's RAM, reserved parts included, in pieces of 2 MiB. */
static void search_range(uint64_t from, uint64_t to)
{
	for (uint64_t a = from; a < to; ) {
		const volatile uint64_t *p = window_phys(a);
		uint64_t end = (a | (MiB(2) - 1)) + 1;

		for (end = end < to ? end : to; a < end; a += WORD, p++) {
			uint64_t word = *p;

			if (word && !(word & ASCII_ONLY) && !in_image(a))
				look(word);
		}
	}
}

void probe_search(void)
{
	volatile char *own = (volatile char *)image_end + PAGE + 3;

	make_needles();
	for (unsigned i = 0; i < SECRET_LEN; i++)
		own[i] = needles[4].text[i];
	search_range(0, 0xa0000);
	search_range(0xe0000, ram_end() < GiB(3) ? ram_end() : GiB(3));
	if (ram_end() > GiB(4))
		search_range(GiB(4), ram_end());
	for (unsigned i = 0; i < SECRET_LEN; i++)
		own[i] = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(needles); i++)
		print("probe: %s: found %lu\n", needles[i].name, needles[i].found);
}

void probe_fill(void)
{
	char secret[SECRET_LEN];

	secret_make(LEFT, secret);
	for (uint64_t a = PAGE; a < ram_end() && a < GiB(3); a += SECRET_LEN) {
		if ((a >= 0xa0000 && a < 0xe0000) || in_image(a) || in_image(a + SECRET_LEN - WORD))
			continue;
		memcpy((void *)a, secret, SECRET_LEN);
	}
}
