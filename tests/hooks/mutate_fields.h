/* A VMCS as the mutations see it: the fields of the guest state and of VM entry, some valid states, and what becomes of them. */
#pragma once
#include <tf/types.h>

#define MUTATED_MAX 3

struct mutated { uint32_t field; uint64_t value; };
struct mutation {
	unsigned from;                      /* the valid state before */
	unsigned n;
	struct mutated fields[MUTATED_MAX];
};

uint64_t mutate_random(uint64_t *seed);
/* Remembers the current VMCS, which must be of a guest in flat protected mode, as what mutations start from. */
void mutate_remember(void);
/* Writes a state that was remembered, or made from it, and then changes it. */
void mutate_apply(uint64_t *seed, struct mutation *m);
/* Writes what was remembered. */
void mutate_restore(void);
