/* The trace rings of all CPUs (lib/trace_ring.h): there from the boot on, or not at all; on and off; and what is in them. */
#pragma once
#include <tf/types.h>

/* A ring of so many KiB for each CPU; 0: none. */
void tracing_init(uint32_t kib);
bool tracing_possible(void);
/* On if it is off, and the other way round, soon; from anywhere. */
void tracing_toggle(void);
/* That; part of the `work` of sched_run(). */
void tracing_work(void);
/* See report_fn in core/report.h. The trace stands still from the first piece to the last. */
int tracing_piece(uint32_t at, char *out, size_t size);
