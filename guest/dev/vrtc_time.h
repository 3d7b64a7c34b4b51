/* Unix time to and from the ten clock registers of an MC146818, in the format that register B asks for. */
#pragma once
#include "guest/dev/vrtc.h"

#define RTC_SECONDS       0x00
#define RTC_SECONDS_ALARM 0x01
#define RTC_MINUTES       0x02
#define RTC_MINUTES_ALARM 0x03
#define RTC_HOURS         0x04
#define RTC_HOURS_ALARM   0x05
#define RTC_WEEKDAY       0x06
#define RTC_DAY           0x07
#define RTC_MONTH         0x08
#define RTC_YEAR          0x09
#define RTC_A             0x0a
#define RTC_B             0x0b
#define RTC_C             0x0c
#define RTC_D             0x0d

#define RTC_B_24H    0x02
#define RTC_B_BINARY 0x04

#define RTC_TIME_MIN (-62167219200ll) /* 0000-01-01 00:00:00 */
#define RTC_TIME_MAX 253402300799ll   /* 9999-12-31 23:59:59: what century and year can say */
#define RTC_NO_ALARM INT64_MAX

/* Fills the clock registers (not the alarm's) in r->ram. */
void vrtc_time_render(struct vrtc *r, int64_t seconds);
/* What the clock registers in r->ram say; each nonsensical one counts as the nearest sensible. Sets the weekday shift. */
int64_t vrtc_time_parse(struct vrtc *r);
/* The first second at or after `seconds` that the alarm registers match, or RTC_NO_ALARM. */
int64_t vrtc_alarm_next(const struct vrtc *r, int64_t seconds);
