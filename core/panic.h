/* The panic report; panic() itself is in <tf/panic.h>, panic_trap() in arch/x86_64/trap.h. */
#pragma once
#include <tf/panic.h>

/* Set by what knows the current VMCS; called once per report, NULL is allowed. It prints with panic_print(). */
extern void (*panic_dump_vmcs)(void);
/* A piece of the report, straight to the serial port. */
void panic_print(const char *fmt, ...) __printf(1, 2);
