/* The CPU's own observers: counters, branch and event records, Processor Trace. Trefoil uses none, and guests get none. */
#pragma once

/* Switches off what firmware or a debugging tool has left on: some of them write memory, for ever, by address. */
void trace_off(void);
