#include "core/keyboard.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/tsc.h"
#include "core/terminal.h"
#include "drivers/i8042.h"
#include "drivers/keymap.h"
#include <tf/dev.h>

#define PIECE           16
#define POLL_US         10000  /* nobody types faster, and the keyboard holds some keys */
#define POLL_SELDOM_US  100000 /* with an interrupt, in case one is lost */

static struct keymap keys;
static bool started;
static uint64_t period, due; /* TSC */

bool keyboard_init(void) { return i8042_init(); }

void keyboard_start(bool routed)
{
	period = tsc_from_us(routed ? POLL_SELDOM_US : POLL_US);
	started = true;
}

void keyboard_interrupt(void *ctx)
{
	uint8_t codes[PIECE], bytes[KEYMAP_MAX];
	size_t n = i8042_read(codes, sizeof(codes));

	(void)ctx;
	for (size_t i = 0; i < n; i++)
		terminal_type(bytes, keymap_feed(&keys, codes[i], bytes));
}

uint64_t keyboard_poll(void)
{
	uint64_t now = rdtsc();

	if (!started)
		return DEV_NEVER;
	if (now >= due) {
		keyboard_interrupt(NULL);
		due = now + period;
	}
	return due;
}
