/* What the parts of the payload `hypercube` share. */
#pragma once
#include "payload.h"

uint64_t cube_random(void);
/* Few values that are special, or any. */
uint64_t cube_value(void);
static inline uint32_t cube_below(uint32_t n) { return (uint32_t)((cube_random() >> 32) * n >> 32); }

/* Ends are resets and power-off: commands that end this guest are given, too. */
extern bool cube_ends;
/* What may be written to an APIC: INIT would end us, too, as it leads to the reset vector, where no ROM is. */
static inline uint64_t cube_apic(uint64_t v) { return !cube_ends && (v & 0x700) == 0x500 ? v ^ 0x100 : v; }
/* Where string operations may write. */
#define SCRATCH_SIZE (2 * PAGE)
extern uint8_t cube_scratch[SCRATCH_SIZE];

/* One operation each. It may end in any exception or interrupt. */
void cube_port(void);
void cube_string(void);
void cube_mmio(void);
void cube_device(void);
void cube_msr(void);
void cube_control(void);
void cube_debug(void);
void cube_instruction(void);
