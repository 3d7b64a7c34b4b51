/* Entries of the hypervisor's own page tables: SDM 3A, "4-Level Paging and 5-Level Paging". */
#pragma once
#include "lib/table_walk.h"

#define PTE_P     BIT(0)
#define PTE_W     BIT(1)
#define PTE_U     BIT(2)
#define PTE_PWT   BIT(3)
#define PTE_PCD   BIT(4)
#define PTE_PS    BIT(7)
#define PTE_G     BIT(8)
#define PTE_STACK BIT(9)  /* ours: a page of a stack */
#define PTE_GUARD BIT(10) /* ours, in an entry that is not present: the page below a stack */
#define PTE_NX    BIT(63)
#define PTE_ADDR  0x000ffffffffff000ull

/* As an audit reads them (arch/x86_64/paging_audit.c, pure). Rights are PTE_W, PTE_U, and PTE_NX for what is executable. */
extern const struct table_format pte_table_format;
