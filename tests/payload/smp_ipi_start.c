/* INIT and SIPI: what state they leave, who ignores them, and what they take away. */
#include "smp_ipi.h"

#define MSR_SYSENTER_CS  0x174
#define MSR_SYSENTER_EIP 0x176
#define MSR_PAT          0x277
#define MSR_LSTAR        0xc0000082
#define CR0_CACHE        0x60000000u /* CD and NW */
#define CR4_OSFXSR       BIT(9)
#define PATTERN          0x123456789abcdef0ull
#define PAT_OTHER        0x0007040600070406ull

struct seen {
	uint32_t gpr[8], flags, ip, cs, ds, es, fs, gs, ss, cr0, cr2, cr3, cr4, dr0, dr3, dr6, dr7;
	uint16_t gdt_limit, gdt_base, gdt_high, pad0, idt_limit, idt_base, idt_high, pad1;
	uint32_t efer, efer_high, apic_base, apic_base_high;
	uint32_t tsc, tsc_high;
} __attribute__((packed));
extern const uint8_t smp_probe[], smp_probe_end[], smp_probe_seen[];

static uint32_t apic_found[17];
static uint64_t msrs_found[4], xmm_found[2];
static volatile uint64_t beats;
static bool watched;

static const struct { const char *name; unsigned reg; } apic_regs[] = {
	{ "id", LAPIC_ID }, { "tpr", LAPIC_TPR }, { "ppr", LAPIC_PPR }, { "ldr", LAPIC_LDR }, { "dfr", LAPIC_DFR }, { "svr", LAPIC_SVR },
	{ "isr", LAPIC_ISR + 0x20 }, { "irr", LAPIC_IRR + 0x20 }, { "esr", LAPIC_ESR }, { "timer", LAPIC_LVT_TIMER },
	{ "lint0", LAPIC_LINT0 }, { "lint1", 0x360 }, { "error", LAPIC_LVT_ERROR }, { "initial", LAPIC_INIT_COUNT },
	{ "current", LAPIC_CUR_COUNT }, { "divide", LAPIC_DIVIDE }, { "icr high", LAPIC_ICR_HI },
};

/* On the CPU that comes up, before it has set anything. */
static void greet(void *unused)
{
	(void)unused;
	if (!watched)
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(apic_regs); i++)
		apic_found[i] = lapic_read(apic_regs[i].reg);
	msrs_found[0] = rdmsr(MSR_SYSENTER_CS);
	msrs_found[1] = rdmsr(MSR_SYSENTER_EIP);
	msrs_found[2] = rdmsr(MSR_LSTAR);
	msrs_found[3] = rdmsr(MSR_PAT);
	wrcr4(rdcr4() | CR4_OSFXSR);
	__asm__ volatile("movdqu %%xmm5, %0" : "=m"(xmm_found));
}

/* All that INIT has to take away, or must not, is something else than after a reset. */
static void disturb(void *unused)
{
	uint64_t xmm[2] = { PATTERN, ~PATTERN };

	(void)unused;
	wrcr4(rdcr4() | CR4_OSFXSR);
	__asm__ volatile("movdqu %0, %%xmm5" :: "m"(xmm));
	__asm__ volatile("mov %0, %%dr0; mov %0, %%dr3; mov %1, %%cr2" :: "r"(PATTERN >> 8), "r"(PATTERN));
	wrmsr(MSR_SYSENTER_CS, 0x1230);
	wrmsr(MSR_SYSENTER_EIP, PATTERN >> 20);
	wrmsr(MSR_LSTAR, PATTERN >> 20);
	wrmsr(MSR_PAT, PAT_OTHER ^ 0x0100000000000000ull);
	apic_write(LAPIC_LDR, 0x5a000000);
	apic_write(LAPIC_DFR, 0x0fffffff);
	apic_write(LAPIC_TPR, 0x93);
	apic_write(LAPIC_LVT_TIMER, LVT_MASKED | 0x20051);
	apic_write(LAPIC_DIVIDE, 0xa);
	apic_write(LAPIC_INIT_COUNT, 1u << 30);
	apic_write(LAPIC_LVT_ERROR, 0x77);
	apic_ipi(0x7e, V3);
	for (;;)
		beats++;
}

static void registers(const struct seen *s)
{
	print("init: ip %x cs %x ds %x es %x fs %x gs %x ss %x\n", s->ip, s->cs, s->ds, s->es, s->fs, s->gs, s->ss);
	print("init: eax %x ecx %x ebx %x esp %x ebp %x esi %x edi %x flags %x\n", s->gpr[0], s->gpr[1], s->gpr[3], s->gpr[4],
	      s->gpr[5], s->gpr[6], s->gpr[7], s->flags);
	print("# init: edx %x, the CPU's signature %x\n", s->gpr[2], cpuid(1, 0).a); /* Bochs: 0 */
	print("init: cr0 %x cr3 %x cr4 %x efer %x%08x\n", s->cr0 & ~CR0_CACHE, s->cr3, s->cr4, s->efer_high, s->efer);
	print("# init: cr0 %x cr2 %x\n", s->cr0, s->cr2); /* INIT keeps CD and NW, which Bochs sets; Bochs keeps CR2 */
	print("init: dr0 %x dr3 %x dr6 %x dr7 %x\n", s->dr0, s->dr3, s->dr6, s->dr7);
	print("init: gdt %x%04x limit %x, idt %x%04x limit %x\n", s->gdt_high, s->gdt_base, s->gdt_limit, s->idt_high, s->idt_base,
	      s->idt_limit);
	print("init: apic base %x%08x\n", s->apic_base_high, s->apic_base);
	for (unsigned i = 0; i < ARRAY_SIZE(apic_regs); i++)
		print("init: apic %s %x\n", apic_regs[i].name, apic_found[i]);
	print("init keeps: sysenter %lx %lx lstar %lx pat %lx xmm %lx %lx\n", msrs_found[0], msrs_found[1], msrs_found[2],
	      msrs_found[3], xmm_found[0], xmm_found[1]);
}

/* Where the CPU arrives is a page of the payload's own, which then goes on to the trampoline. */
static void state_of(unsigned cpu)
{
	const struct seen *s = (const void *)(SMP_PROBE_PAGE + (uint64_t)(smp_probe_seen - smp_probe));
	uint64_t before = rdtsc(), at;
	bool came;

	memcpy((void *)SMP_PROBE_PAGE, smp_probe, (size_t)(smp_probe_end - smp_probe));
	beats = 0;
	smp_run(cpu, disturb, NULL);
	while (beats < 10)
		pause();
	apic_ipi(smp_cpus[cpu].apic_id, V1); /* pending, and gone with the INIT */
	watched = true;
	came = smp_restart(cpu, SMP_PROBE_PAGE);
	watched = false;
	print("init and sipi to %u: %s\n", cpu, came ? "comes" : "does not come");
	at = (uint64_t)s->tsc_high << 32 | s->tsc;
	registers(s);
	print("init keeps the tsc: %s\n", before < at && at < rdtsc() ? "yes" : "no");
	ipi_show("pending after init", V1);
}

static void fix_pat(void *unused)
{
	(void)unused;
	wrmsr(MSR_PAT, rdmsr(MSR_PAT) ^ 0x0100000000000000ull);
}

static void beat(void *unused)
{
	(void)unused;
	for (;;)
		beats++;
}

static void sleep_closed(void *unused)
{
	(void)unused;
	for (;;) {
		beats++;
		__asm__ volatile("cli; hlt");
	}
}

static void in_service(struct frame *f)
{
	(void)f;
	for (;;)
		beats++;
}

static void begin(unsigned cpu, smp_fn fn)
{
	beats = 0;
	smp_run(cpu, fn, NULL);
	while (!beats)
		pause();
}

static void ignored(unsigned cpu)
{
	uint32_t id = smp_cpus[cpu].apic_id;
	unsigned starts = smp_cpus[cpu].starts;
	uint64_t before;

	begin(cpu, beat);
	apic_ipi(id, ICR_STARTUP | 9);
	apic_ipi(0, ICR_OTHERS | ICR_STARTUP | 9);
	apic_ipi(id, ICR_DEASSERT);
	apic_ipi(0, ICR_ALL | ICR_DEASSERT);
	before = beats;
	while (beats < before + 1000)
		pause();
	print("sipi and de-assertion to one that runs: starts %u\n", smp_cpus[cpu].starts - starts);
	apic_ipi(id, ICR_INIT);
	smp_delay(1000);
	before = beats;
	smp_delay(5000);
	print("init: %s\n", beats == before ? "stands" : "goes on");
	apic_ipi(id, ICR_INIT); /* one more: nothing new */
	smp_delay(1000);
	apic_ipi(id, ICR_STARTUP | (uint32_t)(SMP_PAGE / PAGE));
	apic_ipi(id, ICR_STARTUP | (uint32_t)(SMP_PAGE / PAGE));
	while (smp_cpus[cpu].starts == starts)
		pause();
	smp_call(cpu, ipi_window, NULL);
	print("one sipi more than needed: starts %u\n", smp_cpus[cpu].starts - starts);
}

static void restart_others(void *unused)
{
	unsigned me = smp_index();

	(void)unused;
	for (unsigned i = 1; i < smp_count; i++)
		if (i != me)
			smp_restart(i, SMP_PAGE);
}

static void from_everywhere(void)
{
	unsigned starts[SMP_MAX];

	begin(1, sleep_closed);
	print("init to one that sleeps for good: %s\n", smp_restart(1, SMP_PAGE) ? "comes" : "does not come");
	irq_set(V2, in_service);
	beats = 0;
	apic_ipi(smp_cpus[1].apic_id, V2);
	smp_run(1, ipi_window, NULL);
	while (!beats)
		pause();
	print("init to one in its handler: %s\n", smp_restart(1, SMP_PAGE) ? "comes" : "does not come");
	apic_ipi(smp_cpus[1].apic_id, V1);
	ipi_show("a lower one afterwards", V1);
	for (unsigned i = 0; i < smp_count; i++)
		starts[i] = smp_cpus[i].starts;
	apic_ipi(0, ICR_OTHERS | ICR_INIT);
	smp_delay(10000);
	apic_ipi(0, ICR_OTHERS | ICR_STARTUP | (uint32_t)(SMP_PAGE / PAGE));
	for (unsigned i = 1; i < smp_count; i++) {
		while (smp_cpus[i].starts == starts[i])
			pause();
		smp_call(i, ipi_window, NULL);
	}
	apic_ipi(0, ICR_OTHERS | V1);
	ipi_show("all others restarted", V1);
	if (smp_count < 3)
		return;
	for (unsigned i = 0; i < smp_count; i++)
		starts[i] = smp_cpus[i].starts;
	smp_call(1, restart_others, NULL);
	print("restarted by 1:");
	for (unsigned i = 0; i < smp_count; i++)
		print(" %u", smp_cpus[i].starts - starts[i]);
	print("\n");
}

void ipi_start(void)
{
	smp_greeting = greet;
	for (unsigned cpu = 1; cpu < smp_count; cpu++) {
		state_of(cpu);
		smp_call(cpu, fix_pat, NULL);
	}
	ignored(smp_count - 1);
	from_everywhere();
}
