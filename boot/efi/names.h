/* Which files trefoil.conf asks for. Pure. */
#pragma once
#include "core/config.h"
#include <tf/bootinfo.h>

#define NAMES_MAX (BOOT_MAX_MODULES - 1) /* trefoil.conf itself is a module, too */

struct names {
	char name[NAMES_MAX][VM_PATH_MAX]; /* as written in trefoil.conf, each once, in its order */
	uint32_t n;
	bool cut;                          /* there are more */
};

/* The kernels, initrds and modules (the first word of each) of all VMs. */
void names_collect(const struct config *config, struct names *out);
