/* The controls of speculation: what CPUID and the MSRs tell, what may be written, and that it stays across exits. */
#include "payload.h"

#define SPEC_CTRL 0x48
#define PRED_CMD  0x49
#define ARCH_CAPS 0x10a
#define FLUSH_CMD 0x10b
#define EDX_CONTROLS 0xbc000400u /* MD_CLEAR IBRS_IBPB STIBP L1D_FLUSH ARCH_CAPABILITIES SSBD */
#define EDX_2     0x3fu

static void command(const char *name, uint32_t msr)
{
	print("%s read: fault=%d\n", name, TRY(rdmsr(msr)));
	for (unsigned bit = 0; bit < 64; bit += bit < 2 ? 1 : 31)
		print("%s bit %u: fault=%d\n", name, bit, TRY(wrmsr(msr, BIT(bit))));
	print("%s 0: fault=%d\n", name, TRY(wrmsr(msr, 0)));
}

static void spec_ctrl(void)
{
	static const uint64_t values[] = { 0, BIT(63), 1, 2, 4, 7, 8, 0x10, 0x20, 0x40, 0x80, 0x100, 0x200, 0x400, 0x800, BIT(32), 5 };

	for (unsigned i = 0; i < ARRAY_SIZE(values); i++) {
		uint64_t now = 0;
		int vector = TRY(wrmsr(SPEC_CTRL, values[i]));

		cpuid(0, 0); /* an exit */
		int again = TRY(now = rdmsr(SPEC_CTRL));
		print("spec_ctrl %lx: fault=%d, then fault=%d %lx\n", values[i], vector, again, now);
	}
	TRY(wrmsr(SPEC_CTRL, 0));
}

void payload_main(void)
{
	uint32_t leaves = cpuid(0, 0).a < 7 ? 0 : cpuid(7, 0).a, edx = cpuid(0, 0).a < 7 ? 0 : cpuid(7, 0).d & EDX_CONTROLS;
	uint64_t caps = 0;

	print("cpuid 7: edx %x\n", edx);
	print("cpuid 7.2: edx %x\n", leaves >= 2 ? cpuid(7, 2).d & EDX_2 : 0);
	int vector = TRY(caps = rdmsr(ARCH_CAPS));
	print("arch_capabilities: fault=%d %lx\n", vector, caps);
	REPORT("arch_capabilities write", wrmsr(ARCH_CAPS, caps));
	caps = 0;
	vector = TRY(caps = rdmsr(SPEC_CTRL));
	print("spec_ctrl: fault=%d %lx\n", vector, caps);
	spec_ctrl();
	command("pred_cmd", PRED_CMD);
	command("flush_cmd", FLUSH_CMD);
}
