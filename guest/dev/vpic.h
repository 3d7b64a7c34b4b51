/* Two cascaded 8259A interrupt controllers with the ELCR (Intel 8259A data sheet; ICH "ELCR1/2"). */
#pragma once
#include <tf/dev.h>

struct vpic_chip {
	uint8_t irr, imr, isr;
	uint8_t line;        /* inputs that are high */
	uint8_t elcr;        /* level-triggered inputs */
	uint8_t vector_base;
	uint8_t init_state;  /* the ICW that comes next, 0 when initialized */
	uint8_t highest;     /* the input with the highest priority; the others follow in a circle */
	bool single, icw4_needed, auto_eoi, rotate_auto_eoi, special_mask, read_isr, poll;
	bool fully_nested;   /* "special fully nested mode" */
};

struct vpic {
	struct vpic_chip chip[2];                /* master, slave */
	void *ctx;
	void (*intr)(void *ctx, bool level);     /* the INTR pin changed */
	bool intr_level;
};

/* Everything masked, edge-triggered; the initialization words are still to come. */
void vpic_init(struct vpic *p, void (*intr)(void *ctx, bool level), void *ctx);
/* dev_access_fns: ports 20h-21h, A0h-A1h, 4D0h-4D1h. */
void vpic_access_master(void *p, struct dev_access *a);
void vpic_access_slave(void *p, struct dev_access *a);
void vpic_access_elcr(void *p, struct dev_access *a);
/*
 * Drives input `irq` (0 to 15, not 2). Edge or level as the ELCR says. As on the chip, an edge's request lasts only while
 * the input stays high: who gives edges lowers the line just before the next one, not after it.
 */
void vpic_set_irq(struct vpic *p, unsigned irq, bool level);
/* An input asks, is not masked, and has not been acknowledged yet. */
bool vpic_requested(const struct vpic *p, unsigned irq);
/* The level of INTR now. */
bool vpic_intr(const struct vpic *p);
/* INTA cycle: acknowledges and returns the vector (a spurious one where nothing is pending any more). */
uint8_t vpic_ack(struct vpic *p);
