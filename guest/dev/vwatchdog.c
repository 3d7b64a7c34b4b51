#include "guest/dev/vwatchdog.h"
#include <tf/math.h>
#include <tf/string.h>

static uint64_t time_now(const struct vwatchdog *w) { return w->host->now(w->host->ctx); }

static uint64_t ticks_of(const struct vwatchdog *w, uint64_t ms) { return mul_div(ms, w->host->hz, 1000); }

static uint32_t to_count(uint64_t periods) { return (uint32_t)MIN(MAX(periods, VWATCHDOG_MIN_COUNT), VWATCHDOG_MAX_COUNT); }

static void reload(struct vwatchdog *w)
{
	w->deadline = time_now(w) + ticks_of(w, (uint64_t)w->timeout * VWATCHDOG_PERIOD_MS);
	w->host->arm(w->host->ctx, w->deadline);
}

static void look_later(struct vwatchdog *w)
{
	w->host->arm(w->host->ctx, time_now(w) + MAX(w->limit / VWATCHDOG_LOOKS, 1ul));
}

static void watch_from_now(struct vwatchdog *w)
{
	uint64_t before;

	(void)w->ops->alive(w->ctx, &before);
	w->silent = 0;
	look_later(w);
}

static void expire(struct vwatchdog *w, enum vwatchdog_reason why)
{
	w->running = false;
	w->host->arm(w->host->ctx, DEV_NEVER);
	w->ops->expired(w->ctx, why);
}

static void look(struct vwatchdog *w)
{
	uint64_t silent = 0;

	if (w->ops->alive(w->ctx, &silent))
		w->silent = 0;
	else
		w->silent += MIN(silent, w->limit);
	if (w->silent >= w->limit)
		expire(w, VWATCHDOG_NO_PROGRESS);
	else
		look_later(w);
}

void vwatchdog_tick(struct vwatchdog *w)
{
	if (!w->running)
		look(w);
	else if (time_now(w) < w->deadline)
		w->host->arm(w->host->ctx, w->deadline);
	else
		expire(w, VWATCHDOG_DEVICE);
}

/* Rounded up: as long as it runs, something is left. */
static uint32_t count(const struct vwatchdog *w)
{
	uint64_t now = time_now(w), period = MAX(ticks_of(w, VWATCHDOG_PERIOD_MS), 1ul);

	if (!w->running)
		return w->timeout;
	return now < w->deadline ? to_count((w->deadline - now + period - 1) / period) : 0;
}

static void control(struct vwatchdog *w, bool run)
{
	if (run == w->running)
		return;
	w->running = run;
	if (run)
		reload(w);
	else
		watch_from_now(w);
}

static void write_register(struct vwatchdog *w, uint64_t at, uint32_t value)
{
	switch (at) {
	case VWATCHDOG_TIMEOUT:
		w->timeout = to_count(value);
		break;
	case VWATCHDOG_COUNT:
		if (w->running)
			reload(w);
		break;
	case VWATCHDOG_CONTROL:
		control(w, value & VWATCHDOG_RUN);
		break;
	case VWATCHDOG_STATUS:
		w->fired = w->fired && !(value & VWATCHDOG_FIRED);
		break;
	}
}

void vwatchdog_access(void *dev, struct dev_access *a)
{
	struct vwatchdog *w = dev;
	uint8_t regs[VWATCHDOG_LEN];
	const uint32_t now[] = { w->timeout, count(w), (uint32_t)(VWATCHDOG_REBOOT | (w->running ? VWATCHDOG_RUN : 0)),
				 w->fired ? (uint32_t)VWATCHDOG_FIRED : 0 };

	_Static_assert(sizeof(now) == sizeof(regs), "all registers");
	if (a->write) {
		if (a->size == sizeof(uint32_t))
			write_register(w, a->offset, (uint32_t)a->value);
		return;
	}
	memcpy(regs, now, sizeof(regs));
	a->value = 0;
	for (unsigned i = 0; i < a->size; i++) {
		uint64_t port = a->offset + i;

		a->value |= (uint64_t)(port < VWATCHDOG_LEN ? regs[port] : 0xff) << (8 * i);
	}
}

void vwatchdog_init(struct vwatchdog *w, const struct dev_host *host, const struct vwatchdog_ops *ops, void *ctx, uint32_t ms,
		    bool fired)
{
	*w = (struct vwatchdog){ .host = host, .ops = ops, .ctx = ctx, .fired = fired };
	w->limit = MAX(ticks_of(w, ms), 1ul);
	w->timeout = to_count(ms / VWATCHDOG_PERIOD_MS);
	watch_from_now(w);
}
