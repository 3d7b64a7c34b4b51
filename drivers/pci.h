/* The machine's PCI bus, by configuration mechanism #1 (PCI Local Bus Specification 3.0, "Configuration Space"). */
#pragma once
#include <tf/types.h>

struct pci_addr { uint8_t bus, slot, function; };

#define PCI_HEADER_WORDS 16
#define PCI_ID           0 /* index of a 32-bit word in the header */
#define PCI_COMMAND      1
#define PCI_CLASS        2
#define PCI_HEADER_TYPE  3
#define PCI_BAR          4
#define PCI_BARS         6
#define PCI_ABSENT       0xffffffffu

/* One 32-bit word of a function's header. All ones where nothing is. */
uint32_t pci_read(struct pci_addr a, unsigned word);
/* Steps from one function that is there to the next; start with {0} and first = true. False: there are no more. */
bool pci_next(struct pci_addr *a, bool first);
/* Makes a function answer at its BARs, and keeps it from interrupting: the input that it leads to is not known. */
void pci_enable(struct pci_addr a);
