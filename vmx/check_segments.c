/* SDM 3C, "Checks on Guest Segment Registers". */
#include "vmx/check_internal.h"
#include <tf/x86.h>

enum { ES, CS, SS, DS, FS, GS, LDTR, TR };

#define SEL_TI         BIT(2)
#define SEL_RPL(s)     ((s) & 3)
#define AR_RESERVED    0xfffe0f00u
#define AR_V8086       0xf3u
#define V8086_LIMIT    0xffffu
#define TYPE_ACCESSED  BIT(0)
#define TYPE_READABLE  BIT(1)
#define TYPE_CODE      BIT(3)
#define TYPE_RW        3u  /* read/write data, accessed */
#define TYPE_RW_DOWN   7u
#define TYPE_LDT       2u
#define TYPE_TSS16_BUSY 3u
#define TYPE_TSS_BUSY  11u
#define TYPE_CONFORMING 12u /* code from here on */

/* One text for each register. */
#define EACH(text) ((const char *const[]){ "ES " text, "CS " text, "SS " text, "DS " text, "FS " text, "GS " text, \
					   "LDTR " text, "TR " text })

struct segments {
	uint16_t sel[8];
	uint32_t limit[8], ar[8];
	uint64_t base[8];
	bool v8086;
};

static bool usable(const struct segments *g, unsigned s) { return !(g->ar[s] & AR_UNUSABLE); }

static bool check_selectors(struct check *c, const struct segments *g)
{
	RULE(!(g->sel[TR] & SEL_TI), VMCS_GUEST_SEL(TR), "TR selector: TI is 0");
	RULE(!usable(g, LDTR) || !(g->sel[LDTR] & SEL_TI), VMCS_GUEST_SEL(LDTR), "LDTR selector: TI is 0");
	RULE(g->v8086 || c->unrestricted || SEL_RPL(g->sel[SS]) == SEL_RPL(g->sel[CS]), VMCS_GUEST_SEL(SS),
	     "SS selector: RPL is that of CS");
	return true;
}

static bool check_bases(struct check *c, const struct segments *g)
{
	for (unsigned s = ES; g->v8086 && s <= GS; s++)
		RULE(g->base[s] == (uint64_t)g->sel[s] << 4, VMCS_GUEST_BASE(s), EACH("base: 16 times the selector in virtual-8086 mode")[s]);
	RULE(canonical(c, g->base[TR]), VMCS_GUEST_BASE(TR), "TR base: canonical");
	RULE(canonical(c, g->base[FS]), VMCS_GUEST_BASE(FS), "FS base: canonical");
	RULE(canonical(c, g->base[GS]), VMCS_GUEST_BASE(GS), "GS base: canonical");
	RULE(!usable(g, LDTR) || canonical(c, g->base[LDTR]), VMCS_GUEST_BASE(LDTR), "LDTR base: canonical");
	for (unsigned s = ES; s <= DS; s++)
		RULE((s != CS && !usable(g, s)) || !(g->base[s] >> 32), VMCS_GUEST_BASE(s), EACH("base: bits 63:32 are 0")[s]);
	return true;
}

static bool check_v8086(struct check *c, const struct segments *g)
{
	for (unsigned s = ES; s <= GS; s++)
		RULE(g->limit[s] == V8086_LIMIT, VMCS_GUEST_LIMIT(s), EACH("limit: FFFFH in virtual-8086 mode")[s]);
	for (unsigned s = ES; s <= GS; s++)
		RULE(g->ar[s] == AR_V8086, VMCS_GUEST_AR(s), EACH("access rights: F3H in virtual-8086 mode")[s]);
	return true;
}

static bool check_types(struct check *c, const struct segments *g)
{
	uint64_t cs = AR_TYPE(g->ar[CS]), ss = AR_TYPE(g->ar[SS]);
	bool code = (cs & TYPE_CODE) && (cs & TYPE_ACCESSED);

	RULE(code || (c->unrestricted && cs == TYPE_RW), VMCS_GUEST_AR(CS), "CS type: accessed code");
	RULE(!usable(g, SS) || ss == TYPE_RW || ss == TYPE_RW_DOWN, VMCS_GUEST_AR(SS), "SS type: accessed read/write data");
	for (unsigned s = ES; s <= GS; s++) {
		uint64_t type = AR_TYPE(g->ar[s]);

		if (s == CS || s == SS || !usable(g, s))
			continue;
		RULE(type & TYPE_ACCESSED, VMCS_GUEST_AR(s), EACH("type: accessed")[s]);
		RULE(!(type & TYPE_CODE) || (type & TYPE_READABLE), VMCS_GUEST_AR(s), EACH("type: code is readable")[s]);
	}
	for (unsigned s = ES; s <= GS; s++)
		RULE((s != CS && !usable(g, s)) || (g->ar[s] & AR_S), VMCS_GUEST_AR(s), EACH("S: code or data")[s]);
	return true;
}

static bool check_levels(struct check *c, const struct segments *g)
{
	uint64_t type = AR_TYPE(g->ar[CS]), cs = AR_DPL(g->ar[CS]), ss = AR_DPL(g->ar[SS]);

	if (type == TYPE_RW)
		RULE(cs == 0, VMCS_GUEST_AR(CS), "CS DPL: 0 if it is a data segment");
	else if (type < TYPE_CONFORMING)
		RULE(cs == ss, VMCS_GUEST_AR(CS), "CS DPL: that of SS if it is not conforming");
	else
		RULE(cs <= ss, VMCS_GUEST_AR(CS), "CS DPL: not above that of SS if it is conforming");
	RULE(c->unrestricted || ss == SEL_RPL(g->sel[SS]), VMCS_GUEST_AR(SS), "SS DPL: the RPL of its selector");
	RULE(ss == 0 || (type != TYPE_RW && (GET(VMCS_GUEST_CR0) & CR0_PE)), VMCS_GUEST_AR(SS),
	     "SS DPL: 0 in real-address mode, or if CS is a data segment");
	for (unsigned s = ES; s <= GS; s++) {
		if (s == CS || s == SS || c->unrestricted || !usable(g, s) || AR_TYPE(g->ar[s]) >= TYPE_CONFORMING)
			continue;
		RULE(AR_DPL(g->ar[s]) >= SEL_RPL(g->sel[s]), VMCS_GUEST_AR(s), EACH("DPL: not below the RPL of its selector")[s]);
	}
	return true;
}

/* G = 0 if any of the limit's low 12 bits is 0, G = 1 if any of its high 12 bits is 1. */
static bool granularity_fits(uint32_t limit, uint32_t ar)
{
	return ar & AR_G ? (limit & 0xfff) == 0xfff : !(limit >> 20);
}

static bool check_form(struct check *c, const struct segments *g, unsigned s)
{
	RULE(g->ar[s] & AR_P, VMCS_GUEST_AR(s), EACH("P: present")[s]);
	RULE(!(g->ar[s] & AR_RESERVED), VMCS_GUEST_AR(s), EACH("access rights: reserved bits are 0")[s]);
	if (s == CS)
		RULE(!c->ia32e || !(g->ar[s] & AR_L) || !(g->ar[s] & AR_DB), VMCS_GUEST_AR(s), "CS D/B: 0 if L is 1 in IA-32e mode");
	RULE(granularity_fits(g->limit[s], g->ar[s]), VMCS_GUEST_AR(s), EACH("G: as the limit demands")[s]);
	return true;
}

static bool check_system(struct check *c, const struct segments *g)
{
	uint64_t tss = AR_TYPE(g->ar[TR]);

	RULE(tss == TYPE_TSS_BUSY || (!c->ia32e && tss == TYPE_TSS16_BUSY), VMCS_GUEST_AR(TR), "TR type: a busy TSS");
	RULE(!(g->ar[TR] & AR_S), VMCS_GUEST_AR(TR), "TR S: a system segment");
	if (!check_form(c, g, TR))
		return false;
	RULE(usable(g, TR), VMCS_GUEST_AR(TR), "TR: usable");
	if (!usable(g, LDTR))
		return true;
	RULE(AR_TYPE(g->ar[LDTR]) == TYPE_LDT, VMCS_GUEST_AR(LDTR), "LDTR type: an LDT");
	RULE(!(g->ar[LDTR] & AR_S), VMCS_GUEST_AR(LDTR), "LDTR S: a system segment");
	return check_form(c, g, LDTR);
}

bool check_guest_segments(struct check *c)
{
	struct segments g = { .v8086 = GET(VMCS_GUEST_RFLAGS) & RFLAGS_VM };

	for (unsigned s = ES; s <= TR; s++) {
		g.sel[s] = (uint16_t)GET(VMCS_GUEST_SEL(s));
		g.base[s] = GET(VMCS_GUEST_BASE(s));
		g.limit[s] = (uint32_t)GET(VMCS_GUEST_LIMIT(s));
		g.ar[s] = (uint32_t)GET(VMCS_GUEST_AR(s));
	}
	if (!check_selectors(c, &g) || !check_bases(c, &g))
		return false;
	if (g.v8086)
		return check_v8086(c, &g) && check_system(c, &g);
	if (!check_types(c, &g) || !check_levels(c, &g))
		return false;
	for (unsigned s = ES; s <= GS; s++)
		if ((s == CS || usable(&g, s)) && !check_form(c, &g, s))
			return false;
	return check_system(c, &g);
}
