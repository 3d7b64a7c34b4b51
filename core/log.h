/* Where log lines go. tf_log() itself is in <tf/log.h>. */
#pragma once
#include <tf/log.h>

#define LOG_LINE_MAX 400 /* a longer line ends in "..." */

/*
 * From now on each line, without a line end, goes to `sink` in one call, with the log's lock held: `sink` must not
 * log. NULL: back to the polled serial port of the early start.
 */
void log_set_sink(void (*sink)(const char *line, size_t len));
/* Lines of a level above this are not written; LOG_INFO at first. */
void log_set_level(enum log_level level);
/* Writes bytes to the serial port at once, past log and sink; "\n" becomes CR LF. For the panic report. */
void log_raw(const char *s, size_t n);
