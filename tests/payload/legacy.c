/* Descriptor tables and traps of the 32-bit payloads. */
#include "legacy.h"

#define STUB_SIZE 16 /* as in legacy.asm */
#define TSS_LIMIT (sizeof(struct tss32) - 1)

extern const uint8_t stub_table[];
extern volatile bool trap_armed;
void legacy_dispatch(struct frame32 *f);
__attribute__((noreturn)) void trap_return(void);
uint64_t __udivmoddi4(uint64_t a, uint64_t b, uint64_t *rest);
uint64_t __udivdi3(uint64_t a, uint64_t b);
uint64_t __umoddi3(uint64_t a, uint64_t b);

uint64_t gdt32[GDT_SLOTS] __attribute__((aligned(8))) = {
	0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00cffb000000ffff, 0x00cff3000000ffff,
};
uint64_t idt32[256] __attribute__((aligned(8)));
struct tss32 main_tss;
volatile bool trap_armed; /* set by trap_catch() */
struct fault fault;
bool (*volatile legacy_hook)(struct frame32 *);
static uint8_t ring0_stack[4096] __attribute__((aligned(16)));

struct table { uint16_t limit; uint32_t base; } __attribute__((packed));
extern const struct table legacy_gdtr;
const struct table legacy_gdtr = { sizeof(gdt32) - 1, (uint32_t)gdt32 };

/* What the compiler calls for 64-bit divisions. */
uint64_t __udivmoddi4(uint64_t a, uint64_t b, uint64_t *rest)
{
	uint64_t q = 0, r = 0;

	for (int i = 63; i >= 0; i--) {
		r = r << 1 | (a >> i & 1);
		if (r >= b) {
			r -= b;
			q |= BIT(i);
		}
	}
	if (rest)
		*rest = r;
	return q;
}

uint64_t __udivdi3(uint64_t a, uint64_t b) { return __udivmoddi4(a, b, NULL); }

uint64_t __umoddi3(uint64_t a, uint64_t b)
{
	uint64_t rest;

	__udivmoddi4(a, b, &rest);
	return rest;
}

void set_descriptor(unsigned selector, uint32_t base, uint32_t limit, unsigned access, unsigned flags)
{
	gdt32[selector / 8] = (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)access << 40 |
			      (uint64_t)(limit >> 16 & 0xf) << 48 | (uint64_t)flags << 52 | (uint64_t)(base >> 24) << 56;
}

uint8_t *access_byte(unsigned selector) { return (uint8_t *)&gdt32[selector / 8] + 5; }

static void set_gate(unsigned vector, uint32_t offset, unsigned selector, unsigned access)
{
	idt32[vector] = (offset & 0xffff) | (uint64_t)selector << 16 | (uint64_t)access << 40 |
			(uint64_t)(offset >> 16) << 48;
}

void set_task_gate(unsigned vector, unsigned selector, unsigned access) { set_gate(vector, 0, selector, access); }

void set_stub(unsigned vector, unsigned access)
{
	set_gate(vector, (uint32_t)stub_table + vector * STUB_SIZE, SEL_CODE, access);
}

void trap_init(void)
{
	struct table idtr = { sizeof(idt32) - 1, (uint32_t)idt32 };

	for (unsigned i = 0; i < ARRAY_SIZE(idt32); i++)
		set_stub(i, GATE_INT32);
	__asm__ volatile("lidt %0" :: "m"(idtr));
	main_tss.ss0 = SEL_DATA;
	main_tss.esp0 = (uint32_t)(ring0_stack + sizeof(ring0_stack));
	main_tss.iomap = sizeof(main_tss);
	set_descriptor(SEL_MAIN, (uint32_t)&main_tss, TSS_LIMIT, ACC_TSS, 0);
	__asm__ volatile("ltr %w0" :: "r"(SEL_MAIN));
}

void trap_release(void) { trap_armed = false; }

void legacy_dispatch(struct frame32 *f)
{
	if (legacy_hook && legacy_hook(f))
		return;
	fault = (struct fault){ .vector = (int)f->vector, .error = f->error, .rip = f->eip, .cr2 = get_cr2() };
	if (trap_armed)
		trap_return();
	print("trap: vector=%u error=%x cs=%x eip=%x cr2=%x\n", f->vector, f->error, f->cs, f->eip, get_cr2());
	print_flush();
	for (;;)
		__asm__ volatile("cli; hlt");
}

void report(const char *name, int vector)
{
	if (vector == NO_FAULT)
		print("%s: ok\n", name);
	else
		print("%s: fault=%d error=%x\n", name, vector, (uint32_t)fault.error);
}
