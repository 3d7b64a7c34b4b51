/*
 * Device memory and string I/O where there are segments: limits, expand-down, 16-bit addresses that wrap, a 16-bit stack,
 * and ring 3 with I/O permissions.
 */
#include "legacy.h"

#define TPR       (LAPIC + LAPIC_TPR)
#define ABSENT    0xd0000000u
#define COUNT     (LAPIC + LAPIC_INIT_COUNT)
#define SCRATCH   (COM1 + 7)
#define DIAG      0x80
#define PAGED     0x40000000u /* pages of our own */
#define ACC_RO    0x91
#define ACC_DOWN  0x97
#define ACC_EXEC  0x99        /* code that cannot be read */
#define DONE      0x81        /* the gate by which ring 3 comes back */
enum { SEL_DEVICE = SEL_FREE, SEL_RAM = SEL_DEVICE + 8, SEL_16 = SEL_RAM + 8, SEL_TSS_PORTS = SEL_16 + 8 };

static uint8_t buf[0x20000] __attribute__((aligned(4096)));
static uint32_t page_dir[1024] __attribute__((aligned(4096))), table[1024] __attribute__((aligned(4096)));
static struct { struct tss32 tss; uint8_t ports[0x10000 / 8 + 1]; } __attribute__((packed, aligned(4096))) port_tss;
static uint8_t user_stack[4096] __attribute__((aligned(16)));

#define SET(segment, selector) __asm__ volatile("mov %0, %%" segment :: "r"(selector))
extern uint32_t move_es;
uint32_t move_es; /* ES while it runs */
/* A string instruction between DS:SI and ES:DI; where the registers are when it ends or faults. */
static struct { uint32_t c, s, d; } at_fault;
static bool on_fault(struct frame32 *f)
{
	at_fault.c = f->ecx;
	at_fault.s = f->esi;
	at_fault.d = f->edi;
	return false;
}
#define MOVE(insn, from, to, count, port) do { \
	uint32_t s_ = (uint32_t)(from), d_ = (uint32_t)(to), c_ = (count); \
	int v_ = TRY(__asm__ volatile("mov move_es, %%es; " insn "; cld; push %%ds; pop %%es" \
				      : "+S"(s_), "+D"(d_), "+c"(c_) : "a"(0), "d"(port) : "memory", "cc")); \
	if (v_ >= 0) { c_ = at_fault.c; s_ = at_fault.s; d_ = at_fault.d; } \
	print("%s: fault=%d error=%x ecx %x esi %x edi %x\n", insn, v_, v_ < 0 ? 0 : (uint32_t)fault.error, c_, s_, d_); \
} while (0)

static uint32_t load_fs(uint32_t offset)
{
	uint32_t v;

	__asm__ volatile("mov %%fs:(%1), %0" : "=r"(v) : "r"(offset) : "memory");
	return v;
}

static void device_limits(void)
{
	static const uint32_t limits[] = { 0xfff, 0x83, 0x82, 0x80 };

	mmio_write(TPR, 0x31);
	for (unsigned i = 0; i < ARRAY_SIZE(limits); i++) {
		uint32_t v = 0;

		set_descriptor(SEL_DEVICE, LAPIC, limits[i], ACC_DATA, FLAG_DB);
		SET("fs", SEL_DEVICE);
		print("limit %x: fault=%d", limits[i], TRY(v = load_fs(0x80)));
		print(" %x\n", v);
	}
	set_descriptor(SEL_DEVICE, LAPIC, 0x7f, ACC_DOWN, FLAG_DB);
	SET("fs", SEL_DEVICE);
	print("expand-down: fault=%d", TRY(load_fs(0x80)));
	print(" %d\n", TRY(load_fs(0x7c)));
	set_descriptor(SEL_DEVICE, LAPIC, 0xffff, ACC_DATA, FLAG_DB);
	SET("fs", SEL_DEVICE);
	for (unsigned i = 0; i < 2; i++) {
		uint32_t v = 0;

		/* Offsets wrap at 64 KiB. */
		__asm__ volatile("addr16 mov %%fs:(%%bx,%%si), %0" : "=r"(v) : "b"(0x1234fff0), "S"(i ? 0x90 : 0x80) : "memory");
		print("16-bit address: %x\n", v);
		__asm__ volatile("addr16 movl %1, %%fs:-0x10(%%bx,%%di)" :: "b"(0x60), "r"(0x40 + i), "D"(0x30) : "memory");
		print("16-bit address and displacement: %x\n", mmio_read(TPR));
		__asm__ volatile("addr16 lock addl $1, %%fs:0x80" ::: "memory", "cc");
		print("16-bit displacement: %x\n", mmio_read(TPR));
	}
	SET("fs", SEL_DATA);
	mmio_write(TPR, 0);
}

#define ES_RAM(limit, access, flags) do { \
	set_descriptor(SEL_RAM, ADDRESS(buf), limit, access, flags); \
	move_es = SEL_RAM; \
} while (0)

static void other_operand(void)
{
	legacy_hook = on_fault;
	memset(buf, 0xff, 64);
	ES_RAM(7, ACC_DATA, FLAG_DB);
	MOVE("rep movsl", ABSENT, 0, 4, 0);
	ES_RAM(0x1f, ACC_DOWN, FLAG_DB);
	MOVE("std; rep movsl", ABSENT + 16, 0x24, 4, 0);
	ES_RAM(0x1f, ACC_DOWN, 0);
	MOVE("rep movsl", ABSENT, 0xfff8, 4, 0);
	ES_RAM(0xff, ACC_RO, FLAG_DB);
	MOVE("movsl", ABSENT, 0, 4, 0);
	MOVE("repe cmpsl", ABSENT, 0, 4, 0);
	ES_RAM(0xb, ACC_RO, FLAG_DB);
	MOVE("repe cmpsl", ABSENT, 0, 4, 0);
	ES_RAM(0xffff, ACC_DATA, FLAG_DB);
	MOVE("addr16 rep movsl", ABSENT, 0xfff8, 4, 0);
	for (unsigned i = 0x10000; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i * 7);
	set_descriptor(SEL_DEVICE, ADDRESS(buf) + 0x10000, 0xffff, ACC_DATA, FLAG_DB);
	SET("fs", SEL_DEVICE);
	MOVE("addr16 rep movsl %%fs:(%%si), %%es:(%%di)", 0x1234fffc, 0x5678fffc, 0xabc0003, 0);
	print("wrapped: %x %x\n", *(uint32_t *)buf, *(uint32_t *)(buf + 0xfffc));
	legacy_hook = NULL;
}

static void string_ports(void)
{
	legacy_hook = on_fault;
	for (unsigned i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i + 1);
	ES_RAM(9, ACC_DATA, FLAG_DB);
	MOVE("rep outsb %%es:(%%esi), %%dx", 0, 0, 20, SCRATCH);
	print("scratch %x\n", inb(SCRATCH));
	ES_RAM(9, ACC_DATA, FLAG_DB);
	MOVE("rep outsl %%es:(%%esi), %%dx", 0, 0, 20, DIAG);
	ES_RAM(9, ACC_DATA, FLAG_DB);
	MOVE("rep insb", 0, 0, 20, SCRATCH);
	ES_RAM(9, ACC_DATA, FLAG_DB);
	MOVE("std; rep insb", 0, 4, 20, SCRATCH);
	ES_RAM(9, ACC_DATA, FLAG_DB);
	MOVE("std; rep insw", 0, 9, 20, 0x1234);
	ES_RAM(0x1f, ACC_DOWN, FLAG_DB);
	MOVE("rep insb", 0, 0x1f, 3, SCRATCH);
	ES_RAM(0x1f, ACC_DOWN, FLAG_DB);
	MOVE("std; rep insb", 0, 0x22, 9, SCRATCH);
	ES_RAM(0x1f, ACC_DOWN, 0);
	MOVE("rep insb", 0, 0xfffe, 9, SCRATCH);
	ES_RAM(0xff, ACC_RO, FLAG_DB);
	MOVE("insb", 0, 0, 1, SCRATCH);
	ES_RAM(0xff, ACC_RO, FLAG_DB);
	MOVE("rep outsb %%es:(%%esi), %%dx", 0, 0, 2, SCRATCH);
	set_descriptor(SEL_RAM, ADDRESS(buf), 0xff, ACC_EXEC, FLAG_DB);
	MOVE("rep outsb %%cs:(%%esi), %%dx", buf, 0, 2, SCRATCH);
	ES_RAM(0xffff, ACC_DATA, FLAG_DB);
	MOVE("addr16 rep insb", 0, 0x7777fff8, 0x66660010, SCRATCH);
	ES_RAM(0xffff, ACC_DATA, FLAG_DB);
	MOVE("std; addr16 rep insb", 0, 0x77770003, 0x10, SCRATCH);
	ES_RAM(0xffff, ACC_DATA, FLAG_DB);
	MOVE("addr16 rep outsb %%es:(%%si), %%dx", 0x7777fff8, 0, 0x66660010, SCRATCH);
	print("scratch %x\n", inb(SCRATCH));
	ES_RAM(0xffff, ACC_DATA, FLAG_DB);
	MOVE("addr16 rep outsw %%es:(%%si), %%dx", 0xffff, 0, 2, DIAG); /* an element beyond the limit */
	ES_RAM(0xffff, ACC_DATA, FLAG_DB);
	MOVE("addr16 rep insb", 0, 0x100, 0x10000, SCRATCH); /* none */
	ES_RAM(0x1ffff, ACC_DATA, FLAG_DB);
	MOVE("rep insb", 0, 0, 0x18000, SCRATCH);
	move_es = 0;
	MOVE("rep insb", 0, 0, 2, SCRATCH);
	move_es = 0;
	MOVE("rep insb", 0, 0, 0, SCRATCH);
	/* To and from a device's memory. */
	move_es = SEL_DATA;
	mmio_write(TPR, 0);
	outb(SCRATCH, 0x29);
	MOVE("insl", 0, TPR, 1, 0x1234);
	print("tpr %x\n", mmio_read(TPR));
	mmio_write(TPR, 0x57);
	MOVE("rep outsl", TPR, 0, 1, DIAG);
	MOVE("rep outsb", ABSENT, 0, 3, SCRATCH);
	print("scratch %x\n", inb(SCRATCH));
	mmio_write(TPR, 0);
	legacy_hook = NULL;
}

static volatile unsigned called;
static void callee(void) { called++; }

static void branches(void)
{
	uint32_t esp;

	mmio_write(COUNT, ADDRESS(callee));
	__asm__ volatile("mov %%esp, %%ebx; call *(%1); sub %%esp, %%ebx"
			 : "=&b"(esp) : "r"((uint32_t)COUNT) : "eax", "ecx", "edx", "memory");
	print("call through a register: %u, esp moved %d\n", called, esp);
	__asm__ volatile("movl $1f, (%0); jmp *(%0); ud2; 1:" :: "r"((uint32_t)COUNT) : "memory");
	print("jmp through a register\n");
	mmio_write(COUNT, 0);
	/* A stack of 16 bits: only SP moves. */
	set_descriptor(SEL_16, ADDRESS(buf), 0xffff, ACC_DATA, 0);
	memset(buf, 0x11, 0x200);
	__asm__ volatile("mov %%esp, %%ebx; mov %1, %%ss; mov $0x12340100, %%esp; pushl (%2); pushw (%2); mov %%esp, %%eax\n"
			 "popl (%2); mov %3, %%ss; mov %%ebx, %%esp"
			 : "=&a"(esp) : "r"(SEL_16), "r"(ABSENT), "r"(SEL_DATA) : "ebx", "memory");
	print("16-bit stack: esp %x, %x %x\n", esp, *(uint32_t *)(buf + 0xfc), *(uint16_t *)(buf + 0xfa));
}

/* Ring 3 with these flags; it comes back by the gate DONE, or by a fault. */
__attribute__((noinline)) static void enter_user(void (*fn)(void), uint32_t flags)
{
	__asm__ volatile("mov %0, %%ds; mov %0, %%es\n"
			 "push %0; push %1; push %2; push %3; push $1f; iret\n1: call *%4; int %5"
			 :: "r"(SEL_UDATA32), "r"(user_stack + sizeof(user_stack) - 16), "r"(flags | 2), "i"(SEL_UCODE32), "r"(fn), "i"(DONE)
			 : "memory");
}

static void user_out(void) { outb(SCRATCH, 0x42); }
static void user_in(void) { inb(SCRATCH); }
static void user_outw(void) { outw(SCRATCH, 0); }
static void user_other(void) { inb(DIAG); }
static void user_outs(void) { __asm__ volatile("rep outsb" :: "S"(PAGED + 0xffd), "c"(8), "d"(SCRATCH) : "memory"); }
static void user_ins(void) { __asm__ volatile("rep insb" :: "D"(PAGED + 0xffd), "c"(8), "d"(SCRATCH) : "memory"); }
static void user_insw(void) { __asm__ volatile("rep insw" :: "D"(PAGED + 0xffd), "c"(8), "d"(SCRATCH) : "memory"); }
static void user_nothing(void) { __asm__ volatile("rep outsb" :: "S"(0), "c"(0), "d"(DIAG) : "memory"); }
static void user_tpr(void) { mmio_write(TPR, mmio_read(TPR) + 0x10); }
static void user_device(void) { __asm__ volatile("rep movsl" :: "S"(ABSENT), "D"(PAGED + 0xffc), "c"(2) : "memory"); }

static void user_pass(const char *name, uint32_t flags)
{
	static const struct { const char *name; void (*fn)(void); } what[] = {
		{ "out", user_out }, { "in", user_in }, { "outw", user_outw }, { "other", user_other }, { "outs", user_outs },
		{ "ins", user_ins }, { "insw", user_insw }, { "nothing", user_nothing }, { "tpr", user_tpr }, { "movs", user_device },
	};

	legacy_hook = on_fault;
	for (unsigned i = 0; i < ARRAY_SIZE(what); i++) {
		int v = TRY(enter_user(what[i].fn, flags));

		print("%s, %s: %d error %x cr2 %x ecx %x\n", name, what[i].name, v, (uint32_t)fault.error,
		      v == 14 ? (uint32_t)fault.cr2 : 0, v == 14 ? at_fault.c : 0);
	}
	legacy_hook = NULL;
	print("scratch %x tpr %x\n", inb(SCRATCH), mmio_read(TPR));
}

static void user(void)
{
	for (unsigned i = 0; i < 1024; i++)
		page_dir[i] = i << 22 | 0x87;
	page_dir[PAGED >> 22] = ADDRESS(table) | 7;
	table[0] = ADDRESS(buf) | 7;
	table[1] = ADDRESS(buf + PAGE) | 3;
	put_cr4(get_cr4() | CR4_PSE);
	put_cr3(ADDRESS(page_dir));
	put_cr0(get_cr0() | CR0_PG | CR0_WP);
	set_stub(DONE, GATE_INT32 | ACC_DPL3);
	port_tss.tss = main_tss;
	port_tss.tss.iomap = (uint16_t)(ADDRESS(port_tss.ports) - ADDRESS(&port_tss));
	memset(port_tss.ports, 0xff, sizeof(port_tss.ports));
	port_tss.ports[SCRATCH / 8] &= (uint8_t)~(1u << (SCRATCH % 8));
	set_descriptor(SEL_TSS_PORTS, ADDRESS(&port_tss), sizeof(port_tss) - 1, ACC_TSS, 0);
	__asm__ volatile("ltr %w0" :: "r"(SEL_TSS_PORTS));
	mmio_write(TPR, 0);
	user_pass("bitmap", 0);
	user_pass("iopl 3", EF_IOPL);
	table[0] = ADDRESS(buf) | 5; /* read-only */
	put_cr3(ADDRESS(page_dir));
	user_pass("read-only", EF_IOPL);
	put_cr0(get_cr0() & ~CR0_PG);
	mmio_write(TPR, 0);
}

void payload_main(void)
{
	irq_init();
	device_limits();
	other_operand();
	string_ports();
	branches();
	user();
}
