/* Instructions that ask for as much work as one instruction can, and output without end. */
#include "hostile.h"

#define RTC_INDEX     0x70
#define RTC_DATA      0x71
#define RTC_SEC_ALARM 1
#define RTC_MIN_ALARM 3
#define RTC_HOUR_ALARM 5
#define RTC_AIE       0x22 /* 24 hours */
#define ANY           0xff
#define NO_SECOND     0x75 /* neither a second nor "any" */
#define READ_BACK_ALL 0xce
#define MCR_LOOP      0x10

static uint8_t page[PAGE] __attribute__((aligned(PAGE)));

static void rep_ins(uint16_t port)
{
	for (;;) {
		uint64_t n = sizeof(page) / 4, to = (uint64_t)page;

		__asm__ volatile("rep insl" : "+c"(n), "+D"(to) : "d"(port) : "memory");
	}
}

static void rep_outs(uint16_t port, uint8_t value)
{
	memset(page, value, sizeof(page));
	for (;;) {
		uint64_t n = sizeof(page), from = (uint64_t)page;

		__asm__ volatile("rep outsb" : "+c"(n), "+S"(from) : "d"(port) : "memory");
	}
}

static void pit_ins(void) { rep_ins(PIT); }
static void pit_outs(void) { rep_outs(PIT + 3, READ_BACK_ALL); }
static void rtc_ins(void) { rep_ins(RTC_INDEX); }
static void absent_ins(void) { rep_ins(0x5678); }

static void rtc_write(uint8_t index, uint8_t value)
{
	outb(RTC_INDEX, index);
	outb(RTC_DATA, value);
}

/* An alarm that never comes, asked for again and again. */
static void rtc_alarm(void)
{
	rtc_write(RTC_HOUR_ALARM, ANY);
	rtc_write(RTC_MIN_ALARM, ANY);
	rtc_write(RTC_SEC_ALARM, NO_SECOND);
	rtc_write(0xb, RTC_AIE);
	outb(RTC_INDEX, RTC_SEC_ALARM);
	rep_outs(RTC_DATA, NO_SECOND);
}

static void uart_loop(void)
{
	outb(COM1 + 4, MCR_LOOP);
	rep_outs(COM1, 'x');
}

/* From one device to another. */
static void mmio_rep(void)
{
	for (;;) {
		uint64_t n = PAGE / 4, from = IOAPIC, to = ABSENT;

		__asm__ volatile("rep movsl" : "+c"(n), "+S"(from), "+D"(to) :: "memory");
	}
}

static void console_flood(void)
{
	for (uint64_t n = 0;; n++)
		print("hostile: flood %lu\n", n);
}

/* One line without end. */
static void console_line(void) { rep_outs(COM1, 'x'); }

/* What costs a terminal most: the screen cleared, scrolled, its edges moved; sequences that never end. */
static void console_escapes(void)
{
	static const char text[] = "\033[2J\033[99999L\033[1;2r\033[99999S\033[99999T\033[r\033M\033[99999@\033[38;5;1;2;3;4;5;6;7;8m\033]0;title";
	static uint8_t many[PAGE];

	for (unsigned i = 0; i < sizeof(many); i++)
		many[i] = (uint8_t)text[i % (sizeof(text) - 1)];
	for (;;) {
		uint64_t n = sizeof(many), from = (uint64_t)many;

		__asm__ volatile("rep outsb" : "+c"(n), "+S"(from) : "d"((uint16_t)COM1) : "memory");
	}
}

const struct attack hostile_long[] = {
	{ "pit-ins", pit_ins }, { "pit-outs", pit_outs }, { "rtc-ins", rtc_ins }, { "absent-ins", absent_ins }, { "rtc-alarm", rtc_alarm },
	{ "uart-loop", uart_loop }, { "mmio-rep", mmio_rep }, { "console-flood", console_flood }, { "console-line", console_line },
	{ "console-escapes", console_escapes }, ATTACKS_END
};
