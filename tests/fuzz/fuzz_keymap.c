/* A keyboard that sends anything: keys mean whole, printable or ECMA-48, and what is held is forgotten when it is released. */
#include "fuzz_dev.h"
#include "drivers/keymap.h"

#define BREAK 0x80
#define E0    0xe0

static void check_output(const uint8_t *out, size_t n)
{
	ASSERT(n <= KEYMAP_MAX);
	if (n > 1) /* a sequence, or a key with Alt */
		ASSERT(out[0] == 0x1b);
	for (size_t i = 1; i < n; i++)
		ASSERT(out[i] < 0x80);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t modifiers[] = { 0x1d, 0x2a, 0x36, 0x38 };
	struct keymap k = { 0 }, fresh = { 0 };
	uint8_t out[KEYMAP_MAX], expected[KEYMAP_MAX];

	for (size_t i = 0; i < size; i++) {
		bool plain = !k.extended && !k.skip;
		size_t n = keymap_feed(&k, data[i], out);

		check_output(out, n);
		if (plain && data[i] & BREAK)
			ASSERT(n == 0);
	}
	/* Whatever came: after the end of a Pause and the release of every modifier a letter is a letter. */
	for (unsigned i = 0; i < 8; i++)
		ASSERT(keymap_feed(&k, BREAK | 0x01, out) == 0);
	for (unsigned i = 0; i < ARRAY_SIZE(modifiers); i++) {
		keymap_feed(&k, modifiers[i] | BREAK, out);
		keymap_feed(&k, E0, out);
		keymap_feed(&k, modifiers[i] | BREAK, out);
	}
	ASSERT(!k.held && !k.extended && !k.skip);
	fresh.caps = k.caps;
	fresh.num = k.num;
	for (uint8_t code = 1; code < 0x3b; code++) {
		struct keymap a = k, b = fresh;
		size_t n = keymap_feed(&a, code, out);

		ASSERT(n == keymap_feed(&b, code, expected) && !memcmp(out, expected, n));
	}
	return 0;
}
