/* Finding and starting the other CPUs, handing them work, and their exceptions. */
#include "smp.h"

#define STACK         16384
#define GDT_MAX       (SEL_MAX / 8)
#define TSS_LIMIT     103
#define TSS_AVAILABLE 0x89
#define MSR_GS_BASE   0xc0000101
#define MADT_ENTRIES  44
#define MADT_LAPIC    0
#define MADT_ENABLED  1
#define PM_TIMER_MASK 0xffffff
#define PM_TIMER_HZ   3579545
#define INIT_MICROS   10000
#define SIPI_MICROS   200
#define COME_MICROS   2000000 /* it may share its CPU with many */
#define SVR_ENABLE    0x1ff

struct tss { uint32_t reserved; uint64_t rsp0; uint8_t rest[90]; uint16_t iomap; } __attribute__((packed));
extern const uint8_t smp_trampoline[], smp_trampoline_end[], smp_cr0[], smp_cr3[], smp_cr4[];
extern struct smp_cpu *smp_slots[256];

struct smp_cpu smp_cpus[SMP_MAX];
struct smp_cpu *smp_slots[256]; /* by APIC id */
unsigned smp_count;
smp_fn volatile smp_greeting;
bool (*volatile smp_trap_hook)(struct frame *);
static uint8_t stacks[SMP_MAX][2][STACK] __attribute__((aligned(16))); /* its own, and from ring 3 */
static uint64_t gdts[SMP_MAX][GDT_MAX];
static struct tss tsses[SMP_MAX];
static struct { uint16_t limit; uint64_t base; } __attribute__((packed)) idtr;
static uint16_t pm_timer;

void smp_main(struct smp_cpu *self);

void smp_delay(unsigned micros)
{
	uint64_t left = (uint64_t)micros * PM_TIMER_HZ / 1000000 + 1;
	uint32_t last, now;

	if (!pm_timer) { /* each takes about a microsecond */
		for (unsigned i = 0; i < micros; i++)
			inb(0x80);
		return;
	}
	last = inl(pm_timer);
	while (left) {
		uint32_t passed;

		now = inl(pm_timer);
		passed = (now - last) & PM_TIMER_MASK;
		left -= passed < left ? passed : left;
		last = now;
	}
}

uint32_t apic_read(unsigned reg)
{
	return smp_self()->x2apic ? (uint32_t)x2apic_read(reg) : lapic_read(reg);
}

void apic_write(unsigned reg, uint32_t value)
{
	if (smp_self()->x2apic)
		x2apic_write(reg, value);
	else
		lapic_write(reg, value);
}

void apic_ipi(uint32_t dest, uint32_t command)
{
	uint64_t flags = rflags();

	if (smp_self()->x2apic) {
		x2apic_write(LAPIC_ICR, (uint64_t)dest << 32 | command);
		return;
	}
	cli(); /* a handler that sends, too, must not come between the halves */
	while (lapic_read(LAPIC_ICR) & ICR_BUSY)
		pause();
	lapic_write(LAPIC_ICR_HI, dest << 24);
	lapic_write(LAPIC_ICR, command);
	if (flags & BIT(9))
		sti();
}

void apic_enter_x2apic(void)
{
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | X2APIC_ENABLE);
	smp_self()->x2apic = true;
}

void apic_init(void)
{
	static const uint16_t lvt[] = { LAPIC_LVT_TIMER, 0x340, LAPIC_LINT0, 0x360, LAPIC_LVT_ERROR };

	apic_write(LAPIC_SVR, SVR_ENABLE);
	apic_write(LAPIC_TPR, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(lvt); i++)
		apic_write(lvt[i], LVT_MASKED);
}

/* The frame becomes a return from smp_catch(). */
static void come_back(struct smp_cpu *c, struct frame *f)
{
	c->fault = (struct fault){ (int)f->vector, f->error, f->rip, rdcr2(), f->rcx, f->rsi, f->rdi };
	c->armed = false;
	f->rbx = c->caught[0];
	f->rbp = c->caught[1];
	f->r12 = c->caught[2];
	f->r13 = c->caught[3];
	f->r14 = c->caught[4];
	f->r15 = c->caught[5];
	f->rsp = c->caught[6];
	f->rip = c->caught[7];
	f->rflags = c->caught[8];
	f->cs = SEL_CODE;
	f->ss = SEL_DATA;
	f->rax = 1;
}

static bool on_trap(struct frame *f)
{
	struct smp_cpu *c = smp_self();

	if (smp_trap_hook && smp_trap_hook(f))
		return true;
	if (c->armed) {
		come_back(c, f);
		return true;
	}
	if (!c->index)
		return false;
	print("trap: cpu=%u vector=%u error=%lx rip=%lx cr2=%lx\n", c->index, (uint32_t)f->vector, f->error, f->rip, rdcr2());
	for (;;)
		__asm__ volatile("cli; hlt");
}

static void load_tables(struct smp_cpu *self)
{
	uint64_t *table = gdts[self->index], base = (uint64_t)&tsses[self->index];
	struct { uint16_t limit; uint64_t base; } __attribute__((packed)) gdtr = { SEL_MAX - 1, (uint64_t)table };

	tsses[self->index] = (struct tss){ .rsp0 = (uint64_t)stacks[self->index][1] + STACK, .iomap = TSS_LIMIT + 1 };
	memcpy(table, gdt, SEL_MAX);
	table[SEL_TSS / 8] = TSS_LIMIT | (base & 0xffffff) << 16 | (uint64_t)TSS_AVAILABLE << 40 | (base >> 24 & 0xff) << 56;
	table[SEL_TSS / 8 + 1] = base >> 32;
	__asm__ volatile("lgdt %0; mov %1, %%ds; mov %1, %%es; mov %1, %%ss; mov %2, %%fs; mov %2, %%gs; ltr %w3"
			 :: "m"(gdtr), "r"(SEL_DATA), "r"(0), "r"(SEL_TSS) : "memory");
	__asm__ volatile("lidt %0; lldt %w1" :: "m"(idtr), "r"(SEL_LDT));
	wrmsr(MSR_GS_BASE, (uint64_t)self);
}

void smp_main(struct smp_cpu *self)
{
	load_tables(self);
	self->fn = NULL;
	self->armed = self->x2apic = false;
	if (smp_greeting)
		smp_greeting(NULL);
	self->x2apic = rdmsr(MSR_APIC_BASE) & X2APIC_ENABLE;
	apic_init();
	atomic_add(&self->starts, 1);
	for (;;) {
		smp_fn fn = __atomic_load_n(&self->fn, __ATOMIC_ACQUIRE);

		if (!fn) {
			pause();
			continue;
		}
		fn(self->arg);
		__atomic_store_n(&self->fn, NULL, __ATOMIC_RELEASE);
	}
}

void smp_run(unsigned cpu, smp_fn fn, void *arg)
{
	smp_cpus[cpu].arg = arg;
	__atomic_store_n(&smp_cpus[cpu].fn, fn, __ATOMIC_RELEASE);
}

void smp_wait(unsigned cpu)
{
	while (__atomic_load_n(&smp_cpus[cpu].fn, __ATOMIC_ACQUIRE))
		pause();
}

void smp_call(unsigned cpu, smp_fn fn, void *arg)
{
	if (!cpu) {
		fn(arg);
		return;
	}
	smp_run(cpu, fn, arg);
	smp_wait(cpu);
}

void smp_others(smp_fn fn, void *arg)
{
	for (unsigned i = 1; i < smp_count; i++)
		smp_run(i, fn, arg);
}

void smp_wait_others(void)
{
	for (unsigned i = 1; i < smp_count; i++)
		smp_wait(i);
}

void smp_all(smp_fn fn, void *arg)
{
	smp_others(fn, arg);
	fn(arg);
	smp_wait_others();
}

static void add(uint32_t id)
{
	struct smp_cpu *c = &smp_cpus[smp_count];

	*c = (struct smp_cpu){ .self = c, .stack = (uint64_t)stacks[smp_count][0] + STACK, .index = smp_count, .apic_id = id };
	smp_slots[id] = c;
	smp_count++;
}

/* The boot CPU first, the others in the order of the table; without a table `cpus=` of them from id 0 up. */
static void find(void)
{
	const uint8_t *madt = acpi_table("APIC");
	uint32_t me = cpuid(1, 0).b >> 24, len = madt ? *(const uint32_t *)(madt + 4) : 0;
	uint64_t most = option_number("cpus", SMP_MAX);

	smp_count = 0;
	add(me);
	for (uint32_t i = MADT_ENTRIES; i + 8 <= len; i += madt[i + 1]) {
		bool more = smp_count < SMP_MAX && smp_count < most;

		if (more && madt[i] == MADT_LAPIC && (madt[i + 4] & MADT_ENABLED) && madt[i + 3] != me)
			add(madt[i + 3]);
		if (!madt[i + 1])
			break;
	}
	for (uint32_t id = 0; !madt && option("cpus") && smp_count < most && smp_count < SMP_MAX; id++)
		if (id != me)
			add(id);
}

static void put(const uint8_t *label, uint64_t value)
{
	*(volatile uint32_t *)(SMP_PAGE + (uint64_t)(label - smp_trampoline)) = (uint32_t)value;
}

void smp_prepare(void)
{
	memcpy((void *)SMP_PAGE, smp_trampoline, (size_t)(smp_trampoline_end - smp_trampoline));
	put(smp_cr0, rdcr0());
	put(smp_cr3, rdcr3());
	put(smp_cr4, rdcr4());
	__asm__ volatile("sidt %0" : "=m"(idtr));
}

bool smp_restart(unsigned cpu, uint64_t page)
{
	struct smp_cpu *c = &smp_cpus[cpu];
	unsigned before = c->starts;

	apic_ipi(c->apic_id, ICR_INIT);
	smp_delay(INIT_MICROS);
	apic_ipi(c->apic_id, ICR_DEASSERT);
	for (unsigned i = 0; i < 2; i++) {
		apic_ipi(c->apic_id, ICR_STARTUP | (uint32_t)(page / PAGE));
		smp_delay(SIPI_MICROS);
	}
	for (unsigned i = 0; c->starts == before && i < COME_MICROS / SIPI_MICROS; i++)
		smp_delay(SIPI_MICROS);
	return c->starts != before;
}

unsigned smp_start(void)
{
	unsigned here = 1;

	pm_timer = acpi_find().pm_timer;
	find();
	wrmsr(MSR_GS_BASE, (uint64_t)&smp_cpus[0]);
	trap_hook = on_trap;
	irq_init();
	smp_prepare();
	for (unsigned i = 1; i < smp_count; i++) {
		if (smp_restart(i, SMP_PAGE))
			here++;
		else
			print("smp: cpu %u, id %x does not come\n", i, smp_cpus[i].apic_id);
	}
	print("smp: %u of %u CPUs\n", here, smp_count);
	return smp_count;
}
