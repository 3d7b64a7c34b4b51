/*
 * What CPUID hides from a guest of Trefoil, used all the same: instructions that would have effects beyond the guest or
 * were never switched on, MSRs through which a CPU writes memory by itself, control bits. Each must fault. Not for the
 * bare machine, which may have them.
 */
#include "payload.h"

#define CODE_MAX 8
#define FAULT(name, ...) print("hidden: %s fault=%d\n", name, TRY(__VA_ARGS__))

static uint8_t code[CODE_MAX + 1] __attribute__((aligned(16)));
static uint8_t operand[64] __attribute__((aligned(64)));

static const struct { const char *name; uint8_t n, bytes[CODE_MAX]; } instructions[] = {
	{ "vmcall", 3, { 0x0f, 0x01, 0xc1 } },
	{ "vmlaunch", 3, { 0x0f, 0x01, 0xc2 } },
	{ "vmxoff", 3, { 0x0f, 0x01, 0xc4 } },
	{ "vmfunc", 3, { 0x0f, 0x01, 0xd4 } },
	{ "vmread", 3, { 0x0f, 0x78, 0xc0 } },
	{ "vmxon", 4, { 0xf3, 0x0f, 0xc7, 0x37 } },
	{ "vmptrld", 3, { 0x0f, 0xc7, 0x37 } },
	{ "invept", 5, { 0x66, 0x0f, 0x38, 0x80, 0x07 } },
	{ "getsec", 2, { 0x0f, 0x37 } },
	{ "rsm", 2, { 0x0f, 0xaa } },
	{ "monitor", 3, { 0x0f, 0x01, 0xc8 } },
	{ "mwait", 3, { 0x0f, 0x01, 0xc9 } },
	{ "rdpmc", 2, { 0x0f, 0x33 } },
	{ "pconfig", 3, { 0x0f, 0x01, 0xc5 } },
	{ "encls", 3, { 0x0f, 0x01, 0xcf } },
	{ "enclv", 3, { 0x0f, 0x01, 0xc0 } },
	{ "enclu", 3, { 0x0f, 0x01, 0xd7 } },
	{ "seamcall", 4, { 0x66, 0x0f, 0x01, 0xcf } },
	{ "seamops", 4, { 0x66, 0x0f, 0x01, 0xce } },
	{ "tdcall", 4, { 0x66, 0x0f, 0x01, 0xcc } },
	{ "tpause", 4, { 0x66, 0x0f, 0xae, 0xf1 } },
	{ "umwait", 4, { 0xf2, 0x0f, 0xae, 0xf1 } },
	{ "umonitor", 4, { 0xf3, 0x0f, 0xae, 0xf0 } },
	{ "loadiwkey", 5, { 0xf3, 0x0f, 0x38, 0xdc, 0xc1 } },
	{ "encodekey128", 5, { 0xf3, 0x0f, 0x38, 0xfa, 0xc1 } },
	{ "clui", 4, { 0xf3, 0x0f, 0x01, 0xee } },
	{ "stui", 4, { 0xf3, 0x0f, 0x01, 0xef } },
	{ "senduipi", 4, { 0xf3, 0x0f, 0xc7, 0xf0 } },
	{ "enqcmd", 5, { 0xf2, 0x0f, 0x38, 0xf8, 0x07 } },
	{ "rdmsrlist", 4, { 0xf2, 0x0f, 0x01, 0xc6 } },
	{ "wrmsrlist", 4, { 0xf3, 0x0f, 0x01, 0xc6 } },
	{ "urdmsr", 5, { 0xf2, 0x0f, 0x38, 0xf8, 0xc1 } },
	{ "uwrmsr", 5, { 0xf3, 0x0f, 0x38, 0xf8, 0xc1 } },
	{ "incssp", 5, { 0xf3, 0x48, 0x0f, 0xae, 0xe8 } },
	{ "wrss", 4, { 0x0f, 0x38, 0xf6, 0x07 } },
	{ "setssbsy", 4, { 0xf3, 0x0f, 0x01, 0xe8 } },
	{ "erets", 4, { 0xf2, 0x0f, 0x01, 0xca } },
	{ "ldtilecfg", 5, { 0xc4, 0xe2, 0x78, 0x49, 0x07 } },
};

static const struct { const char *name; uint32_t msr; } msrs[] = {
	{ "p5_mc_addr", 0x0 },
	{ "user_msr_ctl", 0x1c },
	{ "test_ctrl", 0x33 },
	{ "feature_control", 0x3a },
	{ "sgxlepubkeyhash0", 0x8c },
	{ "pmc0", 0xc1 },
	{ "core_capabilities", 0xcf },
	{ "umwait_control", 0xe1 },
	{ "tsx_ctrl", 0x122 },
	{ "misc_feature_enables", 0x140 },
	{ "perfevtsel0", 0x186 },
	{ "xfd", 0x1c4 },
	{ "xfd_err", 0x1c5 },
	{ "lbr_select", 0x1c8 },
	{ "fixed_ctr_ctrl", 0x38d },
	{ "perf_global_ctrl", 0x38f },
	{ "pebs_enable", 0x3f1 },
	{ "mc0_ctl", 0x400 },
	{ "vmx_basic", 0x480 },
	{ "rtit_output_base", 0x560 },
	{ "rtit_ctl", 0x570 },
	{ "ds_area", 0x600 },
	{ "u_cet", 0x6a0 },
	{ "s_cet", 0x6a2 },
	{ "pl0_ssp", 0x6a4 },
	{ "interrupt_ssp_table", 0x6a8 },
	{ "pkrs", 0x6e1 },
	{ "tme_activate", 0x982 },
	{ "uintr_rr", 0x985 },
	{ "uintr_misc", 0x988 },
	{ "pasid", 0xd93 },
	{ "smm_monitor_ctl", 0x9b },
	{ "fred_config", 0x1d4 },
	{ "lbr_ctl", 0x14ce },
	{ "hreset_enable", 0x17da },
	{ "beyond_the_bitmaps", 0x2000 },
};

static const struct { const char *name; uint64_t bit; } cr4_bits[] = {
	{ "la57", BIT(12) }, { "vmxe", BIT(13) }, { "smxe", BIT(14) }, { "kl", BIT(19) }, { "cet", BIT(23) },
	{ "pks", BIT(24) }, { "uintr", BIT(25) }, { "lass", BIT(27) }, { "lam_sup", BIT(28) }, { "fred", BIT(32) },
};

static void run_code(void)
{
	__asm__ volatile("call *%[code]" : : [code] "r"(code), "a"(0), "c"(0), "d"(0), "D"(operand) : "memory", "cc");
}

static void instruction(unsigned i)
{
	memcpy(code, instructions[i].bytes, instructions[i].n);
	code[instructions[i].n] = 0xc3; /* RET */
	FAULT(instructions[i].name, run_code());
}

static void xsetbv(uint64_t v)
{
	__asm__ volatile("xsetbv" : : "c"(0), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)));
}

void payload_main(void)
{
	uint64_t cr4 = rdcr4();

	for (unsigned i = 0; i < ARRAY_SIZE(instructions); i++)
		instruction(i);
	for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++) {
		FAULT(msrs[i].name, (void)rdmsr(msrs[i].msr));
		FAULT(msrs[i].name, wrmsr(msrs[i].msr, 0));
	}
	for (unsigned i = 0; i < ARRAY_SIZE(cr4_bits); i++)
		FAULT(cr4_bits[i].name, wrcr4(cr4 | cr4_bits[i].bit));
	FAULT("debugctl.tr", wrmsr(0x1d9, BIT(6)));
	FAULT("debugctl.bts", wrmsr(0x1d9, BIT(7)));
	if (cpuid(1, 0).c & BIT(26)) {
		wrcr4(cr4 | BIT(18));
		FAULT("xcr0.amx", xsetbv(3 | BIT(17) | BIT(18)));
		FAULT("xcr0.apx", xsetbv(3 | BIT(19)));
	}
}
