/* UARTs on PCI cards: where the registers of a card's first port are. Pure. */
#pragma once
#include "drivers/pci.h"
#include "drivers/uart.h"

/* `header`: a function's configuration header. False: no UART that is known, or the firmware gave it no address. */
bool pci_serial_place(const uint32_t header[PCI_HEADER_WORDS], struct uart_place *out);
