/* Entering S5, soft off (ACPI 6.5, "Waking and Sleeping"). Pure: the registers come in as functions. */
#pragma once
#include "drivers/acpi.h"

struct acpi_regs {
	void *ctx;
	uint32_t (*read)(void *ctx, struct acpi_gas at, unsigned bytes);
	void (*write)(void *ctx, struct acpi_gas at, unsigned bytes, uint32_t v);
	void (*wait_us)(void *ctx, unsigned us);
	void (*flush_caches)(void *ctx);
};

/*
 * Switches to ACPI mode where the firmware has not, and then off. Returns only where that does not work, after some
 * seconds at most, and then says why (static text).
 */
const char *acpi_enter_s5(const struct acpi_info *a, const struct acpi_regs *r);
