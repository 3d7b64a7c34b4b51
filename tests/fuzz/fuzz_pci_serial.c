/* Any configuration header: what is taken for a UART has an address that a UART can have. */
#include "fuzz_dev.h"
#include "drivers/pci_serial.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t header[PCI_HEADER_WORDS] = { 0 };
	struct uart_place at;

	memcpy(header, data, MIN(size, sizeof(header)));
	if (!pci_serial_place(header, &at))
		return 0;
	ASSERT(at.trusted && at.stride == 1 && at.width == 1 && at.divisor && at.base);
	if (!at.mmio)
		ASSERT(at.base + UART_REGISTERS <= 0x10000);
	return 0;
}
