/* The record of traps and interrupts of the payloads about their order. */
#include "steps.h"

struct step_event step_events[MAX_EVENTS];
unsigned step_count, step_limit;
uint64_t step_base;

static void record(struct frame *f, uint32_t dr6)
{
	if (step_count < MAX_EVENTS)
		step_events[step_count] = (struct step_event){ (uint8_t)f->vector, dr6, f->rip };
	step_count++;
}

static bool on_trap(struct frame *f)
{
	if (f->vector == VEC_NMI) {
		record(f, 0);
		return true;
	}
	if (f->vector != VEC_DB)
		return false;
	record(f, rddr6() & 0xe00f);
	wrdr6(DR6_CLEAR);
	if (step_limit && step_count >= step_limit)
		f->rflags &= ~RF_TF;
	if (f->rip == rddr0()) /* on behind an instruction breakpoint */
		f->rflags |= RF_RF;
	return true;
}

static void on_irq(struct frame *f)
{
	record(f, 0);
	lapic_write(LAPIC_EOI, 0);
}

void steps_init(void)
{
	irq_init();
	irq_set(VECTOR, on_irq);
	trap_hook = on_trap;
	wrdr6(DR6_CLEAR);
	wrdr7(0x400);
}

void steps_print(const char *name)
{
	uint64_t dr7 = rddr7();

	wrdr7(0x400);
	print("%s:", name);
	for (unsigned i = 0; i < step_count && i < MAX_EVENTS; i++) {
		print(" %x%s%lx", step_events[i].vector, "+", step_events[i].rip - step_base);
		if (step_events[i].vector == VEC_DB)
			print("/%x", step_events[i].dr6);
	}
	if (step_count > MAX_EVENTS)
		print(" and %u more", step_count - MAX_EVENTS);
	print("\n");
	step_count = 0;
	wrdr7(dr7);
}
