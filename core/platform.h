/* The board around the CPU, as the firmware's ACPI tables have it, and its interrupts. */
#pragma once
#include "arch/x86_64/irq.h"
#include "drivers/acpi.h"

/* Finds and reads the tables; without any it is a standard PC. Refuses what Trefoil cannot run on. After paging_init(). */
void platform_read(const struct boot_info *bi);
/* What is known: nothing before platform_read(). */
const struct acpi_info *platform_acpi(void);
/* Silences whatever the firmware left to interrupt. Needs tsc_init(). */
void platform_init_interrupts(void);
/* Leads an ISA interrupt to `fn`, on this CPU. False: it will not come, and its device is to be polled. */
bool platform_route_isa(uint8_t irq, irq_fn fn);
