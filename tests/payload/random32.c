/* Random instruction sequences of the legacy modes: protected of 32 and 16 bits with each kind of paging, virtual-8086. */
#include "random32.h"

#define CR0_USUAL   0x80010033u  /* PG WP NE ET MP PE */
#define CR4_TSD     0x04u
#define CR4_VME     0x01u
#define CR4_OSFXSR  0x600u
#define CR4_OSXSAVE 0x40000u
#define DR6_USUAL   0xffff0ff0u
#define EFER_USUAL  0x801u       /* NXE SCE */

static const uint16_t selectors[] = {
	0, 3, SEL_CODE, SEL_DATA, S_NOTHING, S_UCODE, S_UDATA, S_UDATA, S_TSS, S_LDT, S_TSS2, S_CONF, S_LIMIT, S_CODE32, S_UCODE32, S_CODE16,
	S_UCODE16, S_UDATA16, S_UDATA16, S_DATA16, S_DOWN, S_READ, S_EXEC, S_CALL, S_FRESH, S_FRESH, S_CALLNP, S_TASK, L_DATA, L_CODE, L_CALL,
	0x27, 0xf8, 0x8003,
};
static const uint16_t far_selectors[] = { S_UCODE32, S_CODE32, S_CODE16, S_UCODE16, S_CONF, S_CALL, L_CODE, L_CALL, S_EXEC, S_TSS2, S_TASK };

enum paging { PAE, TWO_LEVELS, NONE };
static const struct { struct mode m; enum paging paging; } modes[] = {
	{ { "legacy32cpl0", KIND_LEGACY, 32, 0, S_CODE32, SEL_DATA, S_UDATA, 0, BOX_HIGH, 0, 0, 2 }, PAE },
	{ { "legacy32cpl3", KIND_LEGACY, 32, 3, S_UCODE32, S_UDATA, S_UDATA, 0, BOX_HIGH, 0, CR4_TSD, 2 }, PAE },
	{ { "legacy16cpl0", KIND_LEGACY, 16, 0, S_CODE16, S_DATA16, S_UDATA16, 0, 0, 0, 0, 2 }, PAE },
	{ { "legacy16cpl3", KIND_LEGACY, 16, 3, S_UCODE16, S_UDATA16, S_UDATA16, 0, 0, 0, CR4_TSD, 2 }, PAE },
	{ { "plain32cpl0", KIND_LEGACY, 32, 0, S_CODE32, SEL_DATA, S_UDATA, 0, BOX_HIGH, 0, 0, 2 }, TWO_LEVELS },
	{ { "plain32cpl3", KIND_LEGACY, 32, 3, S_UCODE32, S_UDATA, S_UDATA, 0, BOX_HIGH, 0, CR4_TSD, 2 }, TWO_LEVELS },
	{ { "v86", KIND_V86, 16, 3, BOX_LOW >> 4, BOX_LOW >> 4, BOX_LOW >> 4, 0, 0, 0, CR4_TSD, EF_VM | 2 }, PAE },
	{ { "v86vme", KIND_V86, 16, 3, BOX_LOW >> 4, BOX_LOW >> 4, BOX_LOW >> 4, 0, 0, 0, CR4_TSD | CR4_VME, EF_VM | 2 }, TWO_LEVELS },
	/* In ring 3 only: a segment of ring 0 reaches all of memory. */
	{ { "unpaged32", KIND_LEGACY, 32, 3, S_UCODE32, S_UDATA, S_UDATA, 0, 0, 0, CR4_TSD, 2 }, NONE },
	{ { "unpaged16", KIND_LEGACY, 16, 3, S_UCODE16, S_UDATA16, S_UDATA16, 0, 0, 0, CR4_TSD, 2 }, NONE },
};

extern uint8_t syscall_stack_top[];
extern uint32_t sandbox_cr3, saved_ss, saved_esp, return_to[2];
void random_enter(void);
bool random_event(void);
void random_task(void);
void random_broken(struct frame32 *f) __attribute__((noreturn));

static uint8_t fpu[512] __attribute__((aligned(64))), fpu0[512] __attribute__((aligned(64)));

static struct gen gen;
static unsigned events, last;
static uint64_t digest, batch_digest;
static bool trace, xsave;

#define SREG(name) ({ uint16_t s_; __asm__ volatile("mov %%" name ", %0" : "=r"(s_)); (uint32_t)s_; })

static void show_event(const struct frame32 *f, uint32_t dr6, uint32_t dr7)
{
	print("#  v=%x e=%x cs=%x:%x fl=%x ss=%x:%x cr2=%x cr0=%x cr4=%x dr=%x %x ds=%x es=%x fs=%x gs=%x %x %x %x %x\n"
	      "#   a=%x c=%x d=%x b=%x bp=%x si=%x di=%x\n", f->vector, f->error, f->cs, f->eip, f->eflags, f->ss, f->esp, get_cr2(), get_cr0(),
	      get_cr4(), dr6, dr7, f->ds, f->es, f->fs, f->gs, f->v86_ds, f->v86_es, f->v86_fs, f->v86_gs, f->eax, f->ecx, f->edx, f->ebx, f->ebp,
	      f->esi, f->edi);
}

void random_broken(struct frame32 *f)
{
	__asm__ volatile("mov %0, %%cr3" :: "r"(kernel_cr3));
	print("random: broken: vector=%u error=%x eip=%x esp=%x cr2=%x\n", f->vector, f->error, f->eip, ADDRESS(f), get_cr2());
	print_flush();
	for (;;)
		__asm__ volatile("cli; hlt");
}

static bool same_ring(const struct frame32 *f) { return !(f->eflags & EF_VM) && !(f->cs & 3); }

/* Where an address on a stack is for us; false: nowhere. */
static bool stack_pointer(uint32_t ss, uint32_t esp, void **out)
{
	const uint64_t *table = ss & 4 ? tables.ldt : tables.gdt;
	uint64_t d = table[(ss & 0xffff) / 8 % NSELECTORS];
	uint32_t base = (uint32_t)(d >> 16 & 0xffffff) | (uint32_t)(d >> 56) << 24, linear = base + (d >> 54 & 1 ? esp : esp & 0xffff);

	if (linear - box_base < BOX_PAGES * PAGE32 - sizeof(struct frame32))
		*out = (uint8_t *)box + (linear - box_base);
	else if (linear - ADDRESS(gate_start) < ADDRESS(gate_end) - ADDRESS(gate_start))
		*out = (void *)linear;
	else
		return false;
	return true;
}

static bool resume(struct frame32 *f)
{
	uint32_t at = f->eip;
	bool trap = f->vector == 1 || f->vector == 3 || f->vector == 4 || f->vector >= VEC_USER;
	unsigned next = 0;

	if (++events >= MAX_EVENTS || f->vector == VEC_END)
		return false;
	if (f->vector == VEC_SYSTEM)
		at = gen.start[last];
	if (at >= gen.start[gen.nitems])
		return false;
	while (next <= gen.nitems && gen.start[next] <= at)
		next++;
	if (f->cs != mode->cs || ((f->eflags ^ mode->eflags) & EF_VM)) {
		if ((f->cs & 3) != mode->cpl || ((f->eflags ^ mode->eflags) & EF_VM)) {
			f->ss = mode->ss;
			f->esp = mode->data + BOX_STACK_TOP;
		}
		f->cs = mode->cs;
		f->eflags = (f->eflags & ~(uint32_t)EF_VM) | (uint32_t)mode->eflags;
		trap = false;
	}
	if (!trap)
		f->eip = gen.start[next];
	last = next;
	return true;
}

/* Puts the frame where IRET will find it. */
static bool put_frame(const struct frame32 *f)
{
	uint32_t size = same_ring(f) ? offsetof(struct frame32, esp) : sizeof(*f);
	void *at;

	return_to[0] = same_ring(f) ? f->esp - size : ADDRESS(stack_top) - size;
	return_to[1] = same_ring(f) ? f->ss : SEL_DATA;
	if (!stack_pointer(return_to[1], return_to[0], &at))
		return false;
	memcpy(at, f, size);
	return true;
}

bool random_event(void)
{
	uint32_t dr6 = get_dr6(), dr7 = get_dr7();
	struct frame32 f = { .ss = saved_ss & 0xffff };
	uint32_t *r = &f.gs;
	void *at;
	bool again;

	put_dr7(0x400);
	if (!stack_pointer(saved_ss, saved_esp, &at)) {
		digest = fold(digest, saved_esp);
		return false;
	}
	memcpy(&f, at, offsetof(struct frame32, esp));
	if (same_ring(&f))
		f.esp = saved_esp + offsetof(struct frame32, esp);
	else
		memcpy(&f, at, offsetof(struct frame32, v86_es) + (f.eflags & EF_VM ? 16 : 0));
	f.cs &= 0xffff; /* what is pushed above a selector is not defined */
	f.ss &= 0xffff;
	f.gs &= 0xffff, f.fs &= 0xffff, f.es &= 0xffff, f.ds &= 0xffff;
	f.v86_es &= 0xffff, f.v86_ds &= 0xffff, f.v86_fs &= 0xffff, f.v86_gs &= 0xffff;
	for (unsigned i = 0; i < sizeof(f) / 4; i++)
		if (&r[i] != &f.esp_unused)
			digest = fold(digest, r[i]);
	digest = fold(digest, get_cr2());
	digest = fold(digest, (uint64_t)dr6 << 32 ^ dr7);
	digest = fold(digest, (uint64_t)get_cr0() << 32 ^ get_cr4());
	if (trace)
		show_event(&f, dr6, dr7);
	again = resume(&f);
	for (uint32_t *p = &f.edi; p <= &f.eax; p++)
		if (*p - BOX_HIGH - BOX_DEVICE < 2 * PAGE32)
			*p = BOX_HIGH + BOX_DATA;
	put_dr6(DR6_USUAL);
	if (!again || !put_frame(&f))
		return false;
	put_dr7(dr7);
	return true;
}

static void fold_area(const void *p, size_t bytes)
{
	for (const uint32_t *q = p; bytes; bytes -= 4)
		digest = fold(digest, *q++);
}

/* A double fault: what the switch has saved. */
void random_task(void)
{
	const struct tss32 *t = (void *)&tables.task[tables.doubled.link != S_TSS];

	put_dr7(0x400);
	if (trace)
		print("#  double fault: link=%x eip=%x eflags=%x esp=%x cs=%x ss=%x cr2=%x\n", tables.doubled.link & 0xffff, t->eip, t->eflags, t->esp,
		      t->cs & 0xffff, t->ss & 0xffff, get_cr2());
	digest = fold(digest, get_cr2());
}

static const struct { uint32_t msr; uint64_t value; } msrs[] = {
	{ 0x174, SEL_CODE }, { 0x175, 0 }, { 0x176, 0 }, { 0x277, 0x0007040600070406 }, { 0xc0000081, 0 }, { 0xc0000082, 0 },
	{ 0xc0000083, 0 }, { 0xc0000084, 0x300 }, { 0xc0000102, 0 }, { MSR_EFER, EFER_USUAL },
};

static uint64_t usual_msr(unsigned i)
{
	return msrs[i].msr == 0x176 ? ADDRESS(random_system) : msrs[i].msr == 0x175 ? ADDRESS(syscall_stack_top) : msrs[i].value;
}

static void load_tables(void)
{
	struct { uint16_t limit; uint32_t base; } __attribute__((packed)) r = { sizeof(tables.gdt) - 1, ADDRESS(tables.gdt) };

	memcpy(&tables, &tables0, offsetof(struct tables, task) + sizeof(struct tss32));
	tables.task[1].tss = tables0.task[1].tss;
	__asm__ volatile("lgdt %0" :: "m"(r));
	r.limit = sizeof(idt) - 1;
	r.base = ADDRESS(idt);
	__asm__ volatile("lidt %0; ltr %w1; lldt %w2" :: "m"(r), "r"(S_TSS), "r"(S_LDT) : "memory");
}

static void clean_up(void)
{
	if (get_cr0() != machine.cr0)
		put_cr0((uint32_t)machine.cr0);
	if (get_cr4() != machine.cr4)
		put_cr4((uint32_t)machine.cr4);
	if (xsave)
		__asm__ volatile("xsetbv" :: "c"(0), "a"(7), "d"(0));
	for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++)
		if (rdmsr(msrs[i].msr) != usual_msr(i))
			wrmsr(msrs[i].msr, usual_msr(i));
	load_tables();
	__asm__ volatile("mov %w0, %%ds; mov %w0, %%es; mov %w0, %%fs; mov %w0, %%gs" :: "r"(SEL_DATA));
}

static void final_digest(void)
{
	digest = fold(digest, get_cr0());
	digest = fold(digest, get_cr4());
	digest = fold(digest, ldt_register() | (uint32_t)task_register() << 16);
	for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++)
		digest = fold(digest, rdmsr(msrs[i].msr));
	fold_area(&tables, offsetof(struct tables, doubled));
	for (unsigned i = 0; i < 2; i++)
		fold_area(&tables.task[i].tss.link, sizeof(struct tss32));
	if (trace)
		print("#  state %x\n", (uint32_t)digest);
	clean_up();
	__asm__ volatile("fxsave %0" : "=m"(fpu));
	fold_area(fpu, 288);
	if (trace)
		print("#  fpu %x\n", (uint32_t)digest);
	fold_area(box[BOX_DATA / PAGE32], 5 * PAGE32);
	fold_area(box[BOX_STACK / PAGE32], (paged ? 2 : BOX_PAGES - BOX_STACK / PAGE32) * PAGE32);
	fold_area(ivt, sizeof(ivt));
	if (trace)
		print("#  memory %x\n", (uint32_t)digest);
	fold_area(&box_pt, BOX_PAGES * 8);
	fold_area(&low_pt[1][0], 32 * 8);
}

static void run(uint64_t seed, uint32_t number, uint32_t keep)
{
	struct frame32 f;
	uint32_t *r = &f.gs;

	gen = (struct gen){ .m = mode, .k = &machine, .out = paged ? (uint8_t *)box[0] : unpaged_code };
	gen_sequence(&gen, seed, number, keep);
	prepare_box(&gen);
	if (trace)
		for (unsigned i = 0; i < gen.nitems; i++) {
			print("#  code %u:", i);
			for (unsigned b = gen.start[i]; b < gen.start[i + 1]; b++)
				print(" %02x", gen.out[b]);
			print("\n");
		}
	memset(&f, 0, sizeof(f));
	for (unsigned i = 0; i < 12; i++)
		r[i] = (uint32_t)random_value(&gen);
	f.ds = mode->kind == KIND_V86 ? 0 : chance(&gen, 70) ? mode->ds : S_FRESH;
	f.es = mode->kind == KIND_V86 ? 0 : mode->ds;
	f.fs = mode->kind == KIND_V86 ? 0 : S_UDATA16;
	f.gs = mode->kind == KIND_V86 ? 0 : L_DATA;
	f.v86_ds = f.v86_es = f.v86_fs = f.v86_gs = mode->ds;
	f.eip = 0;
	f.cs = mode->cs;
	f.ss = mode->ss;
	f.esp = mode->data + BOX_STACK_TOP + (chance(&gen, 10) ? below(&gen, 16) : 0);
	f.eflags = (uint32_t)mode->eflags | (uint32_t)gen.iopl << 12 | (rnd(&gen) & 0xcd5);
	if (chance(&gen, 15))
		f.eflags |= EF_TF;
	if (mode->kind == KIND_V86 && chance(&gen, 20))
		f.eflags |= BIT(19) | (rnd(&gen) & BIT(20));
	events = last = 0;
	outb(IO_BYTE, 0x5a);
	__asm__ volatile("fxrstor %0" :: "m"(fpu0));
	put_cr2(0);
	__asm__ volatile("mov %0, %%dr0; mov %0, %%dr1; mov %0, %%dr2; mov %0, %%dr3" :: "r"(0));
	put_dr6(DR6_USUAL);
	put_dr7(0x400);
	uint32_t cr4 = ((uint32_t)machine.cr4 & ~mode->cr4_clear) | mode->cr4_set;
	if (cr4 != get_cr4())
		put_cr4(cr4);
	sandbox_cr3 = (uint32_t)machine.cr3;
	if (put_frame(&f))
		random_enter();
	final_digest();
}

static bool choose_mode(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(modes); i++)
		if (option_is("mode", modes[i].m.name)) {
			mode = &modes[i].m;
			pae = modes[i].paging == PAE;
			paged = modes[i].paging != NONE;
			box_base = mode->kind == KIND_V86 ? BOX_LOW : paged ? BOX_HIGH : ADDRESS(box);
		}
	return mode;
}

void payload_main(void)
{
	uint64_t seed = option_number("seed", 1);
	uint32_t from = (uint32_t)option_number("from", 0), count = (uint32_t)option_number("count", 100);
	uint32_t keep = (uint32_t)option_number("keep", 0xffffffff), batch = (uint32_t)option_number("batch", 25);

	if (!choose_mode()) {
		print("random: no such mode\n");
		return;
	}
	trace = option("trace");
	outb(PIC1 + 1, 0xff);
	outb(PIC2 + 1, 0xff);
	xsave = cpuid(1, 0).c & BIT(26);
	kernel_cr3 = pae ? ADDRESS(pdpt[0]) : ADDRESS(&low_pd[0]);
	machine = (struct machine){ .cr0 = CR0_USUAL & ~(paged ? 0 : CR0_PG), .cr3 = pae ? ADDRESS(pdpt[1]) : ADDRESS(&low_pd[1]),
				    .cr4 = (pae ? CR4_PAE : 0) | CR4_OSFXSR | (xsave ? CR4_OSXSAVE : 0), .selectors = selectors,
				    .nselectors = ARRAY_SIZE(selectors), .far = far_selectors, .nfar = ARRAY_SIZE(far_selectors),
				    .io_byte = IO_BYTE, .io_absent = IO_ABSENT, .gdt_base = ADDRESS(tables.gdt),
				    .gdt_limit = sizeof(tables.gdt) - 1, .idt_base = ADDRESS(idt), .idt_limit = sizeof(idt) - 1,
				    .nx = mode->kind != KIND_V86 || pae };
	prepare_tables();
	memcpy(&tables, &tables0, sizeof(tables));
	prepare_idt();
	prepare_paging();
	wrmsr(MSR_EFER, EFER_USUAL);
	put_cr4((uint32_t)machine.cr4);
	__asm__ volatile("mov %0, %%cr3" :: "r"(kernel_cr3) : "memory");
	put_cr0((uint32_t)machine.cr0);
	clean_up();
	__asm__ volatile("fninit; fxsave %0" : "=m"(fpu0));
	memset(fpu0 + 160, 0x3c, 128);
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
	put_cr0(CR0_USUAL & ~CR0_PG);
}
