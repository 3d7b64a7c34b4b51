/* Port I/O: single accesses here, strings in string_io.c. */
#include "guest/exit.h"

static inline void set_rax(uint64_t *rax, uint64_t q, uint64_t value)
{
	if (EXIT_IO_SIZE(q) == 1)
		*(uint8_t *)rax = (uint8_t)value;
	else if (EXIT_IO_SIZE(q) == 2)
		*(uint16_t *)rax = (uint16_t)value;
	else
		*rax = (uint32_t)value;
}

static inline void access(struct vm *vm, const struct bus_range *r, struct dev_access *a)
{
	spin_lock(&vm->lock);
	a->offset -= r->base;
	r->fn(r->dev, a);
	spin_unlock(&vm->lock);
}

void vm_access(struct vm *vm, struct bus *b, struct bus_hints *h, struct dev_access *a)
{
	const struct bus_range *r = bus_look(b, h, a->offset, a->size);

	if (r)
		access(vm, r, a);
	else
		bus_absent(b, a);
}

static __attribute__((noinline, cold)) enum action stopped(void) { return ACT_STOP; }

static __attribute__((noinline, cold)) void watch_port(void)
{
	struct exit_io io = exit_io(vmcs_read(VMCS_EXIT_QUALIFICATION));

	breakpoint_pend(breakpoint_port(io.port, io.size));
}

enum action exit_port(struct vcpu *v)
{
	uint64_t q = vmcs_read(VMCS_EXIT_QUALIFICATION), *rax = &v->vmx.gpr[RAX];
	struct vm *vm = v->vm;

	if (q & EXIT_IO_STRING)
		return exit_string_port(v, exit_io(q));
	const struct bus_range *r = bus_look(&vm->pio, &v->ports, EXIT_IO_PORT(q), EXIT_IO_SIZE(q));
	if (r) {
		struct dev_access a = { .offset = EXIT_IO_PORT(q), .size = (uint8_t)EXIT_IO_SIZE(q), .write = !(q & EXIT_IO_IN),
					.value = (uint32_t)*rax };

		access(vm, r, &a);
		if (q & EXIT_IO_IN)
			set_rax(rax, q, a.value);
	} else {
		bus_count_absent(&vm->pio);
		if (q & EXIT_IO_IN)
			set_rax(rax, q, ~0ull);
	}
	if (unlikely(breakpoints_armed()))
		watch_port();
	return likely(vm->state == VM_RUNNING) ? ACT_NEXT : stopped();
}
