/* "NMI Status and Control Register" of the PC's chipsets, port 61h */
#include "arch/x86_64/nmi.h"
#include "arch/x86_64/cpu.h"
#include <tf/log.h>

#define NMI_SC            0x61
#define NMI_SC_ABSENT     0xff
#define NMI_SC_SERR       0x80
#define NMI_SC_IOCHK      0x40
#define NMI_SC_IOCHK_OFF  0x08 /* clears and disables it */
#define NMI_SC_SERR_OFF   0x04
#define NMI_SC_WRITABLE   0x0f
#define LOG_BURST         4

enum nmi_source { NMI_SERR, NMI_IOCHK, NMI_UNKNOWN, NMI_SOURCES };

static uint64_t arrived[NMI_SOURCES]; /* atomic; the boot CPU's lines carry the platform's NMIs */

void nmi_arrived(void)
{
	uint8_t status = inb(NMI_SC), off = 0;

	if (status == NMI_SC_ABSENT)
		status = 0;
	if (status & NMI_SC_SERR) {
		__atomic_fetch_add(&arrived[NMI_SERR], 1, __ATOMIC_RELAXED);
		off |= NMI_SC_SERR_OFF;
	}
	if (status & NMI_SC_IOCHK) {
		__atomic_fetch_add(&arrived[NMI_IOCHK], 1, __ATOMIC_RELAXED);
		off |= NMI_SC_IOCHK_OFF;
	}
	if (off)
		outb(NMI_SC, (uint8_t)((status & NMI_SC_WRITABLE) | off));
	else
		__atomic_fetch_add(&arrived[NMI_UNKNOWN], 1, __ATOMIC_RELAXED);
}

void nmi_report(void)
{
	static const char *const names[NMI_SOURCES] = { "system-error", "io-check", "unknown" };
	static uint64_t reported[NMI_SOURCES], lines;

	for (unsigned i = 0; i < NMI_SOURCES; i++) {
		uint64_t n = __atomic_load_n(&arrived[i], __ATOMIC_RELAXED);

		if (n == reported[i])
			continue;
		reported[i] = n;
		if (log_allow(&lines, LOG_BURST))
			log_warn("nmi", "event=nmi source=%s count=%lu", names[i], (unsigned long)n);
	}
}
