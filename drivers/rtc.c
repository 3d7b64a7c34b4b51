#include "drivers/rtc.h"
#include "arch/x86_64/cpu.h"
#include <tf/string.h>

#define CMOS_INDEX 0x70
#define CMOS_DATA  0x71

enum { RTC_SECONDS = 0, RTC_MINUTES = 2, RTC_HOURS = 4, RTC_DAY = 7, RTC_MONTH = 8, RTC_YEAR = 9, RTC_A = 10, RTC_B = 11,
       RTC_CENTURY = 0x32 };
#define A_UIP      0x80
#define B_24H      0x02
#define B_BINARY   0x04
#define HOUR_PM    0x80

#define UIP_SPINS  20000 /* an update takes 2 ms; a read of the port about 1 us */
#define TRIES      5

struct fields { uint8_t sec, min, hour, day, month, year, century; };

static uint8_t cmos(uint8_t index)
{
	outb(CMOS_INDEX, index);
	return inb(CMOS_DATA);
}

static bool read_fields(struct fields *f)
{
	unsigned spins = 0;

	while (cmos(RTC_A) & A_UIP)
		if (++spins == UIP_SPINS)
			return false;
	*f = (struct fields){ cmos(RTC_SECONDS), cmos(RTC_MINUTES), cmos(RTC_HOURS), cmos(RTC_DAY), cmos(RTC_MONTH),
	                      cmos(RTC_YEAR), cmos(RTC_CENTURY) };
	return true;
}

static unsigned from_bcd(uint8_t v) { return (v >> 4) * 10u + (v & 15); }

/* Days from 1970-01-01 of a day in the proleptic Gregorian calendar; the year is counted from March. */
static int64_t days_from_date(unsigned year, unsigned month, unsigned day)
{
	unsigned y = month <= 2 ? year - 1 : year, m = (month + 9) % 12;

	return (int64_t)(365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1) - 719468;
}

int64_t rtc_read_unix(void)
{
	struct fields f, again;
	unsigned tries = 0;

	/* Two equal readings: no update came in between. */
	do {
		if (tries++ == TRIES || !read_fields(&f) || !read_fields(&again))
			return 0;
	} while (memcmp(&f, &again, sizeof(f)));

	uint8_t b = cmos(RTC_B);
	bool pm = f.hour & HOUR_PM, binary = b & B_BINARY;
	uint8_t hour_field = b & B_24H ? f.hour : f.hour & (uint8_t)~HOUR_PM;
	unsigned sec = binary ? f.sec : from_bcd(f.sec), min = binary ? f.min : from_bcd(f.min);
	unsigned hour = binary ? hour_field : from_bcd(hour_field);
	unsigned day = binary ? f.day : from_bcd(f.day), month = binary ? f.month : from_bcd(f.month);
	unsigned year = binary ? f.year : from_bcd(f.year);
	unsigned century = from_bcd(f.century); /* a convention of PC firmware, BCD always, and not always kept */

	if (!(b & B_24H))
		hour = hour % 12 + (pm ? 12 : 0);
	if (sec > 60 || min > 59 || hour > 23 || day < 1 || day > 31 || month < 1 || month > 12 || year > 99)
		return 0;
	year += 100 * (century >= 20 && century <= 21 ? century : 20);
	return days_from_date(year, month, day) * 86400 + hour * 3600 + min * 60 + sec;
}
