/*
 * INS and OUTS (SDM 2A, "INS", "OUTS"). A REP is done a piece at a time: as many iterations as stay inside one page,
 * then the guest runs again at the same instruction, as after an interrupt between two iterations.
 */
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/tsc.h"
#include "guest/mmio.h"
#include "guest/walk.h"
#include <tf/string.h>

#define TYPE_DATA_UP  1u /* accessed data that does not expand down */
#define TYPE_WRITABLE 2u
#define MAX_PIECE 1024 /* iterations */
#define PIECE_US  50   /* bounds the time between two looks at interrupts, however slow the device */

struct string_op {
	struct exit_io io;
	unsigned addr_size;  /* 2, 4, 8 */
	enum insn_seg seg;
	uint64_t *index;     /* RSI or RDI */
	uint64_t until;      /* TSC: the end of this piece */
	bool down;
	bool step;           /* RFLAGS.TF: a trap after each iteration */
	bool watched;        /* breakpoints are armed: perhaps a trap after each iteration, for `hits` */
	bool single;         /* one iteration, then look what comes */
	uint64_t hits;
};

static uint64_t truncate(uint64_t v, unsigned addr_size) { return addr_size == 8 ? v : v & (BIT(8 * addr_size) - 1); }

/* A register of which only the address-size part changes; a 32-bit part clears the upper half. */
static void set_part(uint64_t *reg, unsigned addr_size, uint64_t v)
{
	*reg = addr_size == 2 ? (*reg & ~0xffffull) | (uint16_t)v : truncate(v, addr_size);
}

/* Iterations that this piece may do: within RCX, within the page, within the address size. */
static uint64_t piece(const struct string_op *s, uint64_t linear, uint64_t offset, uint64_t count)
{
	uint64_t in_page = s->down ? (linear & (PAGE_SIZE - 1)) + s->io.size : PAGE_SIZE - (linear & (PAGE_SIZE - 1));
	uint64_t in_seg = s->down ? truncate(offset, s->addr_size) / s->io.size + 1 :
				    (truncate(~0ull, s->addr_size) - offset) / s->io.size + 1;

	return MAX(1ull, MIN(MIN(count, in_seg), MIN(in_page / s->io.size, (uint64_t)MAX_PIECE)));
}

/* The UART takes a run of bytes at once, and what is absent all of them. */
static uint64_t out_locked(struct vcpu *v, const struct string_op *s, const uint8_t *data, uint64_t n)
{
	struct bus *bus = &v->vm->pio;
	const struct bus_range *r = bus_look(bus, &v->ports, s->io.port, s->io.size);
	struct vuart *u = &v->vm->board.uart;

	if (!r) {
		__atomic_fetch_add(&bus->absent, n, __ATOMIC_RELAXED);
		return n;
	}
	if (s->io.size == 1 && !s->down && r->dev == u && s->io.port == r->base)
		return vuart_write_many(u, data, n);
	for (uint64_t i = 0; i < n; i++) {
		uint64_t at = s->down ? n - 1 - i : i;
		struct dev_access a = { .offset = s->io.port - r->base, .size = s->io.size, .write = true };

		memcpy(&a.value, data + at * s->io.size, s->io.size);
		r->fn(r->dev, &a);
		if (v->vm->state != VM_RUNNING || rdtsc() >= s->until)
			return i + 1;
	}
	return n;
}

static uint64_t out_run(struct vcpu *v, const struct string_op *s, const uint8_t *data, uint64_t n)
{
	spin_lock(&v->vm->lock);
	n = out_locked(v, s, data, n);
	spin_unlock(&v->vm->lock);
	return n;
}

static uint64_t in_locked(struct vcpu *v, const struct string_op *s, uint8_t *data, uint64_t n)
{
	const struct bus_range *r = bus_look(&v->vm->pio, &v->ports, s->io.port, s->io.size);

	if (!r) {
		__atomic_fetch_add(&v->vm->pio.absent, n, __ATOMIC_RELAXED);
		memset(data, 0xff, n * s->io.size);
		return n;
	}
	for (uint64_t i = 0; i < n; i++) {
		uint64_t at = s->down ? n - 1 - i : i;
		struct dev_access a = { .offset = s->io.port - r->base, .size = s->io.size };

		r->fn(r->dev, &a);
		memcpy(data + at * s->io.size, &a.value, s->io.size);
		if (rdtsc() >= s->until)
			return i + 1;
	}
	return n;
}

static uint64_t in_run(struct vcpu *v, const struct string_op *s, uint8_t *data, uint64_t n)
{
	spin_lock(&v->vm->lock);
	n = in_locked(v, s, data, n);
	spin_unlock(&v->vm->lock);
	return n;
}

static enum tf_err translate(struct vcpu *v, const struct string_op *s, uint64_t linear, gpa_t *gpa, enum action *act)
{
	uint32_t error;

	if (walk_linear(v, linear, s->io.in ? ACCESS_WRITE : 0, gpa, &error) == TF_OK)
		return TF_OK;
	*act = vcpu_page_fault(v, linear, error);
	return TF_EFAULT;
}

/* One element between the port and memory that crosses a page, or belongs to a device. */
static void element(struct vcpu *v, const struct string_op *s, const gpa_t gpa[2], const uint8_t len[2])
{
	uint64_t value = 0, part;

	if (s->io.in)
		(void)in_run(v, s, (uint8_t *)&value, 1);
	for (unsigned i = 0, shift = 0; i < 2 && len[i]; shift += 8 * len[i++]) {
		part = value >> shift & dev_ones(len[i]);
		mmio_access(v, gpa[i], len[i], s->io.in, &part);
		if (!s->io.in)
			value |= part << shift;
	}
	if (!s->io.in)
		(void)out_run(v, s, (const uint8_t *)&value, 1);
}

/* One element that crosses a page. Both pages are looked up before the port is touched: an IN cannot be taken back. */
static enum tf_err crossing(struct vcpu *v, const struct string_op *s, uint64_t linear, enum action *act)
{
	uint64_t len = PAGE_SIZE - (linear & (PAGE_SIZE - 1)), rest = s->io.size - len, next = linear + len;
	gpa_t low, high;
	enum tf_err e = translate(v, s, linear, &low, act);

	if (e == TF_OK)
		e = translate(v, s, vcpu_code64() ? next : next & UINT32_MAX, &high, act);
	if (e)
		return e;
	element(v, s, (const gpa_t[]){ low, high }, (const uint8_t[]){ (uint8_t)len, (uint8_t)rest });
	return TF_OK;
}

static enum tf_err transfer(struct vcpu *v, struct string_op *s, uint64_t offset, uint64_t count, uint64_t *done,
			    enum action *act)
{
	uint64_t linear, n = 1;
	gpa_t gpa;
	enum tf_err e = walk_segment(v, s->seg, offset, s->io.size, s->io.in, &linear, act);

	if (e)
		return e;
	if (unlikely(s->watched))
		s->hits = breakpoint_data(linear, s->io.size, s->io.in) | breakpoint_port(s->io.port, s->io.size);
	if ((linear & (PAGE_SIZE - 1)) + s->io.size > PAGE_SIZE) {
		*done = 1;
		return crossing(v, s, linear, act);
	}
	if (!s->single)
		n = piece(s, linear, offset, count);
	if (!vcpu_code64() && n > 1) { /* all of the piece must be inside the limit; only plain data is looked at for it */
		uint64_t last = s->down ? 0 : offset + n * s->io.size - 1;
		unsigned type = AR_TYPE(vmcs_read(VMCS_GUEST_AR(s->seg)));

		if ((type & ~TYPE_WRITABLE) != TYPE_DATA_UP || last > vmcs_read(VMCS_GUEST_LIMIT(s->seg)))
			n = 1;
	}
	e = translate(v, s, linear, &gpa, act);
	if (e)
		return e;
	uint64_t bytes = n * s->io.size;
	uint64_t first = s->down ? gpa.v - (bytes - s->io.size) : gpa.v;
	uint8_t *ram = mem_at(&v->vm->mem, GPA(first), bytes);
	if (!ram) { /* a device's memory: one element, as it may answer each time something else */
		*done = 1;
		element(v, s, (const gpa_t[]){ gpa, gpa }, (const uint8_t[]){ s->io.size, 0 });
		return TF_OK;
	}
	*done = s->io.in ? in_run(v, s, ram, n) : out_run(v, s, ram, n);
	return TF_OK;
}

enum action exit_string_port(struct vcpu *v, struct exit_io io)
{
	uint64_t *g = v->vmx.gpr;
	uint32_t info = vmcs_read(VMCS_EXIT_INSN_INFO);
	uint64_t rflags = vmcs_read(VMCS_GUEST_RFLAGS);
	struct string_op s = { .io = io, .index = io.in ? &g[RDI] : &g[RSI], .down = rflags & RFLAGS_DF,
			       .step = rflags & RFLAGS_TF, .watched = breakpoints_armed() };

	s.single = s.step || s.watched || vcpu_in_shadow();
	if (!vmx_caps.io_insn_info) {
		vm_stop_report(v, VM_STOP_ERROR, "INS or OUTS on a CPU that does not describe it (IA32_VMX_BASIC[54])");
		return ACT_STOP;
	}
	s.addr_size = 2u << (info >> 7 & 3); /* SDM 3C, "VM-Exit Instruction Information for INS and OUTS" */
	s.seg = io.in ? SEG_ES : (enum insn_seg)(info >> 15 & 7);
	uint64_t count = io.rep ? truncate(g[RCX], s.addr_size) : 1, done = 0;
	if (count == 0)
		return ACT_NEXT;
	s.until = io.rep ? rdtsc() + tsc_from_us(PIECE_US) : 0;
	enum action act = ACT_RETRY;
	enum tf_err e = transfer(v, &s, truncate(*s.index, s.addr_size), count, &done, &act);
	if (e == TF_EFAULT)
		return act;
	uint64_t bytes = done * io.size;
	set_part(s.index, s.addr_size, s.down ? *s.index - bytes : *s.index + bytes);
	if (io.rep)
		set_part(&g[RCX], s.addr_size, g[RCX] - done);
	if (v->vm->state != VM_RUNNING)
		return ACT_STOP;
	breakpoint_pend(s.hits);
	if (!io.rep || count == done)
		return ACT_NEXT;
	vcpu_iterated(s.step);
	return ACT_RETRY;
}
