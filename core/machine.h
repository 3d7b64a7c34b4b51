/* Which machine this is: one line for whoever reads the log, and for a report about it. */
#pragma once
#include <tf/bootinfo.h>

/* Logs event=cpu, for a refusal that comes before all else. */
void machine_report_cpu(void);
/* Logs event=machine. After paging_init(). */
void machine_report(const struct boot_info *bi);
