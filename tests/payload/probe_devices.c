/*
 * What reaches memory by itself on a PC: the 8237, bus masters of PCI and IDE, the floppy controller, the hypervisors'
 * own back doors. Nothing of it is on the board, and all of it must stay silent whatever is written.
 */
#include "probe.h"

#define PCI_ADDRESS 0xcf8
#define PCI_DATA    0xcfc
#define PCI_ENABLE  BIT(31)
#define TARGET      0x00c0ffee /* anywhere but here */

static uint64_t answers;

static void expect_ones(uint16_t port, uint32_t value, uint32_t ones)
{
	if (value == ones)
		return;
	if (answers++ < 8)
		print("probe: port %x answers %x\n", port, value);
}

static void silent(uint16_t from, uint16_t to)
{
	for (unsigned p = from; p <= to; p++) {
		outb((uint16_t)p, (uint8_t)(TARGET >> (p & 3) * 8));
		expect_ones((uint16_t)p, inb((uint16_t)p), 0xff);
	}
}

/* Single transfers into memory at TARGET, all channels, started by software. */
static void dma_8237(void)
{
	static const uint8_t pages[] = { 0x87, 0x83, 0x81, 0x82, 0x8f, 0x8b, 0x89, 0x8a };

	for (unsigned c = 0; c < 8; c++) {
		uint16_t base = c < 4 ? 0 : 0xc0, step = c < 4 ? 1 : 2, n = c & 3;

		outb((uint16_t)(base + 0xc * step), 0);
		for (unsigned i = 0; i < 2; i++) {
			outb((uint16_t)(base + 2 * n * step), (uint8_t)(TARGET >> 8 * i));
			outb((uint16_t)(base + (2 * n + 1) * step), 0xff);
		}
		outb(pages[c], TARGET >> 16);
		outb((uint16_t)(base + 0xb * step), (uint8_t)(0x84 | n));
		outb((uint16_t)(base + 0xa * step), (uint8_t)n);
		outb((uint16_t)(base + 0x9 * step), (uint8_t)(4 | n));
	}
	silent(0x00, 0x0f);
	silent(0x81, 0x8f);
	silent(0xc0, 0xdf);
}

/* Every function of bus 0, both mechanisms, bus mastering switched on. */
static void pci(void)
{
	for (uint32_t function = 0; function < 256; function++) {
		outl(PCI_ADDRESS, (uint32_t)PCI_ENABLE | function << 8 | 4);
		expect_ones(PCI_ADDRESS, inl(PCI_ADDRESS), ~0u);
		outl(PCI_DATA, 7);
		expect_ones(PCI_DATA, inl(PCI_DATA), ~0u);
	}
	outb(PCI_ADDRESS, 0xf0);
	outb(0xcfa, 0);
	for (unsigned p = 0xc000; p < 0xd000; p += 4) {
		outl((uint16_t)p, TARGET);
		expect_ones((uint16_t)p, inl((uint16_t)p), ~0u);
	}
}

void probe_devices(void)
{
	dma_8237();
	pci();
	silent(0x1f0, 0x1f7);
	silent(0x170, 0x177);
	silent(0x3f0, 0x3f7);
	silent(0x376, 0x376);
	silent(0x402, 0x402);   /* debug ports of emulators */
	silent(0xe9, 0xe9);
	silent(0x510, 0x51b);   /* fw_cfg, with its DMA */
	silent(0x5658, 0x565b); /* VMware's back door */
	silent(0x8900, 0x8900); /* Bochs' shutdown */
	silent(0xb2, 0xb3);     /* SMI commands */
	silent(0xb000, 0xb03f); /* the machine's own power management, on some */
	print("probe: ports that answer: %lu\n", answers);
}
