/* Reports of any length on the serial line, one after the other: in pieces as the line takes them, without loss. */
#pragma once
#include <tf/types.h>

enum report { REPORT_STATISTICS, REPORT_CSV, REPORT_TRACE, NREPORTS };

/*
 * Piece number `at`, whole lines of REPORT_PIECE_MAX bytes at most: its length, 0 if there is nothing to be said about this
 * number, -1 if the report is over. It is asked for again where there was no room.
 */
typedef int (*report_fn)(uint32_t at, char *out, size_t size);
#define REPORT_PIECE_MAX 1536

/* From anywhere. One that waits already is given once. */
void report_request(enum report what);
/* Goes on, as far as there is room; part of the `work` of sched_run(). */
void report_work(void);
