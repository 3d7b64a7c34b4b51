/* KVM's paravirtual interface as a guest with hypervisor = kvm uses it. Not for the bare machine, which has none. */
#include "payload.h"

#define MSR_WALL  0x4b564d00
#define MSR_TIME  0x4b564d01
#define MSR_STEAL 0x4b564d03
#define MSR_EOI   0x4b564d04
#define ON        1
#define NOWHERE   0x7fff00000000ull
#define VECTOR    0x61
#define TICKS     1000000
#define NS_PER_S  1000000000ull
enum { HC_POLL = 1, HC_KICK = 5, HC_IPI = 10, HC_YIELD = 11, HC_UNKNOWN = 99 };

struct clock { uint32_t version, reserved; uint64_t tsc, ns; uint32_t mul; int8_t shift; uint8_t flags, pad[2]; };
struct wall { uint32_t version, sec, nsec; };
struct steal { uint64_t ns; uint32_t version, flags; uint8_t preempted, pad[47]; };

static volatile struct clock clock __attribute__((aligned(64)));
static volatile struct wall wall __attribute__((aligned(64)));
static volatile struct steal steal __attribute__((aligned(64)));
static volatile uint32_t eoi __attribute__((aligned(4)));
static volatile unsigned fired;
static volatile int64_t user_result;

static int64_t vmcall(uint64_t number, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3)
{
	int64_t result;

	__asm__ volatile("vmcall" : "=a"(result) : "a"(number), "b"(a0), "c"(a1), "d"(a2), "S"(a3) : "memory");
	return result;
}

static uint64_t ns_at(uint64_t tsc)
{
	uint64_t t = tsc - clock.tsc;

	t = clock.shift < 0 ? t >> -clock.shift : t << clock.shift;
	return clock.ns + (uint64_t)((unsigned __int128)t * clock.mul >> 32);
}

/* By the frequency that leaf 15h names: a millionth less at most, and the ticks that the shift drops. */
static void try_clock(void)
{
	uint64_t hz = (uint64_t)cpuid(0x15, 0).c * cpuid(0x15, 0).b, start = rdtsc(), ns, exact;

	REPORT("clock on", wrmsr(MSR_TIME, (uint64_t)&clock | ON));
	while (rdtsc() - start < TICKS)
		;
	ns = ns_at(start + TICKS) - ns_at(start);
	exact = TICKS * NS_PER_S / hz;
	print("clock: version odd %d flags %x pace %s\n", clock.version & 1, clock.flags,
	      ns <= exact + 20 && ns + exact / 1000000 + 20 >= exact ? "ok" : "wrong");
	print("clock: started before now %d\n", ns_at(start) > 0 && ns_at(start) < 3600 * NS_PER_S);
	REPORT("wall", wrmsr(MSR_WALL, (uint64_t)&wall));
	print("# wall: %u\n", wall.sec);
	print("wall: version odd %d, of this century %d\n", wall.version & 1, wall.sec > 978307200);
	REPORT("steal on", wrmsr(MSR_STEAL, (uint64_t)&steal | ON));
	print("steal: version odd %d flags %x preempted %x\n", steal.version & 1, steal.flags, steal.preempted);
	REPORT("clock off", wrmsr(MSR_TIME, 0));
	REPORT("steal off", wrmsr(MSR_STEAL, 0));
}

static void try_addresses(void)
{
	static const struct { const char *name; uint32_t msr; uint64_t value; } t[] = {
		{ "clock nowhere", MSR_TIME, NOWHERE | ON }, { "clock at a device", MSR_TIME, LAPIC | ON },
		{ "clock at the video hole", MSR_TIME, 0xa0000 | ON }, { "clock across a page", MSR_TIME, (MiB(4) - 4) | ON },
		{ "clock unaligned", MSR_TIME, MiB(4) | 2 | ON }, { "wall nowhere", MSR_WALL, NOWHERE },
		{ "wall unaligned", MSR_WALL, MiB(4) | 1 }, { "steal nowhere", MSR_STEAL, NOWHERE | ON },
		{ "steal unaligned", MSR_STEAL, MiB(4) | 32 | ON }, { "page faults", 0x4b564d02, 0 }, { "old clock", 0x12, 0 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++)
		REPORT(t[i].name, wrmsr(t[i].msr, t[i].value));
}

static void on_vector(struct frame *f)
{
	(void)f;
	fired++;
	lapic_write(LAPIC_EOI, 0);
}

/* Its end is left to the memory, if nothing waits for it. */
static void on_vector_memory(struct frame *f)
{
	bool left;

	(void)f;
	__asm__ volatile("btrl $0, %1" : "=@ccc"(left), "+m"(eoi));
	print(" %s", left ? "memory" : "register");
	if (!left)
		lapic_write(LAPIC_EOI, 0);
}

static void window(void)
{
	sti();
	__asm__ volatile("nop; nop");
	cli();
}

static uint32_t in_service(void) { return lapic_read(LAPIC_ISR + VECTOR / 32 * 16) >> VECTOR % 32 & 1; }

/* One interrupt; two of which the second waits; one again. */
static void try_eoi(void)
{
	int vector = TRY(wrmsr(MSR_EOI, (uint64_t)&eoi | ON));

	irq_set(VECTOR, on_vector_memory);
	irq_set(VECTOR + 32, on_vector_memory);
	print("eoi fault=%d:", vector);
	vmcall(HC_IPI, 1, 0, 0, VECTOR);
	window();
	print(" in service %u;", in_service());
	vmcall(HC_IPI, 1, 0, 0, VECTOR);
	vmcall(HC_IPI, 1, 0, 0, VECTOR + 32);
	window();
	print(" in service %u;", in_service());
	vmcall(HC_IPI, 1, 0, 0, VECTOR);
	window();
	print(" in service %u\n", in_service());
	(void)TRY(wrmsr(MSR_EOI, 0));
}

static void user_call(void) { user_result = vmcall(HC_POLL, 0, 0, 0, 0); }

static void try_calls(void)
{
	irq_set(VECTOR, on_vector);
	lapic_write(LAPIC_SVR, 0x1ff);
	print("poll %ld unknown %ld\n", vmcall(HC_POLL, 0, 0, 0, 0), vmcall(HC_UNKNOWN, 0, 0, 0, 0));
	print("ring 3 fault=%x", USER(user_call));
	print(" %ld\n", user_result);
	print("ipi %ld", vmcall(HC_IPI, 1, 0, 0, VECTOR));
	window();
	print(" fired %u\n", fired);
	print("ipi to nobody %ld, as SMI %ld\n", vmcall(HC_IPI, ~1ull, ~0ull, 0, VECTOR), vmcall(HC_IPI, 1, 0, 0, 0x200));
	print("yield %ld\n", vmcall(HC_YIELD, 0, 0, 0, 0));
	print("kick %ld\n", vmcall(HC_KICK, 0, 0, 0, 0));
	__asm__ volatile("hlt"); /* with interrupts off: only the kick can end it */
	print("awake\n");
	try_eoi();
}

void payload_main(void)
{
	struct cpuid c = cpuid(0x40000000, 0);
	char name[13] = "";

	memcpy(name, &c.b, 4);
	memcpy(name + 4, &c.c, 4);
	memcpy(name + 8, &c.d, 4);
	print("%s %x\n", name, c.a);
	c = cpuid(0x40000001, 0);
	print("features %x hints %x\n", c.a, c.d);
	try_clock();
	try_addresses();
	try_calls();
}
