/* Host interrupt vectors and their handlers. Interrupts arrive in the idle HLT, or as VM exits (acknowledge on exit). */
#pragma once
#include <tf/err.h>

#define IRQ_VECTOR_FIRST    0x30
#define IRQ_VECTOR_TIMER    0xf0 /* local APIC timer */
#define IRQ_VECTOR_MAILBOX  0xf1 /* cross-CPU work */
#define IRQ_VECTOR_KICK     0xf2 /* look again: core/sched.c */
#define IRQ_VECTOR_POSTED   0xf3 /* posted interrupts of the running vCPU */
#define IRQ_VECTOR_ERROR    0xfe
#define IRQ_VECTOR_SPURIOUS 0xff

typedef void (*irq_fn)(void *ctx);

/* Global table; registration happens at start-up on the boot CPU only. */
void irq_register(uint8_t vector, irq_fn fn, void *ctx);
/* A free vector between IRQ_VECTOR_FIRST and IRQ_VECTOR_TIMER; TF_ENOMEM. */
__must_check enum tf_err irq_alloc_vector(uint8_t *vector);
/* Runs the handler and gives the EOI. Called with interrupts off, by the IDT stubs and for external-interrupt exits. */
void irq_dispatch(uint8_t vector);
#ifdef TF_TEST_HOOKS
/* Is this interrupt to go by unnoticed? tests/hooks/faults.c */
bool test_hook_interrupt_lost(uint8_t vector);
#endif
