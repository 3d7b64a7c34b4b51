/* The parts of the payload "board". */
#pragma once
#include "payload.h"

void board_apic(void);

#define PIT_STATUS_OUT  0x80
#define PIT_STATUS_NULL 0x40
