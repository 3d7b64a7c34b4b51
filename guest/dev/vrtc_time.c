#include "guest/dev/vrtc_time.h"

#define MINUTE 60
#define HOUR   3600
#define DAY    86400

#define HOURS_PM       0x80
#define ALARM_ANY      0xc0 /* "don't care": both top bits */
#define EPOCH_WEEKDAY  6      /* 0000-01-01 was a Saturday (Sunday is 0) */
#define DAYS_400_YEARS 146097

static uint8_t encode(const struct vrtc *r, unsigned value)
{
	if (r->ram[RTC_B] & RTC_B_BINARY)
		return (uint8_t)value;
	return (uint8_t)(value / 10 << 4 | value % 10);
}

static unsigned decode(const struct vrtc *r, uint8_t raw)
{
	if (r->ram[RTC_B] & RTC_B_BINARY)
		return raw;
	return (raw >> 4) * 10u + (raw & 15);
}

static uint8_t encode_hour(const struct vrtc *r, unsigned hour)
{
	unsigned of_12 = hour % 12 ? hour % 12 : 12;

	if (r->ram[RTC_B] & RTC_B_24H)
		return encode(r, hour);
	return encode(r, of_12) | (hour >= 12 ? HOURS_PM : 0);
}

static unsigned decode_hour(const struct vrtc *r, uint8_t raw)
{
	unsigned hour;

	if (r->ram[RTC_B] & RTC_B_24H)
		return MIN(decode(r, raw), 23u);
	hour = decode(r, raw & (uint8_t)~HOURS_PM) % 12;
	return raw & HOURS_PM ? hour + 12 : hour;
}

static bool is_leap(unsigned year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* Days from 0000-01-01 to the first of January of `year`, in the Gregorian calendar. */
static unsigned days_before_year(unsigned year)
{
	return 365 * year + (year + 3) / 4 - (year + 99) / 100 + (year + 399) / 400;
}

static unsigned days_in_month(unsigned year, unsigned month)
{
	static const uint8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

static unsigned clamp(unsigned value, unsigned low, unsigned high)
{
	return MAX(low, MIN(value, high));
}

void vrtc_time_render(struct vrtc *r, int64_t seconds)
{
	uint64_t since_0 = (uint64_t)(MAX(RTC_TIME_MIN, MIN(seconds, (int64_t)RTC_TIME_MAX)) - RTC_TIME_MIN);
	unsigned days = (unsigned)(since_0 / DAY), of_day = (unsigned)(since_0 % DAY);
	unsigned weekday = (days + EPOCH_WEEKDAY + r->weekday_shift) % 7;
	unsigned year = (unsigned)((uint64_t)days * 400 / DAYS_400_YEARS), month = 1;

	while (days_before_year(year) > days)
		year--;
	while (days_before_year(year + 1) <= days)
		year++;
	days -= days_before_year(year);
	while (days >= days_in_month(year, month))
		days -= days_in_month(year, month++);

	r->ram[RTC_SECONDS] = encode(r, of_day % MINUTE);
	r->ram[RTC_MINUTES] = encode(r, of_day / MINUTE % 60);
	r->ram[RTC_HOURS] = encode_hour(r, of_day / HOUR);
	r->ram[RTC_WEEKDAY] = encode(r, weekday + 1);
	r->ram[RTC_DAY] = encode(r, days + 1);
	r->ram[RTC_MONTH] = encode(r, month);
	r->ram[RTC_YEAR] = encode(r, year % 100);
	r->ram[VRTC_CENTURY] = encode(r, year / 100);
}

int64_t vrtc_time_parse(struct vrtc *r)
{
	unsigned year = MIN(decode(r, r->ram[VRTC_CENTURY]), 99u) * 100 + MIN(decode(r, r->ram[RTC_YEAR]), 99u);
	unsigned month = clamp(decode(r, r->ram[RTC_MONTH]), 1, 12);
	unsigned day = clamp(decode(r, r->ram[RTC_DAY]), 1, days_in_month(year, month));
	unsigned weekday = clamp(decode(r, r->ram[RTC_WEEKDAY]), 1, 7) - 1;
	unsigned days = days_before_year(year) + day - 1;

	for (unsigned m = 1; m < month; m++)
		days += days_in_month(year, m);
	r->weekday_shift = (weekday + 7 - (days + EPOCH_WEEKDAY) % 7) % 7;
	return RTC_TIME_MIN + (int64_t)days * DAY + decode_hour(r, r->ram[RTC_HOURS]) * HOUR +
	       MIN(decode(r, r->ram[RTC_MINUTES]), 59u) * MINUTE + MIN(decode(r, r->ram[RTC_SECONDS]), 59u);
}

static bool alarm_matches(uint8_t alarm, uint8_t now)
{
	return (alarm & ALARM_ANY) == ALARM_ANY || alarm == now;
}

/* Whether any value of the register that holds 0 to `n` - 1 as `encoded` matches: a guest may ask for one that never is. */
static bool alarm_possible(const struct vrtc *r, uint8_t alarm, uint8_t (*encoded)(const struct vrtc *r, unsigned value), unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (alarm_matches(alarm, encoded(r, i)))
			return true;
	return false;
}

int64_t vrtc_alarm_next(const struct vrtc *r, int64_t seconds)
{
	unsigned of_day = (unsigned)((seconds - RTC_TIME_MIN) % DAY), passed = 0;

	if (!alarm_possible(r, r->ram[RTC_SECONDS_ALARM], encode, 60) ||
	    !alarm_possible(r, r->ram[RTC_MINUTES_ALARM], encode, 60) ||
	    !alarm_possible(r, r->ram[RTC_HOURS_ALARM], encode_hour, 24))
		return RTC_NO_ALARM;
	/* Skips by hours, then by minutes, then by seconds: few steps, as each of them finds one. */
	for (;;) {
		unsigned t = (of_day + passed) % DAY;

		if (!alarm_matches(r->ram[RTC_HOURS_ALARM], encode_hour(r, t / HOUR)))
			passed += HOUR - t % HOUR;
		else if (!alarm_matches(r->ram[RTC_MINUTES_ALARM], encode(r, t / MINUTE % 60)))
			passed += MINUTE - t % MINUTE;
		else if (!alarm_matches(r->ram[RTC_SECONDS_ALARM], encode(r, t % MINUTE)))
			passed++;
		else
			return seconds + passed;
	}
}
