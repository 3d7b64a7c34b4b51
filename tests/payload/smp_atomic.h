/* What the parts of the payload `smp_atomic` share. */
#pragma once
#include "smp.h"

/* smp_registers.c: each CPU keeps its own registers. */
void registers(unsigned rounds);
