/*
 * One log line: `[   12.345678] cpu0 info vmx: vm=web event=started key=value`. The text after the module is
 * key=value fields; docs/serial-log.md lists every event. The format string is never split over two calls.
 */
#pragma once
#include <tf/types.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void tf_log(enum log_level level, const char *module, const char *fmt, ...) __printf(3, 4);

#define log_error(module, ...) tf_log(LOG_ERROR, module, __VA_ARGS__)
#define log_warn(module, ...)  tf_log(LOG_WARN, module, __VA_ARGS__)
#define log_info(module, ...)  tf_log(LOG_INFO, module, __VA_ARGS__)
#define log_debug(module, ...) tf_log(LOG_DEBUG, module, __VA_ARGS__)

/*
 * For what a guest can cause: true for the first `burst` calls, and then once for every doubling of the count, so
 * that a flood costs a logarithmic number of lines. `count` belongs to the caller and starts at 0.
 */
bool log_allow(uint64_t *count, unsigned burst);
