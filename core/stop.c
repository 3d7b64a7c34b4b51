#include "core/stop.h"
#include "core/platform.h"
#include "core/serial.h"
#include "core/terminal.h"
#include "drivers/power.h"
#include <tf/log.h>

static __noreturn void halt(void)
{
	log_info("core", "event=halted");
	terminal_drain(); /* its interrupt does not come any more */
	for (;;)
		__asm__ volatile("cli; hlt" : : : "memory");
}

void core_refuse(const char *missing, const char *advice)
{
	serial_find(NULL);
	log_error("core", "event=refused missing=%s", missing);
	log_error("core", "event=advice text=%s", advice);
	halt();
}

void core_power_off(void)
{
	log_info("core", "event=power-off");
	terminal_drain();
	log_error("core", "event=power-off-failed reason=%s", power_off(platform_acpi()));
	halt();
}
