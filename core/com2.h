/* The machine's second serial port, given whole to one VM (console = com2). */
#pragma once
#include "guest/vm.h"

/* Probes the port, after the console has found its own. False: none is free for a VM. */
bool com2_init(void);
/* Why there is none for a VM; NULL if there is. */
const char *com2_missing(void);
/* What the VM's UART writes to. */
struct chardev com2_chardev(void);
/* Whose UART it is, one VM only: what comes in goes there. */
void com2_connect(struct vm *vm);
/* REQ_CONSOLE of its VM, whose lock is held: it gets what has come in. */
void com2_serve(struct vm *vm);
/* The port's interrupt. */
void com2_interrupt(void *ctx);
/* Serves a port whose interrupt does not come. Returns the TSC time of the next look that is needed. */
uint64_t com2_poll(void);
