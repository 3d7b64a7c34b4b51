/* The host's clock: MC146818 and its successors at ports 70h and 71h. */
#pragma once
#include <tf/types.h>

/* Seconds since 1970, taking the clock as UTC; 0 if it does not answer sensibly. */
int64_t rtc_read_unix(void);
