/* The PIT under arbitrary programming, time and lateness: arithmetic stays defined, and a tick always moves the deadline on. */
#include "fuzz_dev.h"
#include "guest/dev/vpit.h"

static void tick(void *dev)
{
	vpit_tick(dev);
}

static bool taken;

static bool irq_taken(void *ctx, unsigned line)
{
	(void)ctx;
	ASSERT(line == 0);
	return taken;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const dev_access_fn range[2] = { vpit_access, vpit_access_61 };
	struct fuzz_input in = { data, size };
	struct fake_host host;
	struct vpit pit;

	fake_host_init(&host, FUZZ_HZ);
	host.now = 12345;
	host.level[0] = true;
	if (size & 1)
		host.host.irq_taken = irq_taken;
	taken = true;
	vpit_init(&pit, &host.host);
	while (in.size) {
		if (fuzz_step(&in, &host, &pit, range, tick) == FUZZ_EVENT) {
			taken = !taken;
			vpit_tick(&pit); /* not asked for */
			ASSERT(host.deadline > host.now);
		}
		for (unsigned i = 0; i < ARRAY_SIZE(pit.ch); i++)
			ASSERT(pit.ch[i].count >= 1 && pit.ch[i].count <= 65536);
		ASSERT(host.level[0] == pit.line);
		ASSERT(pit.backlog <= 1000 && (!pit.backlog || host.deadline != DEV_NEVER));
	}
	return 0;
}
