/* The machine's second serial port, given whole to one VM (console = com2). */
#pragma once
#include "guest/vm.h"

/* Probes the port. False: there is none. */
bool com2_init(void);
/* What the VM's UART writes to. */
struct chardev com2_chardev(void);
/* Whose UART it is; one VM only. */
void com2_connect(struct vm *vm);
/* The port's interrupt. */
void com2_interrupt(void *ctx);
/* Heals a lost interrupt: output goes on. To be called now and then. */
void com2_poll(void);
