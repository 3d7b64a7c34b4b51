#include "core/serial.h"
#include "core/log.h"
#include "drivers/pci_serial.h"
#include <tf/log.h>

#define COM1_PORT 0x3f8
#define COM1_IRQ  4
#define COM2_IRQ  3
#define ISA_IRQS  16

/* The PC's ports. The interrupts of the third and fourth are anybody's guess: these two are polled. */
static const struct { uint16_t port; uint8_t irq; } standard[] = {
	{ COM1_PORT, COM1_IRQ }, { COM2_PORT, COM2_IRQ }, { 0x3e8, 0 }, { 0x2e8, 0 },
};

static struct uart line;
static bool probed, searched; /* the PC's ports, and everything else */
static const char *found = "port";
static uint8_t irq;

static uint8_t irq_of_port(uint64_t port)
{
	for (unsigned i = 0; i < ARRAY_SIZE(standard); i++)
		if (standard[i].port == port)
			return standard[i].irq;
	return 0;
}

struct uart *serial_uart(void)
{
	if (likely(probed))
		return &line;
	probed = true;
	for (unsigned i = 0; i < ARRAY_SIZE(standard) && !line.present; i++) {
		const struct uart_place at = uart_at_port(standard[i].port);

		if (uart_open(&line, &at))
			irq = standard[i].irq;
	}
	return &line;
}

uint8_t serial_irq(void) { return line.present ? irq : 0; }

/* The line is `u` from now on, and what was logged so far is sent there. */
static void take(const struct uart *u, uint8_t its_irq, const char *by)
{
	line = *u;
	irq = its_irq;
	found = by;
	log_repeat();
}

static bool open_at(const struct uart_place *at, uint8_t its_irq, const char *by)
{
	struct uart u;

	if (!uart_open(&u, at))
		return false;
	take(&u, its_irq, by);
	return true;
}

/* The ISA interrupt that leads to this input of the I/O APICs; 0: none. Others are level-triggered, shared and polled. */
static uint8_t isa_irq_at(const struct acpi_info *a, uint32_t gsi)
{
	for (uint32_t i = 0; i < a->nisos; i++)
		if (a->isos[i].gsi == gsi)
			return a->isos[i].irq;
	return gsi < ISA_IRQS ? (uint8_t)gsi : 0;
}

/* Not those of the timer, the keyboard, the second 8259, the clock and the coprocessor. */
static bool usable_irq(uint8_t i) { return i > 2 && i < ISA_IRQS && i != 8 && i != 13; }

static bool open_named(const struct acpi_info *a, const struct acpi_serial *s, const char *by)
{
	uint8_t i = s->has_irq ? s->irq : s->has_gsi ? isa_irq_at(a, s->gsi) : 0;

	if (!s->found)
		return false;
	if (s->is_pci)
		pci_enable((struct pci_addr){ s->bus, s->slot, s->function });
	return open_at(&s->at, s->is_pci || !usable_irq(i) ? 0 : i, by);
}

static bool open_card(bool mmio_too)
{
	uint32_t header[PCI_HEADER_WORDS];
	struct pci_addr card = { 0 };
	struct uart_place at;

	for (bool more = pci_next(&card, true); more; more = pci_next(&card, false)) {
		for (unsigned i = 0; i < PCI_HEADER_WORDS; i++)
			header[i] = pci_read(card, i);
		if (!pci_serial_place(header, &at) || (at.mmio && !mmio_too))
			continue;
		pci_enable(card);
		if (open_at(&at, 0, "pci"))
			return true;
	}
	return false;
}

static void report(void)
{
	if (line.present && line.place.mmio)
		log_info("serial", "event=serial address=0x%lx found=%s", line.place.base, found);
	else if (line.present)
		log_info("serial", "event=serial port=0x%lx found=%s", line.place.base, found);
	else
		log_info("serial", "event=no-serial reason=no UART answers");
}

void serial_find(const struct acpi_info *a)
{
	if (serial_uart()->present || searched) {
		if (!searched && a)
			report();
		searched |= !!a;
		return;
	}
	searched = !!a;
	if (!(a && (open_named(a, &a->spcr, "spcr") || open_named(a, &a->dbg2, "dbg2"))))
		(void)open_card(!!a);
	report();
}

void serial_configure(const struct config *cfg)
{
	struct uart u;

	if (cfg->serial == CONFIG_SERIAL_NONE && line.present) {
		log_info("serial", "event=no-serial reason=the configuration says so");
		uart_flush(&line);
		line.present = false;
	}
	if (cfg->serial != CONFIG_SERIAL_PORT || (line.present && !line.place.mmio && line.place.base == cfg->serial_port))
		return;
	const struct uart_place at = uart_at_port(cfg->serial_port);
	if (!uart_open(&u, &at)) {
		log_warn("serial", "event=serial-absent port=0x%x", cfg->serial_port);
		return;
	}
	uart_flush(&line);
	take(&u, irq_of_port(at.base), "configuration");
	report();
}
