/* Random instruction sequences of long mode: 64-bit, compatibility, in rings 0 and 3. The sandbox has page tables of its own. */
#include "random.h"

#define BOX         0x40000000ull /* linear */
#define CODE_SEL    SEL_CODE
#define NSELECTORS  32
#define MSR_STAR    0xc0000081
#define MSR_LSTAR   0xc0000082
#define MSR_CSTAR   0xc0000083
#define MSR_FMASK   0xc0000084
#define MSR_FS      0xc0000100
#define MSR_GS      0xc0000101
#define MSR_KERNEL_GS 0xc0000102
#define MSR_PAT     0x277
#define CR0_USUAL   0x80010033ull /* PG WP NE ET MP PE */
#define CR4_PAE     0x20ull
#define CR4_TSD     0x04ull
#define CR4_OSFXSR  0x600ull
#define CR4_OSXSAVE BIT(18)
#define DR6_USUAL   0xffff0ff0ull
#define EFER_USUAL  0xd00ull     /* LME LMA NXE */
#define RF_TF       BIT(8)
#define RF_RF       BIT(16)
#define IO_BYTE     0x3ff        /* the UART's scratch register */
#define IO_ABSENT   0x6f0

/* Selectors beyond those of payload.h */
enum {
	S_CODE32 = 0x60, S_UCODE32 = 0x6b, S_CODE16 = 0x70, S_UCODE16 = 0x7b, S_UDATA16 = 0x83, S_DATA16 = 0x88, S_DOWN = 0x93,
	S_READ = 0x9b, S_EXEC = 0xa3, S_TSS2 = 0xa8, S_CALL = 0xbb, S_FRESH = 0xcb, S_CALLNP = 0xd3, S_DATA32 = 0xe0, S_UDATA32 = 0xeb,
	L_DATA = 0x7, L_CODE = 0xf, L_CALL = 0x17,
};
static const uint16_t selectors[] = {
	0, 3, SEL_CODE, SEL_DATA, SEL_ABSENT, SEL_UCODE, SEL_UDATA, SEL_TSS, SEL_LDT, SEL_CONF, SEL_LIMIT | 3, S_CODE32, S_UCODE32, S_CODE16,
	S_UCODE16, S_UDATA16, S_UDATA16, S_DATA16, S_DOWN, S_READ, S_EXEC, S_TSS2, S_CALL, S_FRESH, S_FRESH, S_CALLNP, S_DATA32, S_UDATA32,
	S_UDATA32, L_DATA, L_CODE, L_CALL, 0x27, 0xf8, 0x8003,
};
static const uint16_t far_selectors[] = { SEL_CODE, SEL_UCODE, S_CODE32, S_UCODE32, S_CODE16, S_UCODE16, SEL_CONF, S_CALL, L_CODE, L_CALL,
					  S_EXEC, SEL_CONF | 3 };
static const struct mode modes[] = {
	{ "64cpl0", KIND_LONG, 64, 0, SEL_CODE, SEL_DATA, S_UDATA32, BOX, BOX, 0, 0, 2 },
	{ "64cpl3", KIND_LONG, 64, 3, SEL_UCODE, SEL_UDATA, S_UDATA32, BOX, BOX, 0, CR4_TSD, 2 },
	{ "compat32cpl0", KIND_LONG, 32, 0, S_CODE32, S_DATA32, S_UDATA32, 0, BOX, 0, 0, 2 },
	{ "compat32cpl3", KIND_LONG, 32, 3, S_UCODE32, S_UDATA32, S_UDATA32, 0, BOX, 0, CR4_TSD, 2 },
	{ "compat16cpl0", KIND_LONG, 16, 0, S_CODE16, S_DATA16, S_UDATA16, 0, 0, 0, 0, 2 },
	{ "compat16cpl3", KIND_LONG, 16, 3, S_UCODE16, S_UDATA16, S_UDATA16, 0, 0, 0, CR4_TSD, 2 },
};

struct tables {
	uint64_t gdt[NSELECTORS], ldt[8];
	struct { uint32_t reserved; uint64_t rsp[3], zero, ist[7], zero2; uint16_t zero3, iomap; uint8_t ports[8192]; uint8_t end; }
		__attribute__((packed)) tss[2];
};

extern uint8_t gate_start[], gate_end[], stack_top[], debug_stack_top[], syscall_stack_top[];
extern const uint8_t random_stubs[], random_debug_stub[], random_system[];
extern struct frame random_frame;
extern uint64_t kernel_cr3, sandbox_cr3;
void random_enter(struct frame *f);
bool random_event(struct frame *f);
void random_broken(struct frame *f) __attribute__((noreturn));

static struct tables tables __attribute__((aligned(4096))), tables0;
static uint64_t pml4[512] __attribute__((aligned(4096))), pdpt[512] __attribute__((aligned(4096)));
static uint64_t low_pd[512] __attribute__((aligned(4096))), low_pt[512] __attribute__((aligned(4096)));
static uint64_t box_pd[512] __attribute__((aligned(4096))), box_pt[512] __attribute__((aligned(4096)));
static uint64_t device_pt[512] __attribute__((aligned(4096)));
static uint64_t box[BOX_PAGES][512] __attribute__((aligned(4096)));
static struct { uint64_t low, high; } idt[256] __attribute__((aligned(4096)));
static uint8_t fpu[2048] __attribute__((aligned(64))), fpu0[2048] __attribute__((aligned(64)));

static const struct mode *mode;
static struct machine machine;
static struct gen gen;
static unsigned events, last;
static uint64_t digest, batch_digest;
static bool trace, xsave;

static void descriptor(struct tables *t, unsigned sel, uint32_t base, uint32_t limit, unsigned access, unsigned flags)
{
	uint64_t *table = sel & 4 ? t->ldt : t->gdt;

	table[sel / 8] = (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)access << 40 | (uint64_t)(limit >> 16 & 0xf) << 48 |
			 (uint64_t)flags << 52 | (uint64_t)(base >> 24) << 56;
}

static void call_gate(struct tables *t, unsigned sel, uint64_t target, unsigned access)
{
	uint64_t *d = (sel & 4 ? t->ldt : t->gdt) + sel / 8;

	d[0] = (target & 0xffff) | (uint64_t)SEL_CODE << 16 | (uint64_t)access << 40 | (target >> 16 & 0xffff) << 48;
	d[1] = target >> 32;
}

static void prepare_tables(void)
{
	struct tables *t = &tables0;

	memcpy(t->gdt, gdt, (size_t)(gdt_end - (uint8_t *)gdt));
	descriptor(t, S_CODE32, BOX, 0xfff, 0x9b, 0x4);
	descriptor(t, S_UCODE32, BOX, 0xfff, 0xfb, 0x4);
	descriptor(t, S_CODE16, BOX, 0xfff, 0x9b, 0);
	descriptor(t, S_UCODE16, BOX, 0xfff, 0xfb, 0);
	descriptor(t, S_UDATA16, BOX, 0xffff, 0xf3, 0);
	descriptor(t, S_DATA16, BOX, 0xffff, 0x93, 0);
	descriptor(t, S_DOWN, BOX, 0x2fff, 0xf7, 0);
	descriptor(t, S_READ, BOX, 0xffff, 0xf1, 0);
	descriptor(t, S_EXEC, BOX, 0xfff, 0xf9, 0x4);
	descriptor(t, S_FRESH, BOX, 0x2800, 0xf2, 0x4);
	descriptor(t, S_DATA32, 0, 0xfffff, 0x93, 0xc);
	descriptor(t, S_UDATA32, 0, 0xfffff, 0xf3, 0xc);
	descriptor(t, L_DATA, BOX + BOX_DATA, 0xfff, 0xf2, 0x4);
	descriptor(t, L_CODE, BOX, 0xfff, 0xfa, 0x4);
	call_gate(t, S_CALL, (uint64_t)random_system, 0xec);
	call_gate(t, S_CALLNP, (uint64_t)random_system, 0x6c);
	call_gate(t, L_CALL, (uint64_t)random_system, 0xec);
	for (unsigned i = 0; i < 2; i++) {
		t->tss[i].ist[0] = (uint64_t)stack_top;
		t->tss[i].ist[1] = (uint64_t)debug_stack_top;
		for (unsigned r = 0; r < 3; r++)
			t->tss[i].rsp[r] = (uint64_t)syscall_stack_top;
		t->tss[i].iomap = (uint16_t)((uint64_t)t->tss[0].ports - (uint64_t)&t->tss[0]);
		memset(t->tss[i].ports, 0xff, sizeof(t->tss[i].ports) + 1);
		t->tss[i].ports[IO_BYTE / 8] &= (uint8_t)~(1u << (IO_BYTE & 7));
		t->tss[i].ports[IO_ABSENT / 8] &= (uint8_t)~(0xfu << (IO_ABSENT & 7));
		descriptor(t, i ? S_TSS2 : SEL_TSS, (uint32_t)(uint64_t)&tables.tss[i], sizeof(t->tss[0]) - 1, 0x89, 0);
	}
	descriptor(t, SEL_LDT, (uint32_t)(uint64_t)tables.ldt, sizeof(t->ldt) - 1, 0x82, 0);
}

static void gate(unsigned vector, uint64_t target, unsigned selector, unsigned access, unsigned ist)
{
	idt[vector].low = (target & 0xffff) | (uint64_t)selector << 16 | (uint64_t)ist << 32 | (uint64_t)access << 40 | (target >> 16 & 0xffff) << 48;
	idt[vector].high = target >> 32;
}

static void prepare_idt(void)
{
	for (unsigned v = 0; v < 256; v++)
		gate(v, (uint64_t)random_stubs + 16 * v, SEL_CODE, v == 3 || v == 4 || (v >= VEC_STEP && v <= VEC_USER) ? 0xee : 0x8e, 1);
	gate(1, (uint64_t)random_debug_stub, SEL_CODE, 0x8e, 2);
	gate(VEC_ABSENT, 0, SEL_CODE, 0x6e, 1);
	gate(VEC_TRAPGATE, (uint64_t)random_stubs + 16 * VEC_TRAPGATE, SEL_CODE, 0xef, 1);
	gate(VEC_BADTYPE, 0, SEL_CODE, 0xe6, 1);
	gate(VEC_BADSEL, 0, SEL_DATA, 0xee, 1);
}

/* The image can be read and executed by ring 0; the gate and the tables can be written. */
static void prepare_paging(void)
{
	for (uint64_t a = (uint64_t)image_start; a < (uint64_t)image_end && a < MiB(4); a += PAGE)
		low_pt[(a - MiB(2)) / PAGE] = a | PTE_P;
	for (uint64_t a = (uint64_t)gate_start; a < (uint64_t)gate_end; a += PAGE)
		low_pt[(a - MiB(2)) / PAGE] = a | PTE_P | PTE_W;
	for (uint64_t a = (uint64_t)&tables; a < (uint64_t)(&tables + 1); a += PAGE)
		low_pt[(a - MiB(2)) / PAGE] = a | PTE_P | PTE_W;
	low_pd[1] = (uint64_t)low_pt | PTE_P | PTE_W;
	box_pd[0] = (uint64_t)box_pt | PTE_P | PTE_W | PTE_U;
	box_pd[BOX_DEVICE / MiB(2)] = (uint64_t)device_pt | PTE_P | PTE_W | PTE_U;
	pdpt[0] = (uint64_t)low_pd | PTE_P | PTE_W;
	pdpt[1] = (uint64_t)box_pd | PTE_P | PTE_W | PTE_U;
	pml4[0] = (uint64_t)pdpt | PTE_P | PTE_W | PTE_U;
	/* Under SMEP and SMAP the kernel's own have to be the supervisor's outside, too. */
	for (uint64_t a = (uint64_t)image_start; a < (uint64_t)image_end; a += MiB(2))
		page_directory[a / MiB(2)] &= ~PTE_U;
}

static void box_map(uint32_t at, uint64_t flags) { box_pt[at / PAGE] = (uint64_t)box[at / PAGE] | flags; }

static void prepare_box(struct gen *g)
{
	const uint64_t rw = PTE_P | PTE_W | PTE_U | PTE_NX | 0x60;

	for (unsigned i = 0; i < 512; i++)
		box_pt[i] = 0;
	box_map(BOX_CODE, PTE_P | 0x20 | (mode->cpl ? PTE_U : 0));
	box_map(BOX_DATA, rw);
	box_map(BOX_DATA + PAGE, rw);
	box_map(BOX_RO, rw & ~PTE_W);
	box_map(BOX_SUPER, rw & ~PTE_U);
	box_map(BOX_CLEAN, rw & ~0x60ull);
	box_map(BOX_STACK, rw);
	box_map(BOX_STACK + PAGE, rw);
	box_map(BOX_BAD, rw | BIT(51));
	device_pt[BOX_DEVICE / PAGE % 512] = ABSENT_PHYS | rw;
	device_pt[BOX_DEVICE / PAGE % 512 + 1] = (ABSENT_PHYS + PAGE) | rw;
	for (unsigned p = BOX_DATA / PAGE; p < BOX_STACK / PAGE + 2; p++)
		for (unsigned i = 0; i < 512; i++)
			box[p][i] = rnd(g) & 1 ? BOX + BOX_DATA + (rnd(g) & 0x1fff) : rnd(g) * 0x100000001ull;
}

static void show_event(const struct frame *f, uint64_t cr2)
{
	print("#  v=%x e=%lx cs=%x:%lx fl=%lx ss=%x:%lx cr2=%lx cr0=%lx cr4=%lx dr6=%lx\n#   a=%lx c=%lx d=%lx b=%lx bp=%lx si=%lx di=%lx "
	      "8=%lx 9=%lx 10=%lx 11=%lx 12=%lx 13=%lx 14=%lx 15=%lx\n", (uint32_t)f->vector, f->error, (uint32_t)f->cs, f->rip, f->rflags,
	      (uint32_t)f->ss, f->rsp, cr2, rdcr0(), rdcr4(), gen.state, f->rax, f->rcx, f->rdx, f->rbx, f->rbp, f->rsi, f->rdi, f->r8, f->r9,
	      f->r10, f->r11, f->r12, f->r13, f->r14, f->r15);
}

static uint64_t read_dr6(void) { uint64_t v; __asm__ volatile("mov %%dr6, %0" : "=r"(v)); return v; }
static uint64_t read_dr7(void) { uint64_t v; __asm__ volatile("mov %%dr7, %0" : "=r"(v)); return v; }
static void write_dr6(uint64_t v) { __asm__ volatile("mov %0, %%dr6" :: "r"(v)); }
static void write_dr7(uint64_t v) { __asm__ volatile("mov %0, %%dr7" :: "r"(v)); }
#define SREG(name) ({ uint16_t s_; __asm__ volatile("mov %%" name ", %0" : "=r"(s_)); (uint64_t)s_; })

void random_broken(struct frame *f)
{
	wrcr3(kernel_cr3);
	print("random: broken: vector=%u error=%lx rip=%lx rsp=%lx cr2=%lx\n", (uint32_t)f->vector, f->error, f->rip, f->rsp, rdcr2());
	print_flush();
	for (;;)
		__asm__ volatile("cli; hlt");
}

/* Where the sequence goes on, by item; false: it ends here. */
static bool resume(struct frame *f)
{
	uint64_t at = f->rip - (f->cs == mode->cs || f->cs == SEL_CODE || f->cs == SEL_UCODE ? mode->code : 0);
	bool trap = f->vector == 1 || f->vector == 3 || f->vector == 4 || f->vector >= VEC_USER;
	unsigned next = 0;

	if (++events >= MAX_EVENTS || f->vector == VEC_END)
		return false;
	if (f->vector == VEC_SYSTEM) /* only SYSCALL says where it came from */
		at = f->rcx - mode->code < gen.start[gen.nitems] ? f->rcx - mode->code - 1 : gen.start[last];
	if (at >= gen.start[gen.nitems])
		return false;
	while (next <= gen.nitems && gen.start[next] <= at)
		next++;
	if (f->cs != mode->cs) {
		f->cs = mode->cs;
		trap = false;
	}
	if (f->ss != mode->ss && ((f->ss ^ mode->ss) & 3 || !f->ss)) {
		f->ss = mode->ss;
		f->rsp = mode->data + BOX_STACK_TOP;
	}
	if (!trap)
		f->rip = mode->code + gen.start[next];
	last = next;
	return true;
}

bool random_event(struct frame *f)
{
	uint64_t dr6 = read_dr6(), dr7 = read_dr7(), cr2 = rdcr2();
	uint64_t *r = &f->r15;
	bool again;

	write_dr7(0x400);
	/* Upper halves are not defined after compatibility mode. */
	for (unsigned i = 0; i < sizeof(*f) / 8; i++)
		digest = fold(digest, mode->bits == 64 ? r[i] : (uint32_t)r[i]);
	digest = fold(digest, cr2);
	digest = fold(digest, dr6 << 32 ^ dr7);
	digest = fold(digest, rdcr0() << 32 ^ rdcr4());
	digest = fold(digest, SREG("ds") << 48 | SREG("es") << 32 | SREG("fs") << 16 | SREG("gs"));
	if (trace) {
		gen.state = dr6 << 32 | dr7;
		show_event(f, cr2);
	}
	again = resume(f);
	/* Nothing but device() has addresses of the device. */
	for (unsigned i = 0; i < 15; i++)
		if (r[i] - BOX - BOX_DEVICE < 2 * PAGE)
			r[i] = BOX + BOX_DATA;
	write_dr6(DR6_USUAL);
	if (again)
		write_dr7(dr7);
	return again;
}

static void fold_area(const void *p, size_t bytes)
{
	for (const uint64_t *q = p; bytes; bytes -= 8)
		digest = fold(digest, *q++);
}

static void save_fpu(uint8_t *to)
{
	if (xsave)
		__asm__ volatile("xsave (%0)" :: "r"(to), "a"(7), "d"(0) : "memory");
	else
		__asm__ volatile("fxsave (%0)" :: "r"(to) : "memory");
}

static void restore_fpu(const uint8_t *from)
{
	if (xsave)
		__asm__ volatile("xrstor (%0)" :: "r"(from), "a"(7), "d"(0) : "memory");
	else
		__asm__ volatile("fxrstor (%0)" :: "r"(from) : "memory");
}

static const struct { uint32_t msr; uint64_t value; } msrs[] = {
	{ 0x174, SEL_CODE }, { 0x175, 0 }, { 0x176, 0 }, { MSR_STAR, (uint64_t)SEL_CODE << 32 | (uint64_t)(SEL_DATA | 3) << 48 },
	{ MSR_LSTAR, 0 }, { MSR_CSTAR, 0 }, { MSR_FMASK, 0x300 }, { MSR_FS, BOX + BOX_DATA }, { MSR_GS, BOX }, { MSR_KERNEL_GS, 0 },
	{ MSR_PAT, 0x0007040600070406 }, { MSR_EFER, EFER_USUAL | 1 },
};

static uint64_t usual_msr(unsigned i)
{
	return msrs[i].msr == 0x176 || msrs[i].msr == MSR_LSTAR || msrs[i].msr == MSR_CSTAR ? (uint64_t)random_system :
	       msrs[i].msr == 0x175 ? (uint64_t)syscall_stack_top : msrs[i].value;
}

static void set_msrs(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++)
		if (rdmsr(msrs[i].msr) != usual_msr(i))
			wrmsr(msrs[i].msr, usual_msr(i));
}

static void load_tables(void)
{
	struct { uint16_t limit; uint64_t base; } __attribute__((packed)) r = { sizeof(tables.gdt) - 1, (uint64_t)tables.gdt };

	memcpy(&tables, &tables0, sizeof(tables.gdt) + sizeof(tables.ldt));
	__asm__ volatile("lgdt %0" :: "m"(r));
	r.limit = sizeof(idt) - 1;
	r.base = (uint64_t)idt;
	__asm__ volatile("lidt %0; ltr %w1; lldt %w2" :: "m"(r), "r"(SEL_TSS), "r"(SEL_LDT) : "memory");
}

/* What the last sequence has left. */
static void clean_up(void)
{
	if (rdcr0() != CR0_USUAL)
		wrcr0(CR0_USUAL);
	if (rdcr4() != machine.cr4)
		wrcr4(machine.cr4);
	if (xsave)
		__asm__ volatile("xsetbv" :: "c"(0), "a"(7), "d"(0));
	if (rdcr8())
		wrcr8(0);
	__asm__ volatile("mov %w0, %%ds; mov %w0, %%es; mov %w1, %%fs; mov %w1, %%gs" :: "r"(SEL_DATA), "r"(0));
	set_msrs();
	load_tables();
}

static void final_digest(void)
{
	uint16_t ldt, task;

	digest = fold(digest, rdcr0());
	digest = fold(digest, rdcr4() ^ rdcr8() << 32);
	__asm__ volatile("sldt %0; str %1" : "=r"(ldt), "=r"(task));
	digest = fold(digest, ldt | (uint32_t)task << 16);
	for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++)
		digest = fold(digest, rdmsr(msrs[i].msr));
	fold_area(&tables, sizeof(tables.gdt) + sizeof(tables.ldt));
	if (trace)
		print("#  state %lx\n", digest);
	clean_up();
	save_fpu(fpu);
	fold_area(fpu, 416);
	if (trace)
		print("#  fpu %lx\n", digest);
	fold_area(box[BOX_DATA / PAGE], 5 * PAGE);
	fold_area(box[BOX_STACK / PAGE], 2 * PAGE);
	if (trace)
		print("#  memory %lx\n", digest);
	fold_area(box_pt, BOX_PAGES * 8);
}

static void run(uint64_t seed, uint32_t number, uint32_t keep)
{
	struct frame *f = &random_frame;
	uint64_t *r = &f->r15, dr7 = 0x400;

	gen = (struct gen){ .m = mode, .k = &machine, .out = (uint8_t *)box[0] };
	gen_sequence(&gen, seed, number, keep);
	prepare_box(&gen);
	if (trace)
		for (unsigned i = 0; i < gen.nitems; i++) {
			print("#  code %u:", i);
			for (unsigned b = gen.start[i]; b < gen.start[i + 1]; b++)
				print(" %02x", gen.out[b]);
			print("\n");
		}
	for (unsigned i = 0; i < 15; i++)
		r[i] = random_value(&gen);
	f->rip = mode->code;
	f->cs = mode->cs;
	f->ss = mode->ss;
	f->rsp = mode->data + BOX_STACK_TOP + (chance(&gen, 10) ? below(&gen, 16) : 0);
	f->rflags = mode->eflags | (uint64_t)gen.iopl << 12 | (rnd(&gen) & 0xcd5);
	if (chance(&gen, 15))
		f->rflags |= RF_TF;
	events = last = 0;
	outb(IO_BYTE, 0x5a);
	restore_fpu(fpu0);
	wrcr2(0);
	__asm__ volatile("mov %0, %%dr0; mov %0, %%dr1; mov %0, %%dr2; mov %0, %%dr3" :: "r"(0ull));
	write_dr6(DR6_USUAL);
	write_dr7(dr7);
	uint64_t cr4 = (machine.cr4 & ~(uint64_t)mode->cr4_clear) | mode->cr4_set;
	if (cr4 != rdcr4())
		wrcr4(cr4);
	uint16_t ds = chance(&gen, 70) ? mode->ds : (uint16_t)(chance(&gen, 50) ? S_FRESH : 0), fs = S_UDATA16;
	__asm__ volatile("mov %w0, %%ds; mov %w1, %%es" :: "r"(ds), "r"(mode->ds));
	if (mode->bits != 64)
		__asm__ volatile("mov %w0, %%fs; mov %w1, %%gs" :: "r"(fs), "r"(L_DATA));
	sandbox_cr3 = machine.cr3;
	random_enter(f);
	final_digest();
}

static void choose_mode(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(modes); i++)
		if (option_is("mode", modes[i].name))
			mode = &modes[i];
}

void payload_main(void)
{
	uint64_t seed = option_number("seed", 1);
	uint32_t from = (uint32_t)option_number("from", 0), count = (uint32_t)option_number("count", 100);
	uint32_t keep = (uint32_t)option_number("keep", 0xffffffff), batch = (uint32_t)option_number("batch", 25);

	choose_mode();
	if (!mode) {
		print("random: no such mode\n");
		return;
	}
	trace = option("trace");
	irq_init();
	xsave = cpuid(1, 0).c & BIT(26);
	kernel_cr3 = rdcr3();
	machine = (struct machine){ .cr0 = CR0_USUAL, .cr3 = (uint64_t)pml4, .cr4 = CR4_PAE | CR4_OSFXSR | (xsave ? CR4_OSXSAVE : 0),
				    .selectors = selectors, .nselectors = ARRAY_SIZE(selectors), .far = far_selectors,
				    .nfar = ARRAY_SIZE(far_selectors), .io_byte = IO_BYTE, .io_absent = IO_ABSENT,
				    .gdt_base = (uint64_t)tables.gdt, .gdt_limit = sizeof(tables.gdt) - 1, .idt_base = (uint64_t)idt,
				    .idt_limit = sizeof(idt) - 1, .nx = true };
	prepare_tables();
	memcpy(&tables, &tables0, sizeof(tables));
	prepare_idt();
	prepare_paging();
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_USUAL | 1);
	wrcr0(CR0_USUAL);
	wrcr4(machine.cr4);
	clean_up();
	__asm__ volatile("fninit");
	save_fpu(fpu0);
	memset(fpu0 + 160, 0x3c, 256);
	fpu0[512] = xsave ? 7 : fpu0[512];
	for (uint32_t n = from; n < from + count; n++) {
		if (trace)
			print("# sequence %u\n", n);
		digest = seed;
		run(seed, n, keep);
		batch_digest = fold(batch_digest, digest);
		if (!trace && n % batch != batch - 1 && n != from + count - 1)
			continue;
		print("%s %u: %lx\n", mode->name, n, trace ? digest : batch_digest);
		batch_digest = 0;
	}
}
