/* Where log lines go. tf_log() itself is in <tf/log.h>. */
#pragma once
#include <tf/log.h>

#define LOG_LINE_MAX 400 /* a longer line ends in "..." */

/*
 * From now on each line, without a line end, goes to `sink` in one call, with the log's lock held: `sink` must not
 * log. NULL: back to log_raw().
 */
void log_set_sink(void (*sink)(const char *line, size_t len));
/* Lines of a level above this are not written; LOG_INFO at first. */
void log_set_level(enum log_level level);
/* Whether lines go to the screen, too; on at first. Returns what it was. */
bool log_set_screen(bool on);
/*
 * Writes bytes to the serial line and to the screen at once, past log and sink; "\n" becomes CR LF. For the panic report.
 */
void log_raw(const char *s, size_t n);
/* Writes what was logged so far to the serial line: it has just been found. Until there is a sink. */
void log_repeat(void);
/* Hands each of these lines to `fn`, without its end; the first may be what is left of one. */
void log_each(void (*fn)(const char *line, size_t len));
