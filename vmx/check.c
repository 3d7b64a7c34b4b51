#include "vmx/check_internal.h"
#include <tf/x86.h>

#define S_CET_SUPPRESS BIT(10)
#define S_CET_TRACKER  BIT(11)
#define S_CET_RESERVED 0x3c0ull

bool check_broken(struct check *c, uint32_t field, const char *rule)
{
	*c->out = (struct vmx_broken){ .rule = rule, .section = c->section, .field = field,
				       .value = c->view->read(c->view->ctx, field) };
	return false;
}

bool vmx_pat_ok(uint64_t pat)
{
	const uint32_t types = BIT(MT_UC) | BIT(MT_WC) | BIT(MT_WT) | BIT(MT_WP) | BIT(MT_WB) | BIT(MT_UC_MINUS);

	for (unsigned i = 0; i < 8; i++) {
		uint8_t type = (uint8_t)(pat >> 8 * i);

		if (type > MT_UC_MINUS || !(types & BIT(type)))
			return false;
	}
	return true;
}

bool check_s_cet(const struct check *c, uint64_t v)
{
	return canonical(c, v) && !(v & S_CET_RESERVED) && (v & (S_CET_SUPPRESS | S_CET_TRACKER)) != (S_CET_SUPPRESS | S_CET_TRACKER);
}

bool vmx_check(const struct vmcs_view *view, struct vmx_broken *out)
{
	static const struct { const char *title; bool (*check)(struct check *c); } sections[] = {
		{ "VM-Execution Control Fields", check_execution_controls },
		{ "VM-Exit Control Fields", check_exit_controls },
		{ "VM-Entry Control Fields", check_entry_controls },
		{ "Checks on Host Control Registers, MSRs, and SSP", check_host_registers },
		{ "Checks on Host Segment and Descriptor-Table Registers", check_host_tables },
		{ "Checks Related to Address-Space Size", check_address_space },
		{ "Checks on Guest Control Registers, Debug Registers, and MSRs", check_guest_registers },
		{ "Checks on Guest Segment Registers", check_guest_segments },
		{ "Checks on Guest Descriptor-Table Registers", check_guest_tables },
		{ "Checks on Guest RIP, RFLAGS, and SSP", check_guest_rip },
		{ "Checks on Guest Non-Register State", check_guest_state },
		{ "Checks on Guest Page-Directory-Pointer-Table Entries", check_guest_pdptes },
	};
	struct check check = { .view = view, .out = out }, *c = &check;

	c->pin = (uint32_t)GET(VMCS_PIN_CTL);
	c->proc = (uint32_t)GET(VMCS_PROC_CTL);
	c->proc2 = c->proc & PROC_SECONDARY ? (uint32_t)GET(VMCS_PROC2_CTL) : 0;
	c->exit = (uint32_t)GET(VMCS_EXIT_CTL);
	c->entry = (uint32_t)GET(VMCS_ENTRY_CTL);
	c->proc3 = c->proc & PROC_TERTIARY ? GET(VMCS_PROC3_CTL) : 0;
	c->exit2 = c->exit & EXIT_SECONDARY ? GET(VMCS_EXIT2_CTL) : 0;
	c->ia32e = c->entry & ENTRY_IA32E;
	c->unrestricted = c->proc2 & PROC2_UNRESTRICTED;
	for (size_t i = 0; i < ARRAY_SIZE(sections); i++) {
		c->section = sections[i].title;
		if (!sections[i].check(c))
			return false;
	}
	return true;
}
