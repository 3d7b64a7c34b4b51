/*
 * Serial lines that the firmware names: SPCR (Microsoft, "Serial Port Console Redirection Table") and DBG2 (Microsoft,
 * "Debug Port Table 2").
 */
#include "drivers/acpi_internal.h"

enum interface { FULL_16550 = 0x00, SUBSET_16550 = 0x01, GAS_16550 = 0x12 };

struct spcr {
	struct acpi_header h;
	uint8_t interface, reserved[3];
	struct gas base;
	uint8_t interrupt_type, irq;
	uint32_t gsi;
	uint8_t baud, parity, stop_bits, flow_control, terminal, language;
	uint16_t pci_device, pci_vendor;
	uint8_t pci_bus, pci_slot, pci_function;
	uint32_t pci_flags;
	uint8_t pci_segment;
	uint32_t clock;        /* Hz; 0: not known */
	uint32_t precise_baud; /* 0: `baud` says it */
} __packed;
#define SPCR_V1_LENGTH      76 /* up to pci_segment */
#define IO_DEVICES          0x100    /* below are the chips of the board itself: timers, DMA, interrupts */
#define INTERRUPT_8259      BIT(0)
#define INTERRUPT_IOAPIC    BIT(1)
#define PHYS_LIMIT          BIT(52) /* MAXPHYADDR is at most 52 */
#define PCI_NONE            0xffff
#define CLOCKS_PER_BIT      16

struct dbg2 {
	struct acpi_header h;
	uint32_t first, count;
} __packed;

struct dbg2_device {
	uint8_t revision;
	uint16_t length;
	uint8_t naddresses;
	uint16_t name_length, name_offset, oem_length, oem_offset, type, subtype, reserved, addresses, sizes;
} __packed;
#define DBG2_SERIAL 0x8000

_Static_assert(offsetof(struct spcr, base) == 40 && offsetof(struct spcr, gsi) == 54 && offsetof(struct spcr, baud) == 58 &&
	       offsetof(struct spcr, pci_segment) == 75 && offsetof(struct spcr, clock) == 76 && sizeof(struct spcr) == 84,
	       "SPCR revision 4");
_Static_assert(sizeof(struct dbg2) == 44 && offsetof(struct dbg2_device, type) == 12 &&
	       offsetof(struct dbg2_device, addresses) == 18 && sizeof(struct dbg2_device) == 22, "DBG2");

/* The tables that give the width only in one of the two fields are as common as those that give both. */
static bool place_from(const struct gas *g, struct uart_place *out)
{
	uint8_t access = g->access_size >= 1 && g->access_size <= 3 ? (uint8_t)BIT(g->access_size - 1) : 0;
	uint8_t stride = g->bit_width == 16 || g->bit_width == 32 || g->bit_width == 64 ? g->bit_width / 8 : 1;

	if (!g->address)
		return false;
	*out = (struct uart_place){ .trusted = true, .base = g->address, .stride = 1, .width = 1 };
	if (g->space == ACPI_SPACE_IO)
		return g->address >= IO_DEVICES && g->address <= UINT16_MAX + 1u - UART_REGISTERS;
	if (g->space != ACPI_SPACE_MEMORY || g->address >= PHYS_LIMIT)
		return false;
	out->mmio = true;
	out->width = access ? access : MIN(stride, (uint8_t)4);
	out->stride = MAX(stride, out->width);
	/* A register that is not aligned to its width cannot be meant. */
	return !(g->address & (out->width - 1u));
}

static bool is_16550(uint16_t interface)
{
	return interface == FULL_16550 || interface == SUBSET_16550 || interface == GAS_16550;
}

/* 0 unless the table says it all: what is not known stays as the firmware has set it. */
static uint32_t divisor(uint32_t clock, uint32_t baud)
{
	uint64_t d = baud ? (clock + (uint64_t)baud * CLOCKS_PER_BIT / 2) / ((uint64_t)baud * CLOCKS_PER_BIT) : 0;

	return d < UINT16_MAX ? (uint32_t)d : 0;
}

static uint32_t baud_of(const struct spcr *s)
{
	static const uint32_t bauds[] = { [3] = 9600, [4] = 19200, [6] = 57600, [7] = 115200 };

	if (s->precise_baud)
		return s->precise_baud;
	return s->baud < ARRAY_SIZE(bauds) ? bauds[s->baud] : 0;
}

void acpi_parse_spcr(struct acpi_parser *a, const struct acpi_table *t)
{
	struct acpi_serial *out = &a->out->spcr;
	struct spcr s;

	acpi_read_fixed(t, &s, sizeof(s));
	if (t->len < SPCR_V1_LENGTH) {
		acpi_complain(a, "SPCR: too short");
		return;
	}
	if (!is_16550(s.interface) || !place_from(&s.base, &out->at))
		return; /* nothing wrong: redirection is off, or another kind of port */
	out->at.divisor = divisor(s.clock, baud_of(&s));
	out->has_irq = s.interrupt_type & INTERRUPT_8259;
	out->irq = s.irq;
	out->has_gsi = s.interrupt_type & INTERRUPT_IOAPIC;
	out->gsi = s.gsi;
	/* Some tables have zeros where nothing is meant. */
	out->is_pci = s.pci_device != PCI_NONE && s.pci_vendor != PCI_NONE && s.pci_vendor && !s.pci_segment;
	out->bus = s.pci_bus;
	out->slot = s.pci_slot & 31;
	out->function = s.pci_function & 7;
	out->found = true;
}

/* The first serial port of 16550 kind. */
void acpi_parse_dbg2(struct acpi_parser *a, const struct acpi_table *t)
{
	struct acpi_serial *out = &a->out->dbg2;
	struct dbg2_device d;
	struct dbg2 head;
	size_t at;

	acpi_read_fixed(t, &head, sizeof(head));
	for (at = head.first; head.count && at < t->len; head.count--, at += d.length) {
		struct acpi_table device = { t->p + at, t->len - at };
		struct gas g;

		acpi_read_fixed(&device, &d, sizeof(d));
		if (d.length < sizeof(d) || d.length > device.len)
			break;
		if (d.type != DBG2_SERIAL || !is_16550(d.subtype) || !d.naddresses)
			continue;
		if (d.addresses + sizeof(g) > d.length)
			break;
		memcpy(&g, device.p + d.addresses, sizeof(g));
		if (place_from(&g, &out->at)) {
			out->found = true;
			return;
		}
	}
	if (head.count && t->len >= sizeof(head))
		acpi_complain(a, "DBG2: a device is not inside the table");
	else if (t->len < sizeof(head))
		acpi_complain(a, "DBG2: too short");
}
