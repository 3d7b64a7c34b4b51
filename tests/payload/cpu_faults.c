/* Exceptions: vector, error code, CR2, and where they point. */
#include "cpu.h"

#define CR0_TS BIT(3)
#define CR0_WP BIT(16)
#define CR0_AM BIT(18)
#define RF_AC  BIT(18)
#define CR4_SMEP BIT(20)
#define CR4_SMAP BIT(21)

#define NONCANONICAL ((volatile uint32_t *)0x8000000000000000ull)
#define PAGE0 ((volatile uint64_t *)WINDOW)
#define PAGE1 ((volatile uint64_t *)(WINDOW + PAGE))

static uint8_t frame0[4096] __attribute__((aligned(4096)));

static void page_fault(const char *name, int vector)
{
	if (vector == NO_FAULT)
		print("pf %s: ok\n", name);
	else
		print("pf %s: fault=%d error=%lx cr2=%lx\n", name, vector, fault.error, fault.cr2);
}

static void user_read(void) { (void)*PAGE0; }
static void user_write(void) { *PAGE0 = 1; }
static void user_exec(void) { ((void (*)(void))(uint64_t)PAGE0)(); }
static void user_misaligned(void)
{
	__asm__ volatile("pushfq; orl $0x40000, (%%rsp); popfq; mov %0, %%eax" :: "m"(*(uint32_t *)(frame0 + 1)) : "rax");
}

static void paging(void)
{
	uint64_t page = (uint64_t)frame0, cr0 = rdcr0(), efer = rdmsr(MSR_EFER), cr4 = rdcr4();

	frame0[0] = 0xc3; /* ret */
	wrmsr(MSR_EFER, efer | BIT(11));
	wrcr0(cr0 & ~CR0_WP);
	window_set(0, 0);
	page_fault("absent read", TRY((void)*PAGE0));
	page_fault("absent write", TRY(*PAGE0 = 1));
	page_fault("absent exec", TRY(((void (*)(void))(uint64_t)PAGE0)()));
	page_fault("absent user read", USER(user_read));
	page_fault("absent user exec", USER(user_exec));
	window_set(0, page | PTE_P);
	page_fault("read-only write", TRY(*PAGE0 = *PAGE0));
	wrcr0(cr0 | CR0_WP);
	page_fault("read-only write under wp", TRY(*PAGE0 = *PAGE0));
	page_fault("supervisor user read", USER(user_read));
	window_set(0, page | PTE_P | PTE_U);
	page_fault("read-only user read", USER(user_read));
	page_fault("read-only user write", USER(user_write));
	window_set(0, page | PTE_P | PTE_U | PTE_W | PTE_NX);
	page_fault("nx exec", TRY(((void (*)(void))(uint64_t)PAGE0)()));
	page_fault("nx user exec", USER(user_exec));
	wrmsr(MSR_EFER, efer & ~BIT(11));
	page_fault("nx bit without nxe", TRY((void)*PAGE0));
	wrmsr(MSR_EFER, efer | BIT(11));
	window_set(0, page | PTE_P | BIT(51));
	page_fault("reserved bit", TRY((void)*PAGE0));
	/* The first byte of the second page is the one that faults. */
	window_set(0, page | PTE_P | PTE_W);
	window_set(1, 0);
	page_fault("crossing read", TRY((void)*(volatile uint64_t *)(WINDOW + PAGE - 4)));
	page_fault("crossing write", TRY(*(volatile uint64_t *)(WINDOW + PAGE - 1) = 1));
	/* Accessed and dirty are set by the walk. */
	window_set(0, page | PTE_P | PTE_W);
	(void)*PAGE0;
	print("pf accessed: %lx\n", *(volatile uint64_t *)window_pt & 0x60);
	*PAGE0 = 0xc3;
	print("pf dirty: %lx\n", *(volatile uint64_t *)window_pt & 0x60);
	/* SMEP and SMAP: our own code and stack have to be the supervisor's then. */
	page_directory[(uint64_t)image_start / MiB(2)] &= ~PTE_U;
	wrcr3(rdcr3());
	window_set(0, page | PTE_P | PTE_W | PTE_U);
	*PAGE0 = 0xc3; /* ret */
	if (cpuid(7, 0).b & BIT(7)) {
		wrcr4(cr4 | CR4_SMEP);
		page_fault("smep exec", TRY(((void (*)(void))(uint64_t)PAGE0)()));
		page_fault("smep read", TRY((void)*PAGE0));
	}
	if (cpuid(7, 0).b & BIT(20)) {
		wrcr4(cr4 | CR4_SMAP);
		page_fault("smap read", TRY((void)*PAGE0));
		page_fault("smap write", TRY(*PAGE0 = 0));
		page_fault("smap stac", TRY(__asm__ volatile("stac"); (void)*PAGE0; __asm__ volatile("clac")));
	}
	wrcr4(cr4);
	page_directory[(uint64_t)image_start / MiB(2)] |= PTE_U;
	wrcr3(rdcr3());
	window_set(0, 0);
	wrcr0(cr0);
	wrmsr(MSR_EFER, efer);
}

static void segments(void)
{
	REPORT("gp noncanonical read", (void)*NONCANONICAL);
	REPORT("ss noncanonical", __asm__ volatile("mov %%rbp, %%rcx; mov %0, %%rbp; mov (%%rbp), %%eax; mov %%rcx, %%rbp"
						   :: "r"(NONCANONICAL) : "rax", "rcx"));
	REPORT("ds bad selector", __asm__ volatile("mov %w0, %%ds" :: "r"(SEL_MAX)));
	REPORT("ds bad ldt selector", __asm__ volatile("mov %w0, %%ds" :: "r"(0x14)));
	REPORT("ds ldt", __asm__ volatile("mov %w0, %%ds; mov %w1, %%ds" :: "r"(0x4), "r"(SEL_DATA)));
	REPORT("ds tss", __asm__ volatile("mov %w0, %%ds" :: "r"(SEL_TSS)));
	REPORT("ds not present", __asm__ volatile("mov %w0, %%ds" :: "r"(SEL_ABSENT)));
	REPORT("ss not present", __asm__ volatile("mov %w0, %%ss" :: "r"(SEL_ABSENT)));
	REPORT("ss rpl", __asm__ volatile("mov %w0, %%ss" :: "r"(SEL_DATA | 3)));
	REPORT("ss code", __asm__ volatile("mov %w0, %%ss" :: "r"(SEL_CODE)));
	REPORT("cs", __asm__ volatile(".byte 0x8e, 0xc8"));
	REPORT("retf bad", __asm__ volatile("push %0; push %0; lretq" :: "r"((uint64_t)SEL_MAX)));
	REPORT("jmp tss", __asm__ volatile("push %0; pushq $0; rex.w ljmp *(%%rsp)" :: "r"((uint64_t)SEL_TSS)));
	REPORT("iret bad", __asm__ volatile("push %0; push %1; push $2; push %0; push %1; iretq"
					    :: "r"((uint64_t)SEL_MAX), "r"((uint64_t)image_start)));
	REPORT("int 20 absent gate", __asm__ volatile("lidt %0; int $0x80" :: "m"(*(uint64_t *)(uint64_t)frame0)));
}

static bool on_bp(struct frame *f)
{
	print("hook: vector=%u error=%lx\n", (uint32_t)f->vector, f->error);
	return f->vector == 3;
}

void cpu_faults(void)
{
	struct { uint16_t limit; uint64_t base; } __attribute__((packed)) idtr;
	uint64_t cr0 = rdcr0(), cr4 = rdcr4();

	__asm__ volatile("sidt %0" : "=m"(idtr));
	memcpy(frame0, &idtr, sizeof(idtr));
	*(uint16_t *)frame0 = 0x7ff; /* a table that ends below the gate 80h */
	REPORT("de", __asm__ volatile("xor %%ecx, %%ecx; xor %%edx, %%edx; mov $1, %%eax; div %%ecx" ::: "rax", "rcx", "rdx"));
	REPORT("de overflow", __asm__ volatile("mov $1, %%ecx; mov $1, %%edx; div %%ecx" ::: "rax", "rcx", "rdx"));
	REPORT("ud2", __asm__ volatile("ud2"));
	REPORT("ud lock", __asm__ volatile(".byte 0xf0, 0x90"));
	REPORT("ud push es", __asm__ volatile(".byte 0x06"));
	REPORT("gp 16 bytes", __asm__ volatile(".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x90"));
	trap_hook = on_bp;
	__asm__ volatile("int3");
	trap_hook = NULL;
	wrcr0(cr0 | CR0_TS);
	REPORT("nm fninit", __asm__ volatile("fninit"));
	REPORT("nm wait", __asm__ volatile("fwait"));
	wrcr4(cr4 | CR4_OSFXSR);
	REPORT("nm sse", __asm__ volatile("xorps %xmm0, %xmm0"));
	wrcr0(cr0 & ~CR0_TS);
	REPORT("sse", __asm__ volatile("xorps %xmm0, %xmm0"));
	wrcr4(cr4 & ~CR4_OSFXSR);
	REPORT("ud sse without osfxsr", __asm__ volatile("xorps %xmm0, %xmm0"));
	wrcr4(cr4);
	segments();
	__asm__ volatile("lidt %0" :: "m"(idtr));
	paging();
	wrcr0(cr0 | CR0_AM);
	REPORT("ac in ring 0", __asm__ volatile("pushfq; orl $0x40000, (%%rsp); popfq; mov %0, %%eax; pushfq; andl $~0x40000, (%%rsp); popfq"
						:: "m"(*(uint32_t *)(frame0 + 1)) : "rax"));
	print("ac in ring 3: fault=%d error=%lx\n", USER(user_misaligned), fault.error);
	wrcr0(cr0);
	__asm__ volatile("wbinvd; invd");
	REPORT("invlpg noncanonical", __asm__ volatile("invlpg (%0)" :: "r"(NONCANONICAL)));
	REPORT("rdpmc ffff", __asm__ volatile("rdpmc" :: "c"(0xffff) : "rax", "rdx"));
}
