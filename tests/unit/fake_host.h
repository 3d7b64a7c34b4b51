/* A device's host whose time stands still until a test moves it. */
#pragma once
#include <stdlib.h>
#include <tf/dev.h>

#define FAKE_LINES 16

struct fake_host {
	struct dev_host host;
	uint64_t now, deadline;
	bool level[FAKE_LINES];
	unsigned rises[FAKE_LINES];
	unsigned ticks; /* calls of the device's tick function */
};

static inline uint64_t fake_now(void *ctx)
{
	return ((struct fake_host *)ctx)->now;
}

static inline void fake_arm(void *ctx, uint64_t deadline)
{
	((struct fake_host *)ctx)->deadline = deadline;
}

/* A device drives its line only when the level changes. */
static inline void fake_irq(void *ctx, unsigned line, bool level)
{
	struct fake_host *f = ctx;

	if (line >= FAKE_LINES || f->level[line] == level)
		abort();
	f->level[line] = level;
	f->rises[line] += level;
}

static inline void fake_host_init(struct fake_host *f, uint64_t hz)
{
	*f = (struct fake_host){ .deadline = DEV_NEVER };
	f->host = (struct dev_host){ .ctx = f, .hz = hz, .now = fake_now, .arm = fake_arm, .irq = fake_irq };
}

/*
 * Lets time pass up to `until`, and the device be ticked exactly when it asked. After a tick its deadline must lie in the
 * future.
 */
static inline void fake_run(struct fake_host *f, uint64_t until, void (*tick)(void *dev), void *dev)
{
	while (f->deadline <= until) {
		f->now = f->now > f->deadline ? f->now : f->deadline;
		tick(dev);
		f->ticks++;
		if (f->deadline <= f->now)
			abort();
	}
	f->now = until;
}

static inline uint64_t fake_in(dev_access_fn fn, void *dev, uint64_t port, uint8_t size)
{
	struct dev_access a = { .offset = port, .size = size };

	fn(dev, &a);
	return a.value & dev_ones(size);
}

static inline void fake_out(dev_access_fn fn, void *dev, uint64_t port, uint8_t size, uint64_t value)
{
	struct dev_access a = { .offset = port, .size = size, .write = true, .value = value };

	fn(dev, &a);
}
