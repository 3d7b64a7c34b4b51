/*
 * What an 8254 channel shows after so many clocks: its counting element, its output, its edges. `clocks` is counted from
 * the write of the count (or from the trigger); the first one loads the count.
 */
#pragma once
#include "guest/dev/vpit.h"

static inline bool vpit_periodic(const struct vpit_channel *c) { return c->mode == 2 || c->mode == 3; }
static inline bool vpit_gate_triggers(const struct vpit_channel *c) { return c->mode == 1 || c->mode == 5; }
static inline uint32_t vpit_modulus(const struct vpit_channel *c) { return c->bcd ? 10000 : 65536; }
/* Mode 3, odd counts: high one clock longer. */
static inline uint32_t vpit_high_half(uint32_t count) { return (count + 1) / 2; }

/* The counting element, in binary. */
uint32_t vpit_element(const struct vpit_channel *c, uint64_t clocks);
/* OUT. */
bool vpit_output(const struct vpit_channel *c, uint64_t clocks);
/* A count as software reads and writes it: BCD if so programmed, 0 for the largest. */
uint16_t vpit_to_register(const struct vpit_channel *c, uint32_t value);
uint32_t vpit_from_register(const struct vpit_channel *c, uint16_t raw);
/* How often OUT of a channel whose gate is wired high has risen, and the clock of its k-th rise (k >= 1) or DEV_NEVER. */
uint64_t vpit_edges_until(const struct vpit_channel *c, uint64_t clocks);
uint64_t vpit_edge_clock(const struct vpit_channel *c, uint64_t k);
/* The clock of the next reload after `clocks` (not 0): the end of the period, in mode 3 of the half period. */
uint64_t vpit_next_reload(const struct vpit_channel *c, uint64_t clocks);
