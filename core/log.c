#include "core/log.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/lock.h"
#include "arch/x86_64/tsc.h"
#include "drivers/uart.h"
#include <tf/string.h>

#define EARLY_PORT 0x3f8
#define US_PER_S   1000000

static const char *const level_names[] = { "error", "warn", "info", "debug" };

static struct spinlock lock = SPINLOCK_INIT; /* the order of lines */
static void (*log_sink)(const char *line, size_t len);
static enum log_level max_level = LOG_INFO;
static struct uart early;

void log_set_sink(void (*sink)(const char *line, size_t len))
{
	spin_lock(&lock);
	log_sink = sink;
	spin_unlock(&lock);
}

void log_set_level(enum log_level level) { max_level = level; }

void log_raw(const char *s, size_t n)
{
	if (!early.port)
		uart_init(&early, EARLY_PORT);
	for (size_t i = 0; i < n; i++) {
		if (s[i] == '\n')
			uart_put_polled(&early, '\r');
		uart_put_polled(&early, (uint8_t)s[i]);
	}
}

void tf_log(enum log_level level, const char *module, const char *fmt, ...)
{
	uint64_t us = tsc_to_us(rdtsc() - tsc_boot);
	char line[LOG_LINE_MAX + 1];
	size_t len, cut = LOG_LINE_MAX - 1;
	va_list ap;

	if (level > max_level)
		return;
	len = (size_t)tf_snprintf(line, LOG_LINE_MAX, "[%5lu.%06lu] cpu%u %s %s: ", (unsigned long)(us / US_PER_S),
	                          (unsigned long)(us % US_PER_S), this_cpu()->id, level_names[level], module);
	len = MIN(len, cut);
	va_start(ap, fmt);
	len += (size_t)tf_vsnprintf(line + len, LOG_LINE_MAX - len, fmt, ap);
	va_end(ap);
	if (len > cut) {
		len = cut;
		memset(line + cut - 3, '.', 3);
	}
	/* Names and command lines come from files: a line stays one line. */
	for (size_t i = 0; i < len; i++)
		if ((uint8_t)line[i] < ' ' || line[i] == 0x7f)
			line[i] = '?';

	spin_lock(&lock);
	if (log_sink) {
		log_sink(line, len);
	} else {
		line[len++] = '\n';
		log_raw(line, len);
	}
	spin_unlock(&lock);
}

bool log_allow(uint64_t *count, unsigned burst)
{
	uint64_t n = __atomic_add_fetch(count, 1, __ATOMIC_RELAXED);

	return n <= burst || (n & (n - 1)) == 0;
}
