/* Paging of 32-bit mode: tables of 4 and of 8 bytes, large pages, what faults and with which error code. */
#include "modes.h"

#define WINDOW32  0x40000000u /* one table of our own, elsewhere everything to itself */
#define DIR(a)    ((a) >> 22)
#define PAGE0     ((volatile uint32_t *)WINDOW32)
#define PAGE1     ((volatile uint32_t *)(WINDOW32 + 0x1000))
#define CR4_SMEP_ON 0x100000u
#define CR4_PGE_ON  0x80u
#define EFER_NXE  0x800u
#define PSE_RESERVED 0x200000u /* of a 4 MiB entry */
#define CR4_SMAP_ON 0x200000u
#define SCRATCH   0x3ff

static uint32_t dir[1024] __attribute__((aligned(4096))), table[1024] __attribute__((aligned(4096)));
static uint64_t pdpt[4] __attribute__((aligned(32))), other_pdpt[4] __attribute__((aligned(32)));
static uint64_t dirs[4][512] __attribute__((aligned(4096))), table64[512] __attribute__((aligned(4096)));
static uint8_t frame[4096] __attribute__((aligned(4096))), user_stack[4096] __attribute__((aligned(4096)));
static bool wide;

static void set_page(unsigned n, uint64_t entry)
{
	if (wide)
		table64[n] = entry;
	else
		table[n] = (uint32_t)entry;
	__asm__ volatile("invlpg (%0)" :: "r"(WINDOW32 + n * 0x1000) : "memory");
}

static uint32_t page_bits(unsigned n) { return (wide ? (uint32_t)((volatile uint64_t *)table64)[n] : ((volatile uint32_t *)table)[n]) & 0x60; }

static void page_fault(const char *name, int vector)
{
	if (vector == NO_FAULT)
		print("%s: ok\n", name);
	else
		print("%s: fault=%d error=%x cr2=%x\n", name, vector, (uint32_t)fault.error, vector == 14 ? (uint32_t)fault.cr2 : 0);
}

/* What an emulation has to walk itself: string I/O with the UART's scratch register */
static void outs(uint32_t from, uint32_t n)
{
	__asm__ volatile("cld; rep outsb" : "+S"(from), "+c"(n) : "d"(SCRATCH) : "memory");
}
static void ins(uint32_t to, uint32_t n)
{
	__asm__ volatile("cld; rep insb" : "+D"(to), "+c"(n) : "d"(SCRATCH) : "memory");
}

/* Ring 3 comes back by INT 80h or by a fault. */
static void user(void (*fn)(void))
{
	struct frame32 f = { .eip = ADDRESS(fn), .cs = SEL_UCODE32, .eflags = EF_IOPL | 2, .esp = ADDRESS(user_stack + sizeof(user_stack)),
			     .ss = SEL_UDATA32, .ds = SEL_UDATA32, .es = SEL_UDATA32 };

	frame_enter(&f);
}
static void user_read(void) { __asm__ volatile("mov 0x40000000, %%eax; int $0x80" ::: "eax"); }
static void user_write(void) { __asm__ volatile("movl $0, 0x40000010; int $0x80" ::: "memory"); }
static void user_exec(void) { __asm__ volatile("mov $0x40000000, %%eax; call *%%eax; int $0x80" ::: "eax"); }

static void user_outs(void) { outs(WINDOW32 + 0x100, 1); __asm__ volatile("int $0x80"); }
static void user_ins(void) { ins(WINDOW32 + 0x200, 1); __asm__ volatile("int $0x80"); }

static void call_page(void) { ((void (*)(void))WINDOW32)(); }

/* Our own code, stack and data: the supervisor's or also the user's. */
static void flip_image_user(void)
{
	if (wide)
		dirs[0][ADDRESS(image_start) >> 21] ^= PTE_U;
	else
		dir[DIR(ADDRESS(image_start))] ^= (uint32_t)PTE_U;
	put_cr3(get_cr3());
}

static void common(const char *mode)
{
	uint64_t page = ADDRESS(frame);

	print("paging: %s\n", mode);
	frame[0] = 0xc3; /* ret */
	set_page(0, 0);
	set_page(1, 0);
	page_fault("absent read", TRY((void)*PAGE0));
	page_fault("absent write", TRY(*PAGE0 = 1));
	page_fault("absent exec", TRY(call_page()));
	page_fault("absent user read", TRY(user(user_read)));
	page_fault("absent user exec", TRY(user(user_exec)));
	set_page(0, page | 1);
	print("untouched: %x\n", page_bits(0));
	page_fault("read", TRY((void)*PAGE0));
	print("accessed: %x\n", page_bits(0));
	page_fault("read-only write", TRY(*PAGE0 = *PAGE0));
	print("dirty: %x\n", page_bits(0));
	put_cr0(get_cr0() | CR0_WP);
	page_fault("read-only write under wp", TRY(*PAGE0 = *PAGE0));
	put_cr0(get_cr0() & ~CR0_WP);
	page_fault("user read", TRY(user(user_read)));
	set_page(0, page | 5);
	page_fault("user read of the user's", TRY(user(user_read)));
	page_fault("user write of read-only", TRY(user(user_write)));
	page_fault("user exec", TRY(user(user_exec)));
	set_page(0, page | 7);
	page_fault("user write", TRY(user(user_write)));
	frame[0] = 0xc3;
	set_page(0, page | 3);
	page_fault("crossing read", TRY((void)*(volatile uint32_t *)(WINDOW32 + 0xffe)));
	page_fault("crossing write", TRY(*(volatile uint32_t *)(WINDOW32 + 0xfff) = 1));
	memcpy(frame + 0x100, "\x12\x34\x56\x78", 4);
	outb(SCRATCH, 0);
	page_fault("outs", TRY(outs(WINDOW32 + 0x100, 3)));
	print("outs: %x\n", inb(SCRATCH));
	page_fault("outs over the end", TRY(outs(WINDOW32 + 0xffe, 4)));
	page_fault("ins over the end", TRY(ins(WINDOW32 + 0xffe, 4)));
	page_fault("insw over the end", TRY({ uint32_t to = WINDOW32 + 0xfff;
		__asm__ volatile("cld; insw" : "+D"(to) : "d"(SCRATCH - 1) : "memory"); }));
	page_fault("user outs of the supervisor's", TRY(user(user_outs)));
	set_page(0, page | 1);
	print("untouched: %x\n", page_bits(0));
	put_cr0(get_cr0() | CR0_WP);
	page_fault("outs of read-only", TRY(outs(WINDOW32 + 0x100, 1)));
	page_fault("ins into read-only", TRY(ins(WINDOW32 + 0x200, 1)));
	put_cr0(get_cr0() & ~CR0_WP);
	print("accessed: %x\n", page_bits(0));
	page_fault("ins into read-only without wp", TRY(ins(WINDOW32 + 0x200, 1)));
	print("dirty: %x\n", page_bits(0));
	set_page(0, page | 5);
	page_fault("user outs", TRY(user(user_outs)));
	page_fault("user ins into read-only", TRY(user(user_ins)));
	set_page(1, LAPIC | 0x11);
	print("device: %x", PAGE1[LAPIC_SVR / 4]);
	print(" accessed: %x\n", page_bits(1));
	set_page(1, LAPIC | 0x13);
	PAGE1[LAPIC_TPR / 4] = 0x30;
	print("device: %x %x dirty: %x\n", PAGE1[LAPIC_TPR / 4], lapic_read(LAPIC_TPR), page_bits(1));
	PAGE1[LAPIC_TPR / 4] = 0;
	set_page(1, 0);
	set_page(0, page | 7);
	if (cpuid(7, 0).b & BIT(7)) {
		flip_image_user();
		put_cr4(get_cr4() | CR4_SMEP_ON);
		page_fault("smep exec", TRY(call_page()));
		page_fault("smep absent exec", TRY(((void (*)(void))(WINDOW32 + 0x1000))()));
		put_cr4(get_cr4() & ~CR4_SMEP_ON);
		flip_image_user();
	}
	if (cpuid(7, 0).b & BIT(20)) {
		flip_image_user();
		put_cr4(get_cr4() | CR4_SMAP_ON);
		page_fault("smap read", TRY((void)*PAGE0));
		page_fault("smap outs", TRY(outs(WINDOW32 + 0x100, 1)));
		page_fault("smap ins", TRY(ins(WINDOW32 + 0x200, 1)));
		page_fault("stac outs", TRY({ __asm__ volatile("stac"); outs(WINDOW32 + 0x100, 1); __asm__ volatile("clac"); }));
		put_cr4(get_cr4() & ~CR4_SMAP_ON);
		flip_image_user();
	}
}

static void narrow_paging(void)
{
	static uint32_t low[8][1024] __attribute__((aligned(4096)));

	wide = false;
	/* Without PSE a large entry is a table like any other: the lowest 32 MiB in small pages. */
	for (unsigned i = 0; i < 8 * 1024; i++)
		low[i / 1024][i % 1024] = i << 12 | 7;
	for (unsigned i = 0; i < 1024; i++)
		dir[i] = i < 8 ? ADDRESS(low[i]) | 0x87 : i << 22 | 0x87;
	dir[DIR(WINDOW32)] = ADDRESS(table) | 7;
	static uint32_t apic[1024] __attribute__((aligned(4096)));
	dir[DIR(LAPIC)] = ADDRESS(apic) | 7;
	apic[(uint32_t)LAPIC >> 12 & 0x3ff] = (uint32_t)LAPIC | 0x13;
	put_cr4(get_cr4() & ~(CR4_PSE | CR4_PAE));
	put_cr3(ADDRESS(dir));
	put_cr0(get_cr0() | CR0_PG);
	common("4 KiB");
	put_cr0(get_cr0() & ~CR0_PG); /* no TLB is sure to keep what it had of a directory that changes */
	for (unsigned i = 0; i < 1024; i++)
		if (i != DIR(WINDOW32))
			dir[i] = i << 22 | 0x87;
	put_cr4(get_cr4() | CR4_PSE);
	put_cr3(ADDRESS(dir));
	put_cr0(get_cr0() | CR0_PG);
	common("pse");
	dir[DIR(WINDOW32)] = (ADDRESS(frame) & 0xffc00000) | 0x83;
	put_cr3(get_cr3());
	page_fault("4 mib read", TRY((void)*PAGE0));
	print("4 mib: %x\n", dir[DIR(WINDOW32)] & 0x60);
	page_fault("4 mib user", TRY(user(user_read)));
	page_fault("4 mib outs", TRY(outs(WINDOW32, 1)));
	dir[DIR(WINDOW32)] |= PSE_RESERVED;
	put_cr3(get_cr3());
	page_fault("4 mib reserved", TRY((void)*PAGE0));
	page_fault("4 mib reserved outs", TRY(outs(WINDOW32, 1)));
	dir[DIR(WINDOW32)] = ADDRESS(table) | 7;
	/* A global page survives MOV to CR3, not MOV to CR4. */
	put_cr4(get_cr4() | CR4_PGE_ON);
	set_page(0, ADDRESS(frame) | 0x103);
	(void)*PAGE0;
	put_cr4(get_cr4() & ~CR4_PGE_ON);
	table[0] = 0;
	put_cr4(get_cr4() | CR4_PGE_ON);
	page_fault("global page flushed by cr4", TRY((void)*PAGE0));
	put_cr4(get_cr4() & ~CR4_PGE_ON);
	put_cr0(get_cr0() & ~CR0_PG);
}

static void wide_paging(void)
{
	wide = true;
	for (unsigned i = 0; i < 4 * 512; i++)
		dirs[i / 512][i % 512] = (uint64_t)i << 21 | 0x87;
	for (unsigned i = 0; i < 4; i++)
		pdpt[i] = ADDRESS(dirs[i]) | 1;
	dirs[1][0] = ADDRESS(table64) | 7;
	memcpy(other_pdpt, pdpt, sizeof(pdpt));
	put_cr4(get_cr4() | CR4_PAE);
	/* Reserved bits of an entry that is present are found when it is loaded. */
	pdpt[3] |= 2;
	put_cr3(ADDRESS(pdpt));
	REPORT("pdpte reserved, mov cr0", put_cr0(get_cr0() | CR0_PG));
	print("cr0: %x\n", get_cr0() & CR0_PG);
	pdpt[3] &= ~2ull;
	put_cr0(get_cr0() | CR0_PG);
	common("pae");
	other_pdpt[3] |= BIT(63);
	REPORT("pdpte bit 63, mov cr3", put_cr3(ADDRESS(other_pdpt)));
	print("cr3: %s\n", get_cr3() == ADDRESS(pdpt) ? "kept" : "changed");
	other_pdpt[3] = pdpt[3] & ~1ull;
	other_pdpt[3] |= 0x1e6; /* not present: anything goes */
	REPORT("pdpte absent, reserved bits", put_cr3(ADDRESS(other_pdpt)));
	page_fault("pdpte absent", TRY((void)*(volatile uint32_t *)0xc0000000));
	page_fault("pdpte absent, outs", TRY(outs(0xc0000000, 1)));
	page_fault("pdpte absent, write", TRY(*(volatile uint32_t *)0xfee00080 = 0));
	/* A change in memory is seen at the next load only. */
	other_pdpt[3] = pdpt[3];
	page_fault("pdpte changed", TRY((void)*(volatile uint32_t *)0xfee00020));
	put_cr3(ADDRESS(other_pdpt));
	page_fault("pdpte loaded", TRY((void)*(volatile uint32_t *)0xfee00020));
	other_pdpt[3] |= 0x20;
	REPORT("pdpte reserved, mov cr4", put_cr4(get_cr4() ^ CR4_PGE_ON));
	other_pdpt[3] = pdpt[3];
	put_cr3(ADDRESS(pdpt));
	set_page(0, ADDRESS(frame) | 3 | BIT(51));
	page_fault("reserved bit", TRY((void)*PAGE0));
	page_fault("reserved bit, outs", TRY(outs(WINDOW32, 1)));
	set_page(0, ADDRESS(frame) | 3 | PTE_NX);
	page_fault("nx without nxe", TRY((void)*PAGE0));
	page_fault("nx without nxe, outs", TRY(outs(WINDOW32, 1)));
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
	set_page(0, ADDRESS(frame) | 7 | PTE_NX);
	page_fault("nx read", TRY((void)*PAGE0));
	page_fault("nx exec", TRY(call_page()));
	page_fault("nx user exec", TRY(user(user_exec)));
	set_page(0, 0);
	page_fault("nx absent exec", TRY(call_page()));
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~(uint64_t)EFER_NXE);
	dirs[1][0] = (ADDRESS(frame) & ~0x1fffffu) | 0x2083; /* a reserved bit of a 2 MiB page */
	put_cr3(get_cr3());
	page_fault("2 mib reserved", TRY((void)*PAGE0));
	page_fault("2 mib reserved, outs", TRY(outs(WINDOW32, 1)));
	dirs[1][0] = (ADDRESS(frame) & ~0x1fffffu) | 0x83;
	put_cr3(get_cr3());
	page_fault("2 mib", TRY(*PAGE0 = *PAGE0));
	page_fault("2 mib, outs", TRY(outs(WINDOW32, 1)));
	print("2 mib: %x\n", (uint32_t)dirs[1][0] & 0x60);
	REPORT("lme under paging", wrmsr(MSR_EFER, rdmsr(MSR_EFER) | BIT(8)));
	put_cr0(get_cr0() & ~CR0_PG);
	put_cr4(get_cr4() & ~(CR4_PAE | CR4_PSE));
}

void modes_paging(void)
{
	set_stub(0x80, GATE_INT32 | ACC_DPL3);
	narrow_paging();
	wide_paging();
	print("cr: %x %x\n", get_cr0() & (CR0_PG | CR0_WP | CR0_PE), get_cr4());
}
