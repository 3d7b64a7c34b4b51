/*
 * The guest layer under a CPU that the input plays: any sequence of exits that VT-x can make, from any guest state that it
 * can be in, with any memory and registers. Checked before each entry: the CPU would take the state and the event
 * (vmx/check.h), no control that isolates the guest has changed, and the MSR bitmap is open only where it may be.
 *
 * Input: options, mode, then steps. A step changes registers, fields or memory, and some end in an exit.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tf/assert.h>
#include "exits_state.h"

#define ENTRIES_MAX 400 /* an input can make the guest spin */
#define FIRMWARE    BIT(7) /* of the options: the interrupt controllers are set up */
#define CR_READ     BIT(4)
#define CR_CLTS     BIT(5)
#define CR_LMSW     (BIT(4) | BIT(5))

static struct run_limit limit;
static unsigned entries;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void clear_exit(void)
{
	CPU_SET(VMCS_IDT_VECTORING_INFO, 0);
	CPU_SET(VMCS_EXIT_INTR_INFO, 0);
	CPU_SET(VMCS_EXIT_QUALIFICATION, 0);
	CPU_SET(VMCS_EXIT_INSN_LEN, 1 + take(1) % 15);
	CPU_SET(VMCS_EXIT_INSN_INFO, 0);
}

/* The event that the entry injected, or one that the guest's own software or a fault of it raised. */
static void event_in_delivery(uint32_t injected)
{
	static const uint32_t own[] = {
		INTR_VALID | INTR_TYPE_SW | 0x80, INTR_VALID | INTR_TYPE_SWEXC | VEC_BP, INTR_VALID | INTR_TYPE_SWEXC | VEC_OF,
		INTR_VALID | INTR_TYPE_PRIVSW | VEC_DB, INTR_VALID | INTR_TYPE_HW | VEC_UD, INTR_VALID | INTR_TYPE_HW | VEC_GP | INTR_ERROR_CODE,
		INTR_VALID | INTR_TYPE_HW | VEC_PF | INTR_ERROR_CODE, INTR_VALID | INTR_TYPE_HW | VEC_DF | INTR_ERROR_CODE,
		INTR_VALID | INTR_TYPE_HW | VEC_TS | INTR_ERROR_CODE, INTR_VALID | INTR_TYPE_HW | VEC_DE,
	};
	uint32_t info = injected;

	if (!(info & INTR_VALID))
		info = own[take(1) % ARRAY_SIZE(own)];
	if (!(CPU_GET(VMCS_GUEST_CR0) & CR0_PE))
		info &= ~(uint32_t)INTR_ERROR_CODE;
	CPU_SET(VMCS_IDT_VECTORING_INFO, info);
	CPU_SET(VMCS_IDT_VECTORING_ERROR, info & INTR_ERROR_CODE && (info & INTR_VECTOR) != VEC_DF ? take(1) : 0);
}

static bool exit_control(void)
{
	uint64_t reg = (take(1) & 15) << 8;
	unsigned what = (unsigned)take(1) % 8;
	bool cr3 = CPU_GET(VMCS_PROC_CTL) & PROC_CR3_LOAD_EXIT, cr8 = CPU_GET(VMCS_PROC_CTL) & PROC_CR8_LOAD_EXIT;
	static const uint64_t quals[] = { 0, 4, 3, 3 | CR_READ, 8, 8 | CR_READ, CR_CLTS, CR_LMSW };

	if (!real_cpl0() || ((what == 2 || what == 3) && !cr3) || ((what == 4 || what == 5) && (!cr8 || !vcpu_code64())))
		return false;
	if (!vcpu_code64())
		reg &= 7 << 8;
	CPU_SET(VMCS_EXIT_QUALIFICATION, quals[what] | (what == 7 ? take(2) << 16 | (reg & BIT(8)) >> 2 : what == 6 ? 0 : reg));
	return true;
}

static bool kvm(void) { return machine.vm.cfg.hypervisor == VM_HYPERVISOR_KVM; }

static void aim_hypercall(void)
{
	static const uint8_t numbers[] = { KVM_HC_KICK_CPU, KVM_HC_SEND_IPI, KVM_HC_SCHED_YIELD, KVM_HC_VAPIC_POLL_IRQ };
	static const uint8_t arguments[] = { RBX, RCX, RDX, RSI };
	unsigned which = (unsigned)take(1);

	machine.v->vmx.gpr[RAX] = which < 0xf0 ? numbers[which & 3] : take_number();
	for (unsigned i = 0; i < ARRAY_SIZE(arguments); i++)
		if (which >> 2 & BIT(i))
			machine.v->vmx.gpr[arguments[i]] = take_number();
}

/* The vCPU loses its CPU for a while, in which the guest's other vCPUs, if it had some, would write its memory. */
static void lose_the_cpu(unsigned how)
{
	if (how & 1)
		kvm_pv_switch_out(machine.v);
	if (how & 2)
		change_memory();
	machine.v->waited += take(4);
	kvm_pv_switch_in(machine.v);
}

static void aim_msr(void)
{
	static const uint32_t known[] = {
		MSR_IA32_TSC, MSR_IA32_TSC_ADJUST, MSR_IA32_EFER, MSR_IA32_PAT, MSR_IA32_MISC_ENABLE, MSR_IA32_DEBUGCTL, MSR_IA32_XSS,
		MSR_IA32_SPEC_CTRL, MSR_IA32_ARCH_CAPABILITIES, MSR_IA32_MCG_STATUS, MSR_IA32_BIOS_SIGN_ID, MSR_IA32_APIC_BASE,
		MSR_IA32_TSC_DEADLINE, MSR_IA32_PLATFORM_ID, 0x2ff, 0x250, 0xfe,
	};
	unsigned which = (unsigned)take(1);

	if (kvm() && (which & 3) == 3) {
		machine.v->vmx.gpr[RCX] = MSR_KVM_BASE + (which >> 2 & 7);
		return;
	}
	machine.v->vmx.gpr[RCX] = which < 0x80 ? known[which % ARRAY_SIZE(known)] : which < 0xe0 ? 0x800 + (which & 0x7f) : 0x200 + (which & 31);
}

static void aim_cpuid(void)
{
	static const uint32_t bases[] = { 0, 0x80000000, 0x40000000, 0x10 };
	unsigned which = (unsigned)take(1);

	machine.v->vmx.gpr[RAX] = bases[which & 3] + (which >> 2 & 31);
	machine.v->vmx.gpr[RCX] = take(1);
}

static bool exit_port_io(void)
{
	static const uint16_t ports[] = { 0x3f8, 0x20, 0xa0, 0x40, 0x61, 0x64, 0x70, 0x92, 0x4d0, 0x600, 0xcf9, 0x80, 0xffff };
	static const uint8_t sizes[] = { 0, 1, 3, 0 };
	unsigned how = (unsigned)take(1);
	uint64_t port = ports[take(1) % ARRAY_SIZE(ports)] + (take(1) & 7);
	bool string = how & 8;

	CPU_SET(VMCS_EXIT_QUALIFICATION, sizes[how & 3] | (how & 4 ? BIT(3) : 0) | (string ? BIT(4) | (how & 16 ? BIT(5) : 0) : 0) |
					 (port & 0xffff) << 16);
	/* 64-bit addresses in 64-bit mode only, and no 16-bit ones there */
	CPU_SET(VMCS_EXIT_INSN_INFO, (uint32_t)((vcpu_code64() ? 1 + (how >> 5 & 1) : how >> 5 & 1) << 7 | (take(1) % 6) << 15));
	return true;
}

/* An access that the EPT refuses: of an instruction, of a page walk, or of the delivery of an event. */
static bool exit_memory(uint32_t injected)
{
	unsigned how = (unsigned)take(1);
	uint64_t gpa = take_number() & (BIT(MACHINE_PHYS_BITS) - 1), linear = take_number();
	uint64_t access = how & 3 ? BIT(how & 3 ? (how & 3) - 1 : 0) : EPTV_READ;

	if (gpa < MACHINE_RAM)
		gpa += 0xfec00000;
	if (!vcpu_code64())
		linear &= UINT32_MAX;
	if (how & 4) {
		/* The instruction's own operand: the translation that the tables give. */
		uint32_t error;
		gpa_t at;

		if (walk_linear(machine.v, linear, access & EPTV_WRITE ? ACCESS_WRITE : 0, &at, &error) || at.v < MACHINE_RAM)
			return false;
		gpa = at.v;
	}
	if ((how & 8) || (injected & INTR_VALID && (how & 16)))
		event_in_delivery(injected);
	CPU_SET(VMCS_EXIT_QUALIFICATION, access | (how & 32 ? 0 : EPTV_LINEAR_VALID | (how & 64 ? 0 : EPTV_TRANSLATED)) |
					 (how & 128 ? BIT(12) : 0));
	CPU_SET(VMCS_GUEST_PHYS, gpa);
	CPU_SET(VMCS_GUEST_LINEAR, linear);
	return true;
}

static bool exit_task(uint32_t injected)
{
	static const uint16_t selectors[] = { SEL_TSS_B, SEL_TSS_C, SEL_TSS_A, SEL_LDT };
	unsigned how = (unsigned)take(1);
	uint64_t source = how & 3;

	if (!(CPU_GET(VMCS_GUEST_CR0) & CR0_PE) || vcpu_long_mode())
		return false;
	if ((CPU_GET(VMCS_GUEST_RFLAGS) & RFLAGS_VM) || (injected & INTR_VALID))
		source = 3;
	if (source == 3)
		event_in_delivery(injected);
	CPU_SET(VMCS_EXIT_QUALIFICATION, source << 30 | (how & 4 ? take(2) : selectors[how >> 3 & 3]));
	return true;
}

static bool exit_fault(uint32_t injected)
{
	unsigned how = (unsigned)take(1);
	bool db = how & 1;
	uint32_t icebp = db && (how & 2) ? INTR_TYPE_PRIVSW : INTR_TYPE_HW;
	bool error = !db && (CPU_GET(VMCS_GUEST_CR0) & CR0_PE);

	if ((how & 4) && icebp == INTR_TYPE_HW)
		event_in_delivery(injected);
	CPU_SET(VMCS_EXIT_INTR_INFO, INTR_VALID | icebp | (db ? VEC_DB : VEC_AC) | (error ? INTR_ERROR_CODE : 0) |
				     (how & 8 && icebp == INTR_TYPE_HW ? INTR_NMI_UNBLOCK : 0));
	CPU_SET(VMCS_EXIT_INTR_ERROR, 0);
	CPU_SET(VMCS_EXIT_QUALIFICATION, db ? take(2) & 0x600f : 0);
	return true;
}

static bool exit_apic(uint32_t *reason)
{
	uint32_t proc2 = (uint32_t)CPU_GET(VMCS_PROC2_CTL);
	uint64_t offset = take(2) & 0xfff, how = take(1);

	if ((how & 3) == 0 && (proc2 & PROC2_APIC_ACCESS)) {
		*reason = EXIT_APIC_ACCESS;
		CPU_SET(VMCS_EXIT_QUALIFICATION, offset | (how >> 2 & 1) << 12);
		if (how & 8)
			event_in_delivery(0);
		return true;
	}
	if ((how & 3) == 1 && (proc2 & PROC2_APIC_REGISTERS)) {
		*reason = EXIT_APIC_WRITE;
		CPU_SET(VMCS_EXIT_QUALIFICATION, offset);
		*(uint32_t *)(machine.v->lapic.page + (offset & 0xff0)) = (uint32_t)take(4);
		return true;
	}
	if ((how & 3) == 2 && (proc2 & PROC2_VIRTUAL_INTR)) {
		*reason = EXIT_EOI;
		CPU_SET(VMCS_EXIT_QUALIFICATION, take(1));
		return true;
	}
	*reason = EXIT_TPR_BELOW;
	return CPU_GET(VMCS_PROC_CTL) & PROC_TPR_SHADOW;
}

static bool exit_window(uint32_t *reason)
{
	uint32_t blocked = (uint32_t)CPU_GET(VMCS_GUEST_INTERRUPTIBILITY), proc = (uint32_t)CPU_GET(VMCS_PROC_CTL);

	*reason = EXIT_IRQ_WINDOW;
	if ((proc & PROC_IRQ_WINDOW) && (CPU_GET(VMCS_GUEST_RFLAGS) & RFLAGS_IF) && !(blocked & (BLOCK_STI | BLOCK_MOV_SS)))
		return true;
	*reason = EXIT_NMI_WINDOW;
	return (proc & PROC_NMI_WINDOW) && !(blocked & (BLOCK_NMI | BLOCK_STI | BLOCK_MOV_SS));
}

/* One step; true: it ends in an exit. */
static bool step(uint32_t *reason, uint32_t *delivering)
{
	static const uint8_t undefined[] = { EXIT_VMCALL, EXIT_GETSEC, EXIT_MONITOR, EXIT_VMXON, EXIT_INVEPT, EXIT_ENCLS };
	static const uint8_t privileged[] = { EXIT_HLT, EXIT_INVD, EXIT_WBINVD, EXIT_RDPMC };
	unsigned op = (unsigned)take(1);
	uint64_t *gpr = machine.v->vmx.gpr;
	uint32_t injected = *delivering;

	clear_exit();
	switch (op & 31) {
	case 0: case 1: case 2: /* the guest has run: what the entry injected has been delivered */
		change_field();
		*delivering = 0;
		return false;
	case 3:
		if (op & 32)
			change_memory();
		else
			change_table();
		return false;
	case 4:
		plant_instruction();
		return false;
	case 5: case 6: /* the ones that say how much and where are used most */
		gpr[op & 128 ? RCX + (op >> 5 & 3) : op & 64 ? RSI + (op >> 5 & 1) : take(1) & 15] = take_number();
		return false;
	case 7:
		machine.now += take(4) << (op >> 5) * 4;
		*reason = EXIT_PREEMPTION;
		if (kvm())
			lose_the_cpu(op >> 5);
		return true;
	case 8:
		aim_cpuid();
		*reason = EXIT_CPUID;
		return true;
	case 9: case 10:
		*reason = EXIT_CR;
		return exit_control();
	case 11: case 12:
		aim_msr();
		/* fall through */
	case 13:
		*reason = op & 32 ? EXIT_RDMSR : EXIT_WRMSR;
		return real_cpl0();
	case 14: case 15: case 16: case 17:
		*reason = EXIT_IO;
		return exit_port_io();
	case 18: case 19: case 20: case 21:
		*reason = EXIT_EPT_VIOLATION;
		return exit_memory(injected);
	case 22: case 23:
		*reason = EXIT_TASK_SWITCH;
		return exit_task(injected);
	case 24:
		*reason = EXIT_EXCEPTION_NMI;
		return exit_fault(injected);
	case 25:
		return exit_apic(reason);
	case 26:
		return exit_window(reason);
	case 27:
		*reason = EXIT_XSETBV;
		return CPU_GET(VMCS_GUEST_CR4) & CR4_OSXSAVE;
	case 28:
		*reason = undefined[(op >> 5) % ARRAY_SIZE(undefined)];
		if (kvm() && *reason == EXIT_VMCALL)
			aim_hypercall();
		return true;
	case 29:
		*reason = privileged[(op >> 5) % ARRAY_SIZE(privileged)];
		return real_cpl0();
	case 30:
		*reason = op & 32 ? EXIT_PAUSE : op & 64 ? EXIT_EXTINT : EXIT_TRIPLE_FAULT;
		return true;
	default:
		raise_event();
		return false;
	}
}

static void check_entry(void)
{
	struct vmx_broken why;
	uint32_t field = machine_changed_control(), msr = in.size ? 0 : machine_open_msr();

	if (!machine_entry_ok(&why)) {
		fprintf(stderr, "%s (%s): field %04x = %llx\n", why.rule, why.section, why.field, (unsigned long long)why.value);
		abort();
	}
	if (field || msr) {
		fprintf(stderr, "control %04x has changed, or MSR %x is open\n", field, msr);
		abort();
	}
}

/* In the place of VM entry and exit. */
static uint32_t play_cpu(struct machine *m)
{
	uint32_t reason = EXIT_PREEMPTION, injected = (uint32_t)CPU_GET(VMCS_ENTRY_INTR_INFO);

	check_entry();
	/* "Event Injection": the delivery ends blocking by STI and MOV SS, that of an NMI begins blocking by NMI. */
	CPU_SET(VMCS_ENTRY_INTR_INFO, 0);
	if (injected & INTR_VALID) {
		bool nmi = (injected & INTR_TYPE_MASK) == INTR_TYPE_NMI;

		CPU_SET(VMCS_GUEST_INTERRUPTIBILITY, nmi ? BLOCK_NMI : CPU_GET(VMCS_GUEST_INTERRUPTIBILITY) & BLOCK_NMI);
	}
	CPU_SET(VMCS_GUEST_PENDING_DEBUG, 0);
	m->now += 1000;
	if (m->v->next_deadline <= m->now)
		vcpu_timers_due(m->v, m->now);
	while (in.size && !step(&reason, &injected))
		reason = EXIT_PREEMPTION;
	if (!in.size || ++entries == ENTRIES_MAX) {
		limit.end = limit.until = 0;
		in.size = 0;
	}
	CPU_SET(VMCS_EXIT_REASON, reason);
	return reason;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	in = (struct input){ data + 2, size - 2 };
	machine_init(data[0]);
	machine_mode(data[1] % NMODES);
	if (data[0] & FIRMWARE)
		set_up_interrupts();
	machine.run = play_cpu;
	entries = 0;
	while (in.size) {
		limit = (struct run_limit){ .end = UINT64_MAX, .until = UINT64_MAX };
		switch (vcpu_run(machine.v, &limit)) {
		case RUN_HALTED:
			machine.now = MAX(machine.now, machine.v->next_deadline == DEV_NEVER ? 0 : machine.v->next_deadline);
			vcpu_timers_due(machine.v, machine.now);
			machine.v->halted = false;
			break;
		case RUN_STOPPED:
			/* What may end a guest; never a gap of the table. */
			ASSERT(!strstr(machine.stop_reason, "unhandled") && !strstr(machine.stop_reason, "access to CR"));
			machine_reset();
			break;
		case RUN_EXPIRED:
			break;
		}
	}
	check_entry();
	machine_free();
	return 0;
}
