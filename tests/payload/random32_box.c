/* The sandbox of the legacy modes: descriptors, gates, task states and page tables of its own, and its memory */
#include "random32.h"

extern uint8_t handler_top[];
extern const uint8_t random_stubs[], random_debug_stub[], random_double[];

const struct mode *mode;
bool pae, paged;
uint32_t box_base;
struct machine machine;
struct tables tables __attribute__((aligned(4096))), tables0;
uint64_t idt[256] __attribute__((aligned(4096)));
uint32_t box[BOX_PAGES][1024] __attribute__((aligned(4096)));
uint32_t ivt[1024] __attribute__((aligned(4096)));
uint8_t unpaged_code[PAGE32];
uint64_t pdpt[2][4] __attribute__((aligned(32)));
union page_table low_pd[2] __attribute__((aligned(4096))), low_pt[2][2] __attribute__((aligned(4096))), box_pt __attribute__((aligned(4096)));
static union page_table box_pd __attribute__((aligned(4096))), device_pt __attribute__((aligned(4096)));

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

void prepare_tables(void)
{
	struct tables *t = &tables0;
	uint32_t data = paged ? BOX_HIGH : ADDRESS(box), code = paged ? BOX_HIGH : ADDRESS(unpaged_code);

	memcpy(t->gdt, gdt32, 24);
	descriptor(S_NOTHING, 0, 0xfffff, 0x13, 0xc);
	descriptor(S_UCODE, code, 0xfff, 0xfb, 0x4);
	descriptor(S_UDATA, paged ? 0 : data, paged ? 0xfffff : 0xf, 0xf3, 0xc);
	descriptor(S_CONF, code, 0xfff, 0x9f, 0x4);
	descriptor(S_LIMIT, data, 0x2234, 0xf3, 0x4);
	descriptor(S_CODE32, code, 0xfff, 0x9b, 0x4);
	descriptor(S_UCODE32, code, 0xfff, 0xfb, 0x4);
	descriptor(S_CODE16, code, 0xfff, 0x9b, 0);
	descriptor(S_UCODE16, code, 0xfff, 0xfb, 0);
	descriptor(S_UDATA16, data, 0xffff, 0xf3, 0);
	descriptor(S_DATA16, data, 0xffff, 0x93, 0);
	descriptor(S_DOWN, data, 0x2fff, 0xf7, 0);
	descriptor(S_READ, data, 0xffff, 0xf1, 0);
	descriptor(S_EXEC, code, 0xfff, 0xf9, 0x4);
	descriptor(S_FRESH, data, 0x2800, 0xf2, 0x4);
	descriptor(L_DATA, data + BOX_DATA, 0xfff, 0xf2, 0x4);
	descriptor(L_CODE, code, 0xfff, 0xfa, 0x4);
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
	t->task[1].tss.esp = (paged ? BOX_HIGH : 0) + BOX_STACK_TOP;
	t->task[1].tss.cs = S_UCODE32;
	t->task[1].tss.ss = t->task[1].tss.ds = t->task[1].tss.es = S_UDATA;
	t->task[1].tss.ldt = S_LDT;
	t->doubled = (struct tss32){ .cr3 = kernel_cr3, .eip = ADDRESS(random_double), .eflags = 2, .esp = ADDRESS(handler_top), .cs = SEL_CODE,
				     .ss = SEL_DATA, .ds = SEL_DATA, .es = SEL_DATA, .iomap = sizeof(struct tss32) };
	descriptor(S_DOUBLE, ADDRESS(&tables.doubled), sizeof(struct tss32) - 1, ACC_TSS, 0);
	descriptor(S_LDT, ADDRESS(tables.ldt), sizeof(t->ldt) - 1, ACC_LDT, 0);
}

void prepare_idt(void)
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

void prepare_paging(void)
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

void prepare_box(struct gen *g)
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
	if (!paged) /* all of it can be reached */
		memset(box, 0, sizeof(box));
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
