/* The part of fuzz_exits.c that changes what the guest is: its registers, its memory, what is due to it. */
#pragma once
#include <string.h>
#include <tf/assert.h>
#include "tests/vtx/machine.h"

struct input { const uint8_t *data; size_t size; };

static struct input in;

static uint64_t take(unsigned bytes)
{
	uint64_t value = 0;
	size_t n = MIN((size_t)bytes, in.size);

	memcpy(&value, in.data, n);
	in.data += n;
	in.size -= n;
	return value;
}

/* Small numbers, addresses of tables and devices, and anything. */
static uint64_t take_number(void)
{
	static const uint64_t known[] = {
		0, 1, 0xffff, 0x10000, 0x7fff, 0xffffffff, 0x100000000, ~0ull, 0x7fffffffffff, 0x800000000000, 0xffff800000000000,
		AT_GDT, AT_LDT, AT_IDT, AT_TSS, AT_TSS_B, AT_TSS_C, AT_PML4, 0x9000, 0xb000, AT_CODE, AT_STACK, 0x7ffe, 0x8fff,
		0xfec00000, 0xfee00000, 0xfee000b0, 0xfee00300, 0xfee00ffe, 0xa0000, MACHINE_RAM - 1,
	};
	uint8_t how = (uint8_t)take(1);

	if (how < 0x80)
		return known[how % ARRAY_SIZE(known)] + (how >= 0x40 ? take(1) : 0);
	return take(how < 0xc0 ? 2 : how < 0xe0 ? 4 : 8);
}

static bool real_cpl0(void)
{
	return !(CPU_GET(VMCS_GUEST_RFLAGS) & RFLAGS_VM) && vcpu_cpl() == 0;
}

/* A state that the CPU could be in, or else what was before. */
static void unless_broken(const uint64_t *saved)
{
	struct vmx_broken why;

	if (!machine_entry_ok(&why))
		memcpy(machine_fields, saved, sizeof(machine_fields));
}

/* What the CPU does itself when a guest writes bits of CR0 or CR4 that are its own. */
static void write_owned(uint32_t reg, uint32_t mask, uint64_t value)
{
	uint64_t owned = ~machine_get(mask), cr0, efer = CPU_GET(VMCS_GUEST_EFER);

	machine_set(reg, (machine_get(reg) & ~owned) | (value & owned));
	cr0 = CPU_GET(VMCS_GUEST_CR0);
	efer = (efer & ~EFER_LMA) | ((efer & EFER_LME) && (cr0 & CR0_PG) ? EFER_LMA : 0);
	CPU_SET(VMCS_GUEST_EFER, efer);
	vcpu_enter_ia32e(efer & EFER_LMA);
}

static void change_field(void)
{
	static const uint32_t fields[] = {
		VMCS_GUEST_RIP.enc, VMCS_GUEST_RSP.enc, VMCS_GUEST_RFLAGS.enc, VMCS_GUEST_CR3.enc, VMCS_GUEST_DR7.enc,
		VMCS_GUEST_GDTR_BASE.enc, VMCS_GUEST_GDTR_LIMIT.enc, VMCS_GUEST_IDTR_BASE.enc, VMCS_GUEST_IDTR_LIMIT.enc,
		VMCS_GUEST_INTERRUPTIBILITY.enc, VMCS_GUEST_PENDING_DEBUG.enc, VMCS_GUEST_SYSENTER_CS.enc,
	};
	uint64_t saved[MACHINE_FIELDS];
	unsigned what = (unsigned)take(1), s = what >> 2 & 7;

	memcpy(saved, machine_fields, sizeof(saved));
	switch (what >> 5) {
	case 0:
		machine_mode(what % NMODES);
		return;
	case 1:
		write_owned(VMCS_GUEST_CR0.enc, VMCS_CR0_MASK.enc, CPU_GET(VMCS_GUEST_CR0) ^ BIT(take(1) & 31));
		break;
	case 2:
		write_owned(VMCS_GUEST_CR4.enc, VMCS_CR4_MASK.enc, CPU_GET(VMCS_GUEST_CR4) ^ BIT(take(1) & 31));
		break;
	case 3: /* a whole segment */
	case 4:
		CPU_SET(VMCS_GUEST_SEL(s), take(2));
		CPU_SET(VMCS_GUEST_BASE(s), take_number());
		CPU_SET(VMCS_GUEST_LIMIT(s), (uint32_t)take_number());
		CPU_SET(VMCS_GUEST_AR(s), (uint32_t)take(3));
		break;
	case 5: /* one bit of its access rights */
		CPU_SET(VMCS_GUEST_AR(s), CPU_GET(VMCS_GUEST_AR(s)) ^ BIT(take(1) % 17));
		break;
	default:
		s = what % ARRAY_SIZE(fields);
		machine_set(fields[s], fields[s] == VMCS_GUEST_RFLAGS.enc ? CPU_GET(VMCS_GUEST_RFLAGS) ^ BIT(take(1) & 31) :
			    fields[s] >> 13 == 2 ? (uint32_t)take_number() : take_number());
	}
	unless_broken(saved);
}

/* A byte of a descriptor, of a TSS or of a paging structure. */
static void change_table(void)
{
	static const uint16_t tables[] = { AT_GDT, AT_GDT, AT_LDT, AT_TSS_B, AT_TSS_C, AT_TSS, AT_PML4, 0x5000, 0x6000, 0x7000,
					   0x8000, 0x8f80, 0x9000, 0x9fc0, 0xa000, 0xb000 };
	uint8_t *p = machine_ram(tables[take(1) % ARRAY_SIZE(tables)] + take(1), 1);

	*p ^= (uint8_t)take(1);
}

/* An instruction where the vCPU will look for one. */
static void plant_instruction(void)
{
	uint8_t n = (uint8_t)(take(1) & 15), bytes[16] = { 0 };
	uint64_t rip = CPU_GET(VMCS_GUEST_RIP), linear = vcpu_code64() ? rip : (uint32_t)(rip + CPU_GET(VMCS_GUEST_BASE(SEG_CS)));
	uint32_t error;
	gpa_t at;

	for (unsigned i = 0; i < n; i++)
		bytes[i] = (uint8_t)take(1);
	if (walk_linear(machine.v, linear, ACCESS_FETCH, &at, &error))
		return;
	void *p = machine_ram(at.v, sizeof(bytes));
	if (p)
		memcpy(p, bytes, sizeof(bytes));
}

/* From outside of the vCPU. */
static void raise_event(void)
{
	unsigned how = (unsigned)take(1);

	if (how & 1)
		board_irq(&machine.vm, how >> 1 & 15, how & 32);
	else if (how & 2)
		vlapic_inject(&machine.v->lapic, (uint8_t)take(1), how & 32);
	else if (how & 4)
		machine.v->nmi_pending = true, vcpu_kick(machine.v);
	else
		vioapic_set_irq(&machine.vm.board.ioapic, (how >> 3) % VIOAPIC_PINS, take(1) & 1);
}

static void out8(uint16_t port, uint8_t value)
{
	bus_access(&machine.vm.pio, &(struct dev_access){ .offset = port, .size = 1, .write = true, .value = value });
}

/* Both 8259s at their vectors and open, the local APIC on with LINT0 as ExtINT, a level and an edge pin of the IOAPIC. */
static void set_up_interrupts(void)
{
	static const struct { uint16_t port; uint8_t value; } pic[] = {
		{ 0x20, 0x11 }, { 0x21, 0x30 }, { 0x21, 4 }, { 0x21, 1 }, { 0x21, 0 },
		{ 0xa0, 0x11 }, { 0xa1, 0x38 }, { 0xa1, 2 }, { 0xa1, 1 }, { 0xa1, 0 },
	};
	static const struct { uint32_t index, value; } ioapic[] = { { 0x18, 0x44 }, { 0x19, 0 }, { 0x1a, 0x8055 }, { 0x1b, 0 } };

	for (unsigned i = 0; i < ARRAY_SIZE(pic); i++)
		out8(pic[i].port, pic[i].value);
	vlapic_write(&machine.v->lapic, APIC_SVR, 0x1ff);
	vlapic_write(&machine.v->lapic, 0x350, 0x700);
	for (unsigned i = 0; i < ARRAY_SIZE(ioapic); i++) {
		struct dev_access select = { .offset = 0xfec00000, .size = 4, .write = true, .value = ioapic[i].index };
		struct dev_access window = { .offset = 0xfec00010, .size = 4, .write = true, .value = ioapic[i].value };

		bus_access(&machine.vm.mmio, &select);
		bus_access(&machine.vm.mmio, &window);
	}
}

static void change_memory(void)
{
	uint64_t at = take_number(), n = take(1) & 15;
	void *p = machine_ram(at, n);
	uint64_t low = take(n > 8 ? 8 : (unsigned)n), high = take(n > 8 ? (unsigned)n - 8 : 0);

	if (p) {
		memcpy(p, &low, MIN(n, 8ull));
		if (n > 8)
			memcpy((uint8_t *)p + 8, &high, n - 8);
	}
}
