/* What the parts of the payload `smp_ipi` share. */
#pragma once
#include "smp.h"

#define V1 0x41
#define V2 0x52
#define V3 0x63
#define V4 0x74

struct ipi { uint32_t dest, command; };
void ipi_send(void *ipi);     /* a job */
void ipi_window(void *unused); /* a job: lets in what is pending */
/* On each CPU what is pending comes in; prints how many of V1 each one has got, digit by digit, and forgets them. */
void ipi_show(const char *name, uint32_t value);

/* smp_ipi_start.c: INIT and SIPI. */
void ipi_start(void);
