#include "core/report.h"
#include "core/sched.h"
#include "core/statistics.h"
#include "core/terminal.h"
#include "core/tracing.h"
#include <tf/math.h>
#include <tf/string.h>

static const struct { report_fn fn; const char *end; } reports[NREPORTS] = {
	[REPORT_STATISTICS] = { statistics_piece, NULL },
	[REPORT_CSV] = { statistics_csv_piece, "csv" },
	[REPORT_TRACE] = { tracing_piece, "trace" },
};

static uint32_t requested; /* bits by enum report; atomic */
static enum report now = NREPORTS;
static uint32_t at, pieces; /* of that one; said so far */

void report_request(enum report what)
{
	__atomic_fetch_or(&requested, (uint32_t)BIT(what), __ATOMIC_SEQ_CST);
	sched_poke();
}

static bool begin(void)
{
	uint32_t waiting = __atomic_load_n(&requested, __ATOMIC_SEQ_CST);

	if (!waiting)
		return false;
	now = (enum report)bit_lowest(waiting);
	__atomic_fetch_and(&requested, ~(uint32_t)BIT(now), __ATOMIC_SEQ_CST);
	at = pieces = 0;
	return true;
}

void report_work(void)
{
	char text[REPORT_PIECE_MAX];

	while (now != NREPORTS || begin()) {
		int n = reports[now].fn(at, text, sizeof(text));
		bool over = n < 0;

		if (over)
			n = reports[now].end ? tf_snprintf(text, sizeof(text), "--- %s: %u lines ---\n", reports[now].end, pieces) : 0;
		if (n && !terminal_report(text, (size_t)n))
			return;
		at++;
		pieces += n > 0;
		if (over)
			now = NREPORTS;
	}
}
