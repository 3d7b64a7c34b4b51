/* The hypervisor's own symbol table, made at link time by tools/symbols.sh. */
#pragma once
#include <tf/types.h>

/* The function that `addr` is in, and how far; NULL outside the hypervisor's code. */
const char *symbol_lookup(uint64_t addr, uint64_t *offset);
