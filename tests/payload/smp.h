/*
 * The other CPUs for a payload. They are started as the SDM says (INIT, SIPI, SIPI) and get the page tables and the IDT of the
 * boot CPU, and a stack, a GDT and a TSS of their own. They wait for work by spinning with interrupts off, so that
 * nothing else needs to function for it; the boot CPU is number 0 and hands out the work.
 *
 * print() and TRY() belong to the boot CPU, the others have SMP_TRY(). An exception that another CPU does not catch is
 * printed, and that CPU stops.
 */
#pragma once
#include "payload.h"

#define SMP_MAX        64
#define SMP_PAGE       0x8000ull /* where the CPUs start: the trampoline; the page behind it is free for a payload's own */
#define SMP_PROBE_PAGE 0x9000ull

typedef void (*smp_fn)(void *arg);

struct smp_cpu {
	struct smp_cpu *self; /* GS:0 */
	uint64_t stack;       /* smp_entry.asm knows the offsets up to here: 8, */
	uint64_t caught[9];   /* 16: rbx rbp r12 r13 r14 r15 rsp rip rflags */
	unsigned index;
	uint32_t apic_id;
	bool x2apic;             /* its local APIC is in that mode */
	volatile unsigned starts; /* how often it has come out of the trampoline */
	volatile smp_fn fn;      /* what it does, or is to do; NULL: nothing */
	void *volatile arg;
	volatile bool armed;     /* within SMP_TRY() */
	struct fault fault;
};

extern struct smp_cpu smp_cpus[SMP_MAX];
extern unsigned smp_count;
/* Called first by a CPU that comes up, before it touches its local APIC. */
extern smp_fn volatile smp_greeting;
/* Called first for an exception on any CPU; as trap_hook, which smp_start() takes for itself. */
extern bool (*volatile smp_trap_hook)(struct frame *);

/* Starts as many as the MADT names, or the first `cpus=` of them; says how many CPUs there are. */
unsigned smp_start(void);
/* INIT and two SIPIs to one that was started before, at this page. Whether it has come. */
bool smp_restart(unsigned cpu, uint64_t page);
/* Writes the trampoline and what it must know to its page. */
void smp_prepare(void);
void smp_delay(unsigned micros);

/* From the boot CPU to another. */
void smp_run(unsigned cpu, smp_fn fn, void *arg);
void smp_wait(unsigned cpu);
void smp_call(unsigned cpu, smp_fn fn, void *arg); /* both; for cpu 0 it is a call */
void smp_others(smp_fn fn, void *arg);             /* starts them; smp_wait_others() */
void smp_wait_others(void);
void smp_all(smp_fn fn, void *arg);                /* on every CPU at once, this one included, until all have come back */

static inline struct smp_cpu *smp_self(void)
{
	struct smp_cpu *c;

	__asm__ volatile("movq %%gs:0, %0" : "=r"(c));
	return c;
}
static inline unsigned smp_index(void) { return smp_self()->index; }

/* As TRY(), on any CPU; the details are in smp_self()->fault. */
#define SMP_TRY(...) ({ struct smp_cpu *smp_c = smp_self(); smp_c->fault.vector = NO_FAULT; \
	if (!smp_catch()) { smp_c->armed = true; __VA_ARGS__; } smp_c->armed = false; smp_self()->fault.vector; })
__attribute__((returns_twice)) int smp_catch(void);

/* The local APIC of this CPU, in whichever mode it is; registers by their xAPIC offsets. */
uint32_t apic_read(unsigned reg);
void apic_write(unsigned reg, uint32_t value);
/* dest: an APIC id, or a logical destination as the mode has it. */
void apic_ipi(uint32_t dest, uint32_t command);
void apic_enter_x2apic(void);
/* On, everything masked. */
void apic_init(void);

#define ICR_LOWEST   0x100
#define ICR_NMI      0x400
#define ICR_INIT     0x4500 /* assert */
#define ICR_DEASSERT 0x8500
#define ICR_STARTUP  0x4600
#define ICR_LOGICAL  0x800
#define ICR_SELF     0x40000
#define ICR_ALL      0x80000
#define ICR_OTHERS   0xc0000
#define ICR_BUSY     0x1000
#define LAPIC_ESR    0x280
#define LVT_MASKED   0x10000

static inline void pause(void) { __asm__ volatile("pause" ::: "memory"); }
static inline void open_window(void) { __asm__ volatile("sti; nop; nop; nop; nop; cli" ::: "memory"); }
static inline unsigned atomic_add(volatile unsigned *p, unsigned v) { return __atomic_add_fetch(p, v, __ATOMIC_SEQ_CST); }

/* All `n` CPUs come in before one goes on. */
struct barrier { unsigned n; volatile unsigned arrived, round; };
static inline void barrier_wait(struct barrier *b)
{
	unsigned round = b->round;

	if (atomic_add(&b->arrived, 1) == b->n) {
		b->arrived = 0;
		__atomic_store_n(&b->round, round + 1, __ATOMIC_RELEASE);
		return;
	}
	while (__atomic_load_n(&b->round, __ATOMIC_ACQUIRE) == round)
		pause();
}

struct spin { volatile unsigned held; };
static inline void spin_lock(struct spin *l)
{
	while (__atomic_exchange_n(&l->held, 1, __ATOMIC_ACQUIRE))
		while (l->held)
			pause();
}
static inline void spin_unlock(struct spin *l) { __atomic_store_n(&l->held, 0, __ATOMIC_RELEASE); }

struct ticket { volatile unsigned next, serving; };
static inline void ticket_lock(struct ticket *l)
{
	unsigned mine = __atomic_fetch_add(&l->next, 1, __ATOMIC_RELAXED);

	while (__atomic_load_n(&l->serving, __ATOMIC_ACQUIRE) != mine)
		pause();
}
static inline void ticket_unlock(struct ticket *l) { __atomic_store_n(&l->serving, l->serving + 1, __ATOMIC_RELEASE); }
