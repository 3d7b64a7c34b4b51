#include "arch/x86_64/trap.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/gdt.h"
#include "arch/x86_64/irq.h"
#include "arch/x86_64/nmi.h"

/* SDM 3A, "64-Bit Mode IDT" */
struct gate {
	uint16_t offset_low, selector;
	uint8_t ist, type;
	uint16_t offset_mid;
	uint32_t offset_high, reserved;
};
_Static_assert(sizeof(struct gate) == 16, "IDT gate");
#define GATE_INTERRUPT 0x8e /* present, DPL 0, interrupts off */

#define TRAP_STUB_SIZE 16 /* as in trap.asm */
#define VEC_EXCEPTIONS 32

_Static_assert(sizeof(struct trap_frame) == 22 * 8 && offsetof(struct trap_frame, rip) == 17 * 8, "trap.asm pushes it");

struct fixup { uint64_t from, to; };

extern const uint8_t trap_stubs[];
extern const struct fixup fixup_start[], fixup_end[];

static struct gate idt[256] __attribute__((aligned(16)));

void trap_entry(struct trap_frame *f);

void idt_init(void)
{
	for (unsigned v = 0; v < ARRAY_SIZE(idt); v++) {
		uint64_t stub = (uint64_t)trap_stubs + v * TRAP_STUB_SIZE;
		uint8_t ist = v == VEC_DF ? IST_DF : v == VEC_NMI ? IST_NMI : v == VEC_MC ? IST_MC : IST_NONE;

		idt[v] = (struct gate){ (uint16_t)stub, SEL_CODE64, ist, GATE_INTERRUPT, (uint16_t)(stub >> 16),
		                        (uint32_t)(stub >> 32), 0 };
	}
}

void idt_load(void)
{
	struct { uint16_t limit; uint64_t base; } __packed idtr = { sizeof(idt) - 1, (uint64_t)idt };

	__asm__ volatile("lidt %0" : : "m"(idtr));
}

uint64_t idt_base(void) { return (uint64_t)idt; }

static bool fixed_up(struct trap_frame *f)
{
	for (const struct fixup *x = fixup_start; x < fixup_end; x++)
		if (x->from == f->rip) {
			f->rip = x->to;
			return true;
		}
	return false;
}

void trap_entry(struct trap_frame *f)
{
	if (f->vector >= VEC_EXCEPTIONS) {
		irq_dispatch((uint8_t)f->vector);
	} else if (f->vector == VEC_NMI) {
		panic_nmi(f);
		nmi_arrived();
	} else if (f->vector == VEC_DF || f->vector == VEC_MC || !fixed_up(f)) {
		panic_trap(f);
	}
}

bool rdmsr_safe(uint32_t msr, uint64_t *v)
{
	uint32_t lo = 0, hi = 0;
	bool ok = false;

	__asm__ volatile("1:\trdmsr\n\t"
	                 "movb $1, %0\n"
	                 "2:\n\t" FIXUP("1b", "2b")
	                 : "+&q"(ok), "+&a"(lo), "+&d"(hi) : "c"(msr));
	if (ok)
		*v = (uint64_t)hi << 32 | lo;
	return ok;
}

bool wrmsr_safe(uint32_t msr, uint64_t v)
{
	bool ok = false;

	__asm__ volatile("1:\twrmsr\n\t"
	                 "movb $1, %0\n"
	                 "2:\n\t" FIXUP("1b", "2b")
	                 : "+&q"(ok) : "c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory");
	return ok;
}
