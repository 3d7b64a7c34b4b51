/* The end of the machine: the hypervisor's own fault. Implemented in core/panic.c. */
#pragma once
#include <tf/types.h>

__noreturn void panic(const char *fmt, ...) __printf(1, 2);
