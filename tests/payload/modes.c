/* The CPU's modes other than the usual one: real, 16-bit protected, virtual-8086, compatibility, 64-bit. Paging is in modes_paging.c. */
#include "modes.h"

#define LOG_FIRST   0x100u /* in the 16-bit data segment */
#define TEXT        0x40u  /* there: what string instructions move */
#define MARK        0xfeed0000u
#define SEGMENT(a)  ((a) >> 4)
#define ACC_CALL16  0x84
#define FLAG_L      0x2
#define CR4_VME     1u
#define CR0_NE      0x20u
#define V86_MAX     100u /* faults in a pass */
#define V86_STEP    16u
#define SCRATCH     0x3ff

static struct { struct tss32 tss; uint8_t redirection[32]; uint8_t ports[0x10000 / 8]; uint8_t end; } __attribute__((packed)) v86_tss
	__attribute__((aligned(4096)));
static uint64_t idt16[256] __attribute__((aligned(8)));
static struct { uint64_t low, high; } idt64[256] __attribute__((aligned(16)));
static uint64_t pml4[512] __attribute__((aligned(4096))), pdpt[512] __attribute__((aligned(4096)));
static uint64_t dirs[4][512] __attribute__((aligned(4096)));

static void print_log(const char *name, const uint32_t *from, const uint32_t *to)
{
	for (; from < to; from++) {
		if ((*from & 0xffff0000) == MARK)
			print("%s%s %u:", from[0] == MARK ? "" : "\n", name, *from & 0xffff);
		else
			print(" %x", *from);
	}
	print("\n");
}

static void prepare16(void)
{
	memcpy((void *)LOW_CODE, code16, (size_t)(code16_end - code16));
	memset((void *)LOW_DATA, 0, 0x1000);
	*(volatile uint16_t *)LOW_DATA = LOG_FIRST;
	*(volatile uint8_t *)(LOW_DATA + TEXT) = 0x77;
}

static void print16(const char *name)
{
	print_log(name, (const uint32_t *)(LOW_DATA + LOG_FIRST), (const uint32_t *)(LOW_DATA + *(volatile uint16_t *)LOW_DATA));
}

static void real_mode(void)
{
	prepare16();
	for (const struct handler16 *h = real_handlers; h->vector != 0xffff; h++)
		*(volatile uint32_t *)(uint32_t)(h->vector * 4u) = SEGMENT(LOW_CODE) << 16 | h->offset;
	lapic_write(LAPIC_SVR, 0x1ff);
	real_run();
	print16("real");
}

static void protected16(void)
{
	prepare16();
	for (const struct handler16 *h = pm16_handlers; h->vector != 0xffff; h++)
		idt16[h->vector] = h->offset | (uint64_t)SEL_CODE16 << 16 | (uint64_t)GATE_INT16 << 40;
	far_idtr.limit = sizeof(idt16) - 1;
	far_idtr.base = ADDRESS(idt16);
	gdt32[SEL_CALL16 / 8] = call16_offset | (uint64_t)SEL_CODE16 << 16 | (uint64_t)ACC_CALL16 << 40;
	pm16_run();
	print16("pm16");
}

/* Goes on behind the step that faulted, and ends at the last. */
static bool on_v86(struct frame32 *f)
{
	static unsigned count;

	print("v86 %x: vector=%u error=%x cs=%x flags=%x ss=%x sp=%x ax=%x ds=%x\n", f->eip - v86_offset, f->vector, f->error,
	      f->cs & 0xffff, (uint32_t)(f->eflags & FLAGS_SEEN), f->ss & 0xffff, f->esp, f->eax & 0xffff, f->v86_ds & 0xffff);
	if (!(f->eflags & EF_VM) || f->eip == v86_end_offset || ++count > V86_MAX) {
		count = 0;
		return false;
	}
	f->eip = (f->eip & ~(V86_STEP - 1)) + V86_STEP;
	return true;
}

static void v86_pass(const char *name, uint32_t flags, uint32_t cr4)
{
	struct frame32 f = {
		.eip = v86_offset, .cs = SEGMENT(LOW_CODE), .eflags = flags | EF_VM | 2, .esp = 0xffe, .ss = SEGMENT(LOW_STACK),
		.v86_ds = SEGMENT(LOW_DATA), .v86_es = SEGMENT(LOW_DATA), .v86_fs = 0x1234, .v86_gs = 0x5678,
	};
	uint32_t old = get_cr4();

	put_cr4(old | cr4);
	outb(SCRATCH, 0x11);
	print("v86, %s\n", name);
	legacy_hook = on_v86;
	TRY(frame_enter(&f));
	legacy_hook = NULL;
	put_cr4(old);
	print("v86 scratch: %x memory: %x\n", inb(SCRATCH), *(volatile uint8_t *)(LOW_DATA + TEXT));
}

static void virtual8086(void)
{
	prepare16();
	v86_tss.tss = main_tss;
	v86_tss.tss.iomap = (uint16_t)((uint32_t)v86_tss.ports - ADDRESS(&v86_tss));
	memset(v86_tss.ports, 0xff, sizeof(v86_tss.ports));
	v86_tss.ports[SCRATCH / 8] &= (uint8_t)~(1u << (SCRATCH % 8));
	v86_tss.end = 0xff;
	set_descriptor(SEL_TSS_V86, ADDRESS(&v86_tss), sizeof(v86_tss) - 1, ACC_TSS, 0);
	__asm__ volatile("ltr %w0" :: "r"(SEL_TSS_V86));
	v86_pass("iopl 0", 0, 0);
	v86_pass("iopl 3", EF_IOPL, 0);
	set_stub(0x40, GATE_INT32 | ACC_DPL3);
	v86_pass("iopl 3 and a gate for all", EF_IOPL, 0);
	set_stub(0x40, GATE_INT32);
	/* Interrupts 40h go to the table of real mode, with a virtual IF. */
	for (const struct handler16 *h = real_handlers; h->vector != 0xffff; h++)
		*(volatile uint32_t *)(uint32_t)(h->vector * 4u) = SEGMENT(LOW_CODE) << 16 | h->offset;
	v86_pass("vme, iopl 0", 0, CR4_VME);
	v86_pass("vme, iopl 3", EF_IOPL, CR4_VME);
	memset(v86_tss.redirection, 0xff, sizeof(v86_tss.redirection));
	v86_pass("vme, not redirected", 0, CR4_VME);
	set_descriptor(SEL_MAIN, ADDRESS(&main_tss), sizeof(main_tss) - 1, ACC_TSS, 0);
	__asm__ volatile("ltr %w0" :: "r"(SEL_MAIN));
	print16("v86");
}

static void long_mode(void)
{
	for (unsigned i = 0; i < 4 * 512; i++)
		dirs[i / 512][i % 512] = (uint64_t)i << 21 | 0x83;
	for (unsigned i = 0; i < 4; i++)
		pdpt[i] = ADDRESS(dirs[i]) | 3;
	pml4[0] = ADDRESS(pdpt) | 3;
	long_cr3 = ADDRESS(pml4);
	for (const uint32_t *h = long_handlers; h[1]; h += 2)
		idt64[h[0]].low = (h[1] & 0xffff) | (uint64_t)SEL_CODE64 << 16 | (uint64_t)GATE_INT32 << 40 |
				  (uint64_t)(h[1] >> 16) << 48;
	far_idtr.limit = sizeof(idt64) - 1;
	far_idtr.base = ADDRESS(idt64);
	for (unsigned i = 0; i < 2; i++) { /* twice: leaving it must leave nothing behind */
		long_log_end = ADDRESS(long_log);
		long_run();
		print_log("long", long_log, (const uint32_t *)long_log_end);
	}
	print("after long mode: cr0=%x cr4=%x efer=%x\n", get_cr0() & (CR0_PG | CR0_PE), get_cr4(),
	      (uint32_t)rdmsr(MSR_EFER) & 0xd00);
}

void payload_main(void)
{
	set_descriptor(SEL_CODE16, LOW_CODE, 0xffff, ACC_CODE, 0);
	set_descriptor(SEL_DATA16, LOW_DATA, 0xfff, ACC_DATA, 0);
	set_descriptor(SEL_STACK16, LOW_STACK, 0xfff, ACC_DATA, 0);
	set_descriptor(SEL_REAL16, 0, 0xffff, ACC_DATA, 0);
	set_descriptor(SEL_CODE64, 0, 0xfffff, ACC_CODE, FLAG_G | FLAG_L);
	set_descriptor(SEL_COMPAT16, ADDRESS(long_run), 0xffff, ACC_CODE, 0);
	put_cr0(get_cr0() | CR0_NE); /* loaders differ */
	outb(PIC1 + 1, 0xff);
	outb(PIC2 + 1, 0xff);
	real_mode();
	protected16();
	virtual8086();
	long_mode();
	modes_paging();
}
