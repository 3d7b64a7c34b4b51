/* The ways to stop the machine on purpose. */
#pragma once
#include <tf/types.h>

/* Trefoil cannot run here: says what is missing and what to do, on serial line and screen, and sleeps for good. */
__noreturn void core_refuse(const char *missing, const char *advice);
/* Switches the machine off, or says that it cannot and sleeps for good. */
__noreturn void core_power_off(void);
