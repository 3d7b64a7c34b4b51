/* The 8254: channel 2, whose gate and output port 61h has. Counts are compared while the gate holds them. */
#include "pc.h"

#define CH2      (PIT + 2)
#define CONTROL  (PIT + 3)
#define LATCH    0x80
#define RB_BOTH  0xc8 /* read-back of channel 2: count and status */
#define RB_COUNT 0xd8
#define RB_STATUS 0xe8
#define NULL_COUNT 0x40

static uint8_t p61;

static void gate(bool on) { outb(0x61, (uint8_t)(p61 | on)); }
static unsigned output(void) { return inb(0x61) >> 5 & 1; }
static void mode(unsigned m, unsigned more) { outb(CONTROL, (uint8_t)(0xb0 | m << 1 | more)); }

static void load(unsigned count)
{
	outb(CH2, (uint8_t)count);
	outb(CH2, (uint8_t)(count >> 8));
}

static unsigned take(void)
{
	unsigned low = inb(CH2);

	return low | inb(CH2) * 256u;
}

static unsigned latched(void)
{
	outb(CONTROL, LATCH);
	return take();
}

static uint8_t status(void)
{
	outb(CONTROL, RB_STATUS);
	return inb(CH2);
}

static void held_counts(void)
{
	gate(false);
	mode(0, 0);
	load(0x1234);
	pause_io(50);
	print("pit held: %x", latched());
	print(" %x status %x", take(), status());
	outb(CONTROL, RB_BOTH);
	print(", read-back: status %x", inb(CH2));
	print(" count %x", take());
	outb(CONTROL, LATCH);
	load(0x5678); /* the latch keeps the count from before */
	pause_io(50);
	outb(CONTROL, LATCH);
	print(", latch kept %x", take());
	print(", then %x\n", latched());
	outb(CONTROL, 0x90); /* mode 0, low byte only */
	outb(CH2, 0x42);
	pause_io(50);
	outb(CONTROL, LATCH);
	print("pit low byte: %x", inb(CH2));
	outb(CONTROL, 0xa0); /* high byte only */
	outb(CH2, 0x37);
	pause_io(50);
	outb(CONTROL, LATCH);
	print(", high byte: %x status %x\n", inb(CH2), status());
	mode(0, 0);
	load(0);
	pause_io(50);
	print("pit zero: %x\n", latched());
	mode(0, 0);
	outb(CH2, 0x21); /* half of a count: nothing yet */
	pause_io(50);
	print("pit half a count: null %x", status() & NULL_COUNT);
	outb(CH2, 0x43);
	pause_io(50);
	print(", then %x null %x\n", latched(), status() & NULL_COUNT);
}

static void run_down(void)
{
	/* Mode 0 ends with the output high, and goes on counting from FFFFh. */
	gate(false);
	mode(0, 0);
	load(300);
	print("pit mode 0: out %u", output());
	gate(true);
	while (!output())
		;
	pause_io(100);
	gate(false);
	print(", ends %u, below zero %u", output(), latched() > 0x8000);
	load(100);
	print(", again %u\n", output());
	/* Mode 1: a trigger starts it, another starts it again. */
	gate(false);
	mode(1, 0);
	load(20000);
	print("pit mode 1: out %u null %x", output(), status() & NULL_COUNT);
	gate(true);
	pause_io(100);
	print(", triggered %u null %x", output(), status() & NULL_COUNT);
	gate(false);
	print(", gate off %u", output());
	load(100); /* not before the next trigger */
	print(", new count null %x", status() & NULL_COUNT);
	while (!output())
		;
	gate(true);
	pause_io(100);
	print(", triggered null %x", status() & NULL_COUNT);
	while (!output())
		;
	print(", ends %u\n", output());
	/* Modes 2 and 3: low for one count in each period, or for half of it. The gate makes the output high. */
	for (unsigned m = 2; m < 4; m++) {
		unsigned high = 0, odd = 0, most = 0;

		gate(false);
		mode(m, 0);
		load(101);
		print("pit mode %u: out %u", m, output());
		gate(true);
		for (unsigned i = 0; i < 4000; i++)
			high += output();
		for (unsigned i = 0; i < 2000; i++) {
			unsigned c = latched();

			odd += c & 1;
			most = c > most ? c : most;
		}
		print(", high %s, odd counts %s, most %s", high > 3000 ? "mostly" : high > 1200 && high < 2800 ? "half" : "rarely",
		      odd ? "some" : "none", most <= 101 && most > 90 ? "as loaded" : "other");
		gate(false);
		print(", gate off: out %u\n", output());
	}
	/* Mode 4: a strobe, once; mode 5: after a trigger. */
	for (unsigned m = 4; m < 6; m++) {
		gate(m == 4);
		mode(m, 0);
		load(50);
		print("pit mode %u: out %u", m, output());
		gate(true);
		pause_io(300);
		print(", over: %u", output());
		gate(false);
		print(", below zero %u null %x\n", latched() > 0x8000, status() & NULL_COUNT);
	}
}

static void decimal(void)
{
	unsigned bad = 0, c;

	gate(false);
	mode(0, 1);
	load(0x9876);
	pause_io(50);
	print("pit bcd: held %x status %x", latched(), status());
	gate(true);
	for (unsigned i = 0; i < 200; i++) {
		c = latched();
		for (unsigned n = 0; n < 16; n += 4)
			bad += (c >> n & 0xf) > 9;
	}
	gate(false);
	print(", digits %s", bad ? "wrong" : "decimal");
	mode(0, 1);
	load(0x0100);
	gate(true);
	while (!output())
		;
	pause_io(100);
	gate(false);
	print(", below zero %s\n", latched() > 0x5000 ? "9999" : "other");
}

void pc_pit(void)
{
	p61 = inb(0x61) & 0x0c;
	held_counts();
	run_down();
	decimal();
	outb(0x61, 0);
	print("port 61: %x", inb(0x61) & 3);
	outb(0x61, 1);
	print(" %x\n", inb(0x61) & 3);
	outb(0x61, 0);
}
