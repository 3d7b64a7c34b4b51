/* Statistics of exits as a table of 80 columns. Pure. */
#pragma once
#include "guest/stats.h"

struct stats_source {
	const void *ctx;
	void (*get)(const void *ctx, uint32_t kind, struct exit_stat *out); /* may change between two calls */
	const char *(*name)(uint32_t kind);
	uint32_t kinds;   /* STATS_KINDS_MAX at most */
	uint64_t tsc_hz;
	uint64_t ran;     /* ticks in which all of it happened */
};
#define STATS_KINDS_MAX 128

#define STATS_HEAD "exits                              count   time     avg     p50     p99     max\n"
/*
 * One line for all of them, with the share of `ran`; then for the `rows` kinds that took the most time a line each with the
 * share of that, and one for all other kinds. Returns the length of the text, which is cut where it does not fit.
 */
size_t stats_table(char *out, size_t size, const char *title, const struct stats_source *s, unsigned rows);
