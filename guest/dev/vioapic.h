/* An 82093AA I/O APIC with 24 inputs (data sheet; version 20h with an EOI register). */
#pragma once
#include <tf/dev.h>

#define VIOAPIC_PINS 24
#define VIOAPIC_BASE 0xfec00000ull
#define VIOAPIC_LEN  0x1000

/* Delivery modes (SDM 3A, "Interrupt Command Register (ICR)") */
enum apic_delivery {
	APIC_FIXED = 0, APIC_LOWEST = 1, APIC_SMI = 2, APIC_NMI = 4, APIC_INIT = 5, APIC_STARTUP = 6, APIC_EXTINT = 7,
};

/* An interrupt message, as an I/O APIC, an MSI or an ICR write sends it (SDM 3A, "Message Address Register Format"). */
struct apic_msg {
	uint32_t dest;       /* 8-bit xAPIC or 32-bit x2APIC destination */
	bool logical;        /* destination mode */
	uint8_t delivery;    /* enum apic_delivery */
	uint8_t vector;
	bool level;          /* trigger mode */
};

struct vioapic {
	void *ctx;
	void (*send)(void *ctx, const struct apic_msg *msg);
	uint32_t id, select;
	uint64_t rte[VIOAPIC_PINS];
	uint32_t line;       /* inputs that are asserted */
	uint32_t irr_level;  /* remote IRR of each entry (bit 14, which `rte` itself never has set) */
};

void vioapic_init(struct vioapic *io, uint32_t id, void (*send)(void *ctx, const struct apic_msg *msg), void *ctx);
void vioapic_access(void *io, struct dev_access *a); /* MMIO, 32-bit registers at 0, 10h, 40h */
/* Asserts or negates an input (the polarity in its entry is not looked at). Edges that come while it is masked are lost. */
void vioapic_set_irq(struct vioapic *io, unsigned pin, bool level);
/* False if the entry is masked; else what it sends. */
bool vioapic_message(const struct vioapic *io, unsigned pin, struct apic_msg *msg);
/* A local APIC's EOI broadcast for a level-triggered vector. */
void vioapic_eoi(struct vioapic *io, uint8_t vector);
/* True if some entry is level-triggered with this vector and is unmasked or in service: its EOI must be seen
 * (EOI-exit bitmap). */
bool vioapic_level_vector(const struct vioapic *io, uint8_t vector);
