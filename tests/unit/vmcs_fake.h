/* A VMCS as data, in states that are valid, and tables of what breaks them: for test_vmx_check*.c. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <tf/x86.h>
#include "vmx/check.h"
#include "vmx/fields.h"

enum { ES, CS, SS, DS, FS, GS, LDTR, TR };
enum mode { REAL, PROTECTED, PAE, LONG, COMPAT, V8086, OLD, NMODES };

#define FIELDS_MAX 256
#define HIGH       BIT(46)  /* beyond physical memory */
#define NONCANON   BIT(47)  /* bits 63:47 differ */
#define EVENT(type, vector) (INTR_VALID | (type) | (vector))
#define PAGE(n)    ((n) * PAGE_SIZE)
#define MEMORY     16       /* pages */
#define VMCS_AT    PAGE(9)
#define REVISION   0x12
#define PAT_RESET  0x0007040600070406ull

struct pair { uint32_t field; uint64_t value; };

static struct vmcs {
	struct pair field[FIELDS_MAX];
	size_t n;
	uint8_t memory[MEMORY * PAGE_SIZE];
} vmcs;
static struct vmx_caps caps;

static uint64_t read_field(void *ctx, uint32_t field)
{
	const struct vmcs *m = ctx;

	for (size_t i = 0; i < m->n; i++)
		if (m->field[i].field == field)
			return m->field[i].value;
	return 0;
}

static void set(uint32_t field, uint64_t value)
{
	size_t i = 0;

	while (i < vmcs.n && vmcs.field[i].field != field)
		i++;
	assert_true(i < FIELDS_MAX);
	vmcs.field[i] = (struct pair){ field, value };
	if (i == vmcs.n)
		vmcs.n++;
}
#define SET(f, v) set((f).enc, v)

static bool read_mem(void *ctx, uint64_t addr, uint64_t *out)
{
	const struct vmcs *m = ctx;

	if (addr > sizeof(m->memory) - sizeof(*out))
		return false;
	memcpy(out, m->memory + addr, sizeof(*out));
	return true;
}

static const struct vmcs_view view = { .ctx = &vmcs, .read = read_field, .read_mem = read_mem, .caps = &caps,
				       .phys_bits = 40, .linear_bits = 48, .rtm = true, .vmcs = VMCS_AT };

/* A CPU with everything: any control may be 1, few must be. */
static void make_caps(void)
{
	caps = (struct vmx_caps){
		.revision = REVISION,
		.pin = 0xffull << 32 | 0x16, .proc = 0xfff9fffeull << 32 | 0x04006172, .proc2 = 0x07ffffffull << 32,
		.exit = 0x3fffffffull << 32 | 0x36dfb, .entry = 0x7fffffull << 32 | 0x11fb,
		.ept_vpid = EPTCAP_WALK4 | EPTCAP_WB | EPTCAP_AD, .vmfunc = 1,
		.misc = 7 << 6 | 4 << 16,
		.cr0_fixed0 = CR0_PE | CR0_NE | CR0_PG, .cr0_fixed1 = 0xffffffff,
		.cr4_fixed0 = CR4_VMXE, .cr4_fixed1 = 0x1ff7fff,
	};
}

static void segment(unsigned s, uint16_t sel, uint64_t base, uint32_t limit, uint32_t ar)
{
	SET(VMCS_GUEST_SEL(s), sel);
	SET(VMCS_GUEST_BASE(s), base);
	SET(VMCS_GUEST_LIMIT(s), limit);
	SET(VMCS_GUEST_AR(s), ar);
}

static void make_controls(void)
{
	SET(VMCS_PIN_CTL, 0x16 | PIN_EXTINT_EXIT | PIN_NMI_EXIT | PIN_VIRTUAL_NMI);
	SET(VMCS_PROC_CTL, 0x04006172 | PROC_IO_BITMAPS | PROC_MSR_BITMAPS | PROC_TPR_SHADOW | PROC_SECONDARY);
	SET(VMCS_PROC2_CTL, PROC2_EPT | PROC2_UNRESTRICTED | PROC2_VPID);
	SET(VMCS_EXIT_CTL, 0x36dfb | EXIT_HOST_64 | EXIT_ACK_INTR | EXIT_LOAD_PAT | EXIT_LOAD_EFER);
	SET(VMCS_ENTRY_CTL, 0x11fb | ENTRY_LOAD_DEBUG | ENTRY_LOAD_PAT | ENTRY_LOAD_EFER);
	SET(VMCS_VPID, 1);
	SET(VMCS_IO_BITMAP_A, PAGE(1));
	SET(VMCS_IO_BITMAP_B, PAGE(2));
	SET(VMCS_MSR_BITMAP, PAGE(3));
	SET(VMCS_VIRTUAL_APIC, PAGE(4));
	SET(VMCS_APIC_ACCESS, PAGE(5));
	SET(VMCS_EPT_POINTER, PAGE(6) | 3 << 3 | MT_WB | BIT(6));
	SET(VMCS_LINK_POINTER, ~0ull);
}

static void make_host(void)
{
	SET(VMCS_HOST_CR0, CR0_PE | CR0_NE | CR0_PG | CR0_WP);
	SET(VMCS_HOST_CR3, PAGE(7));
	SET(VMCS_HOST_CR4, CR4_VMXE | CR4_PAE);
	SET(VMCS_HOST_CS_SEL, 8);
	SET(VMCS_HOST_TR_SEL, 0x28);
	SET(VMCS_HOST_PAT, PAT_RESET);
	SET(VMCS_HOST_EFER, EFER_LME | EFER_LMA | EFER_NXE);
	SET(VMCS_HOST_RIP, 0xffffffff80001000);
	SET(VMCS_HOST_GS_BASE, 0xffff800000000000);
	SET(VMCS_HOST_FS_BASE, 0x7fffffffffff);
}

static void make_guest(enum mode mode)
{
	const uint32_t code = mode == LONG ? 0xa09b : 0xc09b;
	bool ia32e = mode == LONG || mode == COMPAT, paging = ia32e || mode == PAE || mode == V8086 || mode == OLD;

	SET(VMCS_GUEST_CR0, CR0_NE | CR0_ET | (mode == REAL ? 0 : CR0_PE) | (paging ? CR0_PG : 0));
	SET(VMCS_GUEST_CR4, CR4_VMXE | (ia32e || mode == PAE ? CR4_PAE : 0));
	SET(VMCS_GUEST_EFER, ia32e ? EFER_LME | EFER_LMA : 0);
	SET(VMCS_GUEST_PAT, PAT_RESET);
	SET(VMCS_GUEST_DR7, 0x400);
	SET(VMCS_GUEST_RFLAGS, RFLAGS_RSV1);
	SET(VMCS_GUEST_RIP, 0x1000);
	SET(VMCS_GUEST_GDTR_LIMIT, 0xffff);
	SET(VMCS_GUEST_IDTR_LIMIT, 0xfff);
	for (unsigned s = ES; s <= GS; s++)
		segment(s, s == CS ? 8 : 16, 0, 0xffffffff, s == CS ? code : 0xc093);
	segment(LDTR, 0, 0, 0, AR_UNUSABLE);
	segment(TR, 0x28, PAGE(8), 0x67, 0x8b);
	if (ia32e)
		SET(VMCS_ENTRY_CTL, read_field(&vmcs, VMCS_ENTRY_CTL.enc) | ENTRY_IA32E);
	if (mode == LONG)
		SET(VMCS_GUEST_RIP, 0xffffffff81000000);
	if (mode == REAL || mode == V8086)
		for (unsigned s = ES; s <= GS; s++)
			segment(s, 0x1234, 0x12340, 0xffff, mode == V8086 ? 0xf3 : s == CS ? 0x9b : 0x93);
	if (mode == V8086)
		SET(VMCS_GUEST_RFLAGS, RFLAGS_RSV1 | RFLAGS_VM);
	if (mode == PAE) {
		SET(VMCS_GUEST_PDPTE0, PAGE(1) | 1);
		SET(VMCS_GUEST_PDPTE1, 0x1e6); /* not present */
	}
	if (mode == OLD) /* a CPU without EPT */
		SET(VMCS_PROC2_CTL, PROC2_VPID);
}

static void make(enum mode mode)
{
	memset(&vmcs, 0, sizeof(vmcs));
	make_caps();
	make_controls();
	make_host();
	make_guest(mode);
}

static inline void assert_valid(void)
{
	struct vmx_broken b;

	if (!vmx_check(&view, &b))
		fail_msg("%s (%s), field %04x value %llx", b.rule, b.section, b.field, (unsigned long long)b.value);
}

#define F(name) (VMCS_##name.enc)
#define SEGF(what, s) (VMCS_GUEST_##what(s).enc)

#define SETS_MAX 4
struct broken_case {
	enum mode mode;
	const char *section;
	uint32_t field; /* named in the report */
	struct pair sets[SETS_MAX];
};

#define CONTROLS "VM-Execution Control Fields"
#define EXITS    "VM-Exit Control Fields"
#define ENTRIES  "VM-Entry Control Fields"
#define HOST     "Checks on Host Control Registers, MSRs, and SSP"
#define HOST_SEG "Checks on Host Segment and Descriptor-Table Registers"
#define SIZE     "Checks Related to Address-Space Size"
#define GUEST    "Checks on Guest Control Registers, Debug Registers, and MSRs"
#define SEGMENTS "Checks on Guest Segment Registers"
#define TABLES   "Checks on Guest Descriptor-Table Registers"
#define FLAGS    "Checks on Guest RIP, RFLAGS, and SSP"
#define OTHER    "Checks on Guest Non-Register State"
#define PDPTES   "Checks on Guest Page-Directory-Pointer-Table Entries"

#define PIN      0x16
#define PROC     (0x04006172 | PROC_SECONDARY)
#define PROC_TPR (PROC | PROC_TPR_SHADOW)
#define EXITCTL  (0x36dfb | EXIT_HOST_64)
#define ENTRYCTL 0x11fb
#define WITH(...) { __VA_ARGS__ }

static void fill_memory(void)
{
	const uint32_t revision = REVISION;
	const uint64_t bad_pdpte = PAGE(1) | 3;

	memcpy(vmcs.memory + VMCS_AT, &revision, sizeof(revision));
	memcpy(vmcs.memory + PAGE(11) + 16, &bad_pdpte, sizeof(bad_pdpte));
}
