/* An MC146818 real-time clock with 128 bytes of CMOS: ports 70h and 71h (MC146818A data sheet). */
#pragma once
#include <tf/dev.h>

#define VRTC_CENTURY 0x32 /* the byte that the FADT names */

struct vrtc {
	const struct dev_host *host;
	uint8_t index, ram[128];
	int64_t base_seconds;   /* Unix time at host tick base_tick, while the clock runs */
	uint64_t base_tick;     /* a moment when the divider chain wrapped: seconds and periodic edges count from here */
	uint64_t synced;        /* the flags in register C are right up to this tick */
	unsigned weekday_shift; /* the guest's day of the week is a counter of its own: days ahead of the date's */
	bool irq_level;
};

/* `unix_seconds` is the time now (UTC). Drives line 8. The CMOS bytes say memory size below 16 MiB, 16 MiB to 4 GiB. */
void vrtc_init(struct vrtc *r, const struct dev_host *host, int64_t unix_seconds, uint64_t ram_below_4g, uint64_t ram_above_4g);
void vrtc_access(void *r, struct dev_access *a);
/* Periodic, alarm and update-ended interrupts that are due. */
void vrtc_tick(struct vrtc *r);
