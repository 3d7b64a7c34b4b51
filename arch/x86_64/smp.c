#include "arch/x86_64/smp.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/irq.h"
#include "arch/x86_64/lapic.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/tsc.h"
#include "arch/x86_64/tsc_sync.h"
#include <tf/assert.h>
#include <tf/log.h>
#include <tf/string.h>

/* SDM 3A, "MP Initialization Protocol Algorithm" */
#define INIT_WAIT_US    10000
#define STARTUP_WAIT_US 200
#define ANSWER_WAIT_US  500000

#define CPUID_TOPOLOGY   0xb
#define TRAMPOLINE_MAX   512
#define LOW_MEMORY_START PAGE_SIZE /* not the interrupt vectors and the BIOS's data */
#define LOW_MEMORY_END   0xa0000

/* A CPU on its way up, as it tells the boot CPU. */
enum step { STEP_NONE, STEP_TSC, STEP_CHECKED, STEP_READY, STEP_REFUSED };

extern char trampoline[], trampoline_end[];
extern uint32_t trampoline_cr3;
void __noreturn ap_start(struct cpu *c);

/* What the trampoline takes. */
uint64_t ap_boot_cr3, ap_boot_stack;
struct cpu *ap_boot_cpu;

static const struct smp_boot *boot;
static struct tsc_sync sync;
static enum step step;        /* atomic */
static const char *refusal;
static uint32_t online = 1;   /* atomic */

uint32_t smp_cpus(void) { return __atomic_load_n(&online, __ATOMIC_ACQUIRE); }

unsigned smp_thread_bits(void)
{
	struct cpuid c = cpuid(0, 0).eax >= CPUID_TOPOLOGY ? cpuid(CPUID_TOPOLOGY, 0) : (struct cpuid){ 0 };

	return (c.ebx & 0xffff) > 1 ? c.eax & 0x1f : 0;
}

/* Oldest first: they come off the list the other way round. */
static void serve(void *ctx)
{
	struct smp_work *w = __atomic_exchange_n(&this_cpu()->mail, NULL, __ATOMIC_ACQ_REL), *first = NULL, *next;

	(void)ctx;
	for (; w; w = next) {
		next = w->next;
		w->next = first;
		first = w;
	}
	for (w = first; w; w = next) {
		next = w->next; /* when it is done it may be gone */
		w->fn(w->ctx);
		__atomic_store_n(&w->done, true, __ATOMIC_RELEASE);
	}
}

static void post(struct cpu *to, struct smp_work *w)
{
	w->next = __atomic_load_n(&to->mail, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&to->mail, &w->next, w, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		continue;
	lapic_ipi(to->apic_id, IRQ_VECTOR_MAILBOX);
}

void smp_call(uint32_t cpu, smp_fn fn, void *ctx)
{
	struct smp_work w = { .fn = fn, .ctx = ctx };
	struct cpu *to = cpus[cpu];

	if (to == this_cpu()) {
		fn(ctx);
		return;
	}
	post(to, &w);
	while (!__atomic_load_n(&w.done, __ATOMIC_ACQUIRE)) {
		serve(NULL); /* it may be waiting for us */
		pause();
	}
}

static struct { smp_fn before, after; void *ctx; uint32_t held; bool on; } hold; /* `held` and `on` are atomic */

static void be_held(void *ctx)
{
	(void)ctx;
	hold.before(hold.ctx);
	__atomic_fetch_add(&hold.held, 1, __ATOMIC_RELEASE);
	while (__atomic_load_n(&hold.on, __ATOMIC_ACQUIRE))
		pause();
	hold.after(hold.ctx);
	__atomic_fetch_sub(&hold.held, 1, __ATOMIC_RELEASE);
}

void smp_hold(smp_fn before, smp_fn after, void *ctx)
{
	uint32_t n = smp_cpus();

	hold.before = before;
	hold.after = after;
	hold.ctx = ctx;
	hold.on = true;
	for (uint32_t i = 0; i < n; i++) {
		struct cpu *c = cpus[i];

		if (c == this_cpu())
			continue;
		c->hold = (struct smp_work){ .fn = be_held };
		post(c, &c->hold);
	}
	while (__atomic_load_n(&hold.held, __ATOMIC_ACQUIRE) < n - 1) {
		serve(NULL); /* one may be waiting for us first */
		pause();
	}
}

void smp_release(void)
{
	__atomic_store_n(&hold.on, false, __ATOMIC_RELEASE);
	while (__atomic_load_n(&hold.held, __ATOMIC_ACQUIRE))
		pause();
}

void smp_kick(uint32_t cpu) { lapic_ipi(cpus[cpu]->apic_id, IRQ_VECTOR_KICK); }

/* --- start-up */

static enum step get_step(void) { return __atomic_load_n(&step, __ATOMIC_ACQUIRE); }
static void set_step(enum step s) { __atomic_store_n(&step, s, __ATOMIC_RELEASE); }
static bool step_from(enum step from, enum step to)
{
	return __atomic_compare_exchange_n(&step, &from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

/* The C side of arch/x86_64/trampoline.asm. */
void ap_start(struct cpu *c)
{
	percpu_init(c);
	while (test_hook_cpu_silent())
		pause();
	lapic_init(boot->lapic_base);
	set_step(STEP_TSC);
	tsc_sync_follow(&sync);
	while (get_step() != STEP_CHECKED)
		pause();
	refusal = boot->prepare();
	void __noreturn (*run)(void) = boot->run; /* `boot` is gone when the last one is ready */
	/* The boot CPU may have given up: this one has a number no more. */
	if (!step_from(STEP_CHECKED, refusal ? STEP_REFUSED : STEP_READY) || refusal)
		for (;;)
			__asm__ volatile("cli; hlt" : : : "memory");
	run();
}

/* Waits until the CPU has got beyond `from`. False: it does not. */
static bool moved_on(enum step from, uint64_t us)
{
	uint64_t start = rdtsc(), ticks = tsc_from_us(us);

	while (get_step() == from)
		if (rdtsc() - start > ticks)
			return false;
		else
			pause();
	return true;
}

static const char *bring_up(struct cpu *c, uint8_t page)
{
	ap_boot_cpu = c;
	ap_boot_stack = c->stack_top;
	ap_boot_cr3 = read_cr3();
	sync = (struct tsc_sync){ 0 };
	set_step(STEP_NONE);
	lapic_send_init(c->apic_id);
	tsc_spin_us(INIT_WAIT_US);
	lapic_send_startup(c->apic_id, page);
	if (!moved_on(STEP_NONE, STARTUP_WAIT_US))
		lapic_send_startup(c->apic_id, page);
	if (!moved_on(STEP_NONE, ANSWER_WAIT_US))
		return "it does not answer";
	if (!tsc_sync_lead(&sync, c->id))
		return "its TSC does not agree with the boot CPU's";
	set_step(STEP_CHECKED);
	if (!moved_on(STEP_CHECKED, ANSWER_WAIT_US) && step_from(STEP_CHECKED, STEP_NONE))
		return "it does not finish its start";
	return get_step() == STEP_REFUSED ? refusal : NULL;
}

/* RAM that nobody else uses: the frame allocator leaves out the first MiB. */
static bool find_page(uint64_t *page, bool (*usable)(uint64_t start, uint64_t end))
{
	for (*page = LOW_MEMORY_END - PAGE_SIZE; *page >= LOW_MEMORY_START; *page -= PAGE_SIZE)
		if (usable(*page, *page + PAGE_SIZE))
			return true;
	return false;
}

static void start_one(uint32_t apic_id, uint8_t page)
{
	uint32_t id = smp_cpus();
	const char *why = NULL;
	struct cpu *c;

	if (!lapic_reaches(apic_id))
		why = "its id needs x2APIC mode, which the firmware has left off";
	else if (percpu_create(id, apic_id, &c))
		why = "no memory for its stacks";
	else if ((why = bring_up(c, page)))
		lapic_send_init(apic_id); /* should it wake up after all, then for a start-up IPI */
	if (why) {
		log_warn("smp", "event=cpu-left-out apic-id=%u reason=%s", apic_id, why);
		return;
	}
	cpus[id] = c;
	__atomic_store_n(&online, id + 1, __ATOMIC_RELEASE);
	log_info("smp", "event=cpu-online cpu=%u apic-id=%u tsc-offset=%ld", id, apic_id, sync.offset);
}

void smp_start(const struct smp_boot *b)
{
	uint64_t page;

	irq_register(IRQ_VECTOR_MAILBOX, serve, NULL);
	boot = b;
	if (b->n <= 1 || b->max <= 1)
		return;
	if (!find_page(&page, b->low_page_free)) {
		log_warn("smp", "event=no-startup-page reason=no free page below 640 KiB");
		return;
	}
	uint8_t *code = phys_to_virt(HPA(page)), before[TRAMPOLINE_MAX];
	size_t size = (size_t)(trampoline_end - trampoline);
	ASSERT(size <= sizeof(before));
	memcpy(before, code, size);
	memcpy(code, trampoline, size);
	uint32_t cr3 = (uint32_t)virt_to_phys(early_pml4).v;
	memcpy(code + ((char *)&trampoline_cr3 - trampoline), &cr3, sizeof(cr3));
	for (uint32_t i = 0; i < b->n && smp_cpus() < MIN(b->max, (uint32_t)MAX_CPUS); i++)
		if (b->apic_ids[i] != this_cpu()->apic_id)
			start_one(b->apic_ids[i], (uint8_t)(page / PAGE_SIZE));
	memcpy(code, before, size);
}
