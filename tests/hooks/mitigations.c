/* `mitigation_flags = NUMBER` in [trefoil]: what is done, instead of what the CPU needs. Counts what no guest can see. */
#include "vmx/mitigations.h"
#include <tf/log.h>

/* One line for every doubling. */
void test_hook_mitigated(uint32_t flag)
{
	static uint64_t ibpb, l1d;
	uint64_t *n = flag == MITIGATE_IBPB ? &ibpb : &l1d;

	++*n;
	if (!(*n & (*n - 1)))
		log_info("test", "event=mitigated ibpb=%lu l1d-flush=%lu", ibpb, l1d);
}
