/*
 * Hardware task switches: VMX operation has none, so each one exits before it has changed anything (SDM 3C, "Treatment
 * of Task Switches") and is done here (SDM 3A, "Task Switching"). Up to commit() a fault belongs to the old task, which
 * is unchanged then; after it to the new one (task_load.c).
 */
#include "guest/task_switch.h"
#include "guest/walk.h"
#include <tf/string.h>

#define QUAL_SOURCE(q)   ((enum task_source)((q) >> 30 & 3))
#define TSS_LIMIT16      0x2b
#define TSS_LIMIT32      0x67
#define TSS_SAVE_LIMIT16 0x29 /* what is needed of the old one */
#define TSS_SAVE_LIMIT32 0x5f
#define TSS_CR3          0x1c
#define TSS_T            0x64
#define EFLAGS_VALID     0x3f7fd5u
#define DR7_LOCAL        0x155ull /* L0 to L3, LE */
#define DR6_BT           BIT(15)
#define UPPER16          0xffff0000u /* what a 16-bit TSS leaves in the upper halves */

/*
 * The part of a TSS that a switch saves and loads, as slots of 4 or 2 bytes: EIP, EFLAGS, eight registers, the segment
 * registers in the order of the VMCS fields (a 16-bit TSS ends at DS), LDTR.
 */
enum { SLOT_IP, SLOT_FLAGS, SLOT_GPR, SLOT_SEG = SLOT_GPR + 8 };
static unsigned slot_size(bool wide) { return wide ? 4 : 2; }
static unsigned slot_at(bool wide, unsigned slot) { return (wide ? 0x20 : 14) + slot * slot_size(wide); }
static unsigned segments(bool wide) { return wide ? 6 : 4; }
/* Without the upper half of the last selector, which is not written. */
static unsigned save_len(bool wide) { return slot_at(wide, SLOT_SEG + segments(wide) - 1) + 2 - slot_at(wide, 0); }

enum action task_fault(struct task_switch *t, enum x86_vector vec, uint16_t selector)
{
	return vcpu_fault(t->v, vec, SELECTOR_ERROR(selector) | (t->external ? ERROR_EXT : 0));
}

bool task_copy(struct task_switch *t, uint64_t linear, void *buf, uint64_t len, uint32_t access)
{
	enum tf_err e = walk_copy(t->v, (uint32_t)linear, buf, len, access | ACCESS_SYSTEM, &t->act);

	if (e == TF_ERANGE && !(access & ACCESS_WRITE))
		memset(buf, 0xff, len);
	return e != TF_EFAULT;
}

static bool probe(struct task_switch *t, uint64_t linear, uint32_t access)
{
	uint32_t error;
	gpa_t gpa;

	linear = (uint32_t)linear;
	if (walk_linear(t->v, linear, access | ACCESS_SYSTEM, &gpa, &error) == TF_OK)
		return true;
	t->act = vcpu_page_fault(t->v, linear, error);
	return false;
}

static uint32_t busy_byte(uint16_t selector)
{
	return (uint32_t)vmcs_read(VMCS_GUEST_GDTR_BASE) + SELECTOR_OFFSET(selector) + DESC_ACCESS_BYTE;
}

/* The CPU has checked the new TSS descriptor before the exit; another CPU may have written to it since. */
static bool find_new_tss(struct task_switch *t)
{
	enum x86_vector bad = t->source == TASK_IRET ? VEC_TS : VEC_GP;
	uint16_t sel = t->new.sel;
	uint64_t raw;

	if (SELECTOR_TI(sel) || SELECTOR_OFFSET(sel) + 7u > vmcs_read(VMCS_GUEST_GDTR_LIMIT)) {
		t->act = task_fault(t, bad, sel);
		return false;
	}
	if (!task_copy(t, vmcs_read(VMCS_GUEST_GDTR_BASE) + SELECTOR_OFFSET(sel), &raw, sizeof(raw), 0))
		return false;
	uint32_t ar = desc_ar(raw), type = AR_TYPE(ar) | (t->source == TASK_IRET ? 0 : TSS_BUSY);
	if ((ar & AR_S) || (type != TSS16_BUSY && type != TSS32_BUSY) ||
	    !!(AR_TYPE(ar) & TSS_BUSY) != (t->source == TASK_IRET)) {
		t->act = task_fault(t, bad, sel);
		return false;
	}
	if (!(ar & AR_P)) {
		t->act = task_fault(t, VEC_NP, sel);
		return false;
	}
	t->new.wide = type == TSS32_BUSY;
	t->new.base = desc_base(raw);
	t->new.limit = desc_limit(raw);
	t->new.ar = ar | TSS_BUSY;
	if (t->new.limit >= (t->new.wide ? TSS_LIMIT32 : TSS_LIMIT16))
		return true;
	t->act = task_fault(t, VEC_TS, sel);
	return false;
}

static bool find_old_tss(struct task_switch *t)
{
	t->old.sel = vmcs_read(VMCS_GUEST_SEL(SEG_TR));
	t->old.base = (uint32_t)vmcs_read(VMCS_GUEST_BASE(SEG_TR));
	t->old.limit = vmcs_read(VMCS_GUEST_LIMIT(SEG_TR));
	t->old.wide = AR_TYPE(vmcs_read(VMCS_GUEST_AR(SEG_TR))) == TSS32_BUSY;
	if (t->old.limit >= (t->old.wide ? TSS_SAVE_LIMIT32 : TSS_SAVE_LIMIT16))
		return true;
	t->act = task_fault(t, VEC_TS, t->old.sel);
	return false;
}

static bool nests(const struct task_switch *t) { return t->source == TASK_CALL || t->source == TASK_GATE; }
static bool leaves(const struct task_switch *t) { return t->source == TASK_JMP || t->source == TASK_IRET; }

/* Everything that the commit will touch is there: a page fault comes before the first change. */
static bool reachable(struct task_switch *t)
{
	uint32_t old = t->old.base + slot_at(t->old.wide, 0);

	return probe(t, t->new.base, 0) && probe(t, t->new.base + (t->new.wide ? TSS_LIMIT32 : TSS_LIMIT16), 0) &&
	       (!nests(t) || (probe(t, t->new.base, ACCESS_WRITE) && probe(t, t->new.base + 1, ACCESS_WRITE))) &&
	       (!leaves(t) || probe(t, busy_byte(t->old.sel), ACCESS_WRITE)) &&
	       probe(t, old, ACCESS_WRITE) && probe(t, old + save_len(t->old.wide) - 1, ACCESS_WRITE) &&
	       (t->source == TASK_IRET || probe(t, busy_byte(t->new.sel), ACCESS_WRITE));
}

static bool set_busy(struct task_switch *t, uint16_t selector, bool busy)
{
	uint8_t access;

	if (!task_copy(t, busy_byte(selector), &access, 1, 0))
		return false;
	access = busy ? access | TSS_BUSY : access & ~TSS_BUSY;
	return task_copy(t, busy_byte(selector), &access, 1, ACCESS_WRITE);
}

static bool save_old(struct task_switch *t)
{
	bool wide = t->old.wide;
	uint8_t state[64];
	uint32_t flags = (uint32_t)vmcs_read(VMCS_GUEST_RFLAGS), at = t->old.base + slot_at(wide, 0);
	uint32_t ip = (uint32_t)vmcs_read(VMCS_GUEST_RIP) + t->insn_len;
	unsigned size = slot_size(wide);

	if (t->source == TASK_IRET)
		flags &= ~(uint32_t)RFLAGS_NT;
	if (!task_copy(t, at, state, save_len(wide), 0))
		return false;
	t->v->vmx.gpr[RSP] = vmcs_read(VMCS_GUEST_RSP);
	memcpy(state + SLOT_IP * size, &ip, size);
	memcpy(state + SLOT_FLAGS * size, &flags, size);
	for (unsigned r = RAX; r <= RDI; r++)
		memcpy(state + (SLOT_GPR + r) * size, &t->v->vmx.gpr[r], size);
	for (unsigned s = 0; s < segments(wide); s++) {
		uint16_t sel = vmcs_read(VMCS_GUEST_SEL(s));

		memcpy(state + (SLOT_SEG + s) * size, &sel, sizeof(sel));
	}
	return task_copy(t, at, state, save_len(wide), ACCESS_WRITE);
}

static uint32_t slot(const uint8_t *tss, bool wide, unsigned n)
{
	uint32_t v = 0;

	memcpy(&v, tss + slot_at(wide, n), slot_size(wide));
	return v;
}

static bool read_new(struct task_switch *t)
{
	struct task_state *n = &t->state;
	uint8_t tss[TSS_LIMIT32 + 1];
	bool wide = t->new.wide;

	if (!task_copy(t, t->new.base, tss, (wide ? TSS_LIMIT32 : TSS_LIMIT16) + 1u, 0))
		return false;
	n->eip = slot(tss, wide, SLOT_IP);
	n->eflags = (slot(tss, wide, SLOT_FLAGS) & EFLAGS_VALID) | (uint32_t)RFLAGS_RSV1;
	if (nests(t))
		n->eflags |= (uint32_t)RFLAGS_NT;
	for (unsigned r = RAX; r <= RDI; r++)
		n->gpr[r] = slot(tss, wide, SLOT_GPR + r) | (wide ? 0 : UPPER16);
	for (unsigned s = 0; s < segments(wide); s++)
		n->sel[s] = (uint16_t)slot(tss, wide, SLOT_SEG + s);
	n->ldt = (uint16_t)slot(tss, wide, SLOT_SEG + segments(wide));
	if (wide) {
		memcpy(&n->cr3, tss + TSS_CR3, sizeof(n->cr3));
		n->trap = tss[TSS_T] & 1;
	}
	return true;
}

/* False: a fault after all, when another CPU changes the page tables meanwhile. */
static bool commit(struct task_switch *t)
{
	if (leaves(t) && !set_busy(t, t->old.sel, false))
		return false;
	if (!save_old(t))
		return false;
	if (nests(t) && !task_copy(t, t->new.base, &t->old.sel, sizeof(t->old.sel), ACCESS_WRITE))
		return false;
	return read_new(t) && (t->source == TASK_IRET || set_busy(t, t->new.sel, true));
}

/* The error code of the event goes on the new task's stack, as wide as its TSS. */
static bool push_error(struct task_switch *t, uint32_t error)
{
	struct vcpu *v = t->v;
	uint32_t sp = t->state.gpr[RSP], width = slot_size(t->new.wide);
	uint32_t mask = vmcs_read(VMCS_GUEST_AR(SEG_SS)) & AR_DB ? 0xffffffff : 0xffff;
	uint32_t top = (sp - width) & mask;
	uint64_t linear;

	if (walk_segment(v, SEG_SS, top, width, true, &linear, &t->act)) {
		if ((v->vmx.pending_event & INTR_VECTOR) == VEC_SS)
			v->vmx.pending_error |= ERROR_EXT;
		return false;
	}
	if (walk_copy(v, linear, &error, width, ACCESS_WRITE, &t->act) == TF_EFAULT)
		return false;
	vmcs_write(VMCS_GUEST_RSP, (sp & ~mask) | top);
	return true;
}

/* The event that went through a task gate. */
static void look_at_event(struct task_switch *t)
{
	uint32_t info = vmcs_read(VMCS_IDT_VECTORING_INFO);

	if (t->source != TASK_GATE || !(info & INTR_VALID)) {
		t->insn_len = exit_insn_len();
		return;
	}
	switch (info & INTR_TYPE_MASK) {
	case INTR_TYPE_SW:
	case INTR_TYPE_SWEXC:
		t->insn_len = exit_insn_len();
		break;
	case INTR_TYPE_PRIVSW:
		t->insn_len = exit_insn_len();
		t->external = true;
		break;
	default:
		t->external = true;
	}
	/* A fault from here on combines with it. */
	vmx_requeue_event(&t->v->vmx);
}

enum action exit_task_switch(struct vcpu *v)
{
	uint64_t qual = vmcs_read(VMCS_EXIT_QUALIFICATION);
	struct task_switch t = { .v = v, .source = QUAL_SOURCE(qual), .new.sel = (uint16_t)qual, .act = ACT_RETRY };

	look_at_event(&t);
	if (t.source == TASK_IRET) /* unblocks NMIs even if it faults */
		vmx_set_blocking(0, BLOCK_NMI);
	if (!find_new_tss(&t) || !find_old_tss(&t) || !reachable(&t) || !commit(&t))
		return t.act;

	uint32_t event = v->vmx.pending_event, error = v->vmx.pending_error;
	vcpu_set_segment(SEG_TR, t.new.sel, t.new.base, t.new.limit, t.new.ar);
	vmcs_write(VMCS_GUEST_CR0, vmcs_read(VMCS_GUEST_CR0) | CR0_TS);
	vmcs_write(VMCS_GUEST_DR7, vmcs_read(VMCS_GUEST_DR7) & ~DR7_LOCAL);
	bool nmi = (event & INTR_VALID) && (event & INTR_TYPE_MASK) == INTR_TYPE_NMI;
	vmx_set_blocking(nmi ? BLOCK_NMI : 0, BLOCK_STI | BLOCK_MOV_SS);
	vmcs_write(VMCS_GUEST_PENDING_DEBUG, 0);
	if (!task_load(&t))
		return t.act;
	if ((event & INTR_ERROR_CODE) && !push_error(&t, error))
		return t.act;
	v->vmx.pending_event = 0; /* delivered */
	v->vmx.pending_len = 0;
	return t.state.trap ? vcpu_debug_trap(v, DR6_BT) : ACT_RETRY;
}
