/* Port I/O: single accesses here, strings in string_io.c. */
#include "guest/exit.h"

static void set_rax(uint64_t *rax, uint8_t size, uint64_t value)
{
	if (size == 4)
		*rax = (uint32_t)value;
	else if (size == 2)
		*rax = (*rax & ~0xffffull) | (uint16_t)value;
	else
		*rax = (*rax & ~0xffull) | (uint8_t)value;
}

enum action exit_port(struct vcpu *v)
{
	struct exit_io io = exit_io();
	uint64_t *rax = &v->vmx.gpr[RAX];

	if (io.string)
		return exit_string_port(v, io);
	struct dev_access a = { .offset = io.port, .size = io.size, .write = !io.in };
	if (!io.in)
		a.value = *rax & dev_ones(io.size);
	spin_lock(&v->vm->lock);
	bus_access(&v->vm->pio, &a);
	spin_unlock(&v->vm->lock);
	if (io.in)
		set_rax(rax, io.size, a.value);
	if (unlikely(breakpoints_armed()))
		breakpoint_pend(breakpoint_port(io.port, io.size));
	return v->vm->state == VM_RUNNING ? ACT_NEXT : ACT_STOP;
}
