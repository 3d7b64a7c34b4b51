/*
 * What belongs to a CPU stays with it: vector registers, x87, MXCSR, debug registers, MSRs and general registers, each
 * CPU's other than everybody else's, computed with for a long time under timer interrupts. Where a CPU moves between
 * those of a host meanwhile, whatever is not moved along shows.
 */
#include "smp_atomic.h"
#include "vectors.h"

#define V_TICK         0x59
#define PERIOD         30000
#define LVT_PERIODIC   0x20000
#define DIVIDE_1       0xb
#define STEPS          400000u
#define MXCSR_DEFAULT  0x1f80u
#define FACTOR         0x9e3779b97f4a7c15ull

static const uint32_t msrs[] = { 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0xc0000102, 0x174, 0x175, 0x176 };
static uint8_t before[SMP_MAX][VECTORS_SIZE] __attribute__((aligned(64)));
static uint8_t after[SMP_MAX][VECTORS_SIZE] __attribute__((aligned(64)));
static const char *volatile lost[SMP_MAX];
static volatile unsigned ticks[SMP_MAX];
static unsigned rounds_wanted;
static struct barrier together;

static void on_tick(struct frame *f)
{
	(void)f;
	ticks[smp_index()]++;
	apic_write(LAPIC_EOI, 0);
}

static uint64_t mix(uint64_t v) { return (v ^ v >> 29) * FACTOR; }

/* xmm0 counts by a step of the CPU's own, in steps that the general registers count, too. */
static bool compute(uint64_t step)
{
	uint64_t sum = 0, vector = 0, n = STEPS;

	__asm__ volatile("movq %3, %%xmm1; pxor %%xmm0, %%xmm0; 1: paddq %%xmm1, %%xmm0; add %3, %0; dec %2; jnz 1b; movq %%xmm0, %1"
			 : "+r"(sum), "=r"(vector), "+r"(n) : "r"(step) : "cc");
	return sum == vector && sum == step * STEPS;
}

static const char *one_round(unsigned me, uint32_t xcr0, uint64_t pattern)
{
	uint32_t mxcsr = MXCSR_DEFAULT | (me & 3) << 13, mxcsr_now;
	uint16_t control = (uint16_t)(0x37f ^ (me & 3) << 10), control_now;
	uint64_t x87, dr0, dr3, positive = pattern >> 1, cr2 = pattern | 0xff;
	size_t bytes;

	for (size_t i = 0; i < VECTORS_SIZE; i++)
		before[me][i] = (uint8_t)(pattern >> i % 8 * 8) ^ (uint8_t)i;
	__asm__ volatile("fninit; fldcw %0; fildq %1; ldmxcsr %2" :: "m"(control), "m"(positive), "m"(mxcsr));
	__asm__ volatile("mov %0, %%dr0; mov %0, %%dr3; mov %1, %%cr2" :: "r"(positive), "r"(cr2));
	for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++)
		wrmsr(msrs[i], pattern & 0x7fffff00);
	bytes = vectors(xcr0, before[me], NULL);
	if (!compute(pattern)) /* of the eight it may change the first two where they are SSE's */
		return "xmm0 while computing";
	if (xcr0 == XCR0_SSE || xcr0 == XCR0_AVX)
		__asm__ volatile("movdqa %0, %%xmm0; movdqa %1, %%xmm1"
				 :: "m"(before[me]), "m"(before[me][xcr0 == XCR0_AVX ? 32 : 16]));
	vectors(xcr0, NULL, after[me]);
	__asm__ volatile("stmxcsr %0; fnstcw %1; fistpq %2" : "=m"(mxcsr_now), "=m"(control_now), "=m"(x87));
	__asm__ volatile("mov %%dr0, %0; mov %%dr3, %1" : "=r"(dr0), "=r"(dr3));
	if (memcmp(before[me], after[me], bytes))
		return "vectors";
	if (mxcsr_now != mxcsr || control_now != control)
		return "mxcsr or the x87 control word";
	if (x87 != positive)
		return "x87";
	if (dr0 != positive || dr3 != positive)
		return "debug registers";
	if (rdcr2() != cr2)
		return "cr2";
	for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++)
		if (rdmsr(msrs[i]) != (pattern & 0x7fffff00))
			return "msrs";
	return NULL;
}

static void keep(void *unused)
{
	unsigned me = smp_index();
	uint32_t xcr0 = xcr0_enable();

	(void)unused;
	apic_write(LAPIC_DIVIDE, DIVIDE_1);
	apic_write(LAPIC_LVT_TIMER, LVT_PERIODIC | V_TICK);
	apic_write(LAPIC_INIT_COUNT, PERIOD + 1000 * me);
	barrier_wait(&together);
	sti();
	for (unsigned r = 1; r <= rounds_wanted && !lost[me]; r++)
		lost[me] = one_round(me, xcr0, mix((uint64_t)(me + 1) << 32 | r));
	cli();
	apic_write(LAPIC_INIT_COUNT, 0);
	apic_write(LAPIC_LVT_TIMER, LVT_MASKED);
	open_window();
}

void registers(unsigned rounds)
{
	irq_set(V_TICK, on_tick);
	rounds_wanted = rounds;
	together.n = smp_count;
	smp_all(keep, NULL);
	for (unsigned i = 0; i < smp_count; i++)
		if (lost[i])
			print("cpu %u lost %s\n", i, lost[i]);
		else
			print("cpu %u keeps its registers, %s\n", i, ticks[i] ? "and is interrupted" : "undisturbed");
}
