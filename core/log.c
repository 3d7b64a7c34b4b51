#include "core/log.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/lock.h"
#include "arch/x86_64/tsc.h"
#include "core/screen.h"
#include "core/serial.h"
#include "lib/ring.h"
#include <tf/string.h>

#define US_PER_S   1000000
#define EARLY_SIZE KiB(4)

static const char *const level_names[] = { "error", "warn", "info", "debug" };

static struct spinlock lock = SPINLOCK_INIT(RANK_LOG); /* the order of lines */
static void (*log_sink)(const char *line, size_t len);
static enum log_level max_level = LOG_INFO;
static bool to_screen = true;
static uint8_t early_storage[EARLY_SIZE];
static struct ring early = { early_storage, EARLY_SIZE, 0, 0 }; /* the lines so far, until there is a sink */

void log_set_sink(void (*sink)(const char *line, size_t len))
{
	spin_lock(&lock);
	log_sink = sink;
	spin_unlock(&lock);
}

void log_set_level(enum log_level level) { max_level = level; }

bool log_set_screen(bool on)
{
	bool was = to_screen;

	to_screen = on;
	return was;
}

static void send(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (s[i] == '\n')
			uart_put_polled(serial_uart(), '\r');
		uart_put_polled(serial_uart(), (uint8_t)s[i]);
	}
}

static void show(const char *s, size_t n)
{
	static const uint8_t line_end[] = { '\r', '\n' };

	while (n) {
		const char *end = memchr(s, '\n', n);
		size_t len = end ? (size_t)(end - s) : n;

		screen_write((const uint8_t *)s, len);
		if (end)
			screen_write(line_end, sizeof(line_end));
		s += len + !!end;
		n -= len + !!end;
	}
}

void log_raw(const char *s, size_t n)
{
	send(s, n); /* first: it is the one that surely works */
	if (to_screen)
		show(s, n);
}

void log_repeat(void)
{
	char piece[64];
	uint32_t at = 0;

	spin_lock(&lock);
	for (size_t n; (n = ring_peek(&early, at, piece, sizeof(piece))) > 0; at += (uint32_t)n)
		send(piece, n);
	spin_unlock(&lock);
}

void log_each(void (*fn)(const char *line, size_t len))
{
	char line[LOG_LINE_MAX + 1];
	size_t len = 0;

	spin_lock(&lock);
	for (uint32_t at = 0; ring_peek(&early, at, line + len, 1); at++) {
		if (line[len] != '\n' && len < LOG_LINE_MAX) {
			len++;
			continue;
		}
		fn(line, len);
		len = 0;
	}
	spin_unlock(&lock);
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
		(void)ring_put_over(&early, line, len);
		log_raw(line, len);
	}
	spin_unlock(&lock);
}

bool log_allow(uint64_t *count, unsigned burst)
{
	uint64_t n = __atomic_add_fetch(count, 1, __ATOMIC_RELAXED);

	return n <= burst || (n & (n - 1)) == 0;
}
