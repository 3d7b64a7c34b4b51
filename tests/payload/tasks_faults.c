/* Faults around task switches: before the commit in the old task, behind it in the new one, and handlers that are tasks. */
#include "tasks.h"

#define V86_CODE  0x8000u
#define RESERVED_PDPTE 0x1e7u

static const char *expected;
extern int32_t bounds[2]; /* for BOUND */
int32_t bounds[2];
static uint64_t pdpt[4] __attribute__((aligned(32))), pae_dirs[4][512] __attribute__((aligned(4096)));
static uint64_t second_pdpt[4] __attribute__((aligned(32)));

/* A handler task: the error code is on its stack, as an argument. */
static void on_error(uint32_t error)
{
	print("%s: task error=%x link=%x eip=+%x flags=%x cr2=%x\n", expected, error, task_handler.link & 0xffff,
	      main_tss.eip - fault_at, (uint32_t)(main_tss.eflags & FLAGS_SEEN), get_cr2());
	main_tss.eip = resume_at;
}
static void on_fault(void)
{
	print("%s: task link=%x eip=+%x flags=%x\n", expected, task_handler.link & 0xffff, main_tss.eip - fault_at,
	      (uint32_t)(main_tss.eflags & FLAGS_SEEN));
	main_tss.eip = resume_at;
	main_tss.eflags &= ~(uint32_t)EF_TF;
}

static void handled(unsigned vector, const char *name, bool error)
{
	expected = name;
	task_init(&task_handler, SEL_HANDLER, error ? task_error_entry : task_entry, error ? (void *)on_error : on_fault);
	set_task_gate(vector, SEL_HANDLER, ACC_TASK);
}

static void handlers(void)
{
	handled(0, "de", false);
	FAULTING("xor %%ecx, %%ecx; div %%ecx");
	set_stub(0, GATE_INT32);
	handled(6, "ud", false);
	FAULTING("ud2");
	set_stub(6, GATE_INT32);
	handled(1, "db", false);
	FAULTING(".byte 0xf1"); /* INT1 */
	FAULTING("pushfl; orl $0x100, (%%esp); popfl; in $0x80, %%al");
	set_stub(1, GATE_INT32);
	handled(5, "br", false);
	bounds[0] = 1;
	bounds[1] = 2;
	FAULTING("mov $3, %%eax; bound %%eax, bounds");
	set_stub(5, GATE_INT32);
	handled(4, "of", false);
	FAULTING("mov $0x7fffffff, %%eax; inc %%eax; into");
	set_stub(4, GATE_INT32);
	handled(13, "gp", true);
	FAULTING("mov $0x1234, %%eax; mov %%eax, %%ds");
	FAULTING("mov $0x80000000, %%eax; mov %%eax, %%cr0"); /* PG without PE */
	FAULTING("mov $0x80000000, %%eax; mov %%eax, %%cr4"); /* reserved */
	FAULTING("xor %%edx, %%edx; mov $0x277, %%ecx; mov $2, %%eax; wrmsr");
	idt32[0x80] = 0;
	FAULTING("int $0x80");
	set_stub(13, GATE_INT32);
	handled(11, "np", true);
	set_descriptor(SEL_NO_DATA, 0, 0xfffff, ACC_DATA & ~ACC_P, FLAG_G | FLAG_DB);
	FAULTING("mov $0x78, %%eax; mov %%eax, %%ds");
	set_stub(11, GATE_INT32);
	handled(12, "ss", true);
	FAULTING("mov $0x78, %%eax; mov %%eax, %%ss");
	set_stub(12, GATE_INT32);
	handled(10, "ts", true);
	main_tss.link = 0x1234;
	FAULTING("pushfl; orl $0x4000, (%%esp); popfl; iret");
	__asm__ volatile("pushfl; andl $~0x4000, (%%esp); popfl" ::: "memory", "cc");
	set_stub(10, GATE_INT32);
	page_on();
	main_tss.cr3 = get_cr3();
	handled(14, "pf", true);
	FAULTING("mov 0x40000000, %%eax");
	FAULTING("incl 0x40001ffe");
	/* A double fault: the #GP finds no gate. */
	handled(8, "df", true);
	set_stub(13, GATE_INT32 & ~ACC_P);
	FAULTING("mov $0x1234, %%eax; mov %%eax, %%ds");
	/* A page fault that finds none, and one while the other is being delivered. */
	set_stub(14, GATE_INT32 & ~ACC_P);
	FAULTING("mov 0x40000123, %%eax");
	set_stub(14, GATE_INT32);
	set_stub(13, GATE_INT32);
	handled(8, "df of pf and pf", true);
	set_descriptor(SEL_SHORT, ABSENT, TSS_LIMIT, ACC_TSS, 0);
	set_task_gate(14, SEL_SHORT, ACC_TASK);
	FAULTING("mov 0x40000456, %%eax");
	handled(8, "df of gp and ts", true);
	set_descriptor(SEL_SHORT, ADDRESS(&task_b), TSS_LIMIT - 1, ACC_TSS, 0);
	set_task_gate(13, SEL_SHORT, ACC_TASK);
	FAULTING("mov $0x1234, %%eax; mov %%eax, %%ds");
	set_stub(14, GATE_INT32);
	set_stub(13, GATE_INT32);
	set_stub(8, GATE_INT32);
	page_off();
}

static void faults_pf(const char *name, int vector)
{
	print("%s: fault=%d error=%x cr2=%x tr=%x\n", name, vector, (uint32_t)fault.error, vector == 14 ? (uint32_t)fault.cr2 : 0,
	      task_register());
}

static void plain(void) {}

static void before(void)
{
	task_init(&task_a, SEL_A, task_entry, plain);
	set_descriptor(SEL_SHORT, ADDRESS(&task_b), TSS_LIMIT - 1, ACC_TSS, 0);
	set_descriptor(SEL_GONE, ADDRESS(&task_b), TSS_LIMIT, ACC_TSS & ~ACC_P, 0);
	REPORT("call ourselves", TASK_CALL(SEL_MAIN));
	REPORT("call short", TASK_CALL(SEL_SHORT));
	REPORT("jmp short", TASK_JMP(SEL_SHORT));
	REPORT("call absent", TASK_CALL(SEL_GONE));
	REPORT("call behind the table", TASK_CALL(SEL_BEYOND));
	REPORT("call rpl 3", TASK_CALL(SEL_A + 3));
	gdt32[SEL_GATE / 8] = (uint64_t)ACC_TASK << 40 | SEL_SHORT << 16;
	REPORT("call gate to short", TASK_CALL(SEL_GATE));
	gdt32[SEL_GATE / 8] = (uint64_t)(ACC_TASK & ~ACC_P) << 40 | SEL_A << 16;
	REPORT("call absent gate", TASK_CALL(SEL_GATE));
	gdt32[SEL_GATE / 8] = (uint64_t)ACC_TASK << 40 | SEL_DATA << 16;
	REPORT("call gate to data", TASK_CALL(SEL_GATE));
	gdt32[SEL_GATE / 8] = (uint64_t)ACC_TASK << 40 | SEL_MAIN << 16;
	REPORT("call gate to ourselves", TASK_CALL(SEL_GATE));
	set_task_gate(0x80, SEL_SHORT, ACC_TASK);
	REPORT("int gate to short", __asm__ volatile("int $0x80"));
	set_task_gate(0x80, SEL_MAIN, ACC_TASK);
	REPORT("int gate to ourselves", __asm__ volatile("int $0x80"));
	set_task_gate(6, SEL_SHORT, ACC_TASK);
	REPORT("ud gate to short", __asm__ volatile("ud2"));
	set_stub(6, GATE_INT32);
	main_tss.link = SEL_A;
	REPORT("iret to an idle task", TASK_RETURN());
	main_tss.link = 0;
	REPORT("iret to null", TASK_RETURN());
	/* The old TSS is too short: its limit is the one of LTR. */
	set_descriptor(SEL_MAIN, ADDRESS(&main_tss), 0x5e, ACC_TSS, 0);
	__asm__ volatile("ltr %w0" :: "r"(SEL_MAIN));
	REPORT("old short", TASK_CALL(SEL_A));
	REPORT("old short, int", { set_task_gate(0x80, SEL_A, ACC_TASK); __asm__ volatile("int $0x80"); });
	set_task_gate(6, SEL_A, ACC_TASK);
	REPORT("old short, ud", __asm__ volatile("ud2"));
	set_stub(6, GATE_INT32);
	set_descriptor(SEL_MAIN, ADDRESS(&main_tss), 0x5f, ACC_TSS, 0);
	__asm__ volatile("ltr %w0" :: "r"(SEL_MAIN));
	REPORT("old just long enough", TASK_CALL(SEL_A));
	set_descriptor(SEL_MAIN, ADDRESS(&main_tss), TSS_LIMIT, ACC_TSS, 0);
	__asm__ volatile("ltr %w0" :: "r"(SEL_MAIN));
}

static void paged(void)
{
	uint32_t tss = (uint32_t)&task_a;

	page_on();
	put_cr0(get_cr0() | CR0_WP);
	main_tss.cr3 = get_cr3();
	task_init(&task_a, SEL_A, task_entry, plain);
	set_descriptor(SEL_A, ABSENT + (tss & 0xfff), TSS_LIMIT, ACC_TSS, 0);
	faults_pf("new absent", TRY(TASK_CALL(SEL_A)));
	page_table[0] = (tss & ~0xfffu) | 3;
	page_table[1] = 0;
	set_descriptor(SEL_A, ABSENT + 0xff0, TSS_LIMIT, ACC_TSS, 0);
	put_cr3(get_cr3());
	faults_pf("new half absent", TRY(TASK_CALL(SEL_A)));
	print("busy: main=%x a=%x\n", *access_byte(SEL_MAIN), *access_byte(SEL_A));
	page_table[0] = (tss & ~0xfffu) | 1;
	page_table[1] = ((tss & ~0xfffu) + 0x1000) | 1;
	put_cr3(get_cr3());
	set_descriptor(SEL_A, ABSENT + (tss & 0xfff), TSS_LIMIT, ACC_TSS, 0);
	faults_pf("link read-only", TRY(TASK_CALL(SEL_A)));
	page_table[0] |= 2;
	page_table[1] |= 2;
	put_cr3(get_cr3());
	faults_pf("aliased", TRY(TASK_CALL(SEL_A)));
	/* The old one through a read-only alias */
	uint32_t main = (uint32_t)&main_tss;
	task_init(&task_a, SEL_A, task_entry, plain);
	page_table[2] = (main & ~0xfffu) | 1;
	page_table[3] = ((main & ~0xfffu) + 0x1000) | 1;
	put_cr3(get_cr3());
	set_descriptor(SEL_MAIN, ABSENT + 0x2000 + (main & 0xfff), TSS_LIMIT, ACC_TSS, 0);
	__asm__ volatile("ltr %w0" :: "r"(SEL_MAIN));
	faults_pf("old read-only", TRY(TASK_CALL(SEL_A)));
	print("busy: main=%x a=%x\n", *access_byte(SEL_MAIN), *access_byte(SEL_A));
	set_descriptor(SEL_MAIN, main, TSS_LIMIT, ACC_TSS, 0);
	__asm__ volatile("ltr %w0" :: "r"(SEL_MAIN));
	page_off();
}

/* A fault in the new task: TR is its own already. We go back along its link. */
static bool in_new_task(struct frame32 *f)
{
	bool other_stack = ADDRESS(f) - (task_a.esp0 - 4096) < 4096;

	if (task_register() != SEL_A)
		return false;
	print("%s: fault=%u error=%x cs=%x eip=+%x flags=%x ds=%x es=%x fs=%x gs=%x", expected, f->vector, f->error, f->cs & 0xffff,
	      f->eip - ADDRESS(task_entry), (uint32_t)(f->eflags & FLAGS_SEEN), f->ds & 0xffff, f->es & 0xffff,
	      f->fs & 0xffff, f->gs & 0xffff);
	if (other_stack)
		print(" ss=%x esp=-%x", f->ss & 0xffff, task_a.esp - f->esp);
	print(" ldtr=%x ts=%u\n", ldt_register(), get_cr0() & CR0_TS ? 1 : 0);
	if (f->eflags & EF_VM)
		print("v86: es=%x ds=%x fs=%x gs=%x eax=%x\n", f->v86_es, f->v86_ds, f->v86_fs, f->v86_gs, f->eax);
	TASK_RETURN();
	return false;
}

#define NEW_TASK(name, ...) ({ expected = name; resume_at = 0; task_init(&task_a, SEL_A, task_entry, plain); __VA_ARGS__; TASK_CALL(SEL_A); \
	print("%s: back a=%x\n", name, *access_byte(SEL_A)); })

/* Until SS is loaded the CPL is 3; with a CS of ring 3 also for an entry that takes it from CS (Bochs 2.7). */
static void in_ring3(void)
{
	task_a.cs = SEL_UCODE32;
	task_a.ss = task_a.ds = task_a.es = task_a.fs = SEL_UDATA32;
}

static void behind(void)
{
	legacy_hook = in_new_task;
	set_descriptor(SEL_NO_CODE, 0, 0xfffff, ACC_CODE & ~ACC_P, FLAG_G | FLAG_DB);
	set_descriptor(SEL_READ_ONLY, 0, 0xfffff, ACC_DATA & ~2, FLAG_G | FLAG_DB);
	set_descriptor(SEL_EXEC_ONLY, 0, 0xfffff, ACC_CODE & ~2, FLAG_G | FLAG_DB);
	set_descriptor(SEL_SMALL_CODE, 0, 0xff, ACC_CODE, FLAG_DB);
	set_descriptor(SEL_LDT_A, 0, 7, ACC_LDT & ~ACC_P, 0);
	NEW_TASK("good");
	NEW_TASK("ldt in ldt", in_ring3(); task_a.ldt = 4);
	NEW_TASK("ldt behind the table", in_ring3(); task_a.ldt = SEL_BEYOND);
	NEW_TASK("ldt is data", in_ring3(); task_a.ldt = SEL_DATA);
	NEW_TASK("ldt absent", in_ring3(); task_a.ldt = SEL_LDT_A);
	NEW_TASK("cs null", task_a.cs = 0);
	NEW_TASK("cs data", task_a.cs = SEL_DATA);
	NEW_TASK("cs absent", task_a.cs = SEL_NO_CODE);
	NEW_TASK("cs behind the table", task_a.cs = SEL_BEYOND);
	NEW_TASK("cs in no ldt", task_a.cs = 0xc);
	NEW_TASK("cs limit", task_a.cs = SEL_SMALL_CODE);
	NEW_TASK("cs dpl", task_a.cs = SEL_CODE | 3; task_a.ss = SEL_UDATA32);
	NEW_TASK("ss null", in_ring3(); task_a.ss = 0);
	NEW_TASK("ss code", in_ring3(); task_a.ss = SEL_UCODE32);
	NEW_TASK("ss read-only", in_ring3(); task_a.ss = SEL_READ_ONLY | 3);
	NEW_TASK("ss absent", in_ring3(); task_a.ss = SEL_NO_DATA | 3);
	NEW_TASK("ss dpl", in_ring3(); task_a.ss = SEL_DATA | 3);
	NEW_TASK("ss rpl", in_ring3(); task_a.ss = SEL_UDATA32 & ~2);
	NEW_TASK("ds absent", task_a.ds = SEL_NO_DATA);
	NEW_TASK("ds execute only", task_a.ds = SEL_EXEC_ONLY);
	NEW_TASK("ds read-only", task_a.ds = SEL_READ_ONLY; task_a.es = SEL_BEYOND);
	NEW_TASK("es tss", task_a.es = SEL_MAIN);
	NEW_TASK("fs behind the table", task_a.fs = SEL_BEYOND);
	NEW_TASK("gs dpl", in_ring3(); task_a.gs = SEL_DATA);
	NEW_TASK("gs null", task_a.gs = 3);
	NEW_TASK("all null", task_a.gs = task_a.fs = task_a.es = 0);
	NEW_TASK("flags", task_a.eflags = 0xffc0802a & ~EF_VM);
	set_descriptor(SEL_SMALL_CODE, ADDRESS(task_entry), 0, ACC_CODE, FLAG_DB);
	NEW_TASK("user", task_a.cs = SEL_UCODE32; task_a.ss = task_a.ds = task_a.es = task_a.fs = SEL_UDATA32);
	/* Virtual-8086 mode: HLT is not allowed. */
	memcpy((void *)V86_CODE, "\x8c\xc8\xf4", 3); /* mov ax, cs; hlt */
	NEW_TASK("v86", task_a.eflags |= EF_VM; task_a.cs = V86_CODE >> 4; task_a.eip = 0; task_a.ss = 0x9000; task_a.esp = 0x100;
		 task_a.ds = 0x1111; task_a.es = 0x2222; task_a.fs = 0x3333; task_a.gs = 0x4444);
	NEW_TASK("v86 and bad ldt", task_a.eflags |= EF_VM; task_a.cs = V86_CODE >> 4; task_a.eip = 0; task_a.ldt = SEL_DATA;
		 task_a.ds = 0x1111; task_a.es = 0x2222; task_a.fs = 0x3333; task_a.gs = 0x4444);
	NEW_TASK("t and bad ss", in_ring3(); task_a.t = 1; task_a.ss = 0);
	legacy_hook = NULL;
}

/* The handler of a fault in the new task is a task too; back to the first from there. */
static void on_new_error(uint32_t error)
{
	print("%s: task error=%x link=%x a: eip=+%x cs=%x ss=%x ds=%x flags=%x\n", expected, error, task_handler.link & 0xffff,
	      task_a.eip - ADDRESS(task_entry), task_a.cs, task_a.ss, task_a.ds, (uint32_t)(task_a.eflags & FLAGS_SEEN));
	task_handler.link = SEL_MAIN;
	if (resume_at)
		main_tss.eip = resume_at;
}

static void handle_new(unsigned vector)
{
	task_init(&task_handler, SEL_HANDLER, task_error_entry, on_new_error);
	set_task_gate(vector, SEL_HANDLER, ACC_TASK);
}

static void behind_with_tasks(void)
{
	handle_new(10);
	NEW_TASK("task: ss null", task_a.ss = 0);
	NEW_TASK("task: cs data", task_a.cs = SEL_DATA);
	set_stub(10, GATE_INT32);
	handle_new(13);
	NEW_TASK("task: eip", task_a.cs = SEL_SMALL_CODE; task_a.eip = 0x100);
	set_task_gate(6, SEL_A, ACC_TASK);
	set_stub(13, GATE_INT32);
	/* An event whose handler cannot be entered: the second fault follows in the handler's task, as a double fault where both contribute */
	handle_new(8);
	task_init(&task_a, SEL_A, task_error_entry, on_error);
	task_a.ss = 0;
	set_task_gate(13, SEL_A, ACC_TASK);
	expected = "task: df of gp and ts behind the commit";
	FAULTING("mov $0x1234, %%eax; mov %%eax, %%ds");
	/* No room for the error code */
	set_descriptor(SEL_SMALL_STACK, 0, 0xff, ACC_DATA, FLAG_DB);
	task_init(&task_a, SEL_A, task_error_entry, on_error);
	task_a.ss = SEL_SMALL_STACK;
	expected = "task: df of gp and ss";
	FAULTING("mov $0x1234, %%eax; mov %%eax, %%ds");
	set_stub(8, GATE_INT32);
	set_stub(13, GATE_INT32);
	handle_new(10);
	task_init(&task_a, SEL_A, task_entry, on_fault);
	task_a.ss = 0;
	set_task_gate(6, SEL_A, ACC_TASK);
	expected = "task: ud, then ts";
	FAULTING("ud2");
	set_task_gate(0x80, SEL_A, ACC_TASK);
	task_init(&task_a, SEL_A, task_entry, on_fault);
	task_a.ss = 0;
	expected = "task: int, then ts";
	FAULTING("int $0x80");
	set_stub(6, GATE_INT32);
	set_stub(10, GATE_INT32);
}

/* PAE: the four entries are loaded with a new CR3. (Bochs does not survive a switch to bad ones, the #GP of which is not tested.) */
static void pae(void)
{
	for (unsigned i = 0; i < 4 * 512; i++)
		pae_dirs[i / 512][i % 512] = (uint64_t)i << 21 | 0x87;
	for (unsigned i = 0; i < 4; i++)
		pdpt[i] = ADDRESS(pae_dirs[i]) | 1;
	put_cr4(get_cr4() | CR4_PAE);
	put_cr3(ADDRESS(pdpt));
	main_tss.cr3 = ADDRESS(pdpt);
	put_cr0(get_cr0() | CR0_PG);
	memcpy(second_pdpt, pdpt, sizeof(pdpt));
	NEW_TASK("pae", task_a.cr3 = ADDRESS(second_pdpt));
	/* The same CR3 does not look at memory again. */
	pdpt[3] |= RESERVED_PDPTE;
	NEW_TASK("pae, same", task_a.cr3 = ADDRESS(pdpt));
	pdpt[3] = second_pdpt[3];
	page_off();
	put_cr4(get_cr4() & ~CR4_PAE);
}

void tasks_faults(void)
{
	handlers();
	before();
	paged();
	behind();
	behind_with_tasks();
	pae();
}
