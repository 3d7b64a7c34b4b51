/* What the items of random_items.c and random_system.c are made with */
#pragma once
#include "random.h"

#define COUNT(a) below(g, ARRAY_SIZE(a))
#define PICK(a)  ((a)[COUNT(a)])

static inline void emit_bytes(struct gen *g, const uint8_t *p, unsigned n)
{
	while (n--)
		emit(g, *p++);
}
#define EMIT(...) emit_bytes(g, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static inline uint16_t selector(struct gen *g)
{
	uint16_t sel = g->k->selectors[below(g, g->k->nselectors)];

	return chance(g, 15) ? sel ^ (uint16_t)below(g, 4) : sel;
}

static inline bool is64(const struct gen *g) { return g->m->bits == 64; }
static inline bool segmented(const struct gen *g) { return g->m->kind == KIND_LONG || g->m->kind == KIND_LEGACY; }
static inline uint16_t any_selector(struct gen *g)
{
	/* Segments of the 8086: anywhere in the sandbox */
	return segmented(g) ? selector(g) : (uint16_t)((g->m->ds) + below(g, 16) * 16 * (rnd(g) & 1));
}

/* An address without registers: 16 or 32 bits, or relative to RIP; `behind` bytes follow it. */
void emit_direct(struct gen *g, unsigned reg, uint32_t offset, unsigned behind);

void gen_sensitive(struct gen *g);
void gen_control(struct gen *g);
void gen_debug(struct gen *g);
void gen_msrs(struct gen *g);
void gen_system(struct gen *g);
