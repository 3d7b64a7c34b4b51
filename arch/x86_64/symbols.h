/* The hypervisor's own symbol table, made at link time by tools/symbols.sh. */
#pragma once
#include <tf/types.h>

#define SYMBOL_MAX 48

/* The function that `addr` is in, and how far; false outside the hypervisor's code. */
bool symbol_lookup(uint64_t addr, char name[SYMBOL_MAX], uint64_t *offset);
