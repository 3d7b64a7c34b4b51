#include "drivers/pci_serial.h"

#define HEADER_TYPE(word)  ((word) >> 16 & 0x7f)
#define HEADER_DEVICE      0
#define CLASS(word)        ((word) >> 16)
#define INTERFACE(word)    ((word) >> 8 & 0xff)
#define CLASS_SERIAL       0x0700
#define CLASS_MULTIPORT    0x0702
#define INTERFACE_16950    6 /* 0 is an 8250, the others are compatible with it */

#define BAR_IO             BIT(0)
#define BAR_IO_MASK        0xfffcu
#define BAR_64             0x4u
#define BAR_TYPE           0x6u
#define BAR_MEMORY_MASK    0xfffffff0u

#define ANY 0xffff

/* Cards whose first port is not where a plain card has it, or whose clock is not 1.8432 MHz. */
static const struct card {
	uint16_t vendor, device;
	uint8_t bar, divisor; /* divisor: of 115200 baud */
	uint16_t offset;
} cards[] = {
	{ 0x1393, ANY, 2, 8, 0 },         /* Moxa CP and C series, 14.7456 MHz */
	{ 0x12d8, 0x7951, 0, 8, 0 },      /* Pericom PI7C9X7951 to 7958 */
	{ 0x12d8, 0x7952, 0, 8, 0 },
	{ 0x12d8, 0x7954, 0, 8, 0 },
	{ 0x12d8, 0x7958, 0, 8, 0 },
	{ 0x13a8, 0x0152, 0, 8, 0 },      /* Exar XR17C152 to 158 */
	{ 0x13a8, 0x0154, 0, 8, 0 },
	{ 0x13a8, 0x0158, 0, 8, 0 },
	{ 0x13a8, 0x0352, 0, 68, 0 },     /* Exar XR17V352 to 358, 125 MHz */
	{ 0x13a8, 0x0354, 0, 68, 0 },
	{ 0x13a8, 0x0358, 0, 68, 0 },
	{ 0x1415, 0xc11b, 0, 34, 0x1000 }, /* Oxford OXPCIe952 and 954, 62.5 MHz */
	{ 0x1415, 0xc138, 0, 34, 0x1000 },
	{ 0x1415, 0xc158, 0, 34, 0x1000 },
	{ 0x1415, 0xc208, 0, 34, 0x1000 },
	{ 0x1415, 0xc308, 0, 34, 0x1000 },
	{ 0x1c00, 0x3253, 0, 1, 0xc0 },   /* WCH CH382 */
	{ 0x1c00, 0x3470, 0, 1, 0xc0 },   /* WCH CH384 */
	{ 0x1fd4, 0x1999, 0, 8, 0 },      /* Sunix, 14.7456 MHz */
};

static const struct card *find_card(uint32_t id)
{
	for (unsigned i = 0; i < ARRAY_SIZE(cards); i++)
		if (cards[i].vendor == (id & 0xffff) && (cards[i].device == ANY || cards[i].device == id >> 16))
			return &cards[i];
	return NULL;
}

/* The address in a BAR; 0: none. */
static uint64_t bar_base(const uint32_t *bars, unsigned i, bool *mmio)
{
	uint64_t base = bars[i] & BAR_MEMORY_MASK;

	*mmio = !(bars[i] & BAR_IO);
	if (!*mmio)
		return bars[i] >> 16 ? 0 : bars[i] & BAR_IO_MASK;
	if ((bars[i] & BAR_TYPE) == BAR_64)
		base |= i + 1 < PCI_BARS ? (uint64_t)bars[i + 1] << 32 : 0;
	return base;
}

static bool from_bar(const uint32_t *bars, unsigned i, uint16_t offset, struct uart_place *out)
{
	uint64_t base = bar_base(bars, i, &out->mmio);

	out->base = base + offset;
	return base && (out->mmio || out->base + UART_REGISTERS <= UINT16_MAX + 1u);
}

/* A plain card: its first I/O BAR; those that offer device memory as well have the same there, each in its own layout. */
static bool plain_card(const uint32_t *header, struct uart_place *out)
{
	const uint32_t *bars = header + PCI_BAR;

	for (unsigned i = 0; i < PCI_BARS; i++) {
		if (bars[i] & BAR_IO && from_bar(bars, i, 0, out))
			return true;
		if (!(bars[i] & BAR_IO) && (bars[i] & BAR_TYPE) == BAR_64)
			i++;
	}
	return !(bars[0] & BAR_IO) && from_bar(bars, 0, 0, out);
}

bool pci_serial_place(const uint32_t header[PCI_HEADER_WORDS], struct uart_place *out)
{
	uint32_t class = CLASS(header[PCI_CLASS]);
	const struct card *card = find_card(header[PCI_ID]);

	if (HEADER_TYPE(header[PCI_HEADER_TYPE]) != HEADER_DEVICE || (class != CLASS_SERIAL && class != CLASS_MULTIPORT))
		return false;
	*out = (struct uart_place){ .trusted = true, .stride = 1, .width = 1, .divisor = UART_DIVISOR_115200 };
	if (card) {
		out->divisor = card->divisor;
		return from_bar(header + PCI_BAR, card->bar, card->offset, out);
	}
	if (class == CLASS_SERIAL && INTERFACE(header[PCI_CLASS]) > INTERFACE_16950)
		return false;
	return plain_card(header, out);
}
