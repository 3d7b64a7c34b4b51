#include "core/panic.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/mce.h"
#include "arch/x86_64/lapic.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/smp.h"
#include "arch/x86_64/symbols.h"
#include "arch/x86_64/trap.h"
#include "arch/x86_64/tsc.h"
#include "core/log.h"
#include "core/screen.h"
#include "core/terminal.h"
#include <tf/assert.h>
#include <tf/string.h>

#define MAX_FRAMES 32
#define PRINT_MAX  256
#define OTHERS_US  500000 /* what another CPU may take for its lines */
#define FINAL_LINE "panic: machine stopped\n"
/* Out of any escape sequence; no scrolling region, origin mode, insert mode; wrapping; plain red text at the bottom. */
#define PLAIN_SCREEN "\x18\x1b[r\x1b[?6l\x1b[4l\x1b[?7h\x1b(B\x0f\x1b[0;91m\x1b[999;1H\n"

static const char *const vector_names[] = {
	[VEC_DE] = "#DE divide error", [VEC_DB] = "#DB debug", [VEC_NMI] = "NMI", [VEC_BP] = "#BP breakpoint",
	[VEC_OF] = "#OF overflow", [VEC_BR] = "#BR bound range", [VEC_UD] = "#UD invalid opcode",
	[VEC_NM] = "#NM device not available", [VEC_DF] = "#DF double fault", [VEC_TS] = "#TS invalid TSS",
	[VEC_NP] = "#NP segment not present", [VEC_SS] = "#SS stack fault", [VEC_GP] = "#GP general protection",
	[VEC_PF] = "#PF page fault", [VEC_MF] = "#MF x87 error", [VEC_AC] = "#AC alignment check",
	[VEC_MC] = "#MC machine check", [VEC_XM] = "#XM SIMD error", [VEC_VE] = "#VE virtualization",
	[VEC_CP] = "#CP control protection",
};

void (*panic_dump_vmcs)(void);
static struct cpu *panicking; /* the first CPU here; the others say where they were, one after the other */
static uint32_t reporting = UINT32_MAX; /* the number of the CPU whose turn that is */
static bool reported;          /* it has had it */

void panic_print(const char *fmt, ...)
{
	char text[PRINT_MAX];
	va_list ap;

	va_start(ap, fmt);
	int n = tf_vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_raw(text, MIN((size_t)n, sizeof(text) - 1));
}

static __noreturn void stop(void)
{
	for (;;)
		__asm__ volatile("cli; hlt" : : : "memory");
}

/* True for the first report. A fault inside the report ends it with what has been printed so far. */
static bool enter(void)
{
	struct cpu *nobody = NULL;

	cli();
	if (__atomic_compare_exchange_n(&panicking, &nobody, this_cpu(), false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
		screen_write((const uint8_t *)PLAIN_SCREEN, sizeof(PLAIN_SCREEN) - 1);
		return true;
	}
	if (nobody != this_cpu())
		stop();
	return false;
}

/* `back` is how far before `addr` the instruction is that is meant. */
static void print_address(const char *what, uint64_t addr, unsigned back)
{
	char name[SYMBOL_MAX];
	uint64_t offset;

	if (symbol_lookup(addr - back, name, &offset))
		panic_print("panic: %s 0x%016lx %s+0x%lx\n", what, (unsigned long)addr, name, (unsigned long)offset + back);
	else
		panic_print("panic: %s 0x%016lx\n", what, (unsigned long)addr);
}

static void backtrace(uint64_t rbp)
{
	for (unsigned i = 0; i < MAX_FRAMES; i++) {
		if (!IS_ALIGNED(rbp, 8) || !stack_contains(rbp) || !stack_contains(rbp + 8))
			return;
		const uint64_t *frame = (const uint64_t *)rbp;
		if (!frame[1])
			return;
		/* A return address may lie behind the last instruction of its function. */
		print_address("  by", frame[1], 1);
		if (frame[0] <= rbp)
			return; /* callers are further up, except from an IST stack, which has no caller */
		rbp = frame[0];
	}
}

static void print_control(void)
{
	panic_print("panic: cr0=%08lx cr2=%016lx cr3=%016lx cr4=%08lx\n", (unsigned long)read_cr0(), (unsigned long)read_cr2(),
	            (unsigned long)read_cr3(), (unsigned long)read_cr4());
}

/* One NMI each: what they do stops where it is, and their lines do not mix. One that does not come is passed over. */
static void stop_others(void)
{
	for (uint32_t i = 0; i < smp_cpus(); i++) {
		if (cpus[i] == this_cpu())
			continue;
		__atomic_store_n(&reported, false, __ATOMIC_RELAXED);
		__atomic_store_n(&reporting, i, __ATOMIC_RELEASE);
		lapic_send_nmi(cpus[i]->apic_id);
		uint64_t start = rdtsc(), patience = tsc_from_us(OTHERS_US);
		while (!__atomic_load_n(&reported, __ATOMIC_ACQUIRE) && rdtsc() - start < patience)
			pause();
		if (!__atomic_load_n(&reported, __ATOMIC_ACQUIRE))
			panic_print("panic: cpu%u does not stop\n", i);
	}
}

static __noreturn void finish(void)
{
	stop_others();
	/* These are many lines: a screen keeps what was before. */
	bool on_screen = log_set_screen(false);

	terminal_unsent(panic_print);
	if (panic_dump_vmcs)
		panic_dump_vmcs();
	log_set_screen(on_screen);
	log_raw(FINAL_LINE, sizeof(FINAL_LINE) - 1);
	screen_immediate();
	stop();
}

static __noreturn void again(const char *what)
{
	static bool told;

	panic_print("\npanic: a second fault during the report: %s\n" FINAL_LINE, what);
	if (!__atomic_exchange_n(&told, true, __ATOMIC_RELAXED))
		for (uint32_t i = 0; i < smp_cpus(); i++)
			if (cpus[i] != this_cpu())
				lapic_send_nmi(cpus[i]->apic_id); /* it waits for its turn in panic_nmi(), for ever */
	stop();
}

static void report(uint64_t rbp)
{
	panic_print("panic: backtrace\n");
	backtrace(rbp);
	print_control();
}

void panic(const char *fmt, ...)
{
	char text[PRINT_MAX];
	va_list ap;

	va_start(ap, fmt);
	tf_vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (!enter())
		again(text);
	panic_print("\npanic: cpu%u: %s\n", this_cpu()->id, text);
	report((uint64_t)__builtin_frame_address(0));
	finish();
}

void tf_assert_fail(const char *expr, const char *file, int line)
{
	panic("assertion failed: %s (%s:%d)", expr, file, line);
}

/* Called by the compiler's stack protector. */
__noreturn void __stack_chk_fail(void);
void __stack_chk_fail(void)
{
	panic("a stack buffer was overrun");
}

static void print_page_fault(const struct trap_frame *f)
{
	uint64_t va = read_cr2();
	const char *access = f->error & PF_I ? "execution of" : f->error & PF_W ? "write to" : "read of";
	const char *why = f->error & PF_RSVD ? "a reserved bit is set in its page tables"
	                  : f->error & PF_P  ? "its rights forbid it"
	                                     : "it is not mapped";

	panic_print("panic: %s 0x%016lx: %s%s%s\n", access, (unsigned long)va, why, va < PAGE_SIZE ? " (a NULL pointer)" : "",
	            stack_guard_hit(va) ? " (guard page of a stack)" : "");
}

static void print_fault(const struct trap_frame *f)
{
	const char *name = f->vector < ARRAY_SIZE(vector_names) ? vector_names[f->vector] : NULL;

	panic_print("\npanic: cpu%u: %s in the hypervisor, vector %lu, error code 0x%lx\n", this_cpu()->id,
	            name ? name : "reserved exception", (unsigned long)f->vector, (unsigned long)f->error);
	if (f->vector == VEC_PF)
		print_page_fault(f);
	else if (f->vector == VEC_DF && (stack_guard_hit(f->rsp - 1) || stack_guard_hit(read_cr2())))
		panic_print("panic: stack overflow: rsp is at the guard page of a stack\n");
	else if (f->error && (f->vector == VEC_GP || f->vector == VEC_NP || f->vector == VEC_SS || f->vector == VEC_TS))
		panic_print("panic: selector 0x%lx of the %s%s\n", (unsigned long)(f->error & 0xfff8),
		            f->error & 2 ? "IDT" : f->error & 4 ? "LDT" : "GDT", f->error & 1 ? ", external event" : "");
}

void panic_nmi(const struct trap_frame *f)
{
	struct cpu *first = __atomic_load_n(&panicking, __ATOMIC_ACQUIRE), *self = this_cpu();

	if (!first || first == self)
		return;
	while (__atomic_load_n(&reporting, __ATOMIC_ACQUIRE) != self->id)
		pause();
	panic_print("panic: cpu%u was at rsp=%016lx rflags=%06lx\n", self->id, f->rsp, f->rflags);
	print_address("at", f->rip, 0);
	backtrace(f->rbp);
	__atomic_store_n(&reported, true, __ATOMIC_RELEASE);
	stop();
}

void panic_trap(const struct trap_frame *f)
{
	if (!enter()) {
		print_fault(f);
		print_address("at", f->rip, 0);
		again("an exception");
	}
	print_fault(f);
	/* Lines of 80 characters and few of them, for the smallest screen. */
	panic_print("panic: rax=%016lx rbx=%016lx rcx=%016lx\n", f->rax, f->rbx, f->rcx);
	panic_print("panic: rdx=%016lx rsi=%016lx rdi=%016lx\n", f->rdx, f->rsi, f->rdi);
	panic_print("panic: rbp=%016lx rsp=%016lx r8 =%016lx\n", f->rbp, f->rsp, f->r8);
	panic_print("panic: r9 =%016lx r10=%016lx r11=%016lx\n", f->r9, f->r10, f->r11);
	panic_print("panic: r12=%016lx r13=%016lx r14=%016lx\n", f->r12, f->r13, f->r14);
	panic_print("panic: r15=%016lx rip=%016lx rflags=%06lx cs=%04lx ss=%04lx\n", f->r15, f->rip, f->rflags, f->cs, f->ss);
	print_address("at", f->rip, 0);
	if (f->vector == VEC_MC)
		mce_dump(panic_print);
	report(f->rbp);
	finish();
}
