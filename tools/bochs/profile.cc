/*
 * Part of Bochs's instrumentation, by build.sh. Counts the instructions that the hypervisor runs from a VM exit to the next VM
 * entry: for each reason of an exit, with its port, MSR or APIC register, and each address. At the end, which may be SIGTERM, they
 * are written to the file that TREFOIL_PROFILE names: lines "exit KEY COUNT" and "at KEY ADDRESS COUNT", KEY being reason:detail in hexadecimal. tests/bench/profile.py
 * reads them.
 */
#include "cpu/cpu.h"
#include "cpu/vmx.h"
#include "cpu/decoder/ia_opcodes.h"
#include <csignal>
#include <cstdlib>
#include <map>
#include <unistd.h>
#include <vector>

static const bx_address IMAGE_BASE = BX_CONST64(0xffffffff80000000);
static const unsigned IMAGE_SIZE = 512 << 10;
static const Bit32u WAKE = 0x1000; /* stands for a reason: what is run after the hypervisor's own HLT */

namespace {
	struct exits {
		Bit64u n;
		std::vector<Bit64u> at;
		exits() : n(0), at(IMAGE_SIZE) {}
	};
	std::map<std::pair<Bit32u, Bit32u>, exits> all;
	exits *current[BX_MAX_SMP_THREADS_SUPPORTED]; /* NULL: in the guest, or before the first */
}

static Bit32u detail_of(unsigned cpu, Bit32u reason, Bit64u qualification)
{
	switch (reason) {
	case VMX_VMEXIT_IO_INSTRUCTION:
		return (Bit32u)qualification >> 16 << 4 | (qualification & 8); /* port and direction */
	case VMX_VMEXIT_RDMSR:
	case VMX_VMEXIT_WRMSR:
		return BX_CPU(cpu)->get_reg32(BX_32BIT_REG_ECX);
	case VMX_VMEXIT_APIC_ACCESS:
	case VMX_VMEXIT_APIC_WRITE:
		return (Bit32u)qualification & 0xffff; /* offset and type */
	}
	return 0;
}

void bx_instr_vmexit(unsigned cpu, Bit32u reason, Bit64u qualification)
{
	exits &e = all[std::make_pair(reason & 0xffff, detail_of(cpu, reason & 0xffff, qualification))];

	e.n++;
	current[cpu] = &e;
}

void bx_instr_before_execution(unsigned cpu, bxInstruction_c *i)
{
	exits *e = current[cpu];

	if (!e)
		return;
	if (i->getIaOpcode() == BX_IA_HLT) {
		current[cpu] = e = &all[std::make_pair((Bit32u)WAKE, (Bit32u)0)];
		e->n++;
		return;
	}
	Bit64u at = BX_CPU(cpu)->get_instruction_pointer() - IMAGE_BASE;
	if (at < IMAGE_SIZE)
		e->at[at]++;
	if (i->getIaOpcode() == BX_IA_VMRESUME || i->getIaOpcode() == BX_IA_VMLAUNCH)
		current[cpu] = NULL;
}

static void write_profile()
{
	const char *name = getenv("TREFOIL_PROFILE");
	FILE *f = name ? fopen(name, "w") : NULL;

	if (!f)
		return;
	for (auto &kind : all) {
		fprintf(f, "exit %x:%x %llu\n", kind.first.first, kind.first.second, (unsigned long long)kind.second.n);
		for (unsigned i = 0; i < IMAGE_SIZE; i++)
			if (kind.second.at[i])
				fprintf(f, "at %x:%x %llx %llu\n", kind.first.first, kind.first.second,
					(unsigned long long)(IMAGE_BASE + i), (unsigned long long)kind.second.at[i]);
	}
	fclose(f);
}

static void end(int)
{
	write_profile();
	_exit(0);
}

void bx_instr_init_env(void)
{
	atexit(write_profile);
	signal(SIGTERM, end);
}
