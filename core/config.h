/* trefoil.conf: reading and checking. Pure. The reference for users is docs/trefoil.conf.md. */
#pragma once
#include "guest/vmconfig.h"
#include <tf/err.h>

#define CONFIG_MAX_VMS 128

enum config_serial { CONFIG_SERIAL_AUTO, CONFIG_SERIAL_NONE, CONFIG_SERIAL_PORT };

struct config {
	struct vm_config vms[CONFIG_MAX_VMS];
	uint32_t nvms;
	char focus[VM_NAME_MAX];  /* [trefoil] focus: whose console is shown first; empty: the first VM; "log": the log */
	bool show_all;            /* [trefoil] show_all: unfocused consoles are shown too, prefixed by the VM's name */
	uint32_t slice_us;        /* [trefoil] slice_us: 100 to 100000, default 5000 */
	uint32_t host_cpus;       /* [trefoil] host_cpus: how many of the machine's CPUs to use, 1 to 256; 0: all */
	bool debug;               /* [trefoil] log = debug */
	bool mitigations;         /* [trefoil] mitigations: auto (true, the default) or off */
#ifdef TF_TEST_HOOKS
	uint32_t mitigation_flags; /* MITIGATE_* to be done, and no others; 0: as decided */
#endif
	uint32_t disable;         /* [trefoil] disable: CPU features not to be used, bits of enum vmx_feature */
	enum config_serial serial; /* [trefoil] serial: which line carries the console */
	uint16_t serial_port;     /* CONFIG_SERIAL_PORT: its I/O address */
	bool screen;              /* [trefoil] screen: on (default) or off */
	uint32_t trace_kib;       /* [trefoil] trace: KiB of trace ring for each CPU, 0 (default): none */
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
