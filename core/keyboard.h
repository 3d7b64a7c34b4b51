/* The machine's PS/2 keyboard, typing at the consoles. */
#pragma once
#include <tf/types.h>

/* False: there is none. */
bool keyboard_init(void);
/* The handler of its interrupt, ISA 1. */
void keyboard_interrupt(void *ctx);
/* Looks after it now and then, if only because an interrupt may be lost. Returns the TSC time of the next look. */
uint64_t keyboard_poll(void);
/* `routed`: its interrupt will come. From now on what is typed goes to the consoles. */
void keyboard_start(bool routed);

#define KEYBOARD_IRQ 1
