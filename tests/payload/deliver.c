/*
 * What happens when the delivery of an event meets a fault, by the CPU's own doing and by an exit in the middle of it: a
 * paging structure in memory that is not there is one. Each kind of event, against stacks, gates and tables of each kind.
 */
#include "payload.h"

#define ICR_NMI  0x400
#define VEC_NMI  2
#define VEC_PF   14
#define SOFT     0x80 /* the vector of INT n: open for ring 3 */
#define EXTERNAL 0x91
#define ABSENT   0xd0000000ull
#define CR0_WP   BIT(16)
#define PTE_TABLE (PTE_P | PTE_W | PTE_U)
#define GATE_BYTES 16
#define SLOT_NO_TABLE 2                          /* entry of window_pd: its table is in absent memory */
#define NO_TABLE (WINDOW + SLOT_NO_TABLE * MiB(2))
#define NONCANONICAL 0x8000000000000000ull
#define NOBODY   (WINDOW + 9 * PAGE)             /* never mapped */

struct gate { uint16_t low, selector; uint8_t ist, type; uint16_t mid; uint32_t high, zero; };
struct table { uint16_t limit; uint64_t base; } __attribute__((packed));

static struct gate *idt;
static struct table old_idt, old_gdt;
static uint8_t ist_stack[3][PAGE] __attribute__((aligned(16))), page[2 * PAGE] __attribute__((aligned(4096)));
static uint64_t new_stack;
static bool nmi_again, settling;
static unsigned nmis;

#define EVENT(name, ...) static void name(void) { \
	__asm__ volatile("mov %0, %%rsp\n" __VA_ARGS__ "\nnop; nop; cli; ud2" \
			 :: "r"(new_stack), "b"(LAPIC + LAPIC_ICR), "d"(0), "a"(ICR_NMI), "c"(NOBODY) : "memory", "cc"); }
EVENT(soft, "int $0x80")
EVENT(int3, "int3")
EVENT(icebp, ".byte 0xf1")
EVENT(undefined, "ud2")
EVENT(divide, "xor %%ecx, %%ecx; div %%ecx")
EVENT(protection, "mov $0x60, %%eax; mov %%eax, %%fs")
EVENT(not_present, "mov $0x18, %%eax; mov %%eax, %%fs")
EVENT(page_fault, "mov (%%rcx), %%eax")
EVENT(external, "sti")
EVENT(nmi, "mov %%eax, (%%rbx)")
EVENT(rdmsr_fault, "mov $0x12345, %%ecx; rdmsr")
EVENT(cr_fault, "mov %%rcx, %%cr8")

static const struct event { const char *name; void (*fn)(void); uint8_t vector; } events[] = {
	{ "int n", soft, SOFT }, { "int3", int3, 3 }, { "icebp", icebp, 1 }, { "#ud", undefined, 6 }, { "#de", divide, 0 },
	{ "#gp", protection, 13 }, { "#np", not_present, 11 }, { "#pf", page_fault, VEC_PF }, { "interrupt", external, EXTERNAL },
	{ "nmi", nmi, VEC_NMI }, { "#gp of rdmsr", rdmsr_fault, 13 }, { "#gp of mov cr8", cr_fault, 13 },
};

static bool on_trap(struct frame *f)
{
	if (f->vector == VEC_NMI)
		nmis++;
	if (nmi_again && f->vector != VEC_NMI) {
		nmi_again = false;
		lapic_write(LAPIC_ICR, ICR_NMI); /* held back: the first has not had its IRET */
		print(" (nmi %u)", nmis);
	}
	return settling; /* if not: recorded, and back to TRY() without an IRET */
}

/* An IRET, which lets NMIs in again. */
static void iret(void)
{
	__asm__ volatile("mov %%rsp, %%rax; mov %%ss, %%ecx; push %%rcx; push %%rax; pushfq; mov %%cs, %%ecx; push %%rcx;"
			 "lea 1f(%%rip), %%rcx; push %%rcx; iretq; 1:" ::: "rax", "rcx", "memory", "cc");
}

static void drain(struct frame *f)
{
	(void)f;
	lapic_write(LAPIC_EOI, 0);
}

static void try(const char *where, const struct event *e, uint64_t stack)
{
	if (e->vector == EXTERNAL)
		lapic_self_ipi(EXTERNAL);
	new_stack = stack;
	nmi_again = e->vector == VEC_NMI;
	nmis = 0;
	wrcr2(0);
	print("%s, %s:", where, e->name);
	int v = TRY(e->fn());
	print(" %d error=%lx", v, fault.error);
	if (fault.cr2)
		print(" cr2=%lx", fault.cr2);
	uint64_t offset = fault.rip - (uint64_t)e->fn;
	if (offset < 64)
		print(" +%lx", offset);
	nmi_again = false;
	if (e->vector == EXTERNAL)
		lapic_write(LAPIC_EOI, 0);
	settling = true;
	iret();
	sti();
	__asm__ volatile("nop; nop; cli" ::: "memory");
	settling = false;
	print("%s\n", nmis > 1 ? " nmi" : "");
}

static void all(const char *where, uint64_t stack)
{
	for (unsigned i = 0; i < ARRAY_SIZE(events); i++)
		try(where, &events[i], stack);
}

static void stacks(void)
{
	uint64_t cr0 = rdcr0();

	window_set(0, (uint64_t)page | PTE_P | PTE_W);
	window_set(1, (uint64_t)page | PTE_P);
	window_set(2, 0);
	window_set(3, (uint64_t)page | PTE_P | PTE_W);
	window_set(4, (uint64_t)page | PTE_P | PTE_W | BIT(51));
	all("good stack", WINDOW + PAGE);
	all("odd stack", WINDOW + PAGE - 5);
	wrcr0(cr0 | CR0_WP);
	all("read-only stack", WINDOW + 2 * PAGE);
	wrcr0(cr0);
	all("absent stack", WINDOW + 3 * PAGE);
	all("stack over the end", WINDOW + 3 * PAGE + 16);
	all("reserved bit", WINDOW + 5 * PAGE);
	all("noncanonical stack", NONCANONICAL);
	all("stack without a table", NO_TABLE + PAGE);
	window_pd[SLOT_NO_TABLE - 1] = (uint64_t)page | PTE_P | PTE_W | PTE_PS | BIT(13); /* reserved bits of a large page */
	wrcr3(rdcr3());
	all("bad large page", NO_TABLE - PAGE);
	window_pd[SLOT_NO_TABLE - 1] = 0;
	wrcr3(rdcr3());
}

static void gates(void)
{
	static const struct { const char *name; uint16_t selector; uint8_t type; uint32_t high; } bad[] = {
		{ "gate not present", SEL_CODE, 0x6e, 0 }, { "gate of no type", SEL_CODE, 0xe0, 0 }, { "task gate", SEL_CODE, 0xe5, 0 },
		{ "16-bit gate", SEL_CODE, 0xe6, 0 }, { "null selector", 0, 0xee, 0 }, { "data selector", SEL_DATA, 0xee, 0 },
		{ "selector beyond", SEL_MAX, 0xee, 0 }, { "absent segment", SEL_ABSENT, 0xee, 0 }, { "user code", SEL_UCODE, 0xee, 0 },
		{ "ldt selector", 4, 0xee, 0 }, { "noncanonical", SEL_CODE, 0xee, 0x80000000 }, { "trap gate", SEL_CODE, 0xef, 0 },
		{ "conforming code", SEL_CONF, 0xee, 0 },
	};

	for (unsigned b = 0; b < ARRAY_SIZE(bad); b++) {
		for (unsigned i = 0; i < ARRAY_SIZE(events); i++) {
			struct gate *g = &idt[events[i].vector], old = *g;

			if (events[i].vector == 13 || events[i].vector == 11)
				continue; /* it would end in a triple fault */
			g->selector = bad[b].selector;
			g->type = bad[b].type;
			if (bad[b].high)
				g->high = bad[b].high;
			try(bad[b].name, &events[i], (uint64_t)page + PAGE);
			*g = old;
		}
	}
}

/* The table's end, and what is behind it, on pages that are not there. */
static void tables(void)
{
	struct table t = { 256 * GATE_BYTES - 1, WINDOW + PAGE - 128 * GATE_BYTES };

	window_set(0, (uint64_t)page | PTE_P | PTE_W);
	window_set(1, 0);
	memcpy((void *)t.base, idt, 128 * GATE_BYTES);
	__asm__ volatile("lidt %0" :: "m"(t));
	try("half of the idt", &events[0], (uint64_t)ist_stack[2]);
	try("half of the idt", &events[8], (uint64_t)ist_stack[2]);
	t.limit = 128 * GATE_BYTES + 7;
	__asm__ volatile("lidt %0" :: "m"(t));
	try("limit of the idt", &events[0], (uint64_t)ist_stack[2]);
	try("limit of the idt", &events[8], (uint64_t)ist_stack[2]);
	window_pd[SLOT_NO_TABLE - 1] = (uint64_t)window_pt | PTE_TABLE;
	window_set(511, (uint64_t)page | PTE_P | PTE_W);
	wrcr3(rdcr3());
	t = (struct table){ 256 * GATE_BYTES - 1, NO_TABLE - 128 * GATE_BYTES };
	memcpy((void *)t.base, idt, 128 * GATE_BYTES);
	__asm__ volatile("lidt %0" :: "m"(t));
	try("idt without a table", &events[0], (uint64_t)ist_stack[2]);
	try("idt without a table", &events[8], (uint64_t)ist_stack[2]);
	__asm__ volatile("lidt %0" :: "m"(old_idt));
	/* The descriptor of the handler's segment: the GDT goes on behind the page. */
	t = (struct table){ old_gdt.limit, NO_TABLE - SEL_CONF };
	memcpy((void *)t.base, gdt, SEL_CONF);
	for (unsigned i = 0; i < ARRAY_SIZE(events); i++) {
		struct gate *g = &idt[events[i].vector], old = *g;

		if (events[i].vector == VEC_PF || events[i].vector == VEC_NMI || events[i].vector == EXTERNAL)
			continue; /* they come once more afterwards */
		g->selector = SEL_CONF;
		__asm__ volatile("lgdt %0" :: "m"(t));
		try("gdt without a table", &events[i], (uint64_t)page + PAGE);
		__asm__ volatile("lgdt %0" :: "m"(old_gdt));
		*g = old;
	}
}

void payload_main(void)
{
	uint64_t tss = (gdt[SEL_TSS / 8] >> 16 & 0xffffff) | (gdt[SEL_TSS / 8] >> 56) << 24;

	irq_init();
	irq_set(EXTERNAL, drain);
	__asm__ volatile("sidt %0; sgdt %1" : "=m"(old_idt), "=m"(old_gdt));
	idt = (struct gate *)old_idt.base;
	for (unsigned i = 0; i < 2; i++) { /* #PF and #DF get stacks of their own, the others fault on what there is */
		uint64_t top = (uint64_t)ist_stack[i] + PAGE;

		memcpy((void *)(tss + 36 + 8 * i), &top, sizeof(top));
	}
	idt[8].ist = 1;
	idt[12].ist = idt[VEC_PF].ist = idt[13].ist = idt[11].ist = 2;
	trap_hook = on_trap;
	lapic_write(LAPIC_ICR_HI, lapic_read(LAPIC_ID));
	window_pd[SLOT_NO_TABLE] = ABSENT | PTE_TABLE;
	stacks();
	gates();
	tables();
	trap_hook = NULL;
}
