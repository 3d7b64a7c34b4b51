#include "arch/x86_64/irq.h"
#include "arch/x86_64/lapic.h"
#include <tf/assert.h>

static struct { irq_fn fn; void *ctx; } handlers[256];
static uint8_t next_vector = IRQ_VECTOR_FIRST;

void irq_register(uint8_t vector, irq_fn fn, void *ctx)
{
	ASSERT(vector >= IRQ_VECTOR_FIRST && !handlers[vector].fn);
	handlers[vector].ctx = ctx;
	handlers[vector].fn = fn;
}

enum tf_err irq_alloc_vector(uint8_t *vector)
{
	if (next_vector == IRQ_VECTOR_TIMER)
		return TF_ENOMEM;
	*vector = next_vector++;
	return TF_OK;
}

void irq_dispatch(uint8_t vector)
{
#ifdef TF_TEST_HOOKS
	if (test_hook_interrupt_lost(vector)) {
		lapic_eoi();
		return;
	}
#endif
	if (likely(handlers[vector].fn)) {
		handlers[vector].fn(handlers[vector].ctx);
		lapic_eoi();
		return;
	}
	/* Neither the spurious vector nor a spurious interrupt of an 8259 is in service, so neither gets an EOI. */
	if (lapic_in_service(vector))
		lapic_eoi();
}
