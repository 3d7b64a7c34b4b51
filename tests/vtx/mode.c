/* Guest tables for every mode, and the registers that make them the vCPU's. */
#include "tests/vtx/machine.h"
#include <string.h>
#include <tf/assert.h>

#define AT_PDPT     0x5000u
#define AT_PD       0x6000u
#define AT_PT       0x7000u
#define AT_PD_HIGH  0x8000u /* of the fourth GiB, where the APICs are */
#define AT_PD32     0x9000u
#define AT_PT32     0xa000u
#define AT_PDPT_PAE 0xb000u
#define PTE_PWU     7ull
#define PTE_LARGE   BIT(7)
#define HIGH_LARGE  0xfec00000ull /* the page of 4 MiB that holds both APICs */

enum { AR_CODE = 0xc09b, AR_DATA = 0xc093, AR_CODE16 = 0x9b, AR_DATA16 = 0x93, AR_CODE64 = 0xa09b, AR_V86 = 0xf3,
       AR_TSS32_BUSY = 0x8b, AR_TSS32 = 0x89, AR_TSS16 = 0x81, AR_LDT = 0x82, AR_USER = 0x60 };

static void put(uint64_t at, const void *data, uint64_t len)
{
	void *p = machine_ram(at, len);

	ASSERT(p);
	memcpy(p, data, len);
}

static void put64(uint64_t at, uint64_t value) { put(at, &value, sizeof(value)); }
static void put32(uint64_t at, uint32_t value) { put(at, &value, sizeof(value)); }

static void descriptor(unsigned selector, uint32_t base, uint32_t limit, uint32_t ar)
{
	uint32_t units = ar & AR_G ? limit >> 12 : limit;

	put64(AT_GDT + (selector & ~7u), (uint64_t)(base & 0xffffff) << 16 | (uint64_t)(base >> 24) << 56 | (units & 0xffff) |
						 (uint64_t)(units >> 16) << 48 | (uint64_t)ar << 40);
}

static void fill_tables(void)
{
	descriptor(SEL_K_CODE, 0, ~0u, AR_CODE);
	descriptor(SEL_K_DATA, 0, ~0u, AR_DATA);
	descriptor(SEL_U_CODE, 0, ~0u, AR_CODE | AR_USER);
	descriptor(SEL_U_DATA, 0, ~0u, AR_DATA | AR_USER);
	descriptor(SEL_TSS_A, AT_TSS, 0x67, AR_TSS32_BUSY);
	descriptor(SEL_TSS_B, AT_TSS_B, 0x67, AR_TSS32);
	descriptor(SEL_TSS_C, AT_TSS_C, 0x2b, AR_TSS16);
	descriptor(SEL_LDT, AT_LDT, 0xff, AR_LDT);
	descriptor(SEL_CODE_64, 0, ~0u, AR_CODE64);
	for (unsigned i = 0; i < 16; i++) {
		put64(AT_PT + 8 * i, i * PAGE_SIZE | PTE_PWU);
		put32(AT_PT32 + 4 * i, (uint32_t)(i * PAGE_SIZE | PTE_PWU));
	}
	put64(AT_PML4, AT_PDPT | PTE_PWU);
	put64(AT_PDPT, AT_PD | PTE_PWU);
	put64(AT_PDPT + 8 * 3, AT_PD_HIGH | PTE_PWU);
	for (unsigned i = 0; i < 4; i++) /* all four, as PAE mode loads what is there */
		put64(AT_PDPT_PAE + 8 * i, i == 0 ? AT_PD | 1 : i == 3 ? AT_PD_HIGH | 1 : 0);
	put64(AT_PD, AT_PT | PTE_PWU);
	put64(AT_PD_HIGH + 8 * (HIGH_LARGE >> 21 & 511), HIGH_LARGE | PTE_LARGE | PTE_PWU);
	put64(AT_PD_HIGH + 8 * ((HIGH_LARGE >> 21 & 511) + 1), (HIGH_LARGE + MiB(2)) | PTE_LARGE | PTE_PWU);
	put32(AT_PD32, AT_PT32 | (uint32_t)PTE_PWU);
	put32(AT_PD32 + 4 * (HIGH_LARGE >> 22), (uint32_t)(HIGH_LARGE | PTE_LARGE | PTE_PWU));
	/* The other tasks: a 32-bit one and a 16-bit one, both runnable. */
	put32(AT_TSS_B + 0x1c, AT_PDPT_PAE);
	put32(AT_TSS_B + 0x20, AT_CODE);
	put32(AT_TSS_B + 0x24, 2);
	put32(AT_TSS_B + 0x38, AT_STACK);
	for (unsigned s = 0; s < 6; s++)
		put32(AT_TSS_B + 0x48 + 4 * s, s == SEG_CS ? SEL_K_CODE : SEL_K_DATA);
	put32(AT_TSS_C + 0x0e, 2u << 16 | (AT_CODE & 0xffff));
	put32(AT_TSS_C + 0x1a, AT_STACK);
	put32(AT_TSS_C + 0x22, (uint32_t)SEL_K_CODE << 16 | SEL_K_DATA);
	put32(AT_TSS_C + 0x26, (uint32_t)SEL_K_DATA << 16 | SEL_K_DATA);
}

static void segment(unsigned s, uint16_t sel, uint64_t base, uint32_t limit, uint32_t ar)
{
	CPU_SET(VMCS_GUEST_SEL(s), sel);
	CPU_SET(VMCS_GUEST_BASE(s), base);
	CPU_SET(VMCS_GUEST_LIMIT(s), limit);
	CPU_SET(VMCS_GUEST_AR(s), ar);
}

static void set_segments(enum machine_mode mode)
{
	bool real = mode == REAL || mode == V8086, narrow = mode == PROTECTED16;
	uint32_t code = mode == LONG ? AR_CODE64 : narrow ? AR_CODE16 : AR_CODE, data = narrow ? AR_DATA16 : AR_DATA;

	for (unsigned s = SEG_ES; s <= SEG_GS; s++) {
		if (real)
			segment(s, 0, 0, 0xffff, mode == V8086 ? AR_V86 : s == SEG_CS ? AR_CODE16 : AR_DATA16);
		else
			segment(s, s == SEG_CS ? (mode == LONG ? SEL_CODE_64 : SEL_K_CODE) : SEL_K_DATA, 0,
				narrow ? 0xffff : 0xffffffff, s == SEG_CS ? code : data);
	}
	segment(SEG_LDTR, SEL_LDT, AT_LDT, 0xff, AR_LDT);
	segment(SEG_TR, SEL_TSS_A, AT_TSS, 0x67, AR_TSS32_BUSY);
	CPU_SET(VMCS_GUEST_GDTR_BASE, AT_GDT);
	CPU_SET(VMCS_GUEST_GDTR_LIMIT, 0x7ff);
	CPU_SET(VMCS_GUEST_IDTR_BASE, AT_IDT);
	CPU_SET(VMCS_GUEST_IDTR_LIMIT, 0xfff);
}

void machine_mode(enum machine_mode mode)
{
	static const uint64_t cr3[NMODES] = { [PAGED] = AT_PD32, [V8086] = AT_PD32, [PAE] = AT_PDPT_PAE,
					      [LONG] = AT_PML4, [COMPAT] = AT_PML4 };
	bool ia32e = mode == LONG || mode == COMPAT, paging = cr3[mode] != 0;

	fill_tables();
	set_segments(mode);
	CPU_SET(VMCS_GUEST_CR3, cr3[mode]);
	CPU_SET(VMCS_GUEST_EFER, ia32e ? EFER_LME | EFER_LMA | EFER_SCE : 0);
	vcpu_enter_ia32e(ia32e);
	cr_set(machine.v, CR0_ET | CR0_NE | (mode == REAL ? 0 : CR0_PE) | (paging ? CR0_PG : 0),
	       (ia32e || mode == PAE ? CR4_PAE : 0) | (mode == PAGED || mode == V8086 ? CR4_PSE : 0));
	for (unsigned i = 0; i < 4 && mode == PAE; i++)
		CPU_SET(VMCS_GUEST_PDPTE(i), *(uint64_t *)machine_ram(AT_PDPT_PAE + 8 * i, sizeof(uint64_t)));
	CPU_SET(VMCS_GUEST_RIP, AT_CODE);
	CPU_SET(VMCS_GUEST_RSP, AT_STACK);
	CPU_SET(VMCS_GUEST_RFLAGS, RFLAGS_RSV1 | (mode == V8086 ? RFLAGS_VM : 0));
	CPU_SET(VMCS_GUEST_INTERRUPTIBILITY, 0);
	CPU_SET(VMCS_GUEST_PENDING_DEBUG, 0);
	CPU_SET(VMCS_GUEST_DR7, DR7_RESET);
}
