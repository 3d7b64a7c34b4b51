/*
 * What CPUs may rely on when they share memory: locked instructions, locks, the order of loads and stores. Nothing here
 * waits for another CPU more often than it must, because where several share one that takes a time slice each.
 */
#include "smp_atomic.h"

#define COUNT    5000 /* `count=` */
#define SLOTS    4000
#define HANDS    50
#define LINE     64

static struct barrier together;
static unsigned count;
static volatile uint64_t shared __attribute__((aligned(64)));
static volatile uint64_t pair[2] __attribute__((aligned(64)));
static uint8_t lines[4 * LINE] __attribute__((aligned(4096)));
static volatile unsigned plain;
static struct spin spin;
static struct ticket ticket;
static volatile unsigned bit_lock;
static volatile unsigned wrong;

/* Over the end of a cache line, and of a page. */
static volatile uint32_t *split_line(void) { return (volatile uint32_t *)(lines + LINE - 2); }
static volatile uint32_t *split_page(void) { return (volatile uint32_t *)(WINDOW + PAGE - 1); }

static void inc(void) { __asm__ volatile("lock incq %0" : "+m"(shared)); }
static void add(void) { __asm__ volatile("lock addq $3, %0" : "+m"(shared)); }
static void sub(void) { __asm__ volatile("lock subq $1, %0" : "+m"(shared)); }
static void xadd(void) { __atomic_fetch_add(&shared, 5, __ATOMIC_SEQ_CST); }
static void split_add(void) { __asm__ volatile("lock addl $1, %0" : "+m"(*split_line())); }
static void split_page_add(void) { __asm__ volatile("lock addl $1, %0" : "+m"(*split_page())); }

static void cmpxchg(void)
{
	uint64_t old = shared;

	while (!__atomic_compare_exchange_n(&shared, &old, old + 7, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
}

/* Both halves always change together. */
static void cmpxchg16b(void)
{
	uint64_t low = pair[0], high = pair[1];
	bool done;

	do {
		uint64_t a = low, d = high;

		__asm__ volatile("lock cmpxchg16b %1; setz %0" : "=q"(done), "+m"(*(volatile __int128 *)pair), "+a"(a), "+d"(d)
				 : "b"(low + 1), "c"(~(low + 1)) : "cc", "memory");
		low = a;
		high = d;
		if (high != ~low)
			atomic_add(&wrong, 1);
	} while (!done);
}

static void repeat(void *fn)
{
	barrier_wait(&together);
	for (unsigned i = 0; i < count; i++)
		((void (*)(void))fn)();
}

static void counted(const char *name, void (*fn)(void), volatile uint64_t *what, uint64_t step)
{
	uint64_t before = *what, got;

	smp_all(repeat, fn);
	got = *what - before;
	print("%s: %s\n", name, got == step * count * smp_count ? "exact" : "lost");
}

static void counted32(const char *name, void (*fn)(void), volatile uint32_t *what)
{
	uint32_t before = *what;

	smp_all(repeat, fn);
	print("%s: %s\n", name, *what - before == count * smp_count ? "exact" : "lost");
}

static void not_locked(void) { __asm__ volatile("incl %0" : "+m"(plain)); }

static void counters(void)
{
	pair[0] = 1;
	pair[1] = ~1ull;
	counted("lock inc", inc, &shared, 1);
	counted("lock add", add, &shared, 3);
	counted("lock sub", sub, &shared, -1ull);
	counted("lock xadd", xadd, &shared, 5);
	counted("lock cmpxchg", cmpxchg, &shared, 7);
	counted("lock cmpxchg16b", cmpxchg16b, &pair[0], 1);
	print("halves: %u apart\n", wrong);
	counted32("lock over two lines", split_add, split_line());
	window_set(0, (uint64_t)lines | PTE_P | PTE_W);
	window_set(1, ((uint64_t)lines & ~(PAGE - 1)) | PTE_P | PTE_W);
	counted32("lock over two pages", split_page_add, split_page());
	smp_all(repeat, not_locked);
	print("# without lock: %u of %u\n", plain, count * smp_count);
}

/* Critical sections: what is inside is never seen half done. */
static uint64_t guarded[4];
static void critical(void)
{
	uint64_t v = guarded[0];

	for (unsigned i = 1; i < ARRAY_SIZE(guarded); i++)
		if (guarded[i] != v)
			atomic_add(&wrong, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(guarded); i++)
		guarded[i] = v + 1;
}

static void by_spin(void)
{
	spin_lock(&spin);
	critical();
	spin_unlock(&spin);
}

static void by_bts(void)
{
	bool held;

	do {
		__asm__ volatile("lock btsl $3, %1; setc %0" : "=q"(held), "+m"(bit_lock) :: "cc", "memory");
		if (held)
			pause();
	} while (held);
	critical();
	__asm__ volatile("lock btrl $3, %0" : "+m"(bit_lock) :: "cc", "memory");
}

static void by_ticket(void)
{
	ticket_lock(&ticket);
	critical();
	ticket_unlock(&ticket);
}

/* XCHG is locked without the prefix; this one lies in two cache lines. */
static void by_split_xchg(void)
{
	volatile uint32_t *l = (volatile uint32_t *)(lines + 3 * LINE - 3);
	uint32_t held = 1;

	for (;;) {
		__asm__ volatile("xchgl %0, %1" : "+r"(held), "+m"(*l) :: "memory");
		if (!held)
			break;
		pause();
	}
	critical();
	*l = 0;
}

static void under(const char *name, void (*fn)(void), unsigned n)
{
	uint64_t before = guarded[0];
	unsigned all = count;

	count = n;
	wrong = 0;
	smp_all(repeat, fn);
	print("%s: %s, %u seen half done\n", name, guarded[0] - before == (uint64_t)n * smp_count ? "exact" : "lost", wrong);
	count = all;
}

static void locks(void)
{
	under("xchg lock", by_spin, count);
	under("bts lock", by_bts, count);
	under("split xchg lock", by_split_xchg, count);
	under("ticket lock", by_ticket, count < HANDS ? count : HANDS);
}

/* Litmus tests: each CPU walks through slots of its own, with no wait in between; the results are looked at afterwards. */
static struct slot { volatile uint32_t x, y; } slots[SLOTS] __attribute__((aligned(64)));
static uint32_t seen[4][SLOTS];
static enum { STORE_BUFFER, STORE_FENCE, STORE_LOCK, LOAD_BUFFER } litmus;

static void walk(void *unused)
{
	unsigned me = smp_index();

	(void)unused;
	barrier_wait(&together);
	for (unsigned i = 0; me < 2 && i < SLOTS; i++) {
		volatile uint32_t *mine = me ? &slots[i].y : &slots[i].x, *other = me ? &slots[i].x : &slots[i].y;
		uint32_t one = 1, got;

		switch (litmus) {
		case STORE_BUFFER:
			*mine = 1;
			got = *other;
			break;
		case STORE_FENCE:
			*mine = 1;
			__asm__ volatile("mfence" ::: "memory");
			got = *other;
			break;
		case STORE_LOCK:
			__asm__ volatile("xchgl %0, %1" : "+r"(one), "+m"(*mine) :: "memory");
			got = *other;
			break;
		default:
			got = *other;
			*mine = 1;
		}
		seen[me][i] = got;
	}
}

static unsigned both_saw(uint32_t value)
{
	unsigned n = 0;

	memset(slots, 0, sizeof(slots));
	smp_all(walk, NULL);
	for (unsigned i = 0; i < SLOTS; i++)
		n += seen[0][i] == value && seen[1][i] == value;
	return n;
}

/* One writes data, then the flag; the others must not see the flag before the data. */
static volatile uint64_t data, flag;
static void message(void *unused)
{
	(void)unused;
	barrier_wait(&together);
	if (!smp_index()) {
		for (uint64_t i = 1; i <= SLOTS; i++) {
			data = i;
			flag = i;
		}
		return;
	}
	for (uint64_t f = 0; f < SLOTS;) {
		f = flag;
		if (data < f)
			atomic_add(&wrong, 1);
		if (f < SLOTS)
			pause();
	}
}

/* Two write, each its own; two others must agree about who was first. */
static void iriw(void *unused)
{
	unsigned me = smp_index();

	(void)unused;
	barrier_wait(&together);
	for (unsigned i = 0; me < 4 && i < SLOTS; i++) {
		if (me == 0)
			slots[i].x = 1;
		else if (me == 1)
			slots[i].y = 1;
		else {
			uint32_t first = me == 2 ? slots[i].x : slots[i].y, second = me == 2 ? slots[i].y : slots[i].x;

			seen[me][i] = first << 1 | second;
		}
	}
}

static void order(void)
{
	unsigned n = 0;

	litmus = STORE_BUFFER;
	print("# store buffering, which may be: %u\n", both_saw(0));
	litmus = STORE_FENCE;
	print("store buffering with a fence: %u\n", both_saw(0));
	litmus = STORE_LOCK;
	print("store buffering with a lock: %u\n", both_saw(0));
	litmus = LOAD_BUFFER;
	print("load buffering: %u\n", both_saw(1));
	wrong = 0;
	smp_all(message, NULL);
	print("flag before data: %u\n", wrong);
	if (smp_count < 4)
		return;
	memset(slots, 0, sizeof(slots));
	smp_all(iriw, NULL);
	for (unsigned i = 0; i < SLOTS; i++)
		n += seen[2][i] == 2 && seen[3][i] == 2;
	print("two orders of two writes: %u\n", n);
}

void payload_main(void)
{
	if (smp_start() < 2)
		return;
	together.n = smp_count;
	count = (unsigned)option_number("count", COUNT);
	counters();
	locks();
	order();
	registers((unsigned)option_number("rounds", 4));
}
