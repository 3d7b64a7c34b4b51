/* The end of the machine's session, by ACPI 6.5 ("Hardware Specification") and by the PC's older ways. */
#pragma once
#include "drivers/acpi.h"

/* Enters S5. Returns only where the machine has no such way or does not obey, and says why; the caller then halts. */
const char *power_off(const struct acpi_info *a);
