/* What no guest may change: the fields that isolate it, and the MSRs that it reaches without an exit. */
#include "tests/vtx/machine.h"
#include "arch/x86_64/paging.h"
#include <tf/x86.h>

UNSEEN static uint32_t index_field(uint32_t i) { return (i >> 8) << 13 | (i >> 6 & 3) << 10 | (i & 0x3f) << 1; }

UNSEEN uint32_t machine_changed_control(void)
{
	const struct { uint32_t field; uint64_t may_change; } special[] = {
		{ VMCS_PIN_CTL.enc, PIN_POSTED_INTR },
		{ VMCS_PROC_CTL.enc, PROC_IRQ_WINDOW | PROC_NMI_WINDOW },
		{ VMCS_PROC2_CTL.enc, PROC2_APIC_ACCESS | PROC2_X2APIC | PROC2_APIC_REGISTERS | PROC2_VIRTUAL_INTR },
		{ VMCS_ENTRY_CTL.enc, ENTRY_IA32E },
		{ VMCS_ENTRY_INTR_INFO.enc, ~0ull }, { VMCS_ENTRY_ERROR_CODE.enc, ~0ull }, { VMCS_ENTRY_INSN_LEN.enc, ~0ull },
		{ VMCS_TPR_THRESHOLD.enc, ~0ull }, { VMCS_TSC_OFFSET.enc, ~0ull },
		{ VMCS_CR0_SHADOW.enc, ~0ull }, { VMCS_CR4_SHADOW.enc, ~0ull },
		{ VMCS_EOI_EXIT(0).enc, ~0ull }, { VMCS_EOI_EXIT(1).enc, ~0ull },
		{ VMCS_EOI_EXIT(2).enc, ~0ull }, { VMCS_EOI_EXIT(3).enc, ~0ull },
	};

	for (uint32_t i = 0; i < MACHINE_FIELDS; i++) {
		uint32_t field = index_field(i);
		uint64_t changed = machine_fields[i] ^ machine_created[i];

		if (!changed || FIELD_TYPE(field) == TYPE_READ_ONLY || FIELD_TYPE(field) == TYPE_GUEST)
			continue;
		for (unsigned s = 0; s < ARRAY_SIZE(special); s++)
			if (special[s].field == field)
				changed &= ~special[s].may_change;
		if (changed)
			return field;
	}
	return 0;
}

UNSEEN uint32_t machine_open_msr(void)
{
	static const uint32_t writable[] = {
		MSR_IA32_SYSENTER_CS, MSR_IA32_SYSENTER_ESP, MSR_IA32_SYSENTER_EIP, MSR_IA32_FS_BASE, MSR_IA32_GS_BASE,
		MSR_IA32_KERNEL_GS_BASE, MSR_IA32_PRED_CMD, MSR_IA32_FLUSH_CMD,
	};
	const uint8_t *write = (uint8_t *)phys_to_virt(machine.v->vmx.msr_bitmap) + 0x800;

	for (uint32_t i = 0; i < 0x4000; i++) {
		uint32_t msr = i < 0x2000 ? i : 0xc0000000 + (i - 0x2000);
		bool ok = write[i / 8] >> (i % 8) & 1;

		if (write[i / 8] == 0xff) {
			i |= 7;
			continue;
		}
		for (unsigned w = 0; w < ARRAY_SIZE(writable); w++)
			ok |= writable[w] == msr;
		/* TPR, EOI and SELF IPI in x2APIC mode */
		ok |= machine_get(VMCS_PROC2_CTL.enc) & PROC2_X2APIC && (msr == 0x808 || msr == 0x80b || msr == 0x83f);
		if (!ok)
			return msr;
	}
	return 0;
}
