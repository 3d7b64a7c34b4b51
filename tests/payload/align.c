/* Alignment checks and protection keys, on accesses that the CPU makes and on those that a hypervisor makes for it. */
#include "payload.h"

#define CR0_AM   BIT(18)
#define CR0_WP   BIT(16)
#define CR4_PKE  BIT(22)
#define RF_AC    BIT(18)
#define RF_IOPL  0x3000ull
#define CPUID7C_PKU BIT(3)
#define NOWHERE  0x1230
#define ABSENT   0xd0000000ull
#define PTE_KEY(k) ((uint64_t)(k) << 59)
#define AD(k)    (1u << 2 * (k))
#define WD(k)    (2u << 2 * (k))

void user_with(void (*fn)(void), uint64_t flags, uint64_t stack);
__asm__("user_with: push $0x2b; push %rdx; push %rsi; push $0x23; lea 1f(%rip), %rax; push %rax; iretq\n1: call *%rdi; int $0x80");

static uint8_t buf[2 * PAGE] __attribute__((aligned(4096))), stack[PAGE] __attribute__((aligned(4096)));
static uint64_t at, to, flags;
static uint16_t port;

#define ACCESS(name, insn) \
	static void name(void) { uint64_t a = 0, b = at, c = 3, d = port, si = at, di = to; \
		__asm__ volatile(insn : "+a"(a), "+b"(b), "+c"(c), "+d"(d), "+S"(si), "+D"(di) :: "memory", "cc"); }
ACCESS(load16, "mov (%%rbx), %%ax")
ACCESS(load32, "mov (%%rbx), %%eax")
ACCESS(load64, "mov (%%rbx), %%rax")
ACCESS(store32, "mov %%eax, (%%rbx)")
ACCESS(or32, "orl $0, (%%rbx)")
ACCESS(movs32, "movsl")
ACCESS(rep_movs16, "rep movsw")
ACCESS(stos64, "stosq")
ACCESS(outs8, "outsb")
ACCESS(outs16, "outsw")
ACCESS(outs32, "outsl")
ACCESS(ins16, "insw")
ACCESS(ins32, "insl")
ACCESS(rep_outs32, "rep outsl")
ACCESS(rep_ins16, "rep insw")
ACCESS(push_pop, "push %%rax; pop %%rax")

static const struct { const char *name; void (*fn)(void); } accesses[] = {
	{ "load16", load16 }, { "load32", load32 }, { "load64", load64 }, { "store32", store32 }, { "or32", or32 },
	{ "movs32", movs32 }, { "rep movs16", rep_movs16 }, { "stos64", stos64 }, { "outs8", outs8 }, { "outs16", outs16 },
	{ "outs32", outs32 }, { "ins16", ins16 }, { "ins32", ins32 }, { "rep outs32", rep_outs32 }, { "rep ins16", rep_ins16 },
};

static void show(const char *where, const char *name, int v)
{
	print("%s %s: fault=%d", where, name, v);
	if (v != NO_FAULT && v != USER_DONE)
		print(" error=%lx rcx=%lx", fault.error, fault.rcx);
	if (v == 14)
		print(" cr2=%lx", fault.cr2);
	print("\n");
}

static void user_all(const char *where, uint64_t from, uint64_t into)
{
	at = from;
	to = into;
	for (unsigned i = 0; i < ARRAY_SIZE(accesses); i++)
		show(where, accesses[i].name, TRY(user_with(accesses[i].fn, flags, (uint64_t)stack + PAGE)));
}

static void alignment(void)
{
	uint64_t cr0 = rdcr0();

	wrcr0(cr0 | CR0_AM);
	flags = RF_AC | RF_IOPL | 2;
	user_all("aligned", (uint64_t)buf, (uint64_t)buf + 64);
	user_all("odd", (uint64_t)buf + 1, (uint64_t)buf + 65);
	user_all("even", (uint64_t)buf + 2, (uint64_t)buf + 66);
	user_all("by four", (uint64_t)buf + 4, (uint64_t)buf + 68);
	user_all("over the page", (uint64_t)buf + PAGE - 1, (uint64_t)buf + 64);
	user_all("into the next page", (uint64_t)buf, (uint64_t)buf + PAGE - 1);
	user_all("device", ABSENT, (uint64_t)buf);
	user_all("odd device", ABSENT + 1, (uint64_t)buf);
	user_all("from device to odd", ABSENT, (uint64_t)buf + 1);
	user_all("to odd device", (uint64_t)buf, ABSENT + 1);
	show("stack", "push", TRY(user_with(push_pop, flags, (uint64_t)stack + PAGE - 1)));
	flags = RF_IOPL | 2;
	user_all("odd without ac", (uint64_t)buf + 1, ABSENT + 1);
	flags = RF_AC | RF_IOPL | 2;
	wrcr0(cr0 & ~CR0_AM);
	user_all("odd without am", ABSENT + 1, (uint64_t)buf + 65);
	wrcr0(cr0 | CR0_AM);
	at = (uint64_t)buf + 1;
	to = (uint64_t)buf + 65;
	for (unsigned i = 0; i < ARRAY_SIZE(accesses); i++)
		show("odd in ring 0", accesses[i].name,
		     TRY(__asm__ volatile("pushfq; orl $0x40000, (%%rsp); popfq" ::: "memory", "cc");
			 accesses[i].fn()));
	__asm__ volatile("pushfq; andl $~0x40000, (%%rsp); popfq" ::: "memory", "cc");
	wrcr0(cr0);
}

static void wrpkru(uint32_t v) { __asm__ volatile("wrpkru" :: "a"(v), "c"(0), "d"(0) : "memory"); }

static void keys(void)
{
	uint64_t cr0 = rdcr0(), cr4 = rdcr4(), page = (uint64_t)buf;
	static const struct { const char *name; uint32_t pkru; } rights[] = {
		{ "key open", AD(2) | WD(3) }, { "key no write", WD(1) },
		{ "key no access", AD(1) }, { "key neither", AD(1) | WD(1) },
	};

	wrcr4(cr4 | CR4_PKE);
	flags = RF_IOPL | 2;
	window_set(0, page | PTE_P | PTE_W | PTE_U | PTE_KEY(1));
	window_set(1, ABSENT | PTE_P | PTE_W | PTE_U | PTE_KEY(1));
	for (unsigned i = 0; i < ARRAY_SIZE(rights); i++) {
		wrpkru(rights[i].pkru);
		user_all(rights[i].name, WINDOW, WINDOW + 64);
		user_all("device", WINDOW + PAGE, WINDOW + PAGE);
		/* Bochs lets ring 0 through where the key forbids all access, and looks at the keys of the supervisor's pages. */
		for (unsigned wp = 0; wp < 2 && !(rights[i].pkru & AD(1)); wp++) {
			wrcr0(wp ? cr0 | CR0_WP : cr0 & ~CR0_WP);
			for (unsigned p = 0; p < 2; p++) {
				at = to = WINDOW + p * PAGE;
				for (unsigned n = 0; n < ARRAY_SIZE(accesses); n++)
					show(p ? "ring 0 device" : "ring 0", accesses[n].name, TRY(accesses[n].fn()));
			}
		}
		wrcr0(cr0);
	}
	wrpkru(0);
	for (unsigned i = 0; i < 2; i++)
		window_set(i, 0);
	wrcr4(cr4);
}

void payload_main(void)
{
	port = NOWHERE;
	alignment();
	if (cpuid(0, 0).a >= 7 && (cpuid(7, 0).c & CPUID7C_PKU))
		keys();
}
