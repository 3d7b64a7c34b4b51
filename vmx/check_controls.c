/* SDM 3C, "Checks on VMX Controls". */
#include "vmx/check_internal.h"
#include <tf/x86.h>

#define MSR_ENTRY_SIZE    16u
#define MISC_CR3_TARGETS(m) ((uint32_t)((m) >> 16 & 0x1ff))
#define MISC_ZERO_LENGTH  BIT(30) /* software events may be injected with an instruction length of 0 */
#define APIC_TPR          0x80u   /* offset in the virtual-APIC page */
#define EPTP_TYPE(p)      ((p) & 7)
#define EPTP_WALK(p)      ((p) >> 3 & 7) /* length less 1 */
#define EPTP_AD           BIT(6)
#define EPTP_SSS          BIT(7)
#define EPTP_RESERVED     0xf00ull
#define VMFUNC_EPTP_SWITCHING BIT(0)
#define POSTED_DESC_ALIGN 64u
#define INSN_LENGTH_MAX   15u
#define INTR_TYPE_RESERVED 0x100u
#define INTR_RESERVED     0x7ffff000u
#define INTR_NESTED       0x2000u
#define HLATP_RESERVED    0xfe7ull
#define PID_POINTER_SIZE  8u

static bool control_fits(uint32_t v, uint64_t cap) { return fits(v, (uint32_t)cap, cap >> 32); }

static bool check_bitmaps(struct check *c)
{
	RULE(GET(VMCS_CR3_TARGET_COUNT) <= MISC_CR3_TARGETS(c->view->caps->misc), VMCS_CR3_TARGET_COUNT,
	     "CR3-target count: no more than the CPU has");
	if (c->proc & PROC_IO_BITMAPS) {
		RULE(aligned_address(c, GET(VMCS_IO_BITMAP_A), PAGE_SIZE), VMCS_IO_BITMAP_A, "I/O bitmap A: a page address");
		RULE(aligned_address(c, GET(VMCS_IO_BITMAP_B), PAGE_SIZE), VMCS_IO_BITMAP_B, "I/O bitmap B: a page address");
	}
	if (c->proc & PROC_MSR_BITMAPS)
		RULE(aligned_address(c, GET(VMCS_MSR_BITMAP), PAGE_SIZE), VMCS_MSR_BITMAP, "MSR bitmap: a page address");
	return true;
}

static bool check_tpr(struct check *c)
{
	uint64_t threshold = GET(VMCS_TPR_THRESHOLD), page = GET(VMCS_VIRTUAL_APIC), vtpr;
	bool reads = c->view->read_mem && !(c->proc2 & PROC2_APIC_ACCESS);

	if (!(c->proc & PROC_TPR_SHADOW))
		return true;
	RULE(aligned_address(c, page, PAGE_SIZE), VMCS_VIRTUAL_APIC, "virtual-APIC page: a page address");
	if (c->proc2 & PROC2_VIRTUAL_INTR)
		return true;
	RULE(threshold < 16, VMCS_TPR_THRESHOLD, "TPR threshold: bits 31:4 are 0");
	if (reads && c->view->read_mem(c->view->ctx, page + APIC_TPR, &vtpr))
		RULE(threshold <= (vtpr >> 4 & 0xf), VMCS_TPR_THRESHOLD,
		     "TPR threshold: not above VTPR[7:4] without virtualized APIC accesses");
	return true;
}

static bool check_apic(struct check *c)
{
	RULE((c->pin & PIN_NMI_EXIT) || !(c->pin & PIN_VIRTUAL_NMI), VMCS_PIN_CTL, "virtual NMIs: only with NMI exiting");
	RULE((c->pin & PIN_VIRTUAL_NMI) || !(c->proc & PROC_NMI_WINDOW), VMCS_PROC_CTL,
	     "NMI-window exiting: only with virtual NMIs");
	if (c->proc2 & PROC2_APIC_ACCESS)
		RULE(aligned_address(c, GET(VMCS_APIC_ACCESS), PAGE_SIZE), VMCS_APIC_ACCESS, "APIC-access page: a page address");
	RULE((c->proc & PROC_TPR_SHADOW) || !(c->proc3 & PROC3_IPI), VMCS_PROC3_CTL, "IPI virtualization: only with TPR shadow");
	RULE((c->proc & PROC_TPR_SHADOW) || !(c->proc2 & (PROC2_X2APIC | PROC2_APIC_REGISTERS | PROC2_VIRTUAL_INTR)),
	     VMCS_PROC2_CTL, "x2APIC mode, APIC-register virtualization, virtual-interrupt delivery: only with TPR shadow");
	RULE(!(c->proc2 & PROC2_X2APIC) || !(c->proc2 & PROC2_APIC_ACCESS), VMCS_PROC2_CTL,
	     "virtualize x2APIC mode: not with virtualize APIC accesses");
	RULE(!(c->proc2 & PROC2_VIRTUAL_INTR) || (c->pin & PIN_EXTINT_EXIT), VMCS_PROC2_CTL,
	     "virtual-interrupt delivery: only with external-interrupt exiting");
	if (!(c->pin & PIN_POSTED_INTR))
		return true;
	RULE(c->proc2 & PROC2_VIRTUAL_INTR, VMCS_PIN_CTL, "posted interrupts: only with virtual-interrupt delivery");
	RULE(c->exit & EXIT_ACK_INTR, VMCS_PIN_CTL, "posted interrupts: only with acknowledge interrupt on exit");
	RULE(GET(VMCS_POSTED_INTR_VECTOR) <= 0xff, VMCS_POSTED_INTR_VECTOR, "posted-interrupt vector: bits 15:8 are 0");
	RULE(aligned_address(c, GET(VMCS_POSTED_INTR_DESC), POSTED_DESC_ALIGN), VMCS_POSTED_INTR_DESC,
	     "posted-interrupt descriptor: a 64-byte aligned address");
	return true;
}

static bool check_eptp(struct check *c)
{
	uint64_t eptp = GET(VMCS_EPT_POINTER), cap = c->view->caps->ept_vpid;

	RULE((EPTP_TYPE(eptp) == MT_UC && (cap & EPTCAP_UC)) || (EPTP_TYPE(eptp) == MT_WB && (cap & EPTCAP_WB)),
	     VMCS_EPT_POINTER, "EPT pointer: a memory type that the CPU has");
	RULE((EPTP_WALK(eptp) == 3 && (cap & EPTCAP_WALK4)) || (EPTP_WALK(eptp) == 4 && (cap & EPTCAP_WALK5)),
	     VMCS_EPT_POINTER, "EPT pointer: a page-walk length that the CPU has");
	RULE(!(eptp & EPTP_AD) || (cap & EPTCAP_AD), VMCS_EPT_POINTER, "EPT pointer: no accessed and dirty flags on this CPU");
	RULE(!(eptp & EPTP_SSS) || (cap & EPTCAP_SSS), VMCS_EPT_POINTER,
	     "EPT pointer: no supervisor shadow-stack control on this CPU");
	RULE(!(eptp & EPTP_RESERVED) && !beyond_phys(c, eptp), VMCS_EPT_POINTER, "EPT pointer: reserved bits are 0");
	return true;
}

static bool check_paging(struct check *c)
{
	bool ept = c->proc2 & PROC2_EPT;

	if (c->proc2 & PROC2_VPID)
		RULE(GET(VMCS_VPID) & 0xffff, VMCS_VPID, "VPID: not 0");
	if (ept && !check_eptp(c))
		return false;
	if (c->proc2 & PROC2_PML) {
		RULE(ept, VMCS_PROC2_CTL, "page-modification logging: only with EPT");
		RULE(aligned_address(c, GET(VMCS_PML), PAGE_SIZE), VMCS_PML, "page-modification log: a page address");
	}
	RULE(ept || !c->unrestricted, VMCS_PROC2_CTL, "unrestricted guest: only with EPT");
	RULE(ept || !(c->proc2 & PROC2_MODE_BASED), VMCS_PROC2_CTL, "mode-based execute control: only with EPT");
	if (c->proc2 & PROC2_SPP) {
		RULE(ept, VMCS_PROC2_CTL, "sub-page write permissions: only with EPT");
		RULE(aligned_address(c, GET(VMCS_SPP_TABLE), PAGE_SIZE), VMCS_SPP_TABLE, "sub-page permission table: a page address");
	}
	RULE(ept || !(c->proc3 & (PROC3_HLAT | PROC3_PAGING_WRITE | PROC3_PAGING_VERIFY)), VMCS_PROC3_CTL,
	     "HLAT, EPT paging-write control, guest-paging verification: only with EPT");
	if (c->proc3 & PROC3_HLAT)
		RULE(!(GET(VMCS_HLAT_POINTER) & HLATP_RESERVED) && !beyond_phys(c, GET(VMCS_HLAT_POINTER)), VMCS_HLAT_POINTER,
		     "HLAT pointer: reserved bits are 0");
	RULE(!(c->proc2 & PROC2_VMFUNC) || !(GET(VMCS_VMFUNC_CTL) & ~c->view->caps->vmfunc), VMCS_VMFUNC_CTL,
	     "VM-function controls: settings that the CPU allows");
	if ((c->proc2 & PROC2_VMFUNC) && (GET(VMCS_VMFUNC_CTL) & VMFUNC_EPTP_SWITCHING)) {
		RULE(ept, VMCS_VMFUNC_CTL, "EPTP switching: only with EPT");
		RULE(aligned_address(c, GET(VMCS_EPTP_LIST), PAGE_SIZE), VMCS_EPTP_LIST, "EPTP list: a page address");
	}
	return true;
}

/* The PID-pointer table and what it ends with; the address of its last entry has to be a physical one too. */
static bool check_pid_table(struct check *c)
{
	uint64_t table = GET(VMCS_PID_TABLE), last = table + (GET(VMCS_LAST_PID_INDEX) & 0xffff) * PID_POINTER_SIZE;

	if (!(c->proc3 & PROC3_IPI))
		return true;
	RULE(aligned_address(c, table, PID_POINTER_SIZE), VMCS_PID_TABLE, "PID-pointer table: an 8-byte aligned address");
	RULE(!beyond_phys(c, last), VMCS_LAST_PID_INDEX, "last PID-pointer index: its entry within physical memory");
	return true;
}

static bool check_others(struct check *c)
{
	if (c->proc2 & PROC2_SHADOWING) {
		RULE(aligned_address(c, GET(VMCS_VMREAD_BITMAP), PAGE_SIZE), VMCS_VMREAD_BITMAP, "VMREAD bitmap: a page address");
		RULE(aligned_address(c, GET(VMCS_VMWRITE_BITMAP), PAGE_SIZE), VMCS_VMWRITE_BITMAP, "VMWRITE bitmap: a page address");
	}
	if (c->proc2 & PROC2_VE)
		RULE(aligned_address(c, GET(VMCS_VE_INFO), PAGE_SIZE), VMCS_VE_INFO,
		     "virtualization-exception information: a page address");
	RULE(!(c->proc2 & PROC2_PT_GPA) || ((c->proc2 & PROC2_EPT) && (c->entry & ENTRY_LOAD_RTIT) && (c->exit & EXIT_CLEAR_RTIT)),
	     VMCS_PROC2_CTL, "Intel PT uses guest physical addresses: only with EPT, load and clear IA32_RTIT_CTL");
	if (c->proc2 & PROC2_TSC_SCALING)
		RULE(GET(VMCS_TSC_MULTIPLIER), VMCS_TSC_MULTIPLIER, "TSC multiplier: not 0");
	if (c->proc2 & PROC2_PASID) {
		RULE(aligned_address(c, GET(VMCS_PASID_LOW), PAGE_SIZE), VMCS_PASID_LOW, "low PASID directory: a page address");
		RULE(aligned_address(c, GET(VMCS_PASID_HIGH), PAGE_SIZE), VMCS_PASID_HIGH, "high PASID directory: a page address");
	}
	return check_pid_table(c);
}

bool check_execution_controls(struct check *c)
{
	RULE(control_fits(c->pin, c->view->caps->pin), VMCS_PIN_CTL, "pin-based controls: settings that the CPU allows");
	RULE(control_fits(c->proc, c->view->caps->proc), VMCS_PROC_CTL,
	     "primary processor-based controls: settings that the CPU allows");
	RULE(!(c->proc2 & ~(c->view->caps->proc2 >> 32)), VMCS_PROC2_CTL,
	     "secondary processor-based controls: settings that the CPU allows");
	RULE(!(c->proc3 & ~c->view->caps->proc3), VMCS_PROC3_CTL,
	     "tertiary processor-based controls: settings that the CPU allows");
	return check_bitmaps(c) && check_tpr(c) && check_apic(c) && check_paging(c) && check_others(c);
}

static bool msr_area_fits(const struct check *c, uint64_t base, uint32_t count)
{
	return aligned_address(c, base, MSR_ENTRY_SIZE) && !beyond_phys(c, base + (uint64_t)count * MSR_ENTRY_SIZE - 1);
}

bool check_exit_controls(struct check *c)
{
	uint32_t stores = (uint32_t)GET(VMCS_EXIT_MSR_STORE_COUNT), loads = (uint32_t)GET(VMCS_EXIT_MSR_LOAD_COUNT);

	RULE(control_fits(c->exit, c->view->caps->exit), VMCS_EXIT_CTL, "VM-exit controls: settings that the CPU allows");
	RULE(!(c->exit2 & ~c->view->caps->exit2), VMCS_EXIT2_CTL, "secondary VM-exit controls: settings that the CPU allows");
	RULE((c->pin & PIN_PREEMPTION_TIMER) || !(c->exit & EXIT_SAVE_PREEMPTION), VMCS_EXIT_CTL,
	     "save preemption timer: only with the timer activated");
	RULE(!stores || msr_area_fits(c, GET(VMCS_EXIT_MSR_STORE), stores), VMCS_EXIT_MSR_STORE,
	     "VM-exit MSR-store area: 16-byte aligned, within physical memory");
	RULE(!loads || msr_area_fits(c, GET(VMCS_EXIT_MSR_LOAD), loads), VMCS_EXIT_MSR_LOAD,
	     "VM-exit MSR-load area: 16-byte aligned, within physical memory");
	return true;
}

/* Vectors that are delivered with an error code (SDM 3A, "Exception and Interrupt Reference"). */
static bool has_error_code(const struct check *c, uint32_t vector)
{
	const uint32_t known = BIT(VEC_DF) | BIT(VEC_TS) | BIT(VEC_NP) | BIT(VEC_SS) | BIT(VEC_GP) | BIT(VEC_PF) | BIT(VEC_AC);
	bool cet = c->view->caps->cr4_fixed1 & CR4_CET;

	return (known & BIT(vector)) || (cet && vector == VEC_CP);
}

static bool check_injection(struct check *c)
{
	uint32_t info = (uint32_t)GET(VMCS_ENTRY_INTR_INFO), type = INTR_TYPE_OF(info), vector = info & INTR_VECTOR;
	bool error = info & INTR_ERROR_CODE, real_mode = c->unrestricted && !(GET(VMCS_GUEST_CR0) & CR0_PE);
	bool software = type == INTR_TYPE_SW || type == INTR_TYPE_PRIVSW || type == INTR_TYPE_SWEXC;
	bool nested = c->view->caps->nested_exception && type == INTR_TYPE_HW;
	uint64_t len = GET(VMCS_ENTRY_INSN_LEN);

	if (!(info & INTR_VALID))
		return true;
	RULE(type != INTR_TYPE_RESERVED && (type != INTR_TYPE_OTHER || vmx_may(c->view->caps->proc, PROC_MTF)), VMCS_ENTRY_INTR_INFO,
	     "event injection: a type that exists");
	RULE(type != INTR_TYPE_NMI || vector == VEC_NMI, VMCS_ENTRY_INTR_INFO, "event injection: the vector of an NMI is 2");
	RULE(type != INTR_TYPE_HW || vector < 32, VMCS_ENTRY_INTR_INFO, "event injection: the vector of an exception is below 32");
	RULE(type != INTR_TYPE_OTHER || vector == 0, VMCS_ENTRY_INTR_INFO, "event injection: the vector of an other event is 0");
	RULE(!error || (type == INTR_TYPE_HW && !real_mode), VMCS_ENTRY_INTR_INFO,
	     "event injection: an error code only with a hardware exception, and in protected mode");
	RULE(c->view->caps->any_error_code || type != INTR_TYPE_HW || real_mode || error == has_error_code(c, vector),
	     VMCS_ENTRY_INTR_INFO, "event injection: an error code if and only if the exception has one");
	RULE(!(info & INTR_RESERVED & ~(nested ? INTR_NESTED : 0)), VMCS_ENTRY_INTR_INFO,
	     "event injection: bits 30:12 are 0, but for bit 13 of an exception that nests");
	RULE(!error || !(GET(VMCS_ENTRY_ERROR_CODE) >> 16), VMCS_ENTRY_ERROR_CODE, "exception error code: bits 31:16 are 0");
	RULE(!software || (len <= INSN_LENGTH_MAX && (len || (c->view->caps->misc & MISC_ZERO_LENGTH))), VMCS_ENTRY_INSN_LEN,
	     "instruction length of a software event: 1 to 15");
	return true;
}

bool check_entry_controls(struct check *c)
{
	uint32_t loads = (uint32_t)GET(VMCS_ENTRY_MSR_LOAD_COUNT);

	RULE(control_fits(c->entry, c->view->caps->entry), VMCS_ENTRY_CTL, "VM-entry controls: settings that the CPU allows");
	if (!check_injection(c))
		return false;
	RULE(!loads || msr_area_fits(c, GET(VMCS_ENTRY_MSR_LOAD), loads), VMCS_ENTRY_MSR_LOAD,
	     "VM-entry MSR-load area: 16-byte aligned, within physical memory");
	RULE(!(c->entry & (ENTRY_TO_SMM | ENTRY_END_DUAL)), VMCS_ENTRY_CTL,
	     "entry to SMM, deactivate dual-monitor treatment: only in SMM");
	return true;
}
