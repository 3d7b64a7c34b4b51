/* Hardware task switches: what they save, load and mark. Faults are in tasks_faults.c. */
#include "tasks.h"

#define PIC1_DATA 0x21
#define PIC2_DATA 0xa1
#define VECTOR    0x71
#define GATE      0x72
#define GATE_USER 0x73 /* in user_calls() too */
#define ICR_SELF  0x40000
#define ICR_NMI   0x4400

struct tss32 task_a, task_b, task_handler;
struct tss16 task_16;
uint32_t page_table[1024] __attribute__((aligned(4096)));
volatile uint32_t fault_at, resume_at;
static uint32_t page_dir[1024] __attribute__((aligned(4096)));
static uint32_t other_dir[1024] __attribute__((aligned(4096)));
static uint8_t stacks[3][4096] __attribute__((aligned(16))), ring0_stacks[3][4096] __attribute__((aligned(16)));
static uint8_t stack16[256] __attribute__((aligned(16)));
static uint64_t ldt_a[2];
static unsigned count;

void task_init(struct tss32 *t, unsigned selector, const void *entry, const void *fn)
{
	unsigned n = t == &task_a ? 0 : t == &task_b ? 1 : 2;

	*t = (struct tss32){
		.esp0 = ADDRESS(ring0_stacks[n] + sizeof(ring0_stacks[n])), .ss0 = SEL_DATA, .cr3 = get_cr3(),
		.eip = ADDRESS(entry), .eflags = 2, .ebx = ADDRESS(fn), .esp = ADDRESS(stacks[n] + sizeof(stacks[n])),
		.es = SEL_DATA, .cs = SEL_CODE, .ss = SEL_DATA, .ds = SEL_DATA, .fs = SEL_DATA, .gs = 0,
		.iomap = sizeof(*t),
	};
	set_descriptor(selector, ADDRESS(t), TSS_LIMIT, ACC_TSS, 0);
}

void show_state(const char *where)
{
	print("%s: tr=%x ldtr=%x flags=%x ts=%u dr7=%x cr3=%s\n", where, task_register(), ldt_register(),
	      (uint32_t)(flags32() & FLAGS_SEEN), get_cr0() & CR0_TS ? 1 : 0, get_dr7(),
	      get_cr3() == ADDRESS(page_dir) ? "first" : get_cr3() == ADDRESS(other_dir) ? "second" : "other");
}

void show_busy(void)
{
	print("busy: main=%x a=%x b=%x link: main=%x a=%x b=%x\n", *access_byte(SEL_MAIN), *access_byte(SEL_A),
	      *access_byte(SEL_B), main_tss.link & 0xffff, task_a.link & 0xffff, task_b.link & 0xffff);
}

/* All of memory to itself in pages of 4 MiB, but for the table at ABSENT. */
void page_on(void)
{
	for (unsigned i = 0; i < 1024; i++)
		page_dir[i] = other_dir[i] = i << 22 | 0x87;
	memset(page_table, 0, sizeof(page_table));
	page_dir[ABSENT >> 22] = other_dir[ABSENT >> 22] = ADDRESS(page_table) | 7;
	put_cr4(get_cr4() | CR4_PSE);
	put_cr3(ADDRESS(page_dir));
	put_cr0(get_cr0() | CR0_PG);
}

void page_off(void) { put_cr0(get_cr0() & ~(CR0_PG | CR0_WP)); }

static void clear_ts(void) { put_cr0(get_cr0() & ~CR0_TS); }

static void back_by_jump(void)
{
	show_state("in a");
	show_busy();
	TASK_JMP(SEL_MAIN);
	show_state("in a again");
	TASK_JMP(SEL_MAIN);
}

static void jumps(void)
{
	task_init(&task_a, SEL_A, task_entry, back_by_jump);
	clear_ts();
	TASK_JMP(SEL_A);
	show_state("jmp and back");
	show_busy();
	print("saved a: eflags=%x cs=%x ss=%x ds=%x es=%x fs=%x gs=%x\n", (uint32_t)(task_a.eflags & FLAGS_SEEN),
	      task_a.cs, task_a.ss, task_a.ds, task_a.es, task_a.fs, task_a.gs);
	clear_ts();
	TASK_JMP(SEL_A);
	show_state("jmp and back twice");
}

static void a_plain(void)
{
	show_state("in a");
	show_busy();
}
static void a_calls_b(void)
{
	show_state("in a");
	TASK_CALL(SEL_B);
	show_state("in a behind b");
	show_busy();
}
static void b_plain(void)
{
	show_state("in b");
	show_busy();
}

__attribute__((noinline)) static void call_with_registers(void)
{
	uint32_t eax = 0x11111111, ecx = 0x22222222, edx = 0x33333333, esi = 0x44444444, edi = 0x55555555;

	__asm__ volatile("stc; movl $2f, resume_at; push %%ebx; mov $0x66666666, %%ebx; push %%ebp; mov $0x77777777, %%ebp\n"
			 "lcall %5, $0\n2: pop %%ebp; pop %%ebx"
			 : "+a"(eax), "+c"(ecx), "+d"(edx), "+S"(esi), "+D"(edi) : "i"(SEL_A) : "memory", "cc");
	print("registers: %x %x %x %x %x\n", eax, ecx, edx, esi, edi);
	print("saved main: eip=+%x eax=%x ecx=%x edx=%x ebx=%x ebp=%x esi=%x edi=%x cf=%u\n", main_tss.eip - resume_at,
	      main_tss.eax, main_tss.ecx, main_tss.edx, main_tss.ebx, main_tss.ebp, main_tss.esi, main_tss.edi,
	      main_tss.eflags & 1);
}

static void calls(void)
{
	task_init(&task_a, SEL_A, task_entry, a_plain);
	clear_ts();
	TASK_CALL(SEL_A);
	show_state("call and iret");
	show_busy();
	TASK_CALL(SEL_A);
	print("call twice: eip in a=+%x\n", task_a.eip - ADDRESS(task_entry));
	task_init(&task_a, SEL_A, task_entry, a_plain);
	call_with_registers();
	task_init(&task_a, SEL_A, task_entry, a_calls_b);
	task_init(&task_b, SEL_B, task_entry, b_plain);
	TASK_CALL(SEL_A);
	show_state("nested");
	show_busy();
	task_init(&task_a, SEL_A, task_entry, a_plain);
	gdt32[SEL_GATE / 8] = (uint64_t)ACC_TASK << 40 | SEL_A << 16;
	TASK_CALL(SEL_GATE);
	show_state("through a gate");
	/* The upper halves of selectors in a TSS are not the switch's. */
	main_tss.es = main_tss.ds = 0xabcd0000;
	TASK_CALL(SEL_A);
	print("upper halves: es=%x ds=%x\n", main_tss.es, main_tss.ds);
}

static void show16(void)
{
	const struct snapshot *s = &snapshot16;

	print("16: eax=%x ecx=%x edx=%x ebx=%x esp=%x ebp=%x esi=%x edi=%x\n", s->eax, s->ecx, s->edx, s->ebx, s->esp,
	      s->ebp, s->esi, s->edi);
	print("16: flags=%x es=%x cs=%x ss=%x ds=%x fs=%x gs=%x tr=%x ldt=%x\n", s->eflags & ~1u, s->es, s->cs, s->ss, s->ds,
	      s->fs, s->gs, s->tr, s->ldt);
}

static void sixteen(void)
{
	task_16 = (struct tss16){ .ip = 0, .flags = 2, .ax = 0x1111, .cx = 0x2222, .dx = 0x3333, .bx = 0x4444,
				  .sp = sizeof(stack16), .bp = 0x5555, .si = 0x6666, .di = 0x7777,
				  .es = SEL_DATA, .cs = SEL_CS16, .ss = SEL_SS16, .ds = SEL_DATA };
	set_descriptor(SEL_T16, ADDRESS(&task_16), sizeof(task_16) - 1, ACC_TSS16, 0);
	set_descriptor(SEL_CS16, ADDRESS(task16_entry), 0xffff, ACC_CODE, FLAG_DB);
	set_descriptor(SEL_SS16, ADDRESS(stack16), 0xffff, ACC_DATA, 0);
	TASK_CALL(SEL_T16);
	show16();
	print("16: saved ip=%x flags=%x ax=%x sp=%x link=%x access=%x\n", task_16.ip, task_16.flags & ~0xd5, task_16.ax,
	      task_16.sp, task_16.link, *access_byte(SEL_T16));
	nest16 = 1;
	task_init(&task_a, SEL_A, task_entry, a_plain);
	TASK_CALL(SEL_T16);
	show16();
	print("16: saved ip=%x cs=%x\n", task_16.ip, task_16.cs);
	nest16 = 0;
	/* An error code on a 16-bit task's stack is a word. */
	task_16 = (struct tss16){ .flags = 2, .sp = sizeof(stack16), .es = SEL_DATA, .cs = SEL_CS16, .ss = SEL_SS16,
				  .ds = SEL_DATA };
	set_descriptor(SEL_CS16, ADDRESS(task16_error_entry), 0xffff, ACC_CODE, FLAG_DB);
	set_task_gate(13, SEL_T16, ACC_TASK);
	FAULTING("mov $0x1234, %%eax; mov %%eax, %%ds");
	print("16: error=%x esp=%x\n", snapshot16.error, snapshot16.esp);
	set_stub(13, GATE_INT32);
}

static void on_gate(void)
{
	count++;
	print("gate: link=%x saved eip=+%x flags=%x\n", task_a.link & 0xffff, main_tss.eip - resume_at,
	      (uint32_t)(main_tss.eflags & FLAGS_SEEN));
}

static void on_apic(void)
{
	on_gate();
	lapic_write(LAPIC_EOI, 0);
}

static void on_nmi(void)
{
	on_gate();
	if (count == 1)
		lapic_write(LAPIC_ICR, ICR_NMI); /* held until our IRET */
	print("nmi: %u\n", count);
}

static void user_calls(void) { __asm__ volatile("movl $1f, resume_at; int $0x73; 1:" ::: "memory"); }

static void events(void)
{
	set_task_gate(GATE, SEL_A, ACC_TASK);
	set_task_gate(GATE_USER, SEL_A, ACC_TASK | ACC_DPL3);
	set_task_gate(VECTOR, SEL_A, ACC_TASK);
	set_task_gate(2, SEL_A, ACC_TASK);
	set_task_gate(3, SEL_A, ACC_TASK);
	task_init(&task_a, SEL_A, task_entry, on_gate);
	__asm__ volatile("movl $1f, resume_at; int $0x72; 1:" ::: "memory");
	__asm__ volatile("movl $1f, resume_at; int3; 1:" ::: "memory");
	show_state("behind int");
	set_stub(3, GATE_INT32);
	task_init(&task_b, SEL_B, task_entry, user_calls);
	task_b.cs = SEL_UCODE32;
	task_b.ss = task_b.ds = task_b.es = task_b.fs = SEL_UDATA32;
	task_b.eflags |= EF_IOPL;
	TASK_CALL(SEL_B);
	print("user: eip=+%x cs=%x ss=%x link=%x\n", task_b.eip - ADDRESS(task_entry), task_b.cs, task_b.ss, task_b.link & 0xffff);
	outb(PIC1_DATA, 0xff);
	outb(PIC2_DATA, 0xff);
	lapic_write(LAPIC_SVR, 0x1ff);
	task_init(&task_a, SEL_A, task_entry, on_apic);
	lapic_write(LAPIC_ICR, ICR_SELF | VECTOR);
	__asm__ volatile("movl $1f, resume_at; sti; nop; 1: cli" ::: "memory");
	count = 0;
	task_init(&task_a, SEL_A, task_entry, on_nmi);
	lapic_write(LAPIC_ICR_HI, lapic_read(LAPIC_ID) & 0xff000000);
	__asm__ volatile("movl $1f, resume_at; movl %0, (%1); 1: nop" :: "r"(ICR_NMI), "r"((uint32_t)LAPIC + LAPIC_ICR) : "memory");
	__asm__ volatile("nop; nop");
	print("nmi: %u in all\n", count);
	set_stub(2, GATE_INT32);
}

static bool on_debug(struct frame32 *f)
{
	if (f->vector != 1)
		return false;
	print("db: tr=%x eip=a+%x main+%x flags=%x dr6=%x\n", task_register(),
	      f->eip - ADDRESS(task_entry) < 16 ? f->eip - ADDRESS(task_entry) : 0xffff,
	      f->eip - resume_at < 16 ? f->eip - resume_at : 0xffff, (uint32_t)(f->eflags & FLAGS_SEEN), get_dr6() & 0xe00f);
	put_dr6(0xffff0ff0);
	f->eflags &= ~(uint32_t)EF_TF;
	return true;
}

static void debugging(void)
{
	legacy_hook = on_debug;
	task_init(&task_a, SEL_A, task_entry, a_plain);
	task_a.t = 1;
	TASK_CALL(SEL_A);
	task_init(&task_a, SEL_A, task_entry, a_plain);
	task_a.eflags |= EF_TF;
	TASK_CALL(SEL_A);
	task_init(&task_a, SEL_A, task_entry, a_plain);
	__asm__ volatile("movl $1f, resume_at; pushfl; orl $0x100, (%%esp); popfl; lcall %0, $0; 1: nop; nop" :: "i"(SEL_A) : "memory");
	/* The local enables go, the global ones stay. */
	put_dr0(0);
	put_dr7(0x7ff);
	TASK_CALL(SEL_A);
	show_state("dr7");
	put_dr7(0x400);
	legacy_hook = NULL;
}

static void a_paged(void)
{
	show_state("in a");
	print("its page: %x\n", *(volatile uint32_t *)(ABSENT + 0x400000) & 0xfff);
}

static void spaces(void)
{
	static uint32_t first[1024] __attribute__((aligned(4096))), second[1024] __attribute__((aligned(4096)));
	static uint32_t data1[1024] __attribute__((aligned(4096))), data2[1024] __attribute__((aligned(4096)));

	page_on();
	data1[0] = 0x111;
	data2[0] = 0x222;
	first[0] = ADDRESS(data1) | 7;
	second[0] = ADDRESS(data2) | 7;
	page_dir[(ABSENT >> 22) + 1] = ADDRESS(first) | 7;
	other_dir[(ABSENT >> 22) + 1] = ADDRESS(second) | 7;
	put_cr3(get_cr3());
	task_init(&task_a, SEL_A, task_entry, a_paged);
	main_tss.cr3 = get_cr3();
	task_a.cr3 = ADDRESS(other_dir);
	print("our page: %x\n", *(volatile uint32_t *)(ABSENT + 0x400000) & 0xfff);
	TASK_CALL(SEL_A);
	show_state("space");
	print("our page: %x\n", *(volatile uint32_t *)(ABSENT + 0x400000) & 0xfff);
	page_off();
	/* A local descriptor table of its own */
	ldt_a[1] = 0x00cf93000000ffff;
	set_descriptor(SEL_LDT_A, ADDRESS(ldt_a), sizeof(ldt_a) - 1, ACC_LDT, 0);
	task_init(&task_a, SEL_A, task_entry, a_plain);
	task_a.ldt = SEL_LDT_A;
	task_a.ds = task_a.ss = 0xc;
	TASK_CALL(SEL_A);
	show_state("ldt");
	print("ldt: saved ds=%x ss=%x accessed=%x\n", task_a.ds, task_a.ss, (uint32_t)(ldt_a[1] >> 40 & 1));
}

void payload_main(void)
{
	jumps();
	calls();
	sixteen();
	events();
	debugging();
	spaces();
	tasks_faults();
}
