/* The RTC under arbitrary register contents and time: every time it is given is one it can go on from. */
#include "fuzz_dev.h"
#include "guest/dev/vrtc.h"

#define TIME_LIMIT 253402300800ll /* the year 10000 */

static void tick(void *dev)
{
	vrtc_tick(dev);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const dev_access_fn range[2] = { vrtc_access, vrtc_access };
	struct fuzz_input in = { data, size };
	struct fake_host host;
	struct vrtc rtc;

	fake_host_init(&host, FUZZ_HZ);
	host.now = 99;
	vrtc_init(&rtc, &host.host, (int64_t)fuzz_take(&in, 8), fuzz_take(&in, 8), fuzz_take(&in, 8));
	while (in.size) {
		if (fuzz_step(&in, &host, &rtc, range, tick) == FUZZ_EVENT) {
			vrtc_tick(&rtc);
			ASSERT(host.deadline > host.now);
		}
		ASSERT(rtc.base_seconds < TIME_LIMIT && rtc.base_seconds >= -62167219200ll);
		ASSERT(rtc.index < sizeof(rtc.ram) && rtc.weekday_shift < 7);
		ASSERT(host.level[8] == rtc.irq_level);
	}
	return 0;
}
