/* SDM 3A, "Advanced Programmable Interrupt Controller (APIC)" and "Extended XAPIC (x2APIC)" */
#include "arch/x86_64/lapic.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/frames.h"
#include "arch/x86_64/irq.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/percpu.h"
#include "arch/x86_64/trace_event.h"
#include "arch/x86_64/tsc.h"
#include <tf/log.h>
#include <tf/math.h>
#include <tf/panic.h>

/* Registers by number: the xAPIC offset is 16 times that, the x2APIC MSR is 800h plus that. */
enum lapic_reg {
	LAPIC_ID = 0x02, LAPIC_VERSION = 0x03, LAPIC_TPR = 0x08, LAPIC_EOI = 0x0b, LAPIC_LDR = 0x0d, LAPIC_DFR = 0x0e,
	LAPIC_SVR = 0x0f, LAPIC_ISR = 0x10, LAPIC_IRR = 0x20, LAPIC_ESR = 0x28, LAPIC_LVT_CMCI = 0x2f,
	LAPIC_ICR = 0x30, LAPIC_ICR_HIGH = 0x31,
	LAPIC_LVT_TIMER = 0x32, LAPIC_LVT_THERMAL = 0x33, LAPIC_LVT_PERF = 0x34, LAPIC_LVT_LINT0 = 0x35,
	LAPIC_LVT_LINT1 = 0x36, LAPIC_LVT_ERROR = 0x37, LAPIC_TIMER_INITIAL = 0x38, LAPIC_TIMER_CURRENT = 0x39,
	LAPIC_TIMER_DIVIDE = 0x3e,
};

#define LVT_MASKED          BIT(16)
#define LVT_DELIVERY        0x700u
#define LVT_DELIVERY_SMI    0x200u
#define LVT_TIMER_DEADLINE  (2u << 17)
#define SVR_ENABLE          BIT(8)
#define ICR_PENDING         BIT(12)
#define ICR_ASSERT          BIT(14)
#define DIVIDE_BY_16        0x3
#define XAPIC_ID_SHIFT      24
#define XAPIC_ID_ALL        0xff
#define TPR_EXCEPTIONS      0x10 /* holds back vectors 16 to 31: no device's, whatever the firmware left pending */
#define LVT_NMI             0x400u
#define LVT_ACTIVE_LOW      BIT(13)
#define ICR_NMI             0x400u
#define ICR_INIT            0x500u
#define ICR_STARTUP         0x600u
#define ICR_ALL_BUT_SELF    (3u << 18)

#define CPUID_1_ECX_TSC_DEADLINE BIT(24)

#define CALIBRATE_US   10000
#define DEADLINE_CHECK_US 100
#define DEADLINE_LATE_US  10000
#define ICR_SPINS      1000000
#define ISR_VECTORS    256
#define ERROR_LOG_BURST 4

static volatile uint32_t *mmio; /* the same physical page on every CPU */
static bool x2apic;
static uint64_t timer_hz;       /* of the one-shot counter, after the divider */
static uint64_t error_count;

static uint32_t reg_read(enum lapic_reg r)
{
	return x2apic ? (uint32_t)rdmsr(MSR_X2APIC_BASE + r) : mmio[r * 4];
}

static void reg_write(enum lapic_reg r, uint32_t v)
{
	if (x2apic)
		wrmsr(MSR_X2APIC_BASE + r, v);
	else
		mmio[r * 4] = v;
}

uint32_t lapic_id(void)
{
	return x2apic ? reg_read(LAPIC_ID) : reg_read(LAPIC_ID) >> XAPIC_ID_SHIFT;
}

void lapic_eoi(void) { reg_write(LAPIC_EOI, 0); }

bool lapic_in_service(uint8_t vector)
{
	return (x2apic || mmio) && (reg_read((enum lapic_reg)(LAPIC_ISR + vector / 32)) & BIT(vector % 32));
}

static void on_error(void *ctx)
{
	(void)ctx;
	reg_write(LAPIC_ESR, 0);
	uint32_t esr = reg_read(LAPIC_ESR);
	if (log_allow(&error_count, ERROR_LOG_BURST))
		log_warn("lapic", "event=apic-error esr=0x%x count=%lu", esr, (unsigned long)error_count);
}

/* As the boot CPU is. SDM 3A, "x2APIC State Transitions": out of x2APIC mode leads only through off. */
static void follow_boot_cpu(void)
{
	uint64_t v = rdmsr(MSR_IA32_APIC_BASE);

	if (!x2apic && (v & APIC_BASE_X2APIC))
		wrmsr(MSR_IA32_APIC_BASE, v & ~(APIC_BASE_X2APIC | APIC_BASE_ENABLE));
	if (x2apic && !(v & APIC_BASE_ENABLE))
		wrmsr(MSR_IA32_APIC_BASE, v | APIC_BASE_ENABLE);
	if (x2apic)
		wrmsr(MSR_IA32_APIC_BASE, v | APIC_BASE_ENABLE | APIC_BASE_X2APIC);
}

static void enable(hpa_t base)
{
	if (this_cpu()->id != 0)
		follow_boot_cpu();
	uint64_t v = rdmsr(MSR_IA32_APIC_BASE);

	/*
	 * The mode stays as the firmware left it: x2APIC mode wants interrupt remapping (VT-d specification), and the SMM
	 * code of some firmware reaches the xAPIC only.
	 */
	x2apic = v & APIC_BASE_X2APIC;
	if (!(v & APIC_BASE_ENABLE)) {
		v = (v & ~APIC_BASE_ADDR) | (base.v & APIC_BASE_ADDR) | APIC_BASE_ENABLE;
		wrmsr(MSR_IA32_APIC_BASE, v);
	}
	/* What the MSR says is where it is, whatever the MADT told. */
	if (!x2apic && !mmio)
		mmio = paging_map_device(HPA(v & APIC_BASE_ADDR), PAGE_SIZE);
	if (!x2apic && !mmio)
		panic("the local APIC cannot be reached");
}

/* What the firmware has as an SMI stays: its thermal management may depend on it. */
static void mask_lvt(enum lapic_reg r)
{
	if ((reg_read(r) & LVT_DELIVERY) != LVT_DELIVERY_SMI)
		reg_write(r, LVT_MASKED);
}

static void reset_state(void)
{
	unsigned max_lvt = reg_read(LAPIC_VERSION) >> 16 & 0xff;

	reg_write(LAPIC_SVR, SVR_ENABLE | IRQ_VECTOR_SPURIOUS);
	reg_write(LAPIC_LVT_TIMER, LVT_MASKED | IRQ_VECTOR_TIMER);
	reg_write(LAPIC_LVT_LINT0, LVT_MASKED);
	reg_write(LAPIC_LVT_LINT1, LVT_MASKED);
	if (max_lvt >= 4)
		reg_write(LAPIC_LVT_PERF, LVT_MASKED);
	if (max_lvt >= 5)
		mask_lvt(LAPIC_LVT_THERMAL);
	if (max_lvt >= 6)
		mask_lvt(LAPIC_LVT_CMCI);
	if (!x2apic) {
		reg_write(LAPIC_DFR, 0xffffffff); /* flat model; IPIs are physical, so that nothing depends on it */
		reg_write(LAPIC_LDR, 0);
	}
	reg_write(LAPIC_TPR, TPR_EXCEPTIONS);
	/* What the firmware took and never ended would block everything below it. */
	for (unsigned i = 0; i < ISR_VECTORS; i++) {
		uint32_t any = 0;

		for (unsigned r = 0; r < ISR_VECTORS / 32; r++)
			any |= reg_read((enum lapic_reg)(LAPIC_ISR + r));
		if (!any)
			break;
		lapic_eoi();
	}
	reg_write(LAPIC_ESR, 0);
	reg_write(LAPIC_LVT_ERROR, IRQ_VECTOR_ERROR);
}

static void deadline_enter(void)
{
	reg_write(LAPIC_LVT_TIMER, LVT_TIMER_DEADLINE | IRQ_VECTOR_TIMER);
	/* SDM 3A, "TSC-Deadline Mode": the store to the LVT has to be there before the MSR is written. */
	__asm__ volatile("mfence" : : : "memory");
	wrmsr(MSR_IA32_TSC_DEADLINE, 0);
}

static bool timer_pending(void)
{
	return reg_read((enum lapic_reg)(LAPIC_IRR + IRQ_VECTOR_TIMER / 32)) & BIT(IRQ_VECTOR_TIMER % 32);
}

/*
 * Does a deadline that is far away stay so, and one that is near come? Where the timer's idea of the TSC is not the
 * TSC, by an erratum that microcode repairs or as in Bochs after a reset, it comes at once or perhaps never. What is
 * left pending is one early interrupt.
 */
static bool deadline_works(void)
{
	deadline_enter();
	wrmsr(MSR_IA32_TSC_DEADLINE, rdtsc() + tsc_hz);
	tsc_spin_us(DEADLINE_CHECK_US);
	bool early = timer_pending();
	uint64_t start = rdtsc();

	wrmsr(MSR_IA32_TSC_DEADLINE, start + tsc_from_us(DEADLINE_CHECK_US));
	while (!timer_pending() && rdtsc() - start < tsc_from_us(DEADLINE_LATE_US))
		pause();
	wrmsr(MSR_IA32_TSC_DEADLINE, 0);
	return !early && timer_pending();
}

static void timer_init(void)
{
	if (cpuid(1, 0).ecx & CPUID_1_ECX_TSC_DEADLINE) {
		this_cpu()->tsc_deadline = deadline_works();
		if (!this_cpu()->tsc_deadline)
			log_warn("lapic", "event=tsc-deadline-unusable");
	}
	if (this_cpu()->tsc_deadline) {
		deadline_enter();
		return;
	}
	reg_write(LAPIC_LVT_TIMER, LVT_MASKED | IRQ_VECTOR_TIMER);
	reg_write(LAPIC_TIMER_DIVIDE, DIVIDE_BY_16);
	if (!timer_hz) {
		uint64_t start = rdtsc();

		reg_write(LAPIC_TIMER_INITIAL, UINT32_MAX);
		tsc_spin_us(CALIBRATE_US);
		uint32_t left = reg_read(LAPIC_TIMER_CURRENT);
		timer_hz = mul_div(UINT32_MAX - left, tsc_hz, rdtsc() - start);
		if (!timer_hz)
			panic("the local APIC timer does not count");
	}
	reg_write(LAPIC_TIMER_INITIAL, 0);
	reg_write(LAPIC_LVT_TIMER, IRQ_VECTOR_TIMER);
}

__attribute__((cold)) void lapic_init(hpa_t base)
{
	bool first = this_cpu()->id == 0;

	enable(base);
	reset_state();
	timer_init();
	this_cpu()->apic_id = lapic_id();
	if (first) {
		irq_register(IRQ_VECTOR_ERROR, on_error, NULL);
		log_info("lapic", "event=lapic mode=%s id=%u timer=%s hz=%lu", x2apic ? "x2apic" : "xapic", lapic_id(),
		         this_cpu()->tsc_deadline ? "tsc-deadline" : "one-shot",
		         (unsigned long)(this_cpu()->tsc_deadline ? tsc_hz : timer_hz));
	}
}

void lapic_timer_arm(uint64_t tsc)
{
	if (this_cpu()->tsc_deadline) {
		wrmsr(MSR_IA32_TSC_DEADLINE, tsc ? tsc : 1); /* 0 would disarm */
		return;
	}

	uint64_t now = rdtsc(), delta = tsc > now ? tsc - now : 0;
	/* In range of mul_div: whatever is more than a minute away comes early. */
	uint64_t count = mul_div(MIN(delta, 60 * tsc_hz), timer_hz, tsc_hz) + 1;

	reg_write(LAPIC_TIMER_INITIAL, (uint32_t)MIN(count, (uint64_t)UINT32_MAX));
}

void lapic_open_nmi(unsigned lint, bool active_low)
{
	reg_write(lint ? LAPIC_LVT_LINT1 : LAPIC_LVT_LINT0, LVT_NMI | (active_low ? (uint32_t)LVT_ACTIVE_LOW : 0));
}

void lapic_park_others(void)
{
	const uint32_t init = ICR_ALL_BUT_SELF | (uint32_t)ICR_ASSERT | ICR_INIT;
	uint64_t base = rdmsr(MSR_IA32_APIC_BASE);

	if (base & APIC_BASE_X2APIC) {
		wrmsr(MSR_X2APIC_BASE + LAPIC_ICR, init);
		return;
	}
	/* With this one off the firmware has not started any others. */
	if (!(base & APIC_BASE_ENABLE) || (base & APIC_BASE_ADDR) >= frames_early_limit())
		return;
	volatile uint32_t *regs = phys_to_virt(HPA(base & APIC_BASE_ADDR));
	regs[LAPIC_ICR * 4] = init;
	for (unsigned i = 0; i < ICR_SPINS && (regs[LAPIC_ICR * 4] & ICR_PENDING); i++)
		pause();
}

static void send(uint32_t apic_id, uint32_t command)
{
	if (x2apic) {
		/* Writes to x2APIC registers do not wait for earlier stores, which the target is to see. */
		__asm__ volatile("mfence; lfence" : : : "memory");
		wrmsr(MSR_X2APIC_BASE + LAPIC_ICR, (uint64_t)apic_id << 32 | ICR_ASSERT | command);
		return;
	}
	for (unsigned i = 0; i < ICR_SPINS && (reg_read(LAPIC_ICR) & ICR_PENDING); i++)
		pause();
	reg_write(LAPIC_ICR_HIGH, apic_id << XAPIC_ID_SHIFT);
	reg_write(LAPIC_ICR, ICR_ASSERT | command);
}

void lapic_ipi(uint32_t apic_id, uint8_t vector)
{
	if (trace_is_on())
		trace_note(TRACE_IPI, TRACE_NOBODY, vector, apic_id, 0);
	send(apic_id, vector);
}

void lapic_send_init(uint32_t apic_id) { send(apic_id, ICR_INIT); }
void lapic_send_startup(uint32_t apic_id, uint8_t page) { send(apic_id, ICR_STARTUP | page); }
void lapic_send_nmi(uint32_t apic_id) { send(apic_id, ICR_NMI); }

bool lapic_reaches(uint32_t apic_id) { return x2apic || apic_id < XAPIC_ID_ALL; }
