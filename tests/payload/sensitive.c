/*
 * Instructions that tell of privileged state or change it, in rings 0 to 3 and in virtual-8086 mode, with each IOPL that
 * matters, and with CR4.UMIP: the result, or the fault. The unprivileged ones are the classic trap of virtualisation.
 */
#include "legacy.h"

#define SEL_CODE_OF(ring) (SEL_FREE + 16 * ((ring) - 1))     /* rings 1 and 2 */
#define SEL_DATA_OF(ring) (SEL_FREE + 16 * ((ring) - 1) + 8)
#define SEL_CONFORMING (SEL_FREE + 32)
#define SEL_GATE       (SEL_FREE + 40) /* a call gate for all, into ring 0 */
#define SEL_LDT_       (SEL_FREE + 48)
#define ACC_CALL32     0x8c
#define CPUID7C_UMIP   BIT(2)
#define CR4_UMIP       0x800u
#define CR4_TSD        0x4u
#define LOW            0x8000u /* code, data and stack of virtual-8086 mode */
#define FLAGS_SEEN     0x1b7f00u /* without the arithmetic ones */
#define VEC_DONE       0x80
#define CR0_NE         0x20u
#define HLT            0xf4

static uint8_t stack[4096] __attribute__((aligned(16)));
static uint32_t begin;
static volatile uint8_t scratch[16] __attribute__((aligned(16)));

static bool on_trap(struct frame32 *f)
{
	bool v86 = f->eflags & EF_VM;

	if (f->vector == VEC_DONE || (v86 && f->vector == 13 && *(uint8_t *)((f->cs << 4) + f->eip) == HLT))
		print("%x %x %x %x %x", f->eax, f->ebx, f->edx, f->eflags & FLAGS_SEEN, v86 ? 0 : f->cs & 0xffff);
	else
		print("fault %u %x +%x %x", f->vector, f->error, f->eip - begin, f->eflags & FLAGS_SEEN);
	if (*(volatile uint64_t *)scratch)
		print(" memory %x %x", *(volatile uint32_t *)scratch, *(volatile uint32_t *)(scratch + 4));
	print("\n");
	return false; /* back to TRY() */
}

static uint32_t code_of(unsigned ring) { return ring == 0 ? SEL_CODE : ring == 3 ? SEL_UCODE32 : SEL_CODE_OF(ring) | ring; }
static uint32_t data_of(unsigned ring) { return ring == 0 ? SEL_DATA : ring == 3 ? SEL_UDATA32 : SEL_DATA_OF(ring) | ring; }

/* Does not return but by a trap. */
static void enter_frame(const uint32_t *frame)
{
	__asm__ volatile("mov %0, %%esp; mov %1, %%ds; mov %1, %%es; mov $0x111, %%eax; xor %%ebx, %%ebx; xor %%ecx, %%ecx;"
			 "xor %%edx, %%edx; iretl" :: "r"(frame), "r"(SEL_UDATA32) : "memory");
}

static void enter(uint32_t eip, unsigned ring, uint32_t flags)
{
	static uint32_t frame[64 + 5]; /* ring 0 goes on with the stack that it finds here */
	uint32_t *f = frame + 64 - (ring ? 0 : 3);

	begin = eip;
	f[0] = eip;
	f[1] = code_of(ring);
	f[2] = flags;
	if (ring) {
		f[3] = ADDRESS(stack + sizeof(stack) - 64);
		f[4] = data_of(ring);
	}
	enter_frame(f);
}

#define CASES(X) \
	X("sgdt", "sgdt scratch") X("sidt", "sidt scratch") X("sldt", "sldt %eax") X("sldt mem", "sldt scratch") \
	X("str", "str %eax") X("str mem", "str scratch") X("smsw", "smsw %ax; and $0x3f, %ax") \
	X("smsw mem", "smsw scratch; andb $0x3f, scratch") \
	X("lar own", "mov $0x1b, %ecx; lar %ecx, %eax; setz %bl") \
	X("lar kernel", "mov $8, %ecx; lar %ecx, %eax; setz %bl") \
	X("lar tss", "mov $0x28, %ecx; lar %ecx, %eax; setz %bl") \
	X("lar gate", "mov $0x58, %ecx; lar %ecx, %eax; setz %bl") \
	X("lsl kernel", "mov $0x10, %ecx; lsl %ecx, %eax; setz %bl") \
	X("lsl ldt", "mov $0x60, %ecx; lsl %ecx, %eax; setz %bl") \
	X("lsl rpl 3", "mov $0x13, %ecx; lsl %ecx, %eax; setz %bl") \
	X("lar conforming", "mov $0x53, %ecx; lar %ecx, %eax; setz %bl") \
	X("verr kernel", "mov $0x10, %ecx; verr %cx; setz %bl") \
	X("verw user", "mov $0x23, %ecx; verw %cx; setz %bl") X("verr code", "mov $0x1b, %ecx; verr %cx; setz %bl") \
	X("verr conforming", "mov $0x50, %ecx; verr %cx; setz %bl") \
	X("pushf", "pushf; pop %eax; and $0x1b7f00, %eax") X("pushfw", "pushfw; pop %ax") \
	X("popf all", "push $0x3f7ed7; popf; pushf; pop %eax; cld; push $2; popf") \
	X("popf none", "push $2; popf; pushf; pop %eax") \
	X("popf if iopl", "push $0x3202; popf; pushf; pop %eax; push $2; popf") \
	X("popfw iopl", "pushw $0x3002; popfw; pushf; pop %eax") \
	X("push segments", "push %cs; pop %eax; push %ss; pop %ebx; push %ds; pop %edx") \
	X("mov from cs", "mov %cs, %eax; mov %ss, %ebx; mov %es, %edx") \
	X("pop ss, own", "push %ss; pop %ss; mov %ss, %eax") X("pop ds kernel", "push $0x10; pop %ds") \
	X("pop es user", "push $0x23; pop %es; mov %es, %eax") X("mov ss user", "mov $0x23, %eax; mov %eax, %ss") \
	X("mov ss null", "xor %eax, %eax; mov %eax, %ss") \
	X("mov ds null", "xor %eax, %eax; mov %eax, %ds; push %ds; pop %ebx; mov $0x23, %eax; mov %eax, %ds") \
	X("lds kernel", "mov $0x10, %eax; mov %ax, scratch + 4; lds scratch, %eax") \
	X("arpl", "mov $0x10, %eax; mov $3, %ecx; arpl %cx, %ax; setz %bl") \
	X("call conforming", "lcall $0x50, $1f; jmp 2f; 1: mov %cs, %eax; lret; 2:") \
	X("call kernel", "lcall $0x8, $1f; 1:") X("call gate", "lcall $0x5b, $0; jmp 2f; 2:") \
	X("jmp gate", "ljmp $0x5b, $0") X("jmp tss", "ljmp $0x28, $0") \
	X("jmp user", "ljmp $0x1b, $1f; 1: mov %cs, %eax") X("retf kernel", "push $0x8; push $1f; lret; 1:") \
	X("retf user", "push $0x23; push %esp; push $0x1b; push $1f; lret; 1: mov %cs, %eax") \
	X("iret own", "pushf; push %cs; push $1f; iret; 1: mov %cs, %eax") \
	X("iret flags", "push $0x3202; push %cs; push $1f; iret; 1: pushf; pop %eax; push $2; popf") \
	X("iret nt", "pushf; orl $0x4000, (%esp); popf; iret") X("int 21", "int $0x21") X("int3", "int3") \
	X("into", "mov $0x7f, %al; add $1, %al; into") X("icebp", ".byte 0xf1") \
	X("bound", "movl $1, scratch; movl $2, scratch + 4; bound %eax, scratch") \
	X("bound ok", "movl $1, scratch; movl $0x200, scratch + 4; bound %eax, scratch") \
	X("ud0", ".byte 0x0f, 0xff, 0xc0") X("ud1", ".byte 0x0f, 0xb9, 0xc0") X("ud2", "ud2") \
	X("cli", "cli; pushf; pop %eax") X("sti", "sti; pushf; pop %eax; cli") \
	X("hlt", "cmpw $8, 0; push %cs; pop %eax; test $3, %al; jz 1f; hlt; 1:") \
	X("in", "in $0x80, %al; xor %eax, %eax") X("out", "out %al, $0x80") \
	X("insb", "mov $scratch, %edi; mov $0x80, %edx; insb; movb $0, scratch") \
	X("outsw", "mov $scratch, %esi; mov $0x1230, %edx; outsw") \
	X("rep outsb none", "mov $0x1230, %edx; rep outsb") \
	X("lmsw", "smsw %ax; and $0xf, %eax; lmsw %ax; xor %eax, %eax") X("clts", "clts") \
	X("lgdt", "lgdt legacy_gdtr") X("lidt", "sidt scratch; lidt scratch") X("lldt", "sldt %eax; lldt %ax") \
	X("ltr", "mov $0x10, %eax; ltr %ax") X("invlpg", "invlpg scratch") X("invd", "invd") X("wbinvd", "wbinvd") \
	X("rdmsr", "mov $0x277, %ecx; rdmsr; xor %eax, %eax; xor %edx, %edx") \
	X("wrmsr", "mov $0x12345, %ecx; wrmsr") X("rdpmc", "mov $0x7f, %ecx; rdpmc") \
	X("rdtsc", "rdtsc; xor %eax, %eax; xor %edx, %edx") X("cpuid", "xor %eax, %eax; cpuid; xor %eax, %eax") \
	X("mov from cr0", "mov %cr0, %eax; and $1, %eax") \
	X("mov to cr0", "mov %cr0, %eax; mov %eax, %cr0; xor %eax, %eax") \
	X("mov from cr2", "mov %cr2, %eax; xor %eax, %eax") X("mov from cr4", "mov %cr4, %eax; and $0x7f, %eax") \
	X("mov from dr7", "mov %dr7, %eax") X("mov to dr0", "mov %eax, %dr0") \
	X("mov cr1", ".byte 0x0f, 0x20, 0xc8") X("sysenter", "sysenter") X("sysexit", "xor %ecx, %ecx; sysexit") \
	X("rsm", "rsm") X("lock nop", ".byte 0xf0, 0x90") X("lock mov", ".byte 0xf0, 0x89, 0xc0") \
	X("vmcall", ".byte 0x0f, 0x01, 0xc1") X("syscall", "syscall")
#define CODE(name, text) "9: " text "; int $0x80; hlt; .pushsection .rodata; .long 9b; .popsection;"
#define NAME(name, text) name,
__asm__(".pushsection .rodata; .balign 4; starts: .popsection;" CASES(CODE)
	"gate_entry: mov %cs, %eax; mov %ss, %ebx; lret");
static const char *const names[] = { CASES(NAME) };
extern const uint32_t starts[];
extern const uint8_t gate_entry[];

static void pass(const char *name, unsigned ring, uint32_t flags)
{
	print("%s, ring %u\n", name, ring);
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		memset((void *)scratch, 0, sizeof(scratch));
		print("%s: ", names[i]);
		TRY(enter(starts[i], ring, flags | 2));
	}
}

static const struct { const char *name; uint8_t bytes[12]; } v86_cases[] = {
	{ "sgdt", { 0x0f, 0x01, 0x06, 0x00, 0x08, 0x66, 0xa1, 0x00, 0x08 } },
	{ "sidt", { 0x0f, 0x01, 0x0e, 0x00, 0x08, 0x66, 0xa1, 0x02, 0x08 } },
	{ "smsw", { 0x0f, 0x01, 0xe0, 0x24, 0x3f } }, { "smsw mem", { 0x0f, 0x01, 0x26, 0x00, 0x08 } },
	{ "sldt", { 0x0f, 0x00, 0xc0 } }, { "str", { 0x0f, 0x00, 0xc8 } }, { "lar", { 0x0f, 0x02, 0xc0 } },
	{ "lsl", { 0x0f, 0x03, 0xc0 } }, { "verr", { 0x0f, 0x00, 0xe0 } }, { "arpl", { 0x63, 0xc0 } },
	{ "pushfd", { 0x66, 0x9c, 0x66, 0x58 } }, { "popfd", { 0x66, 0x6a, 0x02, 0x66, 0x9d } },
	{ "pushf", { 0x9c, 0x58 } }, { "popf iopl if", { 0x68, 0x02, 0x32, 0x9d, 0x9c, 0x58 } },
	{ "iret", { 0x9c, 0x0e, 0x68, 0x06, 0x00, 0xcf } },
	{ "push segments", { 0x0e, 0x58, 0x16, 0x5b, 0x1e, 0x5a } },
	{ "pop ds", { 0x68, 0x34, 0x12, 0x1f, 0x8c, 0xd8 } }, { "mov ss", { 0x8c, 0xd0, 0x8e, 0xd0 } },
	{ "int 21", { 0xcd, 0x21 } }, { "int3", { 0xcc } }, { "icebp", { 0xf1 } }, { "cli", { 0xfa } },
	{ "sti", { 0xfb } }, { "in", { 0xe4, 0x80 } }, { "lmsw", { 0x0f, 0x01, 0xf0 } },
	{ "clts", { 0x0f, 0x06 } }, { "mov cr0", { 0x0f, 0x20, 0xc0 } }, { "wbinvd", { 0x0f, 0x09 } },
	{ "lgdt", { 0x0f, 0x01, 0x16, 0, 8 } }, { "invlpg", { 0x0f, 0x01, 0x3e, 0, 8 } },
	{ "rdmsr", { 0x0f, 0x32 } }, { "cpuid", { 0x66, 0x33, 0xc0, 0x0f, 0xa2, 0x66, 0x33, 0xc0 } },
	{ "sysenter", { 0x0f, 0x34 } }, { "ud2", { 0x0f, 0x0b } }, { "bound", { 0x62, 0x06, 0, 8 } },
	{ "mov dr7", { 0x0f, 0x21, 0xf8 } }, { "rdpmc", { 0x0f, 0x33 } },
};

static void enter_v86(uint32_t flags)
{
	uint32_t frame[] = { 0, LOW >> 4, flags, 0xf00, LOW >> 4, LOW >> 4, LOW >> 4, 0, 0 };

	begin = 0;
	enter_frame(frame);
}

static void virtual8086(const char *name, uint32_t flags)
{
	print("%s, virtual-8086\n", name);
	for (unsigned i = 0; i < ARRAY_SIZE(v86_cases); i++) {
		unsigned len = sizeof(v86_cases[i].bytes);

		memset((void *)LOW, 0, 0x20);
		memset((void *)(LOW + 0x800), 0, 0x20);
		memset((void *)scratch, 0, sizeof(scratch));
		memcpy((void *)LOW, v86_cases[i].bytes, len);
		while (len && !v86_cases[i].bytes[len - 1])
			len--;
		*(volatile uint8_t *)(LOW + len) = HLT; /* ends it, by #GP */
		print("%s: ", v86_cases[i].name);
		TRY(enter_v86(flags | EF_VM | 2));
	}
}

static void all(const char *name)
{
	for (unsigned ring = 0; ring < 4; ring++)
		pass(name, ring, 0);
}

void payload_main(void)
{
	outb(PIC1 + 1, 0xff);
	outb(PIC2 + 1, 0xff);
	put_cr0(get_cr0() | CR0_NE);
	for (unsigned ring = 1; ring < 3; ring++) {
		set_descriptor(SEL_CODE_OF(ring), 0, 0xfffff, ACC_CODE | ring << 5, FLAG_G | FLAG_DB);
		set_descriptor(SEL_DATA_OF(ring), 0, 0xfffff, ACC_DATA | ring << 5, FLAG_G | FLAG_DB);
	}
	set_descriptor(SEL_CONFORMING, 0, 0xfffff, ACC_CODE | 4, FLAG_G | FLAG_DB);
	gdt32[SEL_GATE / 8] = (ADDRESS(gate_entry) & 0xffff) | (uint64_t)SEL_CODE << 16 | (uint64_t)(ACC_CALL32 | ACC_DPL3) << 40 |
			      (uint64_t)(ADDRESS(gate_entry) >> 16) << 48;
	set_descriptor(SEL_LDT_, ADDRESS(stack), 0xff, ACC_LDT, 0);
	set_stub(VEC_DONE, GATE_INT32 | ACC_DPL3);
	set_stub(3, GATE_INT32 | ACC_DPL3);
	legacy_hook = on_trap;
	all("plain");
	pass("iopl 1", 1, 1 << 12);
	pass("iopl 3", 3, EF_IOPL);
	virtual8086("iopl 0", 0);
	virtual8086("iopl 3", EF_IOPL);
	put_cr4(get_cr4() | CR4_TSD);
	pass("tsd", 3, 0);
	put_cr4(get_cr4() & ~CR4_TSD);
	if (cpuid(0, 0).a >= 7 && (cpuid(7, 0).c & CPUID7C_UMIP)) {
		put_cr4(get_cr4() | CR4_UMIP);
		all("umip");
		virtual8086("umip", 0);
		put_cr4(get_cr4() & ~CR4_UMIP);
	}
	legacy_hook = NULL;
}
