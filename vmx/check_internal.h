/* Shared by vmx/check*.c. */
#pragma once
#include "vmx/check.h"
#include "vmx/fields.h"

struct check {
	const struct vmcs_view *view;
	struct vmx_broken *out;
	const char *section;                     /* being checked */
	uint32_t pin, proc, proc2, exit, entry;  /* the controls; proc2, proc3 and exit2 are 0 unless they are activated */
	uint64_t proc3, exit2;
	bool ia32e, unrestricted;                /* guest */
};

/* A group of rules of one section: false if one is broken, which is then in c->out. */
bool check_execution_controls(struct check *c);
bool check_exit_controls(struct check *c);
bool check_entry_controls(struct check *c);
bool check_host_registers(struct check *c);
bool check_host_tables(struct check *c);
bool check_address_space(struct check *c);
bool check_guest_registers(struct check *c);
bool check_guest_segments(struct check *c);
bool check_guest_tables(struct check *c);
bool check_guest_rip(struct check *c);
bool check_guest_state(struct check *c);
bool check_guest_pdptes(struct check *c);

/* Always false. */
bool check_broken(struct check *c, uint32_t field, const char *rule);

#define CR3_LAM (3ull << 61) /* LAM_U57, LAM_U48 */

#define GET(f) (c->view->read(c->view->ctx, (f).enc))
/* `holds`, or the function ends with the broken rule; `f` is the field to show. */
#define RULE(holds, f, rule)                                  \
	do {                                                  \
		if (!(holds))                                 \
			return check_broken(c, (f).enc, rule); \
	} while (0)

static inline bool beyond_phys(const struct check *c, uint64_t v)
{
	return c->view->phys_bits < 64 && v >> c->view->phys_bits;
}

/* LAM's two bits are CR3's own where the CPU has it. */
static inline bool cr3_fits(const struct check *c, uint64_t cr3)
{
	return !beyond_phys(c, c->view->lam ? cr3 & ~CR3_LAM : cr3);
}

static inline bool aligned_address(const struct check *c, uint64_t v, uint64_t align)
{
	return IS_ALIGNED(v, align) && !beyond_phys(c, v);
}

static inline bool canonical(const struct check *c, uint64_t v)
{
	unsigned high = 64 - c->view->linear_bits;

	return (uint64_t)((int64_t)(v << high) >> high) == v;
}

/* SDM 3C, "VMX-Fixed Bits in CR0", "VMX-Fixed Bits in CR4"; and the allowed settings of controls, which work alike. */
static inline bool fits(uint64_t v, uint64_t must, uint64_t may) { return (v & must) == must && !(v & ~may); }

/* IA32_S_CET: canonical base, reserved bits clear, not suppressed and tracking at once. */
bool check_s_cet(const struct check *c, uint64_t v);
#define EFER_KNOWN    (EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE)
#define INTR_TYPE_OF(info) ((uint32_t)(info) & INTR_TYPE_MASK)
