/* What the parts of the payload `hostile` share. */
#pragma once
#include "payload.h"

/* An attack: the word of the command line that starts it. One that comes back has said how it went. */
struct attack { const char *name; void (*run)(void); };
#define ATTACKS_END { NULL, NULL }
extern const struct attack hostile_faults[], hostile_exits[], hostile_interrupts[], hostile_long[];

#define ABSENT      0xd0000000ull /* guest-physical space where no board has anything */
#define CR4_OSXSAVE BIT(18)

/* A trap hook: go on at the same instruction. */
bool again(struct frame *f);
