/* The I/O APIC. A message is accepted at once, so that the delivery status of an entry is never seen as pending. */
#include "guest/dev/vioapic.h"
#include <tf/assert.h>
#include <tf/math.h>

/* MMIO registers */
#define IOREGSEL 0x00
#define IOWIN    0x10
#define IOEOI    0x40

/* Registers behind IOWIN */
#define REG_ID      0x00
#define REG_VERSION 0x01
#define REG_ARB     0x02
#define REG_RTE     0x10

#define VERSION_VALUE ((VIOAPIC_PINS - 1) << 16 | 0x20u)
#define ID_MASK       0x0f000000u

#define RTE_VECTOR     0xffull
#define RTE_REMOTE_IRR BIT(14)
#define RTE_LEVEL      BIT(15)
#define RTE_MASKED     BIT(16)
#define RTE_WRITABLE   (0xff00000000000000ull | 0x1afffull) /* without delivery status and remote IRR */

enum delivery { FIXED = 0, LOWEST = 1, RESERVED_3 = 3, RESERVED_6 = 6 };

static uint8_t rte_delivery(uint64_t rte) { return rte >> 8 & 7; }

/* SMI, NMI, INIT and ExtINT are edges whatever the entry says. */
static bool rte_level(uint64_t rte) { return rte & RTE_LEVEL && rte_delivery(rte) <= LOWEST; }

bool vioapic_message(const struct vioapic *io, unsigned pin, struct apic_msg *msg)
{
	ASSERT(pin < VIOAPIC_PINS);
	uint64_t rte = io->rte[pin];
	*msg = (struct apic_msg){
		.dest = (uint32_t)(rte >> 56),
		.logical = rte >> 11 & 1,
		.delivery = rte_delivery(rte),
		.vector = (uint8_t)rte,
		.level = rte_level(rte),
	};
	return !(rte & RTE_MASKED);
}

static void vioapic_send(struct vioapic *io, unsigned pin)
{
	struct apic_msg msg;
	if (!vioapic_message(io, pin, &msg) || msg.delivery == RESERVED_3 || msg.delivery == RESERVED_6)
		return;
	if (msg.level)
		io->irr_level |= 1u << pin;
	io->send(io->ctx, &msg);
}

/* Sends what a level-triggered input asks for. */
static void vioapic_service(struct vioapic *io, unsigned pin)
{
	uint64_t rte = io->rte[pin];
	if (rte_level(rte) && !(rte & RTE_MASKED) && (io->line & ~io->irr_level) >> pin & 1)
		vioapic_send(io, pin);
}

void vioapic_set_irq(struct vioapic *io, unsigned pin, bool level)
{
	ASSERT(pin < VIOAPIC_PINS);
	uint32_t bit = 1u << pin;
	if (!!(io->line & bit) == level)
		return;
	io->line ^= bit;
	if (!level || io->rte[pin] & RTE_MASKED)
		return;
	if (rte_level(io->rte[pin]))
		vioapic_service(io, pin);
	else
		vioapic_send(io, pin);
}

void vioapic_eoi(struct vioapic *io, uint8_t vector)
{
	for (uint32_t pins = io->irr_level; pins; pins &= pins - 1) {
		unsigned pin = bit_lowest(pins);
		if ((io->rte[pin] & RTE_VECTOR) != vector)
			continue;
		io->irr_level &= ~(1u << pin);
		vioapic_service(io, pin);
	}
}

bool vioapic_level_vector(const struct vioapic *io, uint8_t vector)
{
	for (unsigned pin = 0; pin < VIOAPIC_PINS; pin++) {
		uint64_t rte = io->rte[pin];
		if (rte_level(rte) && (rte & RTE_VECTOR) == vector && (!(rte & RTE_MASKED) || io->irr_level >> pin & 1))
			return true;
	}
	return false;
}

static uint32_t vioapic_read(const struct vioapic *io)
{
	switch (io->select) {
	case REG_ID:
	case REG_ARB:
		return io->id;
	case REG_VERSION:
		return VERSION_VALUE;
	case REG_RTE ... REG_RTE + 2 * VIOAPIC_PINS - 1: {
		unsigned pin = (io->select - REG_RTE) / 2;
		uint64_t rte = io->rte[pin] | (io->irr_level >> pin & 1 ? RTE_REMOTE_IRR : 0);
		return (uint32_t)(io->select & 1 ? rte >> 32 : rte);
	}
	}
	return UINT32_MAX;
}

static void vioapic_write(struct vioapic *io, uint32_t value)
{
	switch (io->select) {
	case REG_ID:
		io->id = value & ID_MASK;
		return;
	case REG_RTE ... REG_RTE + 2 * VIOAPIC_PINS - 1: {
		unsigned pin = (io->select - REG_RTE) / 2, shift = io->select & 1 ? 32 : 0;
		uint64_t half = (uint64_t)UINT32_MAX << shift;
		io->rte[pin] = ((io->rte[pin] & ~half) | (uint64_t)value << shift) & RTE_WRITABLE;
		/* Programming an entry as edge-triggered clears its remote IRR: how systems end what no EOI reaches. */
		if (!rte_level(io->rte[pin]))
			io->irr_level &= ~(1u << pin);
		vioapic_service(io, pin);
		return;
	}
	}
}

void vioapic_access(void *dev, struct dev_access *a)
{
	struct vioapic *io = dev;
	uint64_t reg = ALIGN_DOWN(a->offset, 0x10ull), byte = a->offset % 0x10;
	if (!a->write) {
		uint32_t value = reg == IOREGSEL ? io->select : reg == IOWIN ? vioapic_read(io) : 0;
		a->value = byte < 4 ? value >> (8 * byte) : 0;
		return;
	}
	/* IOREGSEL and the EOI register hold one byte; IOWIN takes 32 bits or nothing. */
	if (a->offset == IOREGSEL)
		io->select = a->value & 0xff;
	else if (a->offset == IOEOI)
		vioapic_eoi(io, (uint8_t)a->value);
	else if (a->offset == IOWIN && a->size == 4)
		vioapic_write(io, (uint32_t)a->value);
}

void vioapic_init(struct vioapic *io, uint32_t id, void (*send)(void *ctx, const struct apic_msg *msg), void *ctx)
{
	*io = (struct vioapic){ .ctx = ctx, .send = send, .id = id << 24 & ID_MASK };
	for (unsigned pin = 0; pin < VIOAPIC_PINS; pin++)
		io->rte[pin] = RTE_MASKED;
}
