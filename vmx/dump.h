/* The current VMCS in the panic report. */
#pragma once
#include <tf/types.h>

/* Prints where the guest was, why it exited and what the controls were, a line at a time; nothing if no VMCS is current. */
void vmx_dump(void (*print)(const char *fmt, ...));
