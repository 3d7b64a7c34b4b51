#include "core/stats_table.h"
#include <tf/string.h>

#define LABEL_MAX 30
#define TIME_MAX  12
#define NO_KIND   UINT32_MAX
#define NS_PER_S  1000000000

/* Four digits at most, and the unit for that. */
static const char *duration(char text[TIME_MAX], uint64_t ticks, uint64_t tsc_hz)
{
	static const char *const units[] = { "ns", "us", "ms" };
	uint64_t t = mul_div(ticks, NS_PER_S, tsc_hz);
	unsigned u = 0;

	for (; t >= 10000 && u < ARRAY_SIZE(units); u++)
		t /= 1000;
	tf_snprintf(text, TIME_MAX, "%lu%s", t, u < ARRAY_SIZE(units) ? units[u] : "s");
	return text;
}

static int line(char *out, size_t size, const char *label, const struct exit_stat *s, uint64_t of, uint64_t hz)
{
	char avg[TIME_MAX], p50[TIME_MAX], p99[TIME_MAX], max[TIME_MAX];
	uint64_t n = stats_exits(s), permille = of ? MIN(mul_div(s->ticks, 1000, of), 1000ul) : 0;

	return tf_snprintf(out, size, "%-29s %10lu %3lu.%lu%% %7s %7s %7s %7s\n", label, n, permille / 10, permille % 10,
			   duration(avg, n ? s->ticks / n : 0, hz), duration(p50, stats_percentile(s, 50), hz),
			   duration(p99, stats_percentile(s, 99), hz), duration(max, s->max, hz));
}

/* The one with the most of them left. */
static uint32_t most(const uint64_t *ticks, uint32_t kinds)
{
	uint32_t best = NO_KIND;

	for (uint32_t k = 0; k < kinds; k++)
		if (ticks[k] && (best == NO_KIND || ticks[k] > ticks[best]))
			best = k;
	return best;
}

size_t stats_table(char *out, size_t size, const char *title, const struct stats_source *s, unsigned rows)
{
	uint64_t ticks[STATS_KINDS_MAX];
	struct exit_stat all = { 0 }, others = { 0 }, one;
	char label[LABEL_MAX];
	size_t len;

	for (uint32_t k = 0; k < s->kinds; k++) {
		s->get(s->ctx, k, &one);
		ticks[k] = one.ticks;
		stats_add(&all, &one);
	}
	(void)tf_strcpy(label, title, sizeof(label));
	len = (size_t)line(out, size, label, &all, s->ran, s->tsc_hz);
	for (uint32_t k; (k = most(ticks, s->kinds)) != NO_KIND; ticks[k] = 0) {
		s->get(s->ctx, k, &one);
		if (!rows) {
			stats_add(&others, &one);
			continue;
		}
		rows--;
		tf_snprintf(label, sizeof(label), "  %s", s->name(k));
		if (len < size)
			len += (size_t)line(out + len, size - len, label, &one, all.ticks, s->tsc_hz);
	}
	if (stats_exits(&others) && len < size)
		len += (size_t)line(out + len, size - len, "  others", &others, all.ticks, s->tsc_hz);
	return MIN(len, size - 1);
}
