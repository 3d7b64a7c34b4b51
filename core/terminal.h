/* The console multiplexer (core/console.c) on the physical serial line, with the VMs behind it. */
#pragma once
#include "core/config.h"
#include "guest/vm.h"

/* Takes over the line at `port`: log lines go through the multiplexer from now on. False: no UART is there. */
bool terminal_init(const struct config *cfg, uint16_t port);
/* The handler of the UART's interrupt. */
void terminal_interrupt(void *ctx);
/* Heals a lost interrupt: output goes on. To be called now and then. */
void terminal_poll(void);
/* Turns the UART's interrupts on; until then terminal_drain() moves output. */
void terminal_start(void);
/* What the UART of VM number `id` writes to. */
struct chardev terminal_chardev(uint32_t id);
/* A line whose output is lost and whose room is endless: console = none. */
struct chardev terminal_nowhere(void);
/* Gives the VM (number vm->id) its console. */
void terminal_add(struct vm *vm);
/* Sends everything that is waiting, polled. */
void terminal_drain(void);
