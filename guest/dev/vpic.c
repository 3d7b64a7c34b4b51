/* Two 8259A. The ICH's peculiarities: ELCR instead of LTIM, and the wiring of the cascade is fixed (ICW3 is ignored). */
#include "guest/dev/vpic.h"
#include "guest/dev/byte_access.h"
#include <tf/assert.h>
#include <tf/math.h>

enum { MASTER, SLAVE };

#define CASCADE      2 /* the master's input that the slave drives */
#define SPURIOUS     7 /* what is given when nothing asks any more */

#define ICW1         0x10
#define ICW1_IC4     0x01
#define ICW1_SNGL    0x02
#define ICW4_AEOI    0x02
#define ICW4_SFNM    0x10
#define OCW2_EOI     0x20
#define OCW2_SL      0x40
#define OCW2_R       0x80
#define OCW3         0x08
#define OCW3_RIS     0x01
#define OCW3_RR      0x02
#define OCW3_P       0x04
#define OCW3_SMM     0x20
#define OCW3_ESMM    0x40
#define POLL_REQUEST 0x80

/* Place of the first set bit in the circle of priorities, 0 the highest; 8 if there is none. */
static unsigned chip_rank(const struct vpic_chip *c, uint8_t bits)
{
	unsigned circle = (bits | (unsigned)bits << 8) >> c->highest & 0xff;
	return circle ? bit_lowest(circle) : 8;
}

static unsigned chip_input(const struct vpic_chip *c, unsigned rank) { return (rank + c->highest) & 7; }

/* Inputs in service that count: the special mask mode forgets those that are masked. */
static uint8_t chip_in_service(const struct vpic_chip *c)
{
	return c->special_mask ? c->isr & (uint8_t)~c->imr : c->isr;
}

/* The input to be served now, or -1. */
static inline int chip_pending(const struct vpic_chip *c)
{
	if (!(c->irr & (uint8_t)~c->imr))
		return -1;
	unsigned request = chip_rank(c, c->irr & (uint8_t)~c->imr), service = chip_rank(c, chip_in_service(c));
	if (c->init_state)
		return -1;
	/* In the special fully nested mode the slave may interrupt itself. */
	bool again = c->fully_nested && request == service && chip_input(c, request) == CASCADE;
	return request < service || again ? (int)chip_input(c, request) : -1;
}

static void chip_set_line(struct vpic_chip *c, unsigned input, bool level)
{
	uint8_t bit = (uint8_t)(1u << input), was = c->line & bit;
	if (level) {
		c->line |= bit;
		if (!was || c->elcr & bit)
			c->irr |= bit;
	} else {
		c->line &= (uint8_t)~bit;
		c->irr &= (uint8_t)~bit;
	}
}

static void vpic_update(struct vpic *p)
{
	chip_set_line(&p->chip[MASTER], CASCADE, chip_pending(&p->chip[SLAVE]) >= 0);
	bool level = chip_pending(&p->chip[MASTER]) >= 0;
	if (level == p->intr_level)
		return;
	p->intr_level = level;
	p->intr(p->ctx, level);
}

/* One chip's part of an interrupt acknowledge (or of a poll). */
static void chip_ack(struct vpic *p, unsigned n, unsigned input)
{
	struct vpic_chip *c = &p->chip[n];
	uint8_t bit = (uint8_t)(1u << input);
	if (!(c->elcr & bit))
		c->irr &= (uint8_t)~bit;
	if (!c->auto_eoi)
		c->isr |= bit;
	else if (c->rotate_auto_eoi)
		c->highest = (input + 1) & 7;
	/* Its INT falls; another request will be a new edge for the master. */
	if (n == SLAVE)
		chip_set_line(&p->chip[MASTER], CASCADE, false);
}

uint8_t vpic_ack(struct vpic *p)
{
	struct vpic_chip *master = &p->chip[MASTER], *slave = &p->chip[SLAVE];
	int input = chip_pending(master);
	if (input < 0)
		return master->vector_base | SPURIOUS;
	uint8_t vector = master->vector_base | (uint8_t)input;
	chip_ack(p, MASTER, (unsigned)input);
	if (input == CASCADE && !master->single) {
		int behind = chip_pending(slave);
		vector = slave->vector_base | (behind < 0 ? SPURIOUS : (uint8_t)behind);
		if (behind >= 0)
			chip_ack(p, SLAVE, (unsigned)behind);
	}
	vpic_update(p);
	return vector;
}

bool vpic_intr(const struct vpic *p) { return p->intr_level; }

bool vpic_requested(const struct vpic *p, unsigned irq)
{
	ASSERT(irq < 16);
	const struct vpic_chip *c = &p->chip[irq / 8];
	return (c->irr & ~c->imr) >> irq % 8 & 1;
}

void vpic_set_irq(struct vpic *p, unsigned irq, bool level)
{
	ASSERT(irq < 16 && irq != CASCADE);
	struct vpic_chip *c = &p->chip[irq / 8];
	if ((c->line >> irq % 8 & 1) == level)
		return;
	chip_set_line(c, irq % 8, level);
	vpic_update(p);
}

static void chip_icw1(struct vpic_chip *c, uint8_t value)
{
	c->init_state = 2;
	c->icw4_needed = value & ICW1_IC4;
	c->single = value & ICW1_SNGL;
	c->imr = c->isr = 0;
	c->irr = c->line & c->elcr; /* the edge sense circuit is reset */
	c->highest = 0;
	c->read_isr = c->poll = c->special_mask = c->rotate_auto_eoi = false;
	c->auto_eoi = c->fully_nested = false;
}

static void chip_icw_next(struct vpic_chip *c, bool master, uint8_t value)
{
	switch (c->init_state) {
	case 2:
		c->vector_base = value & 0xf8;
		c->init_state = !c->single ? 3 : c->icw4_needed ? 4 : 0;
		break;
	case 3:
		c->init_state = c->icw4_needed ? 4 : 0;
		break;
	default:
		c->auto_eoi = value & ICW4_AEOI;
		c->fully_nested = master && value & ICW4_SFNM;
		c->init_state = 0;
	}
}

static void chip_ocw2(struct vpic_chip *c, uint8_t value)
{
	unsigned input = value & 7;
	if (!(value & OCW2_EOI)) {
		if (!(value & OCW2_SL))
			c->rotate_auto_eoi = value & OCW2_R;
		else if (value & OCW2_R) /* set priority: `input` becomes the lowest */
			c->highest = (input + 1) & 7;
		return;
	}
	if (!(value & OCW2_SL)) {
		unsigned rank = chip_rank(c, chip_in_service(c));
		if (rank == 8)
			return;
		input = chip_input(c, rank);
	}
	c->isr &= (uint8_t)~(1u << input);
	if (value & OCW2_R)
		c->highest = (input + 1) & 7;
}

static void chip_ocw3(struct vpic_chip *c, uint8_t value)
{
	if (value & OCW3_ESMM)
		c->special_mask = value & OCW3_SMM;
	if (value & OCW3_P)
		c->poll = true;
	else if (value & OCW3_RR)
		c->read_isr = value & OCW3_RIS;
}

static void vpic_write(struct vpic *p, unsigned n, unsigned port, uint8_t value)
{
	struct vpic_chip *c = &p->chip[n];
	if (port && c->init_state)
		chip_icw_next(c, n == MASTER, value);
	else if (port)
		c->imr = value;
	else if (value & ICW1)
		chip_icw1(c, value);
	else if (value & OCW3)
		chip_ocw3(c, value);
	else
		chip_ocw2(c, value);
	vpic_update(p);
}

static uint8_t vpic_read(struct vpic *p, unsigned n, unsigned port)
{
	struct vpic_chip *c = &p->chip[n];
	if (c->poll) {
		int input = chip_pending(c);
		c->poll = false;
		if (input < 0)
			return 0;
		chip_ack(p, n, (unsigned)input);
		vpic_update(p);
		return POLL_REQUEST | (uint8_t)input;
	}
	return port ? c->imr : c->read_isr ? c->isr : c->irr;
}

static uint8_t master_in(void *p, uint64_t port) { return port < 2 ? vpic_read(p, MASTER, (unsigned)port) : 0xff; }
static uint8_t slave_in(void *p, uint64_t port) { return port < 2 ? vpic_read(p, SLAVE, (unsigned)port) : 0xff; }

static void master_out(void *p, uint64_t port, uint8_t value)
{
	if (port < 2)
		vpic_write(p, MASTER, (unsigned)port, value);
}

static void slave_out(void *p, uint64_t port, uint8_t value)
{
	if (port < 2)
		vpic_write(p, SLAVE, (unsigned)port, value);
}

void vpic_access_master(void *p, struct dev_access *a) { dev_access_bytes(p, a, master_in, master_out); }
void vpic_access_slave(void *p, struct dev_access *a) { dev_access_bytes(p, a, slave_in, slave_out); }

/* Timer, keyboard, cascade, clock and coprocessor are edges for good. */
static const uint8_t elcr_writable[2] = { 0xf8, 0xde };

static void chip_elcr(struct vpic_chip *c, uint8_t value)
{
	uint8_t changed = c->elcr ^ value;
	c->elcr = value;
	/* A new level input asks while it is high; a new edge input waits for its edge. */
	c->irr = (c->irr & (uint8_t)~changed) | (changed & c->elcr & c->line);
}

static uint8_t elcr_in(void *dev, uint64_t port)
{
	const struct vpic *p = dev;

	return port < 2 ? p->chip[port].elcr : 0xff;
}

static void elcr_out(void *dev, uint64_t port, uint8_t value)
{
	struct vpic *p = dev;

	if (port >= 2)
		return;
	chip_elcr(&p->chip[port], value & elcr_writable[port]);
	vpic_update(p);
}

void vpic_access_elcr(void *p, struct dev_access *a) { dev_access_bytes(p, a, elcr_in, elcr_out); }

void vpic_init(struct vpic *p, void (*intr)(void *ctx, bool level), void *ctx)
{
	*p = (struct vpic){ .ctx = ctx, .intr = intr };
	p->chip[MASTER].imr = p->chip[SLAVE].imr = 0xff;
}
