/*
 * The second half of a hardware task switch: the new task's registers. All selectors are loaded before the first
 * descriptor is looked at, and a fault finds the segments that were not reached unusable (SDM 3A, "Task Switching";
 * the order of the checks is the CPU's own choice there). Until SS is good the CPL is 3, so that a handler gets a stack
 * of its own from the new TSS.
 */
#include "guest/task_switch.h"
#include "guest/walk.h"

#define TYPE_LDT         2u
#define TYPE_CODE        8u
#define TYPE_CONFORMING  4u /* of code */
#define TYPE_RW          2u /* data: writable, code: readable */
#define AR_V86           0xf3u
#define AR_CS_UNLOADED   0x9fu /* conforming, DPL 0: fits every CPL and RPL */
#define AR_OF_DPL(dpl)   ((uint32_t)(dpl) << 5)
#define USER             3u

static bool refuse(struct task_switch *t, enum x86_vector vec, uint16_t selector)
{
	t->act = task_fault(t, vec, selector);
	return false;
}

/* Selectors only. VM entry wants a CS that can be run and gets its CPL from SS. */
static void set_unloaded(struct task_switch *t, unsigned cpl)
{
	for (unsigned s = SEG_ES; s <= SEG_GS; s++) {
		uint32_t ar = s == SEG_CS ? AR_CS_UNLOADED : (uint32_t)AR_UNUSABLE | (s == SEG_SS ? AR_OF_DPL(cpl) : 0);

		vcpu_set_segment(s, t->state.sel[s], 0, 0, ar);
	}
}

static void set_v86(struct task_switch *t)
{
	for (unsigned s = SEG_ES; s <= SEG_GS; s++)
		vcpu_set_segment(s, t->state.sel[s], (uint64_t)t->state.sel[s] << 4, 0xffff, AR_V86);
}

/* Where the descriptor of a selector is; false: behind the end of its table. */
static bool find_descriptor(uint16_t sel, uint64_t *linear)
{
	bool local = SELECTOR_TI(sel);
	uint64_t base = local ? vmcs_read(VMCS_GUEST_BASE(SEG_LDTR)) : vmcs_read(VMCS_GUEST_GDTR_BASE);
	uint32_t limit = local ? vmcs_read(VMCS_GUEST_LIMIT(SEG_LDTR)) : vmcs_read(VMCS_GUEST_GDTR_LIMIT);

	*linear = base + SELECTOR_OFFSET(sel);
	return SELECTOR_OFFSET(sel) + 7u <= limit && !(local && (vmcs_read(VMCS_GUEST_AR(SEG_LDTR)) & AR_UNUSABLE));
}

static bool fetch(struct task_switch *t, uint16_t sel, uint64_t *linear, uint64_t *raw)
{
	if (!find_descriptor(sel, linear))
		return refuse(t, VEC_TS, sel);
	return task_copy(t, *linear, raw, sizeof(*raw), 0);
}

/* A checked code or data segment; the load sets the accessed bit. */
static bool accept(struct task_switch *t, unsigned s, uint64_t linear, uint64_t raw)
{
	if (!(raw & DESC_ACCESSED)) {
		raw |= DESC_ACCESSED;
		uint8_t access = (uint8_t)desc_ar(raw);
		if (!task_copy(t, linear + DESC_ACCESS_BYTE, &access, sizeof(access), ACCESS_WRITE))
			return false;
	}
	vcpu_set_segment(s, t->state.sel[s], desc_base(raw), desc_limit(raw), desc_ar(raw));
	return true;
}

static bool load_ldt(struct task_switch *t)
{
	uint16_t sel = t->state.ldt;
	uint64_t linear, raw;

	vcpu_set_segment(SEG_LDTR, sel, 0, 0, (uint32_t)AR_UNUSABLE);
	if (SELECTOR_TI(sel))
		return refuse(t, VEC_TS, sel);
	if (SELECTOR_NULL(sel))
		return true;
	if (!fetch(t, sel, &linear, &raw))
		return false;
	uint32_t ar = desc_ar(raw);
	if ((ar & AR_S) || AR_TYPE(ar) != TYPE_LDT || !(ar & AR_P))
		return refuse(t, VEC_TS, sel);
	vcpu_set_segment(SEG_LDTR, sel, desc_base(raw), desc_limit(raw), ar);
	return true;
}

static bool load_ss(struct task_switch *t)
{
	uint16_t sel = t->state.sel[SEG_SS];
	unsigned cpl = SELECTOR_RPL(t->state.sel[SEG_CS]);
	uint64_t linear, raw;

	if (SELECTOR_NULL(sel))
		return refuse(t, VEC_TS, sel);
	if (!fetch(t, sel, &linear, &raw))
		return false;
	uint32_t ar = desc_ar(raw);
	if (!(ar & AR_S) || (AR_TYPE(ar) & TYPE_CODE) || !(AR_TYPE(ar) & TYPE_RW))
		return refuse(t, VEC_TS, sel);
	if (!(ar & AR_P))
		return refuse(t, VEC_SS, sel);
	if (AR_DPL(ar) != cpl || AR_DPL(ar) != SELECTOR_RPL(sel))
		return refuse(t, VEC_TS, sel);
	return accept(t, SEG_SS, linear, raw);
}

static bool load_data(struct task_switch *t, unsigned s)
{
	uint16_t sel = t->state.sel[s];
	unsigned cpl = SELECTOR_RPL(t->state.sel[SEG_CS]);
	uint64_t linear, raw;

	if (SELECTOR_NULL(sel))
		return true;
	if (!fetch(t, sel, &linear, &raw))
		return false;
	uint32_t ar = desc_ar(raw);
	bool code = AR_TYPE(ar) & TYPE_CODE, conforming = code && (AR_TYPE(ar) & TYPE_CONFORMING);
	if (!(ar & AR_S) || (code && !(AR_TYPE(ar) & TYPE_RW)))
		return refuse(t, VEC_TS, sel);
	if (!conforming && (SELECTOR_RPL(sel) > AR_DPL(ar) || cpl > AR_DPL(ar)))
		return refuse(t, VEC_TS, sel);
	if (!(ar & AR_P))
		return refuse(t, VEC_NP, sel);
	return accept(t, s, linear, raw);
}

static bool load_cs(struct task_switch *t)
{
	uint16_t sel = t->state.sel[SEG_CS];
	uint64_t linear, raw;

	if (SELECTOR_NULL(sel))
		return refuse(t, VEC_TS, sel);
	if (!fetch(t, sel, &linear, &raw))
		return false;
	uint32_t ar = desc_ar(raw);
	bool conforming = AR_TYPE(ar) & TYPE_CONFORMING;
	if (!(ar & AR_S) || !(AR_TYPE(ar) & TYPE_CODE) ||
	    (conforming ? AR_DPL(ar) > SELECTOR_RPL(sel) : AR_DPL(ar) != SELECTOR_RPL(sel)))
		return refuse(t, VEC_TS, sel);
	if (!(ar & AR_P))
		return refuse(t, VEC_NP, sel);
	return accept(t, SEG_CS, linear, raw);
}

/* A switch to the same CR3 keeps translations and PDPTEs (SDM 3A, "Operations that Invalidate TLBs"). */
static bool load_cr3(struct task_switch *t)
{
	if (!t->new.wide || !(vmcs_read(VMCS_GUEST_CR0) & CR0_PG) || t->state.cr3 == vmcs_read(VMCS_GUEST_CR3))
		return true;
	if (cr3_set(t->v, t->state.cr3, true))
		return true;
	t->act = vcpu_fault(t->v, VEC_GP, t->external ? ERROR_EXT : 0);
	return false;
}

bool task_load(struct task_switch *t)
{
	static const enum insn_seg data[] = { SEG_DS, SEG_ES, SEG_FS, SEG_GS };
	bool v86 = t->state.eflags & RFLAGS_VM;

	vmcs_write(VMCS_GUEST_RIP, t->state.eip);
	vmcs_write(VMCS_GUEST_RFLAGS, t->state.eflags);
	vmcs_write(VMCS_GUEST_RSP, t->state.gpr[RSP]);
	for (unsigned r = RAX; r <= RDI; r++)
		t->v->vmx.gpr[r] = t->state.gpr[r];
	vcpu_set_segment(SEG_LDTR, t->state.ldt, 0, 0, (uint32_t)AR_UNUSABLE);
	if (v86)
		set_v86(t);
	else
		set_unloaded(t, SELECTOR_RPL(t->state.sel[SEG_CS]));
	if (!load_cr3(t))
		return false;
	if (!v86)
		set_unloaded(t, USER);
	if (!load_ldt(t))
		return false;
	if (v86)
		return true;
	if (!load_ss(t))
		return false;
	for (unsigned i = 0; i < ARRAY_SIZE(data); i++)
		if (!load_data(t, data[i]))
			return false;
	return load_cs(t);
}
