/*
 * The hidden part of every segment register, of LDTR and TR: it stays what it was when the register was loaded, although
 * the descriptor has changed since, over each kind of exit and over other guests' turns.
 */
#include "legacy.h"

#define SEL_LDT_   SEL_FREE
#define SEL_TSS_   (SEL_FREE + 8)
#define SEL_BASE   (SEL_FREE + 16) /* data, with a base and a limit of bytes */
#define SEL_DOWN   (SEL_FREE + 24) /* expand-down */
#define SEL_RO     (SEL_FREE + 32)
#define SEL_CODE_  (SEL_FREE + 40)
#define SEL_LOCAL  4 /* entry 0 of the LDT */
#define ABSENT     0xd0000000u
#define CR0_CD     0x40000000u
#define CR0_NW     0x20000000u
#define CR4_MCE    0x40u
#define SPIN       400000  /* iterations: some slices */

static uint8_t area[0x3000] __attribute__((aligned(4096)));
static uint64_t ldt[4] __attribute__((aligned(8)));
static struct tss32 tss;

static void cpuid_exit(void) { cpuid(0, 0); }
static void port_exit(void) { outb(0x80, inb(0x80)); }
static void string_exit(void)
{
	uint32_t from = ADDRESS(area), n = 3;

	__asm__ volatile("rep outsb" : "+S"(from), "+c"(n) : "d"(0x80) : "memory");
}
static void mmio_exit(void) { (void)mmio_read(ABSENT); }
static void lapic_exit(void) { lapic_write(LAPIC_TPR, lapic_read(LAPIC_TPR)); }
static void msr_exit(void) { (void)rdmsr(0x1b); }
static void cr_exit(void)
{
	uint32_t cr0 = get_cr0();

	put_cr0((cr0 | CR0_CD) & ~CR0_NW);
	put_cr0(cr0);
	put_cr4(get_cr4() ^ CR4_MCE);
	put_cr4(get_cr4() ^ CR4_MCE);
}
static void cache_exit(void) { __asm__ volatile("wbinvd"); }
static void spin(void) { uint32_t n = SPIN; __asm__ volatile("1: dec %0; jnz 1b" : "+r"(n) :: "cc"); }
static void nothing(void) { }

static const struct { const char *name; void (*fn)(void); } exits[] = {
	{ "nothing", nothing }, { "cpuid", cpuid_exit }, { "port", port_exit }, { "string", string_exit },
	{ "device", mmio_exit }, { "lapic", lapic_exit },
	{ "msr", msr_exit }, { "cr", cr_exit }, { "wbinvd", cache_exit }, { "slices", spin },
};

static void descriptors(void)
{
	set_descriptor(SEL_BASE, ADDRESS(area) + 0x100, 0x7ff, ACC_DATA, FLAG_DB);
	set_descriptor(SEL_DOWN, ADDRESS(area), 0xfff, 0x97, FLAG_DB);
	set_descriptor(SEL_RO, ADDRESS(area), 0xfff, 0x91, FLAG_DB);
	set_descriptor(SEL_CODE_, ADDRESS(area), 0xfff, 0x99, FLAG_DB); /* execute only */
	set_descriptor(SEL_LDT_, ADDRESS(ldt), sizeof(ldt) - 1, ACC_LDT, 0);
	set_descriptor(SEL_TSS_, ADDRESS(&tss), sizeof(tss) - 1, ACC_TSS, 0);
	ldt[0] = gdt32[SEL_BASE / 8] + (0x80ull << 16); /* its base is 80h further */
}

static void spoil(void)
{
	for (unsigned i = SEL_FREE / 8; i < SEL_FREE / 8 + 6; i++)
		gdt32[i] = 0;
	ldt[0] = 0;
}

/* Loads the selector, spoils its descriptor, and then looks: a fault gives the register another selector. */
static void load_fs(unsigned selector, void (*fn)(void))
{
	descriptors();
	__asm__ volatile("lldt %w0" :: "r"(SEL_LDT_));
	__asm__ volatile("mov %w0, %%fs; mov %w0, %%gs" :: "r"(selector));
	spoil();
	fn();
}

static void data(void (*fn)(void), const char *name)
{
	static const uint16_t selectors[] = { SEL_BASE, SEL_DOWN, SEL_RO, SEL_LOCAL, 0 };
	static const uint32_t offsets[] = { 0x10, 0x7fc, 0x7fd, 0xffc, 0xffd, 0x1000, 0xfffffffc, 0xfffffffe };

	for (unsigned i = 0; i < ARRAY_SIZE(selectors); i++) {
		print("%s %x:", name, selectors[i]);
		for (unsigned o = 0; o < ARRAY_SIZE(offsets); o++) {
			volatile uint32_t v = 0;
			uint32_t offset = offsets[o] == 0x1000 && selectors[i] == SEL_DOWN ? 0x1100 : offsets[o];

			load_fs(selectors[i], fn);
			int f = TRY(__asm__ volatile("movl %%fs:(%1), %%eax; mov %%eax, %0" : "=m"(v) : "r"(offset) : "eax"));
			if (f == NO_FAULT && offset < sizeof(area))
				print(" %x", v);
			else
				print(" f%d", f);
		}
		load_fs(selectors[i], fn);
		print(" write %d", TRY(__asm__ volatile("movl $0x77, %%gs:0x30" ::: "memory")));
		uint16_t fs, gs;
		load_fs(selectors[i], fn);
		__asm__ volatile("mov %%fs, %0; mov %%gs, %1" : "=r"(fs), "=r"(gs));
		print(" %x %x reload %d\n", fs, gs, TRY(__asm__ volatile("push %%fs; pop %%fs" ::: "memory")));
	}
	__asm__ volatile("mov %w0, %%fs; mov %w0, %%gs" :: "r"(0));
}

/* ES, SS and DS at once, in assembler: what REP MOVS and PUSH do through them. */
static void stack_and_strings(void (*fn)(void), const char *name)
{
	uint32_t result, es, ss;

	descriptors();
	*(volatile uint32_t *)(area + 0x100 + 0x40) = 0xabcd;
	/* SS with the same base as the flat one but a limit of bytes above our stack; ES with a base. */
	set_descriptor(SEL_DOWN, 0, 0xfff, ACC_DATA, FLAG_DB | FLAG_G); /* 16 MiB */
	__asm__ volatile("mov %w0, %%es" :: "r"(SEL_BASE));
	__asm__ volatile("mov %w0, %%ss" :: "r"(SEL_DOWN));
	spoil();
	fn();
	__asm__ volatile("movl %%es:0x40, %0; mov %%es, %1; mov %%ss, %2" : "=r"(result), "=r"(es), "=r"(ss));
	__asm__ volatile("mov %w0, %%ss" :: "r"(SEL_DATA));
	__asm__ volatile("mov %w0, %%es" :: "r"(SEL_DATA));
	print("%s es=%x ss=%x: %x\n", name, es & 0xffff, ss & 0xffff, result);
}

/* TR and LDTR: their selectors, and the tables that they point to. */
static void system(void (*fn)(void), const char *name)
{
	static struct { uint16_t limit; uint32_t base; } __attribute__((packed)) gdtr, idtr;

	descriptors();
	__asm__ volatile("lldt %w0; ltr %w1" :: "r"(SEL_LDT_), "r"(SEL_TSS_));
	gdt32[SEL_TSS_ / 8] = gdt32[SEL_LDT_ / 8] = 0;
	fn();
	int beyond = TRY(__asm__ volatile("mov %w0, %%fs" :: "r"(sizeof(ldt) | SEL_LOCAL)));
	int local = TRY(__asm__ volatile("mov %w0, %%fs" :: "r"(SEL_LOCAL)));
	uint16_t fs;
	uint32_t v = 0;

	__asm__ volatile("mov %%fs, %0" : "=r"(fs));
	if (local == NO_FAULT)
		__asm__ volatile("movl %%fs:0x10, %0" : "=r"(v));
	__asm__ volatile("sgdt %0; sidt %1" : "=m"(gdtr), "=m"(idtr));
	print("%s tr=%x ldtr=%x local: %d %d fs=%x: %x gdt: %u %x idt: %u %x\n", name, task_register(), ldt_register(), local,
	      beyond, fs, v, gdtr.base == ADDRESS(gdt32), gdtr.limit, idtr.base == ADDRESS(idt32), idtr.limit);
	set_descriptor(SEL_MAIN, ADDRESS(&main_tss), sizeof(main_tss) - 1, ACC_TSS, 0);
	__asm__ volatile("mov %w0, %%fs; lldt %w0; ltr %w1" :: "r"(0), "r"(SEL_MAIN));
}

/* LAR, LSL, VERR and VERW over every type, and what loading it into a data register says. */
static void types(void)
{
	for (unsigned access = 0; access < 0x100; access += access == 0x1f || access == 0x9f ? 0x41 : 1) {
		uint32_t lar = 0, lsl = 0;
		bool lar_ok, lsl_ok, verr, verw;

		set_descriptor(SEL_BASE, 0x12345678, 0x9abcd, access, FLAG_G);
		__asm__ volatile("lar %2, %0" : "+r"(lar), "=@ccz"(lar_ok) : "r"(SEL_BASE));
		__asm__ volatile("lsl %2, %0" : "+r"(lsl), "=@ccz"(lsl_ok) : "r"(SEL_BASE));
		__asm__ volatile("verr %w1" : "=@ccz"(verr) : "r"(SEL_BASE));
		__asm__ volatile("verw %w1" : "=@ccz"(verw) : "r"(SEL_BASE));
		print("type %x: lar %u %x lsl %u %x verr %u verw %u", access, lar_ok, lar, lsl_ok, lsl, verr, verw);
		print(" load %d", TRY(__asm__ volatile("mov %w0, %%fs" :: "r"(SEL_BASE))));
		print(" %x\n", (uint32_t)(gdt32[SEL_BASE / 8] >> 40 & 0xff));
	}
	__asm__ volatile("mov %w0, %%fs" :: "r"(0));
}

void payload_main(void)
{
	for (unsigned i = 0; i < sizeof(area); i++)
		area[i] = (uint8_t)(i * 7 + (i >> 8));
	lapic_write(LAPIC_SVR, 0x1ff);
	for (unsigned i = 0; i < ARRAY_SIZE(exits); i++) {
		data(exits[i].fn, exits[i].name);
		stack_and_strings(exits[i].fn, exits[i].name);
		system(exits[i].fn, exits[i].name);
	}
	types();
}
