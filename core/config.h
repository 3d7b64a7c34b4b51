/* trefoil.conf: reading and checking. Pure. The reference for users is docs/trefoil.conf.md. */
#pragma once
#include "guest/vmconfig.h"
#include <tf/err.h>

#define CONFIG_MAX_VMS 64

struct config {
	struct vm_config vms[CONFIG_MAX_VMS];
	uint32_t nvms;
	char focus[VM_NAME_MAX];  /* [trefoil] focus: whose console is shown first; empty: the first VM; "log": the log */
	bool show_all;            /* [trefoil] show_all: unfocused consoles are shown too, prefixed by the VM's name */
	uint32_t slice_us;        /* [trefoil] slice_us: 100 to 100000, default 5000 */
	bool debug;               /* [trefoil] log = debug */
	bool poweroff;            /* [trefoil] poweroff: power the machine off when the last VM has ended (default off) */
};

struct config_report {
	void *ctx;
	/* One error: 1-based line (0: the file as a whole), the key ("" if none) and what was expected. */
	void (*error)(void *ctx, unsigned line, const char *vm, const char *key, const char *expected);
};

/*
 * Parses text[0..len). A VM with an error is reported and left out, the others stay; so are duplicate names and
 * unknown keys. TF_EINVAL if no VM is left, TF_OK otherwise.
 */
__must_check enum tf_err config_parse(const char *text, size_t len, struct config *out, const struct config_report *report);
