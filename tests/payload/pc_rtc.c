/* The real-time clock: formats, roll-over, alarms, flags; the periods against each other. */
#include "pc.h"

#define RTC_IRQ 8
enum { SECONDS, SECONDS_ALARM, MINUTES, MINUTES_ALARM, HOURS, HOURS_ALARM, WEEKDAY, DAY, MONTH, YEAR, A, B, C, D };
#define CENTURY 0x32
#define B_SET  0x80
#define B_PIE  0x40
#define B_AIE  0x20
#define B_UIE  0x10
#define B_BIN  0x04
#define B_24   0x02

static volatile unsigned updates, alarms, periods;

static uint8_t get(uint8_t i)
{
	outb(0x70, i);
	return inb(0x71);
}

static void set(uint8_t i, uint8_t v)
{
	outb(0x70, i);
	outb(0x71, v);
}

static void on_rtc(struct frame *f)
{
	uint8_t c = get(C);

	(void)f;
	updates += c >> 4 & 1;
	alarms += c >> 5 & 1;
	periods += c >> 6 & 1;
	pic_eoi(RTC_IRQ);
}

/* A request that went before it was taken, in Bochs. */
static void on_spurious(struct frame *f)
{
	(void)f;
	pic_eoi(0);
}

static void show(const char *name)
{
	/* Without the weekday, which Bochs computes from the date; Bochs 2.7 loses an hour besides, in some time zones. */
	print("# %s: %02x %x %02x.%02x.%02x%02x\n", name, get(HOURS), get(WEEKDAY), get(DAY), get(MONTH), get(CENTURY), get(YEAR));
	print("%s: %02x:%02x\n", name, get(MINUTES), get(SECONDS));
}

/* Sets the clock and lets it go on to the next second. */
static void roll(const char *name, uint8_t format, const uint8_t time[8])
{
	static const uint8_t regs[] = { HOURS, MINUTES, SECONDS, WEEKDAY, DAY, MONTH, CENTURY, YEAR };

	set(B, B_SET | format);
	for (unsigned i = 0; i < ARRAY_SIZE(regs); i++)
		set(regs[i], time[i]);
	show(name);
	get(C);
	updates = 0;
	set(B, format | B_UIE);
	while (!updates)
		hlt_wait();
	set(B, format);
	show("then");
}

static void wait_updates(unsigned n)
{
	updates = alarms = periods = 0;
	while (updates < n)
		hlt_wait();
}

static void alarm(const char *name, uint8_t s, uint8_t m, uint8_t h)
{
	set(SECONDS_ALARM, s);
	set(MINUTES_ALARM, m);
	set(HOURS_ALARM, h);
	get(C);
	set(B, B_24 | B_UIE | B_AIE);
	wait_updates(1);
	wait_updates(1);
	print("alarm %s: %u\n", name, alarms);
	set(B, B_24);
}

void pc_rtc(void)
{
	uint8_t a = get(A) & 0x7f, b = get(B);
	uint64_t ticks[6];

	irq_set(PIC_VECTOR + RTC_IRQ, on_rtc);
	irq_set(PIC_VECTOR + 15, on_spurious);
	pic_unmask(RTC_IRQ);
	set(D, 0);
	set(C, 0xff);
	print("rtc d %x c %x", get(D), get(C) & 0x0f);
	set(A, 0xa6);
	print(", a %x", get(A) & 0x7f);
	set(B, B_SET | B_UIE | B_24);
	print(", set clears uie: b %x\n", get(B));
	roll("bcd, 24", B_24, (const uint8_t[]){ 0x23, 0x59, 0x59, 6, 0x31, 0x12, 0x20, 0x38 });
	roll("bcd, 12, midnight", 0, (const uint8_t[]){ 0x91, 0x59, 0x59, 7, 0x28, 0x02, 0x20, 0x24 });
	roll("binary, 24", B_BIN | B_24, (const uint8_t[]){ 9, 9, 59, 1, 30, 4, 20, 25 });
	/* Nothing moves while SET is on. */
	set(B, B_SET | B_24);
	set(SECONDS, 0x30);
	for (unsigned i = 0; i < 20; i++)
		pause_io(100);
	print("stopped: %x uip %x\n", get(SECONDS), get(A) & 0x80);
	set(B, b);
	roll("back", B_24, (const uint8_t[]){ 0x12, 0x34, 0x49, 4, 0x15, 0x11, 0x20, 0x23 });
	alarm("every second", 0xff, 0xff, 0xff);
	alarm("at a second", 0x54, 0xff, 0xff);
	set(B, B_24);
	for (unsigned rate = 6; rate < 12; rate++) {
		uint64_t t;

		set(A, (uint8_t)(0x20 | rate));
		get(C);
		periods = 0;
		set(B, B_24 | B_PIE);
		while (!periods)
			hlt_wait();
		t = rdtsc();
		periods = 0;
		while (periods < 256u >> (rate - 6))
			hlt_wait();
		ticks[rate - 6] = rdtsc() - t;
		set(B, B_24);
		print("rate %u: %s\n", rate, ticks[rate - 6] * 20 > ticks[0] * 19 && ticks[rate - 6] * 20 < ticks[0] * 21 ? "right" : "wrong");
	}
	set(A, 0x20); /* no rate: no periods */
	get(C);
	pause_io(20000);
	print("no rate: %x\n", get(C) & 0x40);
	set(B, b);
	set(A, a);
	get(C);
	pic_mask_all();
}
