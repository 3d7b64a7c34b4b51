#include "vmx/dump.h"
#include "arch/x86_64/percpu.h"
#include "vmx/cpu.h"
#include "vmx/vcpu.h"

#define FIELD(name, f) { name, VMCS_##f.enc }

/* A field that the CPU lacks is left out: a report must not fail. */
static bool try_read(uint32_t field, uint64_t *v)
{
	bool failed;

	__asm__ volatile("vmread %2, %0" : "=r"(*v), "=@ccbe"(failed) : "r"((uint64_t)field) : "cc");
	return !failed;
}

void vmx_dump(void (*print)(const char *fmt, ...))
{
	const struct { const char *name; uint32_t field; } fields[] = {
		FIELD("exit_reason", EXIT_REASON), FIELD("exit_qualification", EXIT_QUALIFICATION),
		FIELD("exit_intr_info", EXIT_INTR_INFO), FIELD("idt_vectoring", IDT_VECTORING_INFO),
		FIELD("instruction_error", INSTRUCTION_ERROR), FIELD("guest_physical", GUEST_PHYS),
		FIELD("guest_linear", GUEST_LINEAR), FIELD("entry_intr_info", ENTRY_INTR_INFO), FIELD("pin", PIN_CTL),
		FIELD("proc", PROC_CTL), FIELD("proc2", PROC2_CTL), FIELD("exit_ctl", EXIT_CTL),
		FIELD("entry_ctl", ENTRY_CTL), FIELD("rip", GUEST_RIP), FIELD("rsp", GUEST_RSP),
		FIELD("rflags", GUEST_RFLAGS), FIELD("cr0", GUEST_CR0), FIELD("cr3", GUEST_CR3), FIELD("cr4", GUEST_CR4),
		FIELD("efer", GUEST_EFER), FIELD("cs", GUEST_CS_SEL), FIELD("cs_base", GUEST_CS_BASE),
		FIELD("cs_access", GUEST_CS_AR), FIELD("ss", GUEST_SS_SEL), FIELD("ss_access", GUEST_SS_AR),
		FIELD("tr_access", GUEST_TR_AR), FIELD("interruptibility", GUEST_INTERRUPTIBILITY),
		FIELD("activity", GUEST_ACTIVITY), FIELD("eptp", EPT_POINTER), FIELD("host_rip", HOST_RIP),
		FIELD("host_rsp", HOST_RSP),
	};
	const struct vmx_cpu *c = this_cpu()->vmx;
	uint64_t v;

	if (!c || !c->current)
		return;
	print("vmcs: exit=%s\n", vmx_exit_name(c->current->exit.reason));
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (try_read(fields[i].field, &v))
			print("vmcs: %s=%lx\n", fields[i].name, v);
}
