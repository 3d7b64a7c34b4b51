/* Exceptions: recorded and left by TRY, or handed to a hook; interrupts: handed to their function. */
#include "payload.h"

#define GATE_INTERRUPT 0x8e
#define GATE_USER      0xee
#define STUB_SIZE      16 /* as in start.asm */
#define FIRST_IRQ      32
#define USER_GATE      0x80

struct gate { uint16_t low, selector; uint8_t ist, type; uint16_t mid; uint32_t high, zero; };
extern const uint8_t stub_table[];
extern volatile bool trap_armed;

static struct gate idt[256];
static irq_fn irq_table[256];
volatile bool trap_armed; /* set by trap_catch() */
struct fault fault;
bool (*volatile trap_hook)(struct frame *);

void trap_dispatch(struct frame *f);
__attribute__((noreturn)) void trap_return(void);

void trap_init(void)
{
	struct { uint16_t limit; uint64_t base; } __attribute__((packed)) idtr = { sizeof(idt) - 1, (uint64_t)idt };

	for (unsigned i = 0; i < ARRAY_SIZE(idt); i++) {
		uint64_t a = (uint64_t)stub_table + i * STUB_SIZE;

		idt[i] = (struct gate){ (uint16_t)a, SEL_CODE, 0, i == USER_GATE || i == 3 ? GATE_USER : GATE_INTERRUPT,
					(uint16_t)(a >> 16), (uint32_t)(a >> 32), 0 };
	}
	__asm__ volatile("lidt %0" :: "m"(idtr));
}

void irq_set(unsigned vector, irq_fn fn) { irq_table[vector] = fn; }

void trap_release(void) { trap_armed = false; }

void trap_dispatch(struct frame *f)
{
	if (f->vector >= FIRST_IRQ && f->vector != USER_GATE) {
		if (irq_table[f->vector])
			irq_table[f->vector](f);
		else
			print("trap: stray interrupt %x\n", (uint32_t)f->vector);
		return;
	}
	if (trap_hook && trap_hook(f))
		return;
	fault = (struct fault){ (int)f->vector, f->error, f->rip, rdcr2(), f->rcx, f->rsi, f->rdi };
	if (trap_armed)
		trap_return();
	print("trap: vector=%u error=%lx rip=%lx cr2=%lx\n", (uint32_t)f->vector, f->error, f->rip, rdcr2());
	print_flush();
	for (;;)
		__asm__ volatile("cli; hlt");
}

void report(const char *name, int vector)
{
	if (vector == NO_FAULT)
		print("%s: ok\n", name);
	else
		print("%s: fault=%d error=%lx\n", name, vector, fault.error);
}

void window_set(unsigned page, uint64_t pte)
{
	window_pt[page] = pte;
	__asm__ volatile("invlpg (%0)" :: "r"(WINDOW + page * PAGE) : "memory");
}

volatile void *window_phys(uint64_t phys)
{
	window_pd[1] = (phys & ~(MiB(2) - 1)) | PTE_P | PTE_W | PTE_PS;
	__asm__ volatile("invlpg (%0)" :: "r"(WINDOW_2M) : "memory");
	return (volatile void *)(WINDOW_2M + (phys & (MiB(2) - 1)));
}
