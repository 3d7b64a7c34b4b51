/* The ACPI registers under arbitrary accesses and time: only what a request names is requested, the SCI follows its registers. */
#include "fuzz_dev.h"
#include "guest/dev/vacpi.h"

static void request(void *ctx, enum vacpi_request what)
{
	unsigned *requests = ctx;

	ASSERT(what == VACPI_POWER_OFF || what == VACPI_RESET);
	++*requests;
}

static void tick(void *dev)
{
	vacpi_tick(dev);
}

static void other_ports(void *dev, struct dev_access *a)
{
	static const dev_access_fn fn[] = { vacpi_access_cf9, vacpi_access_92, vacpi_access_64 };
	uint64_t port = a->offset & 3;

	a->offset >>= 2;
	if (port < ARRAY_SIZE(fn))
		fn[port](dev, a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const dev_access_fn range[2] = { vacpi_access_pm, other_ports };
	struct fuzz_input in = { data, size };
	unsigned requests = 0;
	struct fake_host host;
	struct vacpi acpi;

	fake_host_init(&host, FUZZ_HZ);
	vacpi_init(&acpi, &host.host, request, &requests);
	while (in.size) {
		if (fuzz_step(&in, &host, &acpi, range, tick) == FUZZ_EVENT) {
			vacpi_power_button(&acpi);
			ASSERT(host.deadline > host.now);
		}
		ASSERT((acpi.pm1_sts & ~0x101) == 0 && (acpi.pm1_en & ~0x721) == 0);
		ASSERT(host.level[VACPI_SCI_IRQ] == acpi.sci_level);
	}
	return 0;
}
