/* On the host, in the place of arch/x86_64/paging.h: a frame has its address in the machine's pool (tests/vtx/machine.c). */
#pragma once
#include <tf/types.h>

#define PAGING_PAT 0x0007040600070106ull

void *phys_to_virt(hpa_t p);
hpa_t virt_to_phys(const void *v);
