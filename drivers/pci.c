#include "drivers/pci.h"
#include "arch/x86_64/cpu.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA    0xcfc
#define ADDRESS_ENABLE BIT(31)

#define COMMAND_IO       BIT(0)
#define COMMAND_MEMORY   BIT(1)
#define COMMAND_INTX_OFF BIT(10)
#define COMMAND_MASK     0xffffu /* the status half is written with zeros: ones would clear bits */
#define MULTI_FUNCTION   BIT(23)

#define SLOTS     32
#define FUNCTIONS 8

static void select(struct pci_addr a, unsigned word)
{
	outl(CONFIG_ADDRESS, (uint32_t)ADDRESS_ENABLE | (uint32_t)a.bus << 16 | (a.slot & (SLOTS - 1u)) << 11 |
				     (a.function & (FUNCTIONS - 1u)) << 8 | word << 2);
}

uint32_t pci_read(struct pci_addr a, unsigned word)
{
	select(a, word);
	return inl(CONFIG_DATA);
}

static void pci_write(struct pci_addr a, unsigned word, uint32_t v)
{
	select(a, word);
	outl(CONFIG_DATA, v);
}

/* Does the register that selects keep its value? Without a host bridge it does not. */
static bool present(void)
{
	outl(CONFIG_ADDRESS, (uint32_t)ADDRESS_ENABLE);
	return inl(CONFIG_ADDRESS) == ADDRESS_ENABLE;
}

/* The next place that something can be at: functions above 0 only where function 0 says that there are some. */
static bool advance(struct pci_addr *a)
{
	const struct pci_addr function0 = { a->bus, a->slot, 0 };

	if (a->function + 1 < FUNCTIONS && pci_read(function0, PCI_ID) != PCI_ABSENT &&
	    (pci_read(function0, PCI_HEADER_TYPE) & MULTI_FUNCTION)) {
		a->function++;
		return true;
	}
	a->function = 0;
	a->slot = (a->slot + 1) % SLOTS;
	if (!a->slot)
		a->bus++;
	return a->slot || a->bus;
}

bool pci_next(struct pci_addr *a, bool first)
{
	if (first && !present())
		return false;
	while (first || advance(a)) {
		first = false;
		if (pci_read(*a, PCI_ID) != PCI_ABSENT)
			return true;
	}
	return false;
}

void pci_enable(struct pci_addr a)
{
	uint32_t command = pci_read(a, PCI_COMMAND);

	if (pci_read(a, PCI_ID) != PCI_ABSENT)
		pci_write(a, PCI_COMMAND,
			  (command & COMMAND_MASK) | (uint32_t)(COMMAND_IO | COMMAND_MEMORY | COMMAND_INTX_OFF));
}
