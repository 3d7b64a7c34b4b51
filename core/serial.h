/* Which of the machine's serial lines carries log and consoles, if there is one. */
#pragma once
#include "core/config.h"
#include "drivers/acpi.h"
#include "drivers/uart.h"

#define COM2_PORT 0x2f8

/* The line; `present` says whether there is one. The first call looks for it at the PC's four ports. */
struct uart *serial_uart(void);
/*
 * Where none of these ports answers: the one that SPCR names, or DBG2, or one on a PCI card. What was logged so far is
 * sent there. Says in the log which it is. `a` is NULL before the firmware's tables are read: cards with I/O ports only.
 */
void serial_find(const struct acpi_info *a);
/* What [trefoil] serial says. */
void serial_configure(const struct config *cfg);
/* The ISA interrupt of the line; 0: it has none that is known, and is to be polled. */
uint8_t serial_irq(void);
