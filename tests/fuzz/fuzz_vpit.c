/* The PIT under arbitrary programming, time and lateness: arithmetic stays defined, and a tick always moves the deadline on. */
#include "fuzz_dev.h"
#include "guest/dev/vpit.h"

static void tick(void *dev)
{
	vpit_tick(dev);
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
	vpit_init(&pit, &host.host);
	while (in.size) {
		if (fuzz_step(&in, &host, &pit, range, tick) == FUZZ_EVENT) {
			vpit_tick(&pit); /* not asked for */
			ASSERT(host.deadline > host.now);
		}
		for (unsigned i = 0; i < ARRAY_SIZE(pit.ch); i++)
			ASSERT(pit.ch[i].count >= 1 && pit.ch[i].count <= 65536);
		ASSERT(host.level[0] == pit.line);
	}
	return 0;
}
