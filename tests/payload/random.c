/* Random instruction sequences of long mode: 64-bit, compatibility, in rings 0 and 3. The sandbox has page tables of its own. */
#include "random_long.h"

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

extern struct frame random_frame;
extern uint64_t kernel_cr3, sandbox_cr3;
void random_enter(struct frame *f);
bool random_event(struct frame *f);
void random_broken(struct frame *f) __attribute__((noreturn));

static uint8_t fpu[2048] __attribute__((aligned(64))), fpu0[2048] __attribute__((aligned(64)));

static struct machine machine;
static struct gen gen;
static unsigned events, last;
static uint64_t digest, batch_digest;
static bool trace, xsave;

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
