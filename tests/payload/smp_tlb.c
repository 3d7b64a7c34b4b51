/*
 * TLB shootdown: the boot CPU changes what pages mean while the others read and write through them without a pause. When all
 * have acknowledged a change, none may use the old translation any more: an old frame is poisoned then, so that a
 * stale read shows, and watched, so that a stale write shows.
 */
#include "smp.h"

#define V_SHOOT    0x51
#define VEC_PF     14
#define FRAMES     4
#define PAGES      4
#define ROUNDS     40 /* `rounds=`; a shootdown takes a time slice of each CPU where several share one */
#define WORDS      (PAGE / 8)
#define POISON     0xdeadull
#define LARGE      MiB(2)
#define CR0_WP     BIT(16)
#define CR4_PGE    BIT(7)
#define CR4_PCIDE  BIT(17)
#define PTE_G      BIT(8)
#define KEEP       BIT(63) /* MOV to CR3 leaves the translations */
#define CPUID1C_PCID BIT(17)
#define CPUID7B_INVPCID BIT(10)

enum how { BY_INVLPG, BY_CR3, BY_PGE, BY_PCID_ADDRESS, BY_PCID_ONE, BY_PCID_ALL };

/* The first word of a frame is its generation; behind it each CPU has one to write to. */
static volatile uint64_t frames[PAGES][FRAMES][WORDS] __attribute__((aligned(4096)));
static uint64_t split_pt[512] __attribute__((aligned(4096))), other_pt[512] __attribute__((aligned(4096)));
static volatile uint64_t epoch[PAGES]; /* what all of them must see, at least */
static volatile unsigned acks, stop, faults;
static volatile uint64_t stale, reads;
static volatile enum how how;
static bool running;
static unsigned rounds;
static volatile uint64_t where;
static uint64_t pcid; /* 1 with PCIDs */

static void invpcid(uint64_t type, uint64_t address)
{
	struct { uint64_t pcid, address; } d = { pcid, address };

	__asm__ volatile("invpcid %0, %1" :: "m"(d), "r"(type) : "memory");
}

static void flush(void)
{
	switch (how) {
	case BY_INVLPG:
		__asm__ volatile("invlpg (%0)" :: "r"(where) : "memory");
		break;
	case BY_CR3:
		wrcr3(rdcr3());
		break;
	case BY_PGE:
		wrcr4(rdcr4() & ~CR4_PGE);
		wrcr4(rdcr4() | CR4_PGE);
		break;
	case BY_PCID_ADDRESS:
		invpcid(0, where);
		break;
	case BY_PCID_ONE:
		invpcid(1, 0);
		break;
	case BY_PCID_ALL:
		invpcid(2, 0);
		break;
	}
}

static void on_shoot(struct frame *f)
{
	(void)f;
	flush();
	atomic_add(&acks, 1);
	apic_write(LAPIC_EOI, 0);
}

static void flush_job(void *unused)
{
	(void)unused;
	flush();
}

/* All have flushed `address` when it comes back. Those that wait for work are closed: they flush as a piece of work. */
static void shoot(volatile void *address)
{
	where = (uint64_t)address;
	if (!running) {
		smp_all(flush_job, NULL);
		return;
	}
	acks = 0;
	flush();
	apic_ipi(0, ICR_OTHERS | V_SHOOT);
	while (acks < smp_count - 1)
		pause();
}

static volatile uint64_t *window(unsigned page) { return (volatile uint64_t *)(WINDOW + page * PAGE); }

static void reader(void *unused)
{
	unsigned me = smp_index();
	uint64_t mine = 0, old = 0;

	(void)unused;
	sti();
	while (!stop)
		for (unsigned p = 0; p < PAGES; p++) {
			uint64_t least = epoch[p], seen = window(p)[0];

			if (seen < least || seen == POISON << 32)
				old++;
			window(p)[me] = ++mine;
		}
	cli();
	__atomic_add_fetch(&stale, old, __ATOMIC_SEQ_CST);
	__atomic_add_fetch(&reads, mine, __ATOMIC_SEQ_CST);
}

static uint64_t frame_pte(unsigned page, unsigned frame, uint64_t bits)
{
	return (uint64_t)frames[page][frame] | PTE_P | PTE_W | bits;
}

/* Whether somebody has written to a frame that nobody maps any more. */
static bool still_written(unsigned page, unsigned frame)
{
	uint64_t before[SMP_MAX];
	bool written = false;

	for (unsigned i = 1; i < smp_count; i++)
		before[i] = frames[page][frame][i];
	for (volatile unsigned n = 0; n < 300; n++)
		;
	for (unsigned i = 1; i < smp_count; i++)
		written |= frames[page][frame][i] != before[i];
	return written;
}

static void start(smp_fn fn)
{
	stop = 0;
	stale = reads = 0;
	running = true;
	smp_others(fn, NULL);
}

static void end(const char *name, unsigned n, unsigned writes)
{
	stop = 1;
	smp_wait_others();
	running = false;
	print("%s: %u rounds, stale reads %lu, stale writes %u\n", name, n, stale, writes);
	print("# %s: %lu reads\n", name, reads);
}

static void remap(const char *name, enum how method, uint64_t bits)
{
	static uint64_t generation = 1;
	unsigned writes = 0;

	how = method;
	for (unsigned p = 0; p < PAGES; p++) {
		frames[p][0][0] = generation;
		window_pt[p] = frame_pte(p, 0, bits);
		shoot(window(p));
	}
	start(reader);
	for (unsigned r = 1; r <= rounds; r++) {
		unsigned p = r % PAGES;
		unsigned from = (unsigned)((window_pt[p] & ~(PTE_NX | 0xfff)) - (uint64_t)frames[p]) / PAGE, to = (from + 1) % FRAMES;

		frames[p][to][0] = ++generation;
		window_pt[p] = frame_pte(p, to, bits);
		shoot(window(p));
		epoch[p] = generation;
		frames[p][from][0] = POISON << 32;
		writes += still_written(p, from);
	}
	end(name, rounds, writes);
	for (unsigned p = 0; p < PAGES; p++)
		epoch[p] = 0;
}

/* A whole page table is replaced. */
static void tables(void)
{
	unsigned writes = 0;

	how = BY_PGE; /* they were global before */
	for (unsigned f = 0; f < 2; f++)
		for (unsigned p = 0; p < PAGES; p++)
			(f ? other_pt : window_pt)[p] = frame_pte(p, f, 0);
	for (unsigned p = 0; p < PAGES; p++)
		frames[p][0][0] = BIT(40);
	shoot(window(0));
	how = BY_CR3;
	start(reader);
	for (unsigned r = 1; r <= rounds; r++) {
		for (unsigned p = 0; p < PAGES; p++)
			frames[p][r % 2][0] = BIT(40) + r;
		window_pd[0] = (uint64_t)(r % 2 ? other_pt : window_pt) | PTE_P | PTE_W | PTE_U;
		shoot(window(0));
		for (unsigned p = 0; p < PAGES; p++) {
			epoch[p] = BIT(40) + r;
			frames[p][!(r % 2)][0] = POISON << 32;
			writes += still_written(p, !(r % 2));
		}
	}
	end("tables", rounds, writes);
	for (unsigned p = 0; p < PAGES; p++)
		epoch[p] = 0;
	window_pd[0] = (uint64_t)window_pt | PTE_P | PTE_W | PTE_U;
	shoot(window(0));
}

/* Who may not write waits in his fault until he may. */
static bool on_fault(struct frame *f)
{
	if (f->vector != VEC_PF || !smp_index())
		return false;
	atomic_add(&faults, 1);
	pause();
	return true;
}

static void protect(const char *name, uint64_t denied)
{
	unsigned writes = 0;

	how = BY_INVLPG;
	faults = 0;
	smp_trap_hook = on_fault;
	for (unsigned p = 0; p < PAGES; p++) {
		window_pt[p] = frame_pte(p, 0, 0);
		frames[p][0][0] = 1;
		shoot(window(p));
	}
	start(reader);
	for (unsigned r = 0; r < rounds; r++) {
		unsigned before = faults, p = r % PAGES;

		window_pt[p] = frame_pte(p, 0, 0) & ~denied;
		shoot(window(p));
		writes += still_written(p, 0);
		while (faults < before + 1)
			pause();
		window_pt[p] = frame_pte(p, 0, 0);
		__asm__ volatile("invlpg (%0)" :: "r"(window(p)) : "memory");
	}
	end(name, rounds, writes);
	print("%s: faults %s\n", name, faults >= rounds ? "in each round" : "too few");
	smp_trap_hook = NULL;
}

static volatile uint64_t *split_page(unsigned page) { return (volatile uint64_t *)(WINDOW_2M + page * PAGE); }

static void split_reader(void *unused)
{
	uint64_t old = 0, n = 0;

	(void)unused;
	sti();
	while (!stop)
		for (unsigned p = 0; p < PAGES; p++, n++) {
			uint64_t least = epoch[p], seen = *split_page(p);

			if (seen < least || seen == POISON << 32)
				old++;
		}
	cli();
	__atomic_add_fetch(&stale, old, __ATOMIC_SEQ_CST);
	__atomic_add_fetch(&reads, n, __ATOMIC_SEQ_CST);
}

/* A large page becomes small ones, of which some then lead elsewhere, and a large one again. */
static void split(void)
{
	uint64_t base = ((uint64_t)image_end + LARGE - 1) & ~(LARGE - 1), large = base | PTE_P | PTE_W | PTE_PS;

	how = BY_INVLPG;
	for (unsigned i = 0; i < 512; i++)
		split_pt[i] = (base + i * PAGE) | PTE_P | PTE_W;
	window_pd[1] = large;
	shoot(split_page(0));
	for (unsigned p = 0; p < PAGES; p++)
		*split_page(p) = 1;
	start(split_reader);
	for (unsigned r = 1; r <= rounds / 2; r++) {
		unsigned p = r % PAGES;

		window_pd[1] = (uint64_t)split_pt | PTE_P | PTE_W;
		shoot(split_page(p));
		frames[p][0][0] = 2 * r;
		split_pt[p] = frame_pte(p, 0, 0);
		shoot(split_page(p));
		epoch[p] = 2 * r;
		*(volatile uint64_t *)(base + p * PAGE) = POISON << 32;
		for (volatile unsigned n = 0; n < 300; n++)
			;
		*(volatile uint64_t *)(base + p * PAGE) = 2 * r + 1;
		split_pt[p] = (base + p * PAGE) | PTE_P | PTE_W;
		window_pd[1] = large;
		how = BY_CR3; /* the small ones, too, each of which a CPU may have */
		shoot(split_page(p));
		how = BY_INVLPG;
		epoch[p] = 2 * r + 1;
		frames[p][0][0] = POISON << 32;
	}
	end("split", rounds / 2, 0);
	for (unsigned p = 0; p < PAGES; p++)
		epoch[p] = 0;
}

static void set_up(void *unused)
{
	(void)unused;
	wrcr0(rdcr0() | CR0_WP);
	wrcr4(rdcr4() | CR4_PGE);
}

static void use_pcid(void *unused)
{
	(void)unused;
	wrcr4(rdcr4() | CR4_PCIDE);
	wrcr3(rdcr3() | 1);
}

/* The other address space has the same tables, and translations of its own. */
static void visit_other(void *unused)
{
	(void)unused;
	for (unsigned i = 0; i < 20; i++) {
		wrcr3((rdcr3() & ~0xfffull) | 2 | KEEP);
		reads += *window(i % PAGES);
		wrcr3((rdcr3() & ~0xfffull) | 1 | KEEP);
		reads += *window(i % PAGES);
	}
}

static void pcids(void)
{
	if (!(cpuid(1, 0).c & CPUID1C_PCID)) {
		print("pcid: none\n");
		return;
	}
	smp_all(use_pcid, NULL);
	pcid = 1;
	remap("pcid, invlpg", BY_INVLPG, 0);
	remap("pcid, cr3", BY_CR3, 0);
	if (cpuid(0, 0).a < 7 || !(cpuid(7, 0).b & CPUID7B_INVPCID)) {
		print("invpcid: none\n");
		return;
	}
	remap("invpcid address", BY_PCID_ADDRESS, 0);
	smp_all(visit_other, NULL);
	remap("invpcid one", BY_PCID_ONE, 0);
	remap("invpcid all", BY_PCID_ALL, PTE_G);
}

void payload_main(void)
{
	if (smp_start() < 2)
		return;
	rounds = (unsigned)option_number("rounds", ROUNDS);
	irq_set(V_SHOOT, on_shoot);
	smp_all(set_up, NULL);
	remap("invlpg", BY_INVLPG, 0);
	remap("cr3", BY_CR3, 0);
	remap("global, invlpg", BY_INVLPG, PTE_G);
	remap("global, pge", BY_PGE, PTE_G);
	tables();
	protect("read-only", PTE_W);
	protect("not present", PTE_P);
	split();
	pcids();
}
