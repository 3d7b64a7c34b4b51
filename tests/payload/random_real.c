/*
 * Random instruction sequences of real mode; "big" with segments that 32-bit addresses reach all RAM through, and nothing behind it.
 * Nothing protects memory there: the generator leaves out what loads segments, SP or IP with any value, and what is reached belongs
 * to the sequence.
 */
#include "legacy.h"
#include "random.h"

#define DATA_SEGMENT 0x1000u
#define CODE_SEGMENT 0x3000u
#define STUBS        0x4000u          /* as in random_real_entry.asm */
#define LINEAR(segment) ((segment) << 4)
#define SEL_STUBS    0x30             /* likewise */
#define SEL_LIMITS   0x38
#define SEGMENT_SIZE 0x10000u
#define DATA_SIZE    (SEGMENT_SIZE + PAGE) /* the segments of the sequences begin in its first page */
#define LOW_START    0x1000u
#define LOW_END      0x90000u
#define RAM_END      MiB(60)
#define BIG_LIMIT    ((RAM_END - MiB(1)) / PAGE - 2) /* in pages, from the highest base of real mode */
#define CR0_USUAL    0x30u            /* NE ET */
#define CR4_USUAL    0x600u           /* OSFXSR OSXMMEXCPT */
#define CR4_OSXSAVE  0x40000u
#define DR6_USUAL    0xffff0ff0u
#define IO_BYTE      0x3ff
#define IO_ABSENT    0x6f0

struct state {
	uint32_t eax, ecx, edx, ebx, esp, ebp, esi, edi, cr0;
	uint16_t ds, es, fs, gs, ss, vector;
};
struct real_frame { uint16_t ip, cs, flags; };

extern const uint8_t real_start[], real_end[], real_state[];
extern struct { uint16_t limit; uint32_t base; } __attribute__((packed)) real_idtr;
void random_enter(void);
bool random_event(void);

static const uint16_t selectors[] = { 0, 8, DATA_SEGMENT, CODE_SEGMENT, 0xffff };
static const struct mode modes[] = {
	{ "real", KIND_REAL, 16, 0, CODE_SEGMENT, DATA_SEGMENT, DATA_SEGMENT, 0, 0, 0, 0, 2 },
	{ "bigreal", KIND_REAL, 16, 0, CODE_SEGMENT, DATA_SEGMENT, DATA_SEGMENT, 0, 0, 0, 0, 2 },
};
static uint8_t *const data = (uint8_t *)LINEAR(DATA_SEGMENT), *const code = (uint8_t *)LINEAR(CODE_SEGMENT);

static uint32_t ivt[256];
static uint8_t fpu[512] __attribute__((aligned(64))), fpu0[512] __attribute__((aligned(64)));
static const struct mode *mode;
static struct state *state;
static struct machine machine;
static struct gen gen;
static unsigned events;
static uint64_t digest, batch_digest;
static bool trace, xsave;

/* MOV DR in the kernel, with DR7.GD set: it is clear then. */
static bool ignore_debug(struct frame32 *f) { return f->vector == 1; }

/* SP wraps in the stack's segment. */
static void copy_frame(struct real_frame *f, bool put)
{
	uint16_t sp = (uint16_t)state->esp;

	for (unsigned i = 0; i < sizeof(*f); i++, sp++) {
		uint8_t *at = (uint8_t *)LINEAR((uint32_t)state->ss) + sp, *byte = (uint8_t *)f + i;
		if (put)
			*at = *byte;
		else
			*byte = *at;
	}
}

static void show_event(const struct real_frame *f, uint32_t dr6, uint32_t dr7)
{
	const struct state *s = state;

	print("#  v=%x cs=%x:%x fl=%x ss=%x:%x cr0=%x cr2=%x cr4=%x dr=%x %x ds=%x es=%x fs=%x gs=%x\n#   a=%x c=%x d=%x b=%x bp=%x si=%x di=%x\n",
	      s->vector, f->cs, f->ip, f->flags, s->ss, s->esp, s->cr0, get_cr2(), get_cr4(), dr6, dr7, s->ds, s->es, s->fs, s->gs, s->eax,
	      s->ecx, s->edx, s->ebx, s->ebp, s->esi, s->edi);
}

static bool resume(struct real_frame *f)
{
	bool trap = state->vector == 1 || state->vector == 3 || state->vector == 4 || state->vector >= VEC_USER;
	unsigned next = 0;

	/* In the stubs: a breakpoint on the stack, where the CPU itself pushes */
	if (++events >= MAX_EVENTS || state->vector == VEC_END || f->cs != mode->cs || f->ip >= gen.start[gen.nitems])
		return false;
	while (next <= gen.nitems && gen.start[next] <= f->ip)
		next++;
	if (!trap)
		f->ip = gen.start[next];
	return true;
}

static void fold_area(const void *p, size_t bytes)
{
	const uint32_t *q = p;

	for (uint32_t i = 0; i < bytes / 4; i++)
		if (q[i])
			digest = fold(digest, (uint64_t)i << 32 | q[i]);
}

bool random_event(void)
{
	uint32_t dr6 = get_dr6(), dr7 = get_dr7();
	struct real_frame f;
	bool again;

	put_dr7(0x400);
	copy_frame(&f, false);
	fold_area(state, sizeof(*state));
	digest = fold(digest, (uint64_t)f.ip << 32 | (uint32_t)f.cs << 16 | f.flags);
	digest = fold(digest, (uint64_t)get_cr4() << 32 | get_cr2());
	digest = fold(digest, (uint64_t)dr6 << 32 ^ dr7);
	if (trace)
		show_event(&f, dr6, dr7);
	again = resume(&f);
	put_dr6(DR6_USUAL);
	if (!again)
		return false;
	copy_frame(&f, true);
	put_dr7(dr7);
	return true;
}

static const struct { uint32_t msr; uint64_t value; } msrs[] = {
	{ 0x174, 0 }, { 0x175, 0 }, { 0x176, 0 }, { 0x277, 0x0007040600070406 }, { 0xc0000081, 0 }, { 0xc0000082, 0 }, { 0xc0000083, 0 },
	{ 0xc0000084, 0x300 }, { 0xc0000102, 0 }, { MSR_EFER, 0 },
};

static void clean_up(void)
{
	put_cr0(CR0_USUAL | CR0_PE);
	put_cr4((uint32_t)machine.cr4);
	if (xsave)
		__asm__ volatile("xsetbv" :: "c"(0), "a"(7), "d"(0));
	for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++)
		if (rdmsr(msrs[i].msr) != msrs[i].value)
			wrmsr(msrs[i].msr, msrs[i].value);
}

static void final_digest(void)
{
	digest = fold(digest, get_cr0() & ~CR0_PE);
	digest = fold(digest, get_cr4());
	for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++)
		digest = fold(digest, rdmsr(msrs[i].msr));
	if (trace)
		print("#  state %x\n", (uint32_t)digest);
	clean_up();
	__asm__ volatile("fxsave %0" : "=m"(fpu));
	fold_area(fpu, 288);
	if (trace)
		print("#  fpu %x\n", (uint32_t)digest);
	fold_area(data, DATA_SIZE);
}

static void show_code(void)
{
	for (unsigned i = 0; i < gen.nitems; i++) {
		print("#  code %u:", i);
		for (unsigned b = gen.start[i]; b < gen.start[i + 1]; b++)
			print(" %02x", gen.out[b]);
		print("\n");
	}
}

static void run(uint64_t seed, uint32_t number, uint32_t keep)
{
	struct real_frame f = { .cs = CODE_SEGMENT };
	uint32_t *r = &state->eax;

	gen = (struct gen){ .m = mode, .k = &machine, .out = code };
	gen_sequence(&gen, seed, number, keep);
	if (trace)
		show_code();
	memset(data, 0, DATA_SIZE);
	for (uint32_t at = BOX_DATA; at < BOX_STACK + 2 * PAGE; at += 4)
		*(uint32_t *)(data + at) = rnd(&gen) & 1 ? BOX_DATA + (rnd(&gen) & 0x1fff) : rnd(&gen);
	for (unsigned i = 0; i < 8; i++)
		r[i] = (uint32_t)random_value(&gen);
	state->esp = BOX_STACK_TOP;
	state->ds = state->es = state->fs = state->gs = state->ss = DATA_SEGMENT;
	state->cr0 = CR0_USUAL;
	f.flags = (uint16_t)(mode->eflags | (rnd(&gen) & 0xcd5));
	if (chance(&gen, 15))
		f.flags |= EF_TF;
	copy_frame(&f, true);
	events = 0;
	outb(IO_BYTE, 0x5a);
	__asm__ volatile("fxrstor %0" :: "m"(fpu0));
	put_cr2(0);
	__asm__ volatile("mov %0, %%dr0; mov %0, %%dr1; mov %0, %%dr2; mov %0, %%dr3" :: "r"(0));
	put_dr6(DR6_USUAL);
	put_dr7(0x400);
	random_enter();
	final_digest();
}

static void prepare(void)
{
	bool big = mode == &modes[1];

	legacy_hook = ignore_debug;
	outb(PIC1 + 1, 0xff);
	outb(PIC2 + 1, 0xff);
	/* What else can be reached is the same everywhere. The loader's information was there. */
	memset((void *)LOW_START, 0, LOW_END - LOW_START);
	if (big)
		memset(image_end, 0, RAM_END - ADDRESS(image_end));
	memset(code, 0xcc, SEGMENT_SIZE);
	memcpy((void *)LINEAR(STUBS), real_start, (size_t)(real_end - real_start));
	state = (struct state *)(LINEAR(STUBS) + (uint32_t)(real_state - real_start));
	for (unsigned v = 0; v < 256; v++)
		ivt[v] = STUBS << 16 | v * 16;
	real_idtr.base = ADDRESS(ivt);
	set_descriptor(SEL_STUBS, LINEAR(STUBS), 0xffff, ACC_CODE, 0);
	set_descriptor(SEL_LIMITS, 0, big ? BIG_LIMIT : 0xffff, ACC_DATA, big ? FLAG_G : 0);
	xsave = cpuid(1, 0).c & BIT(26);
	machine = (struct machine){ .cr0 = CR0_USUAL, .cr4 = CR4_USUAL | (xsave ? CR4_OSXSAVE : 0), .selectors = selectors,
				    .nselectors = ARRAY_SIZE(selectors), .io_byte = IO_BYTE, .io_absent = IO_ABSENT };
	clean_up();
	__asm__ volatile("fninit; fxsave %0" : "=m"(fpu0));
	memset(fpu0 + 160, 0x3c, 128);
}

void payload_main(void)
{
	uint64_t seed = option_number("seed", 1);
	uint32_t from = (uint32_t)option_number("from", 0), count = (uint32_t)option_number("count", 100);
	uint32_t keep = (uint32_t)option_number("keep", 0xffffffff), batch = (uint32_t)option_number("batch", 25);

	mode = option_is("mode", "bigreal") ? &modes[1] : &modes[0];
	trace = option("trace");
	prepare();
	for (uint32_t n = from; n < from + count; n++) {
		if (trace)
			print("# sequence %u\n", n);
		digest = seed;
		run(seed, n, keep);
		batch_digest = fold(batch_digest, digest);
		if (!trace && n % batch != batch - 1 && n != from + count - 1)
			continue;
		uint64_t shown = trace ? digest : batch_digest;
		print("%s %u: %x%08x\n", mode->name, n, (uint32_t)(shown >> 32), (uint32_t)shown);
		batch_digest = 0;
	}
}
