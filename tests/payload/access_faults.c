/* Accesses to device memory that cross pages, fault, are made by ring 3, or are single-stepped. */
#include "mmio.h"

#define CR0_WP   BIT(16)
#define CR0_AM   BIT(18)
#define CR4_SMAP BIT(21)
#define RF_AC    BIT(18)
#define VEC_DB   1
#define RW       (PTE_P | PTE_W)
#define SUM      (WINDOW + PAGE) /* the border between two pages */

static uint8_t ram[2 * PAGE] __attribute__((aligned(4096)));

#define AT(page, phys) window_set(page, (uint64_t)(phys) | RW)
#define FAULT(name, ...) do { \
	int v_ = TRY(__VA_ARGS__); \
	print("%s: fault=%d error=%lx cr2=%lx rcx %lx\n", name, v_, fault.error, v_ == 14 ? fault.cr2 : 0, fault.rcx); \
} while (0)

/* Two bytes on each side, in every combination of RAM and what is absent. */
static void crossing(void)
{
	static const struct { const char *name; uint64_t first, second; } pairs[] = {
		{ "ram, absent", 0, ABSENT }, { "absent, ram", ABSENT, 0 }, { "absent, absent", ABSENT, ABSENT + 8 * PAGE },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(pairs); i++) {
		volatile uint32_t *p = (volatile uint32_t *)(SUM - 2);
		uint64_t wide;

		memset(ram, 0x11, sizeof(ram));
		AT(0, pairs[i].first ? pairs[i].first : (uint64_t)ram);
		AT(1, pairs[i].second ? pairs[i].second : (uint64_t)ram);
		print("%s: %x", pairs[i].name, *p);
		*p = 0x44332211;
		print(", written %x", *p);
		*p += 0x01010101;
		print(", added %x", *p);
		__asm__ volatile("lock xaddl %k0, %1" : "=r"(wide), "+m"(*p) : "0"(1ull));
		print(", xadd %lx %x", wide, *p);
		wide = *(volatile uint64_t *)(SUM - 3);
		print(", wide %lx", wide);
		*(volatile uint64_t *)(SUM - 5) = 0x8877665544332211;
		print(", byte before %x, after %x\n", ram[PAGE - 1], ram[0]);
	}
	memset(ram, 0x11, sizeof(ram));
	AT(0, ABSENT);
	AT(1, ram);
	STRING("rep stosw", SUM - 7, ram, 7, 0x2211);
	print("stosw: %x %x %x %x\n", ram[0], ram[1], ram[6], ram[7]);
	STRING("rep movsl", ram + 16, SUM - 6, 3, 0);
	print("movsl: %x %x %x\n", ram[16], ram[21], ram[22]);
}

/* The second page is not there, or read-only: nothing of the access is done. */
static void faults(void)
{
	AT(0, ram);
	window_set(1, 0);
	memset(ram, 0x11, sizeof(ram));
	FAULT("ram, gap", *(volatile uint64_t *)(SUM - 3) = 0);
	print("untouched: %x\n", ram[PAGE - 1]);
	AT(0, ABSENT);
	FAULT("absent, gap: load", (void)*(volatile uint64_t *)(SUM - 3));
	FAULT("absent, gap: add", __asm__ volatile("addl $1, (%0)" :: "r"(SUM - 1) : "memory", "cc"));
	window_set(1, ABSENT | PTE_P);
	wrcr0(rdcr0() | CR0_WP);
	FAULT("absent, read-only: load", (void)*(volatile uint64_t *)(SUM - 3));
	FAULT("absent, read-only: add", __asm__ volatile("addl $1, (%0)" :: "r"(SUM - 1) : "memory", "cc"));
	FAULT("read-only: xadd", __asm__ volatile("xaddl %%eax, (%0)" :: "r"(SUM) : "eax", "memory", "cc"));
	FAULT("read-only: cmpxchg", __asm__ volatile("cmpxchgl %%eax, (%0)" :: "r"(SUM) : "eax", "memory", "cc"));
	FAULT("read-only: shl", __asm__ volatile("shll (%0)" :: "r"(SUM) : "memory", "cc"));
	FAULT("read-only: bt", __asm__ volatile("btl $1, (%0)" :: "r"(SUM) : "memory", "cc"));
	FAULT("read-only: setc", __asm__ volatile("setc (%0)" :: "r"(SUM) : "memory", "cc"));
	FAULT("read-only: pop", __asm__ volatile("push $1; pop (%0); pop %%rax" :: "r"(SUM) : "rax", "memory", "cc"));
	FAULT("read-only: in place", __asm__ volatile("movsl" :: "S"(SUM), "D"(SUM) : "memory"));
	/* From a device to RAM that is read-only, and the other way round. */
	window_set(0, (uint64_t)ram | PTE_P);
	FAULT("rep movsl to read-only ram", __asm__ volatile("rep movsl" :: "S"(TPR), "D"(WINDOW), "c"(2) : "memory"));
	window_set(1, 0);
	FAULT("movsl to the gap", __asm__ volatile("movsl" :: "S"(TPR), "D"(SUM) : "memory"));
	FAULT("movsl from the gap", __asm__ volatile("movsl" :: "S"(SUM), "D"(TPR) : "memory"));
	AT(0, ABSENT);
	FAULT("repe cmpsl into the gap", __asm__ volatile("repe cmpsl" :: "S"(SUM - 8), "D"(ABSENT), "c"(5) : "memory", "cc"));
	FAULT("noncanonical", __asm__ volatile("movsl" :: "S"(ABSENT), "D"(0x800000000000) : "memory"));
	wrcr0(rdcr0() & ~CR0_WP);
	window_set(0, 0);
}

static volatile uint32_t seen;
static void user_load(void) { seen = mmio_read(ABSENT); }
static void user_store(void) { mmio_write(TPR, 0x35); }
static void user_movs(void) { __asm__ volatile("movsl" :: "S"(ABSENT), "D"(WINDOW) : "memory"); }
static void user_rmw(void) { __asm__ volatile("lock orl $2, (%0)" :: "r"(TPR) : "memory", "cc"); }
static void set_ac(void) { __asm__ volatile("pushfq; orl $0x40000, (%rsp); popfq"); }
static void clear_ac(void) { __asm__ volatile("pushfq; andl $~0x40000, (%rsp); popfq"); }
static void user_aligned(void) { set_ac(); seen = mmio_read(ABSENT + 4); clear_ac(); }
static void user_misaligned(void) { set_ac(); seen = mmio_read(ABSENT + 2); clear_ac(); }
static void user_movs_misaligned(void)
{
	set_ac();
	__asm__ volatile("movsl" :: "S"(ABSENT), "D"(ram + 1) : "memory");
	clear_ac();
}

static void user(void)
{
	print("user load: %d", USER(user_load));
	print(" %x\n", seen);
	print("user store: %d", USER(user_store));
	print(" %x\n", mmio_read(TPR));
	print("user lock or: %d", USER(user_rmw));
	print(" %x\n", mmio_read(TPR));
	mmio_write(TPR, 0);
	AT(0, ABSENT);
	print("user to a supervisor's device: %d", USER(user_movs));
	print(" error %lx cr2 %lx\n", fault.error, fault.cr2);
	AT(0, ram);
	print("user from a device to a supervisor's RAM: %d", USER(user_movs));
	print(" error %lx cr2 %lx\n", fault.error, fault.cr2);
	wrcr0(rdcr0() | CR0_AM);
	print("ac: aligned %d", USER(user_aligned));
	print(", misaligned %d", USER(user_misaligned));
	print(" error %lx", fault.error);
	print(", movs to misaligned ram %d\n", USER(user_movs_misaligned));
	wrcr0(rdcr0() & ~CR0_AM);
	window_set(0, 0);
}

/* Our own pages become the supervisor's, so that only the user's window is forbidden. */
static void smap(void)
{
	if (cpuid(0, 0).a < 7 || !(cpuid(7, 0).b & BIT(20)))
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(page_directory); i++)
		page_directory[i] &= ~PTE_U;
	window_set(0, (uint64_t)ram | RW | PTE_U);
	window_set(1, ABSENT | RW | PTE_U);
	wrcr4(rdcr4() | CR4_SMAP);
	wrcr3(rdcr3());
	FAULT("smap: device to user", __asm__ volatile("movsl" :: "S"(TPR), "D"(WINDOW) : "memory"));
	FAULT("smap: user to device", __asm__ volatile("movsl" :: "D"(TPR), "S"(WINDOW) : "memory"));
	FAULT("smap: user's device", __asm__ volatile("addl $1, (%0)" :: "r"(SUM) : "memory", "cc"));
	FAULT("smap: stac", __asm__ volatile("stac; movsl; clac" :: "S"(TPR), "D"(WINDOW) : "memory"));
	FAULT("smap: stac, user's device", __asm__ volatile("stac; addl $1, (%0); clac" :: "r"(SUM) : "memory", "cc"));
	wrcr4(rdcr4() & ~CR4_SMAP);
	for (unsigned i = 0; i < ARRAY_SIZE(page_directory); i++)
		page_directory[i] |= PTE_U;
	wrcr3(rdcr3());
	window_set(0, 0);
	window_set(1, 0);
}

static volatile unsigned steps;
static volatile uint64_t first_rcx;

static bool on_db(struct frame *f)
{
	if (f->vector != VEC_DB)
		return false;
	if (!steps++)
		first_rcx = f->rcx;
	return true;
}

#define STEP(insn, ...) do { \
	steps = 0; \
	__asm__ volatile("pushfq; orl $0x100, (%%rsp); popfq; " insn "; pushfq; andl $~0x100, (%%rsp); popfq" __VA_ARGS__); \
	print("step %s: %u, rcx %lx\n", insn, steps, first_rcx); \
} while (0)

static void single_steps(void)
{
	trap_hook = on_db;
	STEP("incl (%0)", :: "r"(ABSENT), "c"(7ull) : "memory", "cc");
	STEP("lock xaddl %%eax, (%0)", :: "r"(ABSENT), "c"(7ull) : "eax", "memory", "cc");
	STEP("rep stosl", :: "D"(ABSENT), "c"(4ull), "a"(0) : "memory", "cc");
	STEP("repe scasl", :: "D"(ABSENT), "c"(4ull), "a"(-1) : "memory", "cc");
	STEP("repne scasl", :: "D"(ABSENT), "c"(4ull), "a"(-1) : "memory", "cc");
	STEP("pushq (%0); pop %%rax", :: "r"(ABSENT), "c"(7ull) : "rax", "memory", "cc");
	trap_hook = NULL;
}

void access_faults(void)
{
	crossing();
	faults();
	user();
	smap();
	single_steps();
}
