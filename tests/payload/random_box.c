/* The sandbox of long mode: descriptors, gates and page tables of its own, and its memory */
#include "random_long.h"

extern uint8_t gate_start[], gate_end[], stack_top[], debug_stack_top[];
extern const uint8_t random_stubs[], random_debug_stub[];

const struct mode *mode;
struct tables tables __attribute__((aligned(4096))), tables0;
struct idt_gate idt[256] __attribute__((aligned(4096)));
uint64_t pml4[512] __attribute__((aligned(4096))), box_pt[512] __attribute__((aligned(4096)));
uint64_t box[BOX_PAGES][512] __attribute__((aligned(4096)));
static uint64_t pdpt[512] __attribute__((aligned(4096))), device_pt[512] __attribute__((aligned(4096)));
static uint64_t low_pd[512] __attribute__((aligned(4096))), low_pt[512] __attribute__((aligned(4096)));
static uint64_t box_pd[512] __attribute__((aligned(4096)));

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

void prepare_tables(void)
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

void prepare_idt(void)
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
void prepare_paging(void)
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

void prepare_box(struct gen *g)
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
