/* Machine checks (SDM 3B, "Machine-Check Architecture"). One that reaches us as #MC stops the machine with a report. */
#pragma once
#include <tf/types.h>

/* Turns all error reporting on for this CPU, and logs what is left in its banks from before. CR4.MCE is set already. */
void mce_init(void);
/* The banks that hold an error, as lines that begin with "panic: ". */
void mce_dump(void (*print)(const char *fmt, ...));
