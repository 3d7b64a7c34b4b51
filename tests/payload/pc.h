/* The parts of the payload "pc". */
#pragma once
#include "payload.h"

void pc_pic(void);
void pc_pit(void);
void pc_rtc(void);
void pc_uart(void);
void pc_msr_acpi(void);

static inline void pause_io(unsigned n)
{
	while (n--)
		inb(0x80);
}
