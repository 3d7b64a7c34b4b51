/* The PC's keyboard controller (Intel 8042, as IBM's PS/2 Technical Reference describes it), its keyboard port only. */
#pragma once
#include <tf/types.h>

/*
 * Looks for it and has it deliver scan codes of set 1, with interrupts (ISA 1). False: there is none. It may be an
 * emulation by the firmware (USB keyboards), which knows only the most common commands: nothing is reset or tested, and
 * every wait is bounded. Needs tsc_init().
 */
bool i8042_init(void);
/* Takes the scan codes that are there, up to n; what a mouse sends is dropped. */
size_t i8042_read(uint8_t *buf, size_t n);
