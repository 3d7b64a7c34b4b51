/* String port I/O: every width and direction, page crossing, faults in the middle, and where the registers stand then. */
#include "payload.h"

#define DIAG    0x80    /* the diagnostic port: takes anything */
#define CMOS    0x71
#define SCRATCH (COM1 + 7)
#define NOWHERE 0x1234

static uint8_t buf[3 * PAGE] __attribute__((aligned(4096)));

#define STRING(insn, port, count, ptr) do { \
	uint64_t p_ = (uint64_t)(ptr), c_ = (count); \
	__asm__ volatile(insn "; cld" : "+S"(p_), "+c"(c_) : "d"(port) : "memory", "cc"); \
	print("%s %x: rsi %ld rcx %lx\n", insn, port, p_ - (uint64_t)(ptr), c_); \
} while (0)
#define STRING_IN(insn, port, count, ptr) do { \
	uint64_t p_ = (uint64_t)(ptr), c_ = (count); \
	__asm__ volatile(insn "; cld" : "+D"(p_), "+c"(c_) : "d"(port) : "memory", "cc"); \
	print("%s %x: rdi %ld rcx %lx\n", insn, port, p_ - (uint64_t)(ptr), c_); \
} while (0)

static unsigned count(uint8_t v, unsigned n)
{
	unsigned c = 0;

	for (unsigned i = 0; i < n; i++)
		c += buf[i] == v;
	return c;
}

static void out(void)
{
	for (unsigned i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)i;
	STRING("outsb", SCRATCH, 7, buf + 3);
	print("scratch %x\n", inb(SCRATCH));
	STRING("rep outsb", SCRATCH, 200, buf);
	print("scratch %x\n", inb(SCRATCH));
	STRING("std; rep outsb", SCRATCH, 20, buf + 100);
	print("scratch %x\n", inb(SCRATCH));
	STRING("rep outsb", SCRATCH, 0, buf);
	print("scratch %x\n", inb(SCRATCH));
	STRING("rep outsb", SCRATCH, 5000, buf + PAGE - 10);
	print("scratch %x\n", inb(SCRATCH));
	STRING("addr32 rep outsb", SCRATCH, 0x100000003ull, buf);
	print("scratch %x\n", inb(SCRATCH));
	STRING("rep outsw", NOWHERE, 100, buf);
	STRING("rep outsl", NOWHERE, 1000, buf + 2);
	STRING("std; rep outsl", NOWHERE, 10, buf + 64);
	STRING("rep outsb", DIAG, 300, buf);
	wrmsr(0xc0000100, 16);
	STRING("rep outsb %%fs:(%%rsi), %%dx", SCRATCH, 5, buf);
	print("scratch %x\n", inb(SCRATCH));
	wrmsr(0xc0000100, 0);
}

static void in(void)
{
	outb(0x70, 0x7c);
	outb(CMOS, 0x3c);
	memset(buf, 0, sizeof(buf));
	STRING_IN("insb", CMOS, 9, buf);
	outb(SCRATCH, 0xa7);
	memset(buf, 0, sizeof(buf));
	STRING_IN("rep insb", SCRATCH, 100, buf);
	print("bytes %u\n", count(0xa7, sizeof(buf)));
	STRING_IN("rep insb", SCRATCH, 5000, buf + PAGE - 1);
	print("bytes %u\n", count(0xa7, sizeof(buf)));
	STRING_IN("std; rep insb", SCRATCH, 3, buf + 50);
	STRING_IN("rep insb", SCRATCH, 0, buf);
	memset(buf, 0, sizeof(buf));
	STRING_IN("rep insw", NOWHERE, 20, buf + 1);
	print("ones %u\n", count(0xff, sizeof(buf)));
	STRING_IN("rep insl", NOWHERE, 20, buf + PAGE - 2);
	print("ones %u\n", count(0xff, sizeof(buf)));
	memset(buf, 0, sizeof(buf));
	STRING_IN("addr32 rep insb", SCRATCH, 0xff00000002ull, buf);
	print("bytes %u\n", count(0xa7, sizeof(buf)));
}

#define FAULT(name, ...) do { \
	int v_ = TRY(__VA_ARGS__); \
	print("%s: fault=%d error=%lx cr2=%lx rcx %lx rsi %lx rdi %lx\n", name, v_, fault.error, fault.cr2, fault.rcx, \
	      fault.rsi >> 32 ? fault.rsi : 0, fault.rdi >> 32 ? fault.rdi : 0); \
} while (0)

static void out_to(uint64_t from, uint64_t n, uint16_t port)
{
	__asm__ volatile("rep outsb" : "+S"(from), "+c"(n) : "d"(port) : "memory");
}

static void in_from(uint64_t to, uint64_t n, uint16_t port)
{
	__asm__ volatile("rep insb" : "+D"(to), "+c"(n) : "d"(port) : "memory");
}

static void user_outs(void) { out_to((uint64_t)buf, 2, DIAG); }
static void user_ins(void) { in_from((uint64_t)buf, 2, DIAG); }

static void faults(void)
{
	window_set(0, (uint64_t)buf | PTE_P | PTE_W);
	window_set(1, 0);
	for (unsigned i = 0; i < PAGE; i++)
		buf[i] = (uint8_t)(i * 3);
	FAULT("outsb into the gap", out_to(WINDOW + PAGE - 5, 100, SCRATCH));
	print("scratch %x\n", inb(SCRATCH));
	FAULT("outsb in the gap", out_to(WINDOW + PAGE, 100, SCRATCH));
	FAULT("insb into the gap", in_from(WINDOW + PAGE - 5, 100, SCRATCH));
	print("last %x\n", buf[PAGE - 1]);
	FAULT("outsl across", __asm__ volatile("rep outsl" :: "S"(WINDOW + PAGE - 6), "c"(5), "d"(NOWHERE) : "memory"));
	FAULT("insl across", __asm__ volatile("rep insl" :: "D"(WINDOW + PAGE - 6), "c"(5), "d"(NOWHERE) : "memory"));
	window_set(0, (uint64_t)buf | PTE_P);
	wrcr0(rdcr0() | BIT(16));
	FAULT("insb read-only", in_from(WINDOW + 8, 4, SCRATCH));
	FAULT("outsb read-only", out_to(WINDOW + 8, 4, SCRATCH));
	wrcr0(rdcr0() & ~BIT(16));
	FAULT("outsb noncanonical", out_to(0x7fffffffffff, 4, SCRATCH));
	FAULT("insb noncanonical", in_from(0x800000000000, 4, SCRATCH));
	FAULT("outsb nothing from nowhere", out_to(0x800000000000, 0, SCRATCH));
	window_set(0, 0);
	print("user outsb: fault=%d error=%lx\n", USER(user_outs), fault.error);
	print("user insb: fault=%d error=%lx\n", USER(user_ins), fault.error);
}

#define VEC_DB 1
#define RF_TF  BIT(8)
#define RF_RF  BIT(16)

static volatile unsigned steps, resumed;

static bool on_db(struct frame *f)
{
	if (f->vector != VEC_DB)
		return false;
	steps++;
	resumed += (f->rflags & RF_RF) != 0;
	return true;
}

/* Single steps of what the statement does between POPF and POPF, TF set. */
#define STEP(name, insn, ...)                                                                                  \
	do {                                                                                                   \
		steps = resumed = 0;                                                                           \
		__asm__ volatile("pushfq; orl $0x100, (%%rsp); popfq; " insn                                   \
				 "; pushfq; andl $~0x100, (%%rsp); popfq" __VA_ARGS__);                        \
		print("step %s: %u\n# with RF %u\n", name, steps, resumed); /* Bochs 2.7 sets none */      \
	} while (0)

/* A REP traps after each iteration. (Over device memory it is not compared: unaligned local APIC reads end Bochs 2.7.) */
static void single_steps(void)
{
	uint64_t from, to, count;

	trap_hook = on_db;
	STEP("rep outsb", "rep outsb", : "=S"(from), "=c"(count) : "0"(buf), "1"(5), "d"(DIAG) : "memory", "cc");
	STEP("rep insb", "rep insb", : "=D"(to), "=c"(count) : "0"(buf), "1"(5), "d"(DIAG) : "memory", "cc");
	STEP("movl from the I/O APIC", "movl (%0), %%eax", :: "r"(IOAPIC) : "rax", "memory", "cc");
	trap_hook = NULL;
}

#define VECTOR   0x41
#define PERIODIC 0x20000
#define MASKED   0x10000
#define LONG     200000 /* iterations */

static volatile unsigned ticks;

static void on_tick(struct frame *f)
{
	(void)f;
	ticks++;
	lapic_write(LAPIC_EOI, 0);
}

/* Interrupts come between the iterations of a long one, and it goes on where it was. */
static void interrupted(void)
{
	static uint8_t much[LONG];
	uint64_t from = (uint64_t)much, to = (uint64_t)much, count = LONG;

	irq_init();
	irq_set(VECTOR, on_tick);
	lapic_write(LAPIC_DIVIDE, 0xb);
	lapic_write(LAPIC_LVT_TIMER, PERIODIC | VECTOR);
	lapic_write(LAPIC_INIT_COUNT, 2000);
	__asm__ volatile("sti; rep outsb; cli" : "+S"(from), "+c"(count) : "d"(DIAG) : "memory");
	print("long outsb: ticks %s, rsi %ld rcx %lx\n", ticks > 3 ? "yes" : "no", from - (uint64_t)much, count);
	ticks = 0;
	count = LONG;
	__asm__ volatile("sti; rep insb; cli" : "+D"(to), "+c"(count) : "d"(SCRATCH) : "memory");
	print("long insb: ticks %s, rdi %ld rcx %lx\n", ticks > 3 ? "yes" : "no", to - (uint64_t)much, count);
	lapic_write(LAPIC_INIT_COUNT, 0);
	lapic_write(LAPIC_LVT_TIMER, MASKED);
}

void payload_main(void)
{
	out();
	in();
	faults();
	single_steps();
	interrupted();
}
