/* What exits cost (guest/stats.h), for people and for scripts: docs/consoles.md. */
#pragma once
#include <tf/types.h>

/* Sets all of it to zero, soon; from anywhere. */
void statistics_reset(void);
/* That, and the view on the terminal; part of the `work` of sched_run(). Returns when it wants to go on, as `work` does. */
uint64_t statistics_work(void);
/* See report_fn in core/report.h: tables; and lines `csv: vm,vcpu,kind,count,ticks,max,` and the count of each bucket. */
int statistics_piece(uint32_t at, char *out, size_t size);
int statistics_csv_piece(uint32_t at, char *out, size_t size);
