#include "vmx/dump.h"
#include "arch/x86_64/percpu.h"
#include "vmx/cpu.h"
#include "vmx/vcpu.h"

static const struct { const char *name; uint32_t field; } fields[] = {
	{ "exit_reason", 0x4402 }, { "exit_qualification", 0x6400 }, { "exit_intr_info", 0x4404 },
	{ "idt_vectoring", 0x4408 }, { "instruction_error", 0x4400 }, { "guest_physical", 0x2400 },
	{ "guest_linear", 0x640a }, { "entry_intr_info", 0x4016 }, { "pin", 0x4000 }, { "proc", 0x4002 },
	{ "proc2", 0x401e }, { "exit_ctl", 0x400c }, { "entry_ctl", 0x4012 }, { "rip", 0x681e }, { "rsp", 0x681c },
	{ "rflags", 0x6820 }, { "cr0", 0x6800 }, { "cr3", 0x6802 }, { "cr4", 0x6804 }, { "efer", 0x2806 },
	{ "cs", 0x0802 }, { "cs_base", 0x6808 }, { "cs_access", 0x4816 }, { "ss", 0x0804 }, { "ss_access", 0x4818 },
	{ "tr_access", 0x4822 }, { "interruptibility", 0x4824 }, { "activity", 0x4826 }, { "eptp", 0x201a },
	{ "host_rip", 0x6c16 }, { "host_rsp", 0x6c14 },
};

/* A field that the CPU lacks is left out: a report must not fail. */
static bool try_read(uint32_t field, uint64_t *v)
{
	bool failed;

	__asm__ volatile("vmread %2, %0" : "=r"(*v), "=@ccbe"(failed) : "r"((uint64_t)field) : "cc");
	return !failed;
}

void vmx_dump(void (*print)(const char *fmt, ...))
{
	const struct vmx_cpu *c = this_cpu()->vmx;
	uint64_t v;

	if (!c || !c->current)
		return;
	print("vmcs: exit=%s\n", vmx_exit_name(c->current->exit.reason));
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (try_read(fields[i].field, &v))
			print("vmcs: %s=%lx\n", fields[i].name, v);
}
