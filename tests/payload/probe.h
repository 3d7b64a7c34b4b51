/* What the parts of the payload `probe` share. */
#pragma once
#include "secret.h"

/* Searches all RAM but our own image for what was planted elsewhere; probe_search.c. */
void probe_search(void);
/* Leaves a secret in all RAM but our own image, page 0 and the stacks below. */
void probe_fill(void);
/* Devices that could reach memory by themselves, and the registers of buses; probe_devices.c. */
void probe_devices(void);

static inline uint64_t ram_end(void)
{
	uint64_t end = 0;

	for (unsigned i = 0; i < boot_nmap; i++)
		if (boot_map[i].type == 1 && boot_map[i].base + boot_map[i].len > end)
			end = boot_map[i].base + boot_map[i].len;
	return end;
}
