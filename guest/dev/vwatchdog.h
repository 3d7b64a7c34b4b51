/*
 * The watchdog of one VM. Its device, which the ACPI table WDAT describes to the guest (Microsoft, "Hardware Watchdog
 * Timers Design Specification"), is the guest's to start; as long as it is not running, the guest is watched from outside.
 */
#pragma once
#include <tf/dev.h>

/* Registers of 32 bits, accessed as a whole; other writes are ignored. */
#define VWATCHDOG_BASE    0x620
#define VWATCHDOG_LEN     16
#define VWATCHDOG_TIMEOUT 0  /* in periods; taken at the next reload or start */
#define VWATCHDOG_COUNT   4  /* periods left; a write of any value reloads */
#define VWATCHDOG_CONTROL 8
#define VWATCHDOG_STATUS  12 /* written ones clear */

#define VWATCHDOG_RUN    BIT(0) /* of CONTROL */
#define VWATCHDOG_REBOOT BIT(1) /* the end of the count restarts the guest: always 1 */
#define VWATCHDOG_FIRED  BIT(0) /* of STATUS: that is why the guest has started this time */

#define VWATCHDOG_PERIOD_MS 100
#define VWATCHDOG_MIN_COUNT 1ul
#define VWATCHDOG_MAX_COUNT 0xfffful

#define VWATCHDOG_LOOKS 8 /* at the guest, in the time after which it counts as hung */

enum vwatchdog_reason { VWATCHDOG_NO_PROGRESS, VWATCHDOG_DEVICE };

struct vwatchdog_ops {
	/* Has the guest been alive at some time since the last call? If not, *silent is how much of that time counts. */
	bool (*alive)(void *ctx, uint64_t *silent);
	void (*expired)(void *ctx, enum vwatchdog_reason why);
};

struct vwatchdog {
	const struct dev_host *host;
	const struct vwatchdog_ops *ops;
	void *ctx;
	uint64_t limit;    /* ticks of silence that end the guest */
	uint64_t silent;
	uint64_t deadline; /* while running */
	uint32_t timeout;  /* periods */
	bool running, fired;
};

/* Power-up state: the device is stopped and the guest is watched, for `ms` without life; `fired` as STATUS shows it. */
void vwatchdog_init(struct vwatchdog *w, const struct dev_host *host, const struct vwatchdog_ops *ops, void *ctx, uint32_t ms,
		    bool fired);
void vwatchdog_access(void *w, struct dev_access *a);
void vwatchdog_tick(struct vwatchdog *w);
