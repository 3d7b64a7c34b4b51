/* Instructions that touch a device's registers in memory: decoded (insn.c), executed (insn_exec.c) and answered by the bus. */
#include "guest/exit.h"
#include "guest/walk.h"
#include <tf/string.h>

#define MAX_REP 256 /* iterations of a REP between two looks at interrupts */

struct mmio_ctx {
	struct vcpu *v;
	enum action act;
	/* The CPU's own translation of the access that made the exit, where it tells it: linear -> gpa. After an APIC-access
	 * exit only the offset in the page is known. */
	bool known, offset_only;
	uint64_t linear, gpa;
};

static enum tf_err env_linear(void *ctx, enum insn_seg seg, uint64_t offset, uint8_t size, bool write, uint64_t *out)
{
	struct mmio_ctx *c = ctx;

	return walk_segment(c->v, seg, offset, size, write, out, &c->act);
}

static bool hits_lapic(const struct vcpu *v, uint64_t gpa)
{
	return (gpa & ~(PAGE_SIZE - 1)) == (v->lapic.base_msr & APIC_BASE_ADDR) && vlapic_enabled(&v->lapic) &&
	       !vlapic_x2apic(&v->lapic);
}

/* A guest-physical access that is not RAM. */
static void device_access(struct vcpu *v, uint64_t gpa, struct dev_access *a)
{
	if (hits_lapic(v, gpa)) {
		a->offset = gpa & (PAGE_SIZE - 1);
		vlapic_access(&v->lapic, a);
		vcpu_request(v, REQ_EVENT);
		return;
	}
	a->offset = gpa;
	bus_access(&v->vm->mmio, a);
}

/* One part that lies inside a page. */
static enum tf_err access_page(struct mmio_ctx *c, uint64_t linear, uint8_t size, bool write, uint64_t *value)
{
	struct vcpu *v = c->v;
	struct dev_access a = { .size = size, .write = write, .value = *value };
	uint32_t error;
	gpa_t gpa;

	if (c->known && (c->offset_only ? linear & (PAGE_SIZE - 1) : linear) == c->linear) {
		gpa = GPA(c->gpa);
	} else if (walk_linear(v, linear, write ? ACCESS_WRITE : 0, &gpa, &error)) {
		c->act = vcpu_page_fault(v, linear, error);
		return TF_EFAULT;
	}
	void *ram = hits_lapic(v, gpa.v) ? NULL : mem_at(&v->vm->mem, gpa, size);
	if (!ram)
		device_access(v, gpa.v, &a);
	else if (write)
		memcpy(ram, &a.value, size);
	else
		memcpy(&a.value, ram, size);
	*value = a.value & dev_ones(size);
	return TF_OK;
}

static enum tf_err access(struct mmio_ctx *c, uint64_t linear, uint8_t size, bool write, uint64_t *value)
{
	uint64_t room = PAGE_SIZE - (linear & (PAGE_SIZE - 1));

	if (likely(size <= room))
		return access_page(c, linear, size, write, value);
	uint64_t low = *value & dev_ones((uint8_t)room), high = *value >> (8 * room);
	enum tf_err e = access_page(c, linear, (uint8_t)room, write, &low);
	if (e == TF_OK)
		e = access_page(c, linear + room, (uint8_t)(size - room), write, &high);
	*value = low | high << (8 * room);
	return e;
}

static enum tf_err env_read(void *ctx, uint64_t linear, uint8_t size, uint64_t *value)
{
	*value = 0;
	return access(ctx, linear, size, false, value);
}

static enum tf_err env_write(void *ctx, uint64_t linear, uint8_t size, uint64_t value)
{
	return access(ctx, linear, size, true, &value);
}

static enum action undecoded(struct vcpu *v)
{
	vm_stop_report(v, VM_STOP_ERROR, "an instruction that accesses a device address cannot be emulated");
	return ACT_STOP;
}

static enum action emulate(struct mmio_ctx *ctx)
{
	struct vcpu *v = ctx->v;
	uint64_t rip = vmcs_read(VMCS_GUEST_RIP), rflags = vmcs_read(VMCS_GUEST_RFLAGS), old_rip = rip, old_flags = rflags;
	uint64_t rsp = v->vmx.gpr[RSP] = vmcs_read(VMCS_GUEST_RSP);
	struct insn_env env = { .ctx = ctx, .gpr = v->vmx.gpr, .rip = &rip, .rflags = &rflags,
				.linear = env_linear, .read = env_read, .write = env_write };
	uint8_t bytes[INSN_MAX];
	size_t n = walk_fetch(v, bytes, sizeof(bytes));
	struct insn insn;
	enum tf_err e = insn_decode(bytes, n, walk_code_mode(), &insn);

	if (e == TF_ETRUNC && n < sizeof(bytes))
		return ACT_RETRY; /* the code has gone from under the guest: let the CPU find the fault */
	if (e == TF_EINVAL)
		return vcpu_ud(v);
	if (e)
		return undecoded(v);
	if (insn.op == INSN_MOVS) /* two memory operands: which of them was it? */
		ctx->known = ctx->known && !ctx->offset_only;
	bool step = rflags & RFLAGS_TF;
	e = insn_execute(&insn, &env, step ? 1 : MAX_REP);
	if (v->vmx.gpr[RSP] != rsp)
		vmcs_write(VMCS_GUEST_RSP, v->vmx.gpr[RSP]);
	if (e == TF_EFAULT)
		return ctx->act;
	if (e)
		return undecoded(v);
	if (rflags != old_flags)
		vmcs_write(VMCS_GUEST_RFLAGS, rflags);
	if (v->vm->state != VM_RUNNING)
		return ACT_STOP;
	if (rip == old_rip) {
		vcpu_iterated(step);
		return ACT_RETRY;
	}
	v->next_len = insn.len;
	return ACT_NEXT;
}

enum action mmio_emulate(struct vcpu *v)
{
	return emulate(&(struct mmio_ctx){ .v = v, .act = ACT_RETRY });
}

enum action mmio_emulate_apic(struct vcpu *v, uint32_t offset)
{
	struct mmio_ctx ctx = { .v = v, .act = ACT_RETRY, .known = true, .offset_only = true, .linear = offset,
				.gpa = APIC_DEFAULT_BASE + offset };

	return emulate(&ctx);
}

enum action mmio_emulate_at(struct vcpu *v, uint64_t linear, uint64_t gpa)
{
	struct mmio_ctx ctx = { .v = v, .act = ACT_RETRY, .known = true, .linear = linear, .gpa = gpa };

	return emulate(&ctx);
}
