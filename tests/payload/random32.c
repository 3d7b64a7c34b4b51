/* Random instruction sequences of the legacy modes: protected of 32 and 16 bits with each kind of paging, virtual-8086. */
#include "legacy.h"
#include "random.h"

#define BOX_HIGH    0x40000000u  /* linear, protected mode */
#define BOX_LOW     0x10000u     /* linear, virtual-8086 mode */
#define NSELECTORS  32
#define CR0_USUAL   0x80010033u  /* PG WP NE ET MP PE */
#define CR4_TSD     0x04u
#define CR4_VME     0x01u
#define CR4_OSFXSR  0x600u
#define CR4_OSXSAVE 0x40000u
#define DR6_USUAL   0xffff0ff0u
#define EFER_USUAL  0x801u       /* NXE SCE */
#define IO_BYTE     0x3ff        /* the UART's scratch register */
#define IO_ABSENT   0x6f0
#define IVT_OFFSET  0xff0u       /* where the interrupts of virtual-8086 mode and the other task go: an INT3 */
#define PAGE32      4096u

enum {
	S_NOTHING = 0x18, S_UCODE = 0x23, S_UDATA = 0x2b, S_TSS = 0x30, S_LDT = 0x38, S_DOUBLE = 0x40, S_TSS2 = 0x4b, S_CONF = 0x50,
	S_LIMIT = 0x5b, S_CODE32 = 0x60, S_UCODE32 = 0x6b, S_CODE16 = 0x70, S_UCODE16 = 0x7b, S_UDATA16 = 0x83, S_DATA16 = 0x88,
	S_DOWN = 0x93, S_READ = 0x9b, S_EXEC = 0xa3, S_CALL = 0xab, S_FRESH = 0xb3, S_CALLNP = 0xbb, S_TASK = 0xc3,
	L_DATA = 0x7, L_CODE = 0xf, L_CALL = 0x17,
};
static const uint16_t selectors[] = {
	0, 3, SEL_CODE, SEL_DATA, S_NOTHING, S_UCODE, S_UDATA, S_UDATA, S_TSS, S_LDT, S_TSS2, S_CONF, S_LIMIT, S_CODE32, S_UCODE32, S_CODE16,
	S_UCODE16, S_UDATA16, S_UDATA16, S_DATA16, S_DOWN, S_READ, S_EXEC, S_CALL, S_FRESH, S_FRESH, S_CALLNP, S_TASK, L_DATA, L_CODE, L_CALL,
	0x27, 0xf8, 0x8003,
};
static const uint16_t far_selectors[] = { S_UCODE32, S_CODE32, S_CODE16, S_UCODE16, S_CONF, S_CALL, L_CODE, L_CALL, S_EXEC, S_TSS2, S_TASK };

enum paging { PAE, TWO_LEVELS };
static const struct { struct mode m; enum paging paging; } modes[] = {
	{ { "legacy32cpl0", KIND_LEGACY, 32, 0, S_CODE32, SEL_DATA, S_UDATA, 0, BOX_HIGH, 0, 0, 2 }, PAE },
	{ { "legacy32cpl3", KIND_LEGACY, 32, 3, S_UCODE32, S_UDATA, S_UDATA, 0, BOX_HIGH, 0, CR4_TSD, 2 }, PAE },
	{ { "legacy16cpl0", KIND_LEGACY, 16, 0, S_CODE16, S_DATA16, S_UDATA16, 0, 0, 0, 0, 2 }, PAE },
	{ { "legacy16cpl3", KIND_LEGACY, 16, 3, S_UCODE16, S_UDATA16, S_UDATA16, 0, 0, 0, CR4_TSD, 2 }, PAE },
	{ { "plain32cpl0", KIND_LEGACY, 32, 0, S_CODE32, SEL_DATA, S_UDATA, 0, BOX_HIGH, 0, 0, 2 }, TWO_LEVELS },
	{ { "plain32cpl3", KIND_LEGACY, 32, 3, S_UCODE32, S_UDATA, S_UDATA, 0, BOX_HIGH, 0, CR4_TSD, 2 }, TWO_LEVELS },
	{ { "v86", KIND_V86, 16, 3, BOX_LOW >> 4, BOX_LOW >> 4, BOX_LOW >> 4, 0, 0, 0, CR4_TSD, EF_VM | 2 }, PAE },
	{ { "v86vme", KIND_V86, 16, 3, BOX_LOW >> 4, BOX_LOW >> 4, BOX_LOW >> 4, 0, 0, 0, CR4_TSD | CR4_VME, EF_VM | 2 }, TWO_LEVELS },
};

struct task { struct tss32 tss; uint8_t redirection[32], ports[8192], end, unused[3]; };
struct tables {
	uint64_t gdt[NSELECTORS], ldt[8];
	struct tss32 doubled;
	struct task task[2];
};

extern uint8_t gate_start[], gate_end[], stack_top[], syscall_stack_top[], handler_top[];
extern const uint8_t random_stubs[], random_debug_stub[], random_system[], random_double[];
extern uint32_t kernel_cr3, sandbox_cr3, saved_ss, saved_esp, return_to[2];
void random_enter(void);
bool random_event(void);
void random_task(void);
void random_broken(struct frame32 *f) __attribute__((noreturn));

static struct tables tables __attribute__((aligned(4096))), tables0;
static uint64_t idt[256] __attribute__((aligned(4096)));
static uint32_t box[BOX_PAGES][1024] __attribute__((aligned(4096)));
static uint32_t ivt[1024] __attribute__((aligned(4096)));
/* Paging structures, for the kernel and for the sandbox; entries of 8 bytes or of 4. */
static uint64_t pdpt[2][4] __attribute__((aligned(32)));
static union { uint64_t wide[512]; uint32_t narrow[1024]; } low_pd[2], low_pt[2][2], box_pd, box_pt, device_pt __attribute__((aligned(4096)));
static uint8_t fpu[512] __attribute__((aligned(64))), fpu0[512] __attribute__((aligned(64)));

static const struct mode *mode;
static bool pae;
static uint32_t box_base;
static struct machine machine;
static struct gen gen;
static unsigned events, last;
static uint64_t digest, batch_digest;
static bool trace, xsave;

static void descriptor(unsigned sel, uint32_t base, uint32_t limit, unsigned access, unsigned flags)
{
	uint64_t *table = sel & 4 ? tables0.ldt : tables0.gdt;

	table[sel / 8] = (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)access << 40 | (uint64_t)(limit >> 16 & 0xf) << 48 |
			 (uint64_t)flags << 52 | (uint64_t)(base >> 24) << 56;
}

static uint64_t gate(uint32_t target, unsigned selector, unsigned access)
{
	return (target & 0xffff) | (uint64_t)selector << 16 | (uint64_t)access << 40 | (uint64_t)(target >> 16) << 48;
}

static void prepare_tables(void)
{
	struct tables *t = &tables0;

	memcpy(t->gdt, gdt32, 24);
	descriptor(S_NOTHING, 0, 0xfffff, 0x13, 0xc);
	descriptor(S_UCODE, BOX_HIGH, 0xfff, 0xfb, 0x4);
	descriptor(S_UDATA, 0, 0xfffff, 0xf3, 0xc);
	descriptor(S_CONF, BOX_HIGH, 0xfff, 0x9f, 0x4);
	descriptor(S_LIMIT, BOX_HIGH, 0x2234, 0xf3, 0x4);
	descriptor(S_CODE32, BOX_HIGH, 0xfff, 0x9b, 0x4);
	descriptor(S_UCODE32, BOX_HIGH, 0xfff, 0xfb, 0x4);
	descriptor(S_CODE16, BOX_HIGH, 0xfff, 0x9b, 0);
	descriptor(S_UCODE16, BOX_HIGH, 0xfff, 0xfb, 0);
	descriptor(S_UDATA16, BOX_HIGH, 0xffff, 0xf3, 0);
	descriptor(S_DATA16, BOX_HIGH, 0xffff, 0x93, 0);
	descriptor(S_DOWN, BOX_HIGH, 0x2fff, 0xf7, 0);
	descriptor(S_READ, BOX_HIGH, 0xffff, 0xf1, 0);
	descriptor(S_EXEC, BOX_HIGH, 0xfff, 0xf9, 0x4);
	descriptor(S_FRESH, BOX_HIGH, 0x2800, 0xf2, 0x4);
	descriptor(L_DATA, BOX_HIGH + BOX_DATA, 0xfff, 0xf2, 0x4);
	descriptor(L_CODE, BOX_HIGH, 0xfff, 0xfa, 0x4);
	t->gdt[S_CALL / 8] = gate(ADDRESS(random_system), SEL_CODE, 0xec);
	t->gdt[S_CALLNP / 8] = gate(ADDRESS(random_system), SEL_CODE, 0x6c);
	t->gdt[S_TASK / 8] = gate(0, S_TSS2 & ~3u, 0xe5);
	t->ldt[L_CALL / 8] = gate(ADDRESS(random_system), SEL_CODE, 0xec);
	for (unsigned i = 0; i < 2; i++) {
		t->task[i].tss.esp0 = ADDRESS(stack_top);
		t->task[i].tss.ss0 = SEL_DATA;
		t->task[i].tss.iomap = (uint16_t)(sizeof(struct tss32) + 32);
		memset(t->task[i].ports, 0xff, sizeof(t->task[i].ports));
		t->task[i].end = 0xff;
		t->task[i].ports[IO_BYTE / 8] &= (uint8_t)~(1u << (IO_BYTE & 7));
		t->task[i].ports[IO_ABSENT / 8] &= (uint8_t)~(0xfu << (IO_ABSENT & 7));
		memset(t->task[i].redirection, 0x5a, 32);
		descriptor(i ? S_TSS2 : S_TSS, ADDRESS(&tables.task[i]), offsetof(struct task, unused) - 1, i ? 0xe9 : 0x89, 0);
	}
	t->task[1].tss.cr3 = (uint32_t)machine.cr3;
	t->task[1].tss.eip = IVT_OFFSET;
	t->task[1].tss.eflags = 2;
	t->task[1].tss.esp = BOX_HIGH + BOX_STACK_TOP;
	t->task[1].tss.cs = S_UCODE32;
	t->task[1].tss.ss = t->task[1].tss.ds = t->task[1].tss.es = S_UDATA;
	t->task[1].tss.ldt = S_LDT;
	t->doubled = (struct tss32){ .cr3 = kernel_cr3, .eip = ADDRESS(random_double), .eflags = 2, .esp = ADDRESS(handler_top), .cs = SEL_CODE,
				     .ss = SEL_DATA, .ds = SEL_DATA, .es = SEL_DATA, .iomap = sizeof(struct tss32) };
	descriptor(S_DOUBLE, ADDRESS(&tables.doubled), sizeof(struct tss32) - 1, ACC_TSS, 0);
	descriptor(S_LDT, ADDRESS(tables.ldt), sizeof(t->ldt) - 1, ACC_LDT, 0);
}

static void prepare_idt(void)
{
	for (unsigned v = 0; v < 256; v++)
		idt[v] = gate(ADDRESS(random_stubs) + 16 * v, SEL_CODE, v == 3 || v == 4 || (v >= VEC_STEP && v <= VEC_USER) ? 0xee : 0x8e);
	idt[1] = gate(ADDRESS(random_debug_stub), SEL_CODE, 0x8e);
	idt[8] = gate(0, S_DOUBLE, 0x85);
	idt[VEC_ABSENT] = gate(0, SEL_CODE, 0x6e);
	idt[VEC_TRAPGATE] = gate(ADDRESS(random_stubs) + 16 * VEC_TRAPGATE, SEL_CODE, 0xef);
	idt[VEC_BADTYPE] = gate(0, SEL_CODE, 0xe9);
	idt[VEC_BADSEL] = gate(0, SEL_DATA, 0xee);
}

/* Which: the kernel's tables or the sandbox's. */
static void map_low(unsigned which, uint32_t at, uint32_t flags)
{
	if (pae)
		low_pt[which][at >> 21].wide[at >> 12 & 511] = (at & ~(PAGE32 - 1)) | flags;
	else
		low_pt[which][0].narrow[at >> 12] = (at & ~(PAGE32 - 1)) | flags;
}

static void prepare_paging(void)
{
	const uint32_t table = PTE_P | PTE_W | PTE_U;

	for (uint32_t a = 0; a < MiB(4); a += PAGE32)
		map_low(0, a, PTE_P | PTE_W);
	for (uint32_t a = ADDRESS(image_start); a < ADDRESS(image_end) && a < MiB(4); a += PAGE32)
		map_low(1, a, PTE_P);
	for (uint32_t a = ADDRESS(gate_start); a < ADDRESS(gate_end); a += PAGE32)
		map_low(1, a, PTE_P | PTE_W);
	for (uint32_t a = ADDRESS(&tables); a < ADDRESS(&tables + 1); a += PAGE32)
		map_low(1, a, PTE_P | PTE_W);
	for (unsigned which = 0; which < 2; which++) {
		if (!pae) {
			low_pd[which].narrow[0] = ADDRESS(&low_pt[which][0]) | table;
			low_pd[which].narrow[BOX_HIGH >> 22] = ADDRESS(&box_pt) | table;
			low_pd[which].narrow[(BOX_HIGH + BOX_DEVICE) >> 22] = ADDRESS(&device_pt) | table;
			continue;
		}
		low_pd[which].wide[0] = ADDRESS(&low_pt[which][0]) | table;
		low_pd[which].wide[1] = ADDRESS(&low_pt[which][1]) | table;
		box_pd.wide[0] = ADDRESS(&box_pt) | table;
		box_pd.wide[BOX_DEVICE >> 21] = ADDRESS(&device_pt) | table;
		pdpt[which][0] = ADDRESS(&low_pd[which]) | PTE_P;
		pdpt[which][1] = ADDRESS(&box_pd) | PTE_P;
	}
}

static void map_box(uint32_t at, uint64_t flags)
{
	uint32_t page = ADDRESS(box) + at, linear = box_base + at;
	void *table = box_base == BOX_LOW ? (void *)&low_pt[1][0] : (void *)&box_pt;

	if (pae)
		((uint64_t *)table)[linear >> 12 & 511] = page | flags;
	else
		((uint32_t *)table)[linear >> 12 & 1023] = page | (uint32_t)flags;
}

static void prepare_box(struct gen *g)
{
	const uint64_t rw = PTE_P | PTE_W | PTE_U | (pae ? PTE_NX : 0) | 0x60;

	map_box(BOX_CODE, PTE_P | 0x20 | (mode->cpl ? PTE_U : 0));
	map_box(BOX_DATA, rw);
	map_box(BOX_DATA + PAGE32, rw);
	map_box(BOX_RO, rw & ~PTE_W);
	map_box(BOX_SUPER, rw & ~PTE_U);
	map_box(BOX_CLEAN, rw & ~0x60ull);
	map_box(BOX_STACK, rw);
	map_box(BOX_STACK + PAGE32, rw);
	if (pae)
		map_box(BOX_BAD, rw | BIT(51));
	for (unsigned i = 0; i < 2; i++) {
		if (pae)
			device_pt.wide[(BOX_DEVICE >> 12 & 511) + i] = (ABSENT_PHYS + i * PAGE32) | rw;
		else
			device_pt.narrow[((BOX_HIGH + BOX_DEVICE) >> 12 & 1023) + i] = (ABSENT_PHYS + i * PAGE32) | (uint32_t)rw;
	}
	for (unsigned p = BOX_DATA / PAGE32; p < BOX_STACK / PAGE32 + 2; p++)
		for (unsigned i = 0; i < 1024; i++)
			box[p][i] = rnd(g) & 1 ? mode->data + BOX_DATA + (rnd(g) & 0x1fff) : rnd(g);
	if (mode->kind != KIND_V86)
		return;
	for (unsigned i = 0; i < 1024; i++)
		ivt[i] = (uint32_t)mode->cs << 16 | IVT_OFFSET;
	if (pae)
		low_pt[1][0].wide[0] = ADDRESS(ivt) | (rw & 0xfff);
	else
		low_pt[1][0].narrow[0] = ADDRESS(ivt) | (uint32_t)(rw & 0xfff);
}

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
	if (get_cr0() != CR0_USUAL)
		put_cr0(CR0_USUAL);
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
	fold_area(box[BOX_STACK / PAGE32], 2 * PAGE32);
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
			box_base = mode->kind == KIND_V86 ? BOX_LOW : BOX_HIGH;
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
	machine = (struct machine){ .cr0 = CR0_USUAL, .cr3 = pae ? ADDRESS(pdpt[1]) : ADDRESS(&low_pd[1]),
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
	put_cr0(CR0_USUAL);
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
