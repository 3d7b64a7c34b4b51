#include "arch/x86_64/mce.h"
#include "arch/x86_64/cpu.h"
#include <tf/log.h>

#define CPUID_1_EDX_MCA BIT(14)

#define MSR_IA32_MCG_CTL    0x17b
#define MSR_IA32_MC0_CTL    0x400 /* then STATUS, ADDR and MISC, and so on for each bank */
#define MSRS_PER_BANK       4
#define MCG_CAP_COUNT       0xffu
#define MCG_CAP_CTL_P       BIT(8)
#define BANKS_MAX           32u   /* behind them other MSRs begin */
#define MC_STATUS_VAL       BIT(63)
#define MC_STATUS_MISCV     BIT(59)
#define MC_STATUS_ADDRV     BIT(58)

struct bank { uint64_t status, addr, misc; };

static uint32_t bank_msr(unsigned bank) { return MSR_IA32_MC0_CTL + bank * MSRS_PER_BANK; }

static unsigned banks(uint64_t *cap)
{
	if (!(cpuid(1, 0).edx & CPUID_1_EDX_MCA) || !rdmsr_safe(MSR_IA32_MCG_CAP, cap))
		return 0;
	return MIN((uint32_t)*cap & MCG_CAP_COUNT, BANKS_MAX);
}

/* False: it holds no error. ADDR and MISC may only be read if STATUS says that they are there. */
static bool read_bank(unsigned i, struct bank *b)
{
	*b = (struct bank){ 0 };
	if (!rdmsr_safe(bank_msr(i) + 1, &b->status) || !(b->status & MC_STATUS_VAL))
		return false;
	if ((b->status & MC_STATUS_ADDRV) && !rdmsr_safe(bank_msr(i) + 2, &b->addr))
		b->addr = 0;
	if ((b->status & MC_STATUS_MISCV) && !rdmsr_safe(bank_msr(i) + 3, &b->misc))
		b->misc = 0;
	return true;
}

void mce_init(void)
{
	uint64_t cap;
	unsigned n = banks(&cap);
	bool ok = true;
	struct bank b;

	if (n && (cap & MCG_CAP_CTL_P))
		ok = wrmsr_safe(MSR_IA32_MCG_CTL, ~0ull);
	for (unsigned i = 0; i < n; i++) {
		if (read_bank(i, &b))
			log_warn("mce", "event=machine-check-left bank=%u status=%lx addr=%lx misc=%lx", i, b.status, b.addr,
				 b.misc);
		ok &= wrmsr_safe(bank_msr(i), ~0ull);
		ok &= wrmsr_safe(bank_msr(i) + 1, 0);
	}
	if (!ok)
		log_warn("mce", "event=machine-check-partial banks=%u", n);
}

void mce_dump(void (*print)(const char *fmt, ...))
{
	uint64_t cap, status = 0;
	unsigned n = banks(&cap), found = 0;
	struct bank b;

	if (n && !rdmsr_safe(MSR_IA32_MCG_STATUS, &status))
		status = 0;
	print("panic: machine check: MCG_STATUS=%lx, %u banks\n", status, n);
	for (unsigned i = 0; i < n; i++) {
		if (!read_bank(i, &b))
			continue;
		found++;
		print("panic: bank %u: status=%016lx addr=%016lx misc=%016lx\n", i, b.status, b.addr, b.misc);
	}
	if (!found)
		print("panic: no bank holds an error\n");
}
