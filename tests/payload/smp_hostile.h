/* What the parts of the payload `smp_hostile` share. */
#pragma once
#include "secret.h"
#include "smp.h"

/* An attack: the word of the command line that starts it. It ends by itself, or with `rounds=`. */
struct smp_attack { const char *name; void (*run)(void); };
#define ATTACKS_END { NULL, NULL }
extern const struct smp_attack smp_hostile_ipis[], smp_hostile_memory[], smp_hostile_devices[];

typedef void (*strike_fn)(unsigned cpu, uint64_t *random);
/* Every CPU strikes, `rounds=` times or for ever. */
void everywhere(strike_fn strike);
/* The boot CPU alone. */
void alone(strike_fn strike);
/* An answer to interrupts of this vector: the end of them. */
void answer(unsigned vector);
