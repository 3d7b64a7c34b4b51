/* The watchdog under arbitrary accesses and time: it ends no guest that is alive and whose device is stopped, and none twice. */
#include "fuzz_dev.h"
#include "guest/dev/vwatchdog.h"

#define LIMIT_MS 3000

static struct { bool alive, expired; struct vwatchdog dev; } guest;

static bool alive(void *ctx, uint64_t *silent)
{
	*silent = ((struct fake_host *)ctx)->now;
	return guest.alive;
}

static void expired(void *ctx, enum vwatchdog_reason why)
{
	(void)ctx;
	ASSERT(why == VWATCHDOG_DEVICE || (why == VWATCHDOG_NO_PROGRESS && !guest.alive));
	ASSERT(!guest.expired);
	guest.expired = true;
}

static void tick(void *dev) { vwatchdog_tick(dev); }

static void other_port(void *dev, struct dev_access *a) { (void)dev, (void)a; }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct vwatchdog_ops ops = { .alive = alive, .expired = expired };
	static const dev_access_fn range[2] = { vwatchdog_access, other_port };
	struct fuzz_input in = { data, size };
	struct fake_host host;

	guest.alive = true;
	guest.expired = false;
	fake_host_init(&host, FUZZ_HZ);
	vwatchdog_init(&guest.dev, &host.host, &ops, &host, LIMIT_MS, size & 1);
	while (in.size && !guest.expired) {
		bool running = guest.dev.running;

		switch (fuzz_step(&in, &host, &guest.dev, range, tick)) {
		case FUZZ_EVENT:
			guest.alive = fuzz_take(&in, 1) & 1;
			break;
		case FUZZ_TIME:
			ASSERT(!guest.expired || running || !guest.alive);
			break;
		default:
			ASSERT(!guest.expired);
		}
		ASSERT(guest.dev.timeout >= VWATCHDOG_MIN_COUNT && guest.dev.timeout <= VWATCHDOG_MAX_COUNT);
		ASSERT(guest.expired == (host.deadline == DEV_NEVER));
	}
	return 0;
}
