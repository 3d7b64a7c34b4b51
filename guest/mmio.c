/* Instructions that touch a device's registers in memory: decoded (insn.c), executed (insn_exec.c) and answered by the bus. */
#include "guest/mmio.h"
#include "guest/walk.h"
#include <tf/string.h>

#define MAX_REP 64 /* iterations of a REP between two looks at interrupts */

struct mmio_ctx {
	struct vcpu *v;
	enum action act;
	/* The CPU's own translation of the access that made the exit, where it tells it: linear -> gpa. After an APIC-access
	 * exit only the offset in the page is known. */
	bool known, offset_only;
	uint64_t linear, gpa;
	bool watched; /* breakpoints are armed */
	uint64_t hits;
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

void mmio_device(struct vcpu *v, uint64_t gpa, struct dev_access *a)
{
	a->offset = gpa;
	if (!hits_lapic(v, gpa)) {
		vm_access(v->vm, &v->vm->mmio, &v->addresses, a);
		return;
	}
	a->offset = gpa & (PAGE_SIZE - 1);
	vlapic_access(&v->lapic, a);
	if (a->write && vlapic_write_delivers((uint32_t)a->offset))
		vcpu_request(v, REQ_EVENT);
}

/* The part of an access that lies inside one page. */
static enum tf_err translate(struct mmio_ctx *c, uint64_t linear, bool write, gpa_t *gpa)
{
	uint32_t error;

	if (c->known && (c->offset_only ? linear & (PAGE_SIZE - 1) : linear) == c->linear) {
		*gpa = GPA(c->gpa);
		return TF_OK;
	}
	if (walk_linear(c->v, linear, write ? ACCESS_WRITE : 0, gpa, &error) == TF_OK)
		return TF_OK;
	c->act = vcpu_page_fault(c->v, linear, error);
	return TF_EFAULT;
}

void mmio_access(struct vcpu *v, gpa_t gpa, uint8_t size, bool write, uint64_t *value)
{
	void *ram = hits_lapic(v, gpa.v) ? NULL : mem_at(&v->vm->mem, gpa, size);
	struct dev_access a = { .size = size, .write = write, .value = *value };

	if (!ram)
		mmio_device(v, gpa.v, &a);
	else if (write)
		memcpy(ram, &a.value, size);
	else
		memcpy(&a.value, ram, size);
	*value = a.value & dev_ones(size);
}

/* An access that crosses into the next page. Nothing is touched before both pages are known. */
static enum tf_err access_two(struct mmio_ctx *c, uint64_t linear, uint8_t size, bool write, bool check, uint64_t *value)
{
	uint8_t room = (uint8_t)(PAGE_SIZE - (linear & (PAGE_SIZE - 1)));
	uint64_t next = linear + room, low = *value & dev_ones(room), high = *value >> (8 * room);
	gpa_t first, second;
	enum tf_err e = translate(c, linear, check, &first);

	if (e == TF_OK)
		e = translate(c, vcpu_code64() ? next : (uint32_t)next, check, &second);
	if (e)
		return e;
	mmio_access(c->v, first, room, write, &low);
	mmio_access(c->v, second, (uint8_t)(size - room), write, &high);
	*value = low | high << (8 * room);
	return TF_OK;
}

/* `check`: the page must be writable, for this access or one that follows. */
static enum tf_err access(struct mmio_ctx *c, uint64_t linear, uint8_t size, bool write, bool check, uint64_t *value)
{
	gpa_t gpa;

	if (unlikely(c->watched))
		c->hits |= breakpoint_data(linear, size, write);
	if (unlikely((linear & (PAGE_SIZE - 1)) + size > PAGE_SIZE))
		return access_two(c, linear, size, write, check, value);
	enum tf_err e = translate(c, linear, check, &gpa);
	if (e == TF_OK)
		mmio_access(c->v, gpa, size, write, value);
	return e;
}

static enum tf_err env_read(void *ctx, uint64_t linear, uint8_t size, bool rmw, uint64_t *value)
{
	*value = 0;
	return access(ctx, linear, size, false, rmw, value);
}

static enum tf_err env_write(void *ctx, uint64_t linear, uint8_t size, uint64_t value)
{
	return access(ctx, linear, size, true, true, &value);
}

static bool two_operands(enum insn_op op)
{
	return op == INSN_MOVS || op == INSN_CMPS || op == INSN_PUSH || op == INSN_POP || op == INSN_CALL;
}

static uint8_t stack_size(void)
{
	return vcpu_code64() ? 8 : vmcs_read(VMCS_GUEST_AR(SEG_SS)) & AR_DB ? 4 : 2;
}

static enum action undecoded(struct vcpu *v)
{
	vm_stop_report(v, VM_STOP_ERROR, "an instruction that accesses a device address cannot be emulated");
	return ACT_STOP;
}

/* The instruction at RIP. Drivers ask in loops: the same few bytes have mostly been decoded before. */
static enum tf_err decode(struct vcpu *v, uint64_t rip, size_t *n, const struct insn **insn)
{
	struct decoded *d = mmio_decoded(v, rip);
	uint64_t bytes[2] = { 0 };
	enum insn_mode mode = walk_code_mode();

	if (!d)
		d = &mmio_decoded_set(v, rip)[v->replaced ^= 1];
	*n = walk_fetch(v, (uint8_t *)bytes, INSN_MAX);
	*insn = &d->insn;
	if (likely(d->rip == rip && d->bytes[0] == bytes[0] && d->bytes[1] == bytes[1] && d->insn.mode == mode && d->insn.len &&
		   d->insn.len <= *n))
		return TF_OK;
	*d = (struct decoded){ .rip = rip };
	memcpy(d->bytes, bytes, sizeof(bytes));
	return insn_decode((const uint8_t *)bytes, *n, mode, &d->insn);
}

/*
 * Code that cannot be fetched at `rip`: a TLB has it that the tables have not, or their walk made the exit. The CPU would
 * come back with it for ever.
 */
static enum action unfetched(struct vcpu *v, uint64_t rip)
{
	uint64_t linear = vcpu_code64() ? rip : (uint32_t)(rip + vmcs_read(VMCS_GUEST_BASE(SEG_CS)));
	uint32_t error;
	gpa_t gpa;

	return walk_linear(v, linear, ACCESS_FETCH, &gpa, &error) ? vcpu_page_fault(v, linear, error) : vcpu_ud(v);
}

static enum action emulate(struct mmio_ctx *ctx)
{
	struct vcpu *v = ctx->v;
	uint64_t rip = vmcs_read(VMCS_GUEST_RIP), rflags = vmcs_read(VMCS_GUEST_RFLAGS), old_rip = rip, old_flags = rflags;
	uint64_t rsp = v->vmx.gpr[RSP] = vmcs_read(VMCS_GUEST_RSP);
	struct insn_env env = { .ctx = ctx, .gpr = v->vmx.gpr, .rip = &rip, .rflags = &rflags,
				.linear = env_linear, .read = env_read, .write = env_write };
	const struct insn *insn;
	size_t n;
	enum tf_err e = decode(v, rip, &n, &insn);

	if (e == TF_ETRUNC)
		return unfetched(v, rip + n);
	if (e == TF_EINVAL)
		return vcpu_ud(v);
	if (e)
		return undecoded(v);
	if (unlikely(two_operands(insn->op))) { /* which of them was it, and for what? */
		ctx->known = false;
		env.stack_size = stack_size();
	}
	bool step = rflags & RFLAGS_TF;
	ctx->watched = breakpoints_armed();
	e = insn_execute(insn, &env, step || ctx->watched || vcpu_in_shadow() ? 1 : MAX_REP);
	if (v->vmx.gpr[RSP] != rsp)
		vmcs_write(VMCS_GUEST_RSP, v->vmx.gpr[RSP]);
	if (e == TF_EFAULT)
		return ctx->act;
	if (e == TF_ERANGE)
		return vcpu_fault(v, VEC_DE, 0);
	if (e)
		return undecoded(v);
	if (rflags != old_flags)
		vmcs_write(VMCS_GUEST_RFLAGS, rflags);
	if (v->vm->state != VM_RUNNING)
		return ACT_STOP;
	breakpoint_pend(ctx->hits);
	if (insn->rep && rip == old_rip) {
		vcpu_iterated(step);
		return ACT_RETRY;
	}
	if (insn->op == INSN_CALL || insn->op == INSN_JMP) /* run.c goes on from here by the instruction's length */
		vmcs_write(VMCS_GUEST_RIP, rip - insn->len);
	mmio_remember(v, old_rip);
	v->next_len = insn->len;
	return ACT_DECODED;
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
