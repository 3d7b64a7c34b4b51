/* Device registers through the integer instructions that mmio.c leaves out. Flags that are undefined are not shown. */
#include "mmio.h"

#define HIGH     (LAPIC + LAPIC_ICR_HI) /* its upper byte can be written */
#define CF       0x1
#define CF_OF    0x801
#define ZF       0x40
#define CF_ZF    0x41
#define NO_AF_OF 0xc5
#define ROTATED  0xd5 /* a rotation by more than one: OF is undefined, the others stay */
#define COUNT    (LAPIC + LAPIC_INIT_COUNT)

static void carries(void)
{
	OP("stc; adc %%eax, (%%rbx)", TPR, 0x0f, 0x20, FLAGS_ARITH);
	OP("adc (%%rbx), %%eax", HIGH, 0xff000000, 0x01000000, FLAGS_ARITH);
	OP("stc; adcl $0x1f, (%%rbx)", TPR, 0x20, 0, FLAGS_ARITH);
	OP("stc; adcq $-1, (%%rbx)", ABSENT, 0, 0, FLAGS_ARITH);
	OP("stc; adc %%al, (%%rbx)", ABSENT, 0, 0, FLAGS_ARITH);
	OP("stc; sbb %%eax, (%%rbx)", TPR, 0x30, 0x0f, FLAGS_ARITH);
	OP("stc; sbb (%%rbx), %%eax", TPR, 0x10, 0x10, FLAGS_ARITH);
	OP("sbbl $0x10, (%%rbx)", TPR, 0x30, 0, FLAGS_ARITH);
	OP("stc; sbbw $-1, (%%rbx)", ABSENT, 0, 0, FLAGS_ARITH);
	OP("stc; incl (%%rbx)", TPR, 0x0f, 0, FLAGS_ARITH);
	OP("incb (%%rbx)", ABSENT, 0, 0, FLAGS_ARITH);
	OP("lock incq (%%rbx)", ABSENT, 0, 0, FLAGS_ARITH);
	OP("decl (%%rbx)", TPR, 0x10, 0, FLAGS_ARITH);
	OP("stc; lock decl (%%rbx)", HIGH, 0x01000000, 0, FLAGS_ARITH);
	OP("notl (%%rbx)", TPR, 0xa5, 0, FLAGS_ARITH);
	OP("lock notw (%%rbx)", ABSENT, 0, 0, FLAGS_ARITH);
	OP("negl (%%rbx)", TPR, 0x10, 0, FLAGS_ARITH);
	OP("negq (%%rbx)", ABSENT, 0, 0, FLAGS_ARITH);
}

static void shifts(void)
{
	OP("roll $8, (%%rbx)", HIGH, 0xa5000000, 0, ROTATED);
	OP("roll (%%rbx)", TPR, 0x81, 0, FLAGS_ARITH);
	OP("rorl %%cl, (%%rbx)", TPR, 0xe0, 0, ROTATED);
	OP("rorb (%%rbx)", ABSENT, 0, 0, FLAGS_ARITH);
	OP("stc; rcll (%%rbx)", TPR, 0x40, 0, FLAGS_ARITH);
	OP("stc; rcll %%cl, (%%rbx)", HIGH, 0xf8000000, 0, ROTATED);
	OP("stc; rcrl (%%rbx)", TPR, 0x82, 0, FLAGS_ARITH);
	OP("rcrw %%cl, (%%rbx)", ABSENT, 0, 0, ROTATED);
	OP("shll (%%rbx)", TPR, 0x41, 0, FLAGS_LOGIC);
	OP("shll $3, (%%rbx)", TPR, 0x11, 0, NO_AF_OF);
	OP("shll $0, (%%rbx)", TPR, 0x11, 0, FLAGS_ARITH);
	OP("shrl %%cl, (%%rbx)", TPR, 0xe0, 0, NO_AF_OF);
	OP("shrq (%%rbx)", ABSENT, 0, 0, FLAGS_LOGIC);
	OP("sarl $4, (%%rbx)", HIGH, 0x80000000, 0, NO_AF_OF);
	OP("sarb %%cl, (%%rbx)", ABSENT, 0, 0, NO_AF_OF);
	OP("shld $4, %%eax, (%%rbx)", TPR, 0x0a, 0x50000000, NO_AF_OF);
	OP("shld %%cl, %%rax, (%%rbx)", ABSENT, 0, 0, NO_AF_OF);
	OP("shrd $4, %%eax, (%%rbx)", HIGH, 0xa0000000, 5, NO_AF_OF);
	OP("shrd %%cl, %%ax, (%%rbx)", ABSENT, 0, 0, NO_AF_OF);
}

static void products(void)
{
	OP("mull (%%rbx)", HIGH, 0x12000000, 0x100, CF_OF);
	OP("mulb (%%rbx)", ABSENT, 0, 0x11223302, CF_OF);
	OP("mulq (%%rbx)", ABSENT, 0, 3, CF_OF);
	OP("imull (%%rbx)", TPR, 0x30, -2ull, CF_OF);
	OP("imulw (%%rbx)", ABSENT, 0, 0x8000, CF_OF);
	OP("imul (%%rbx), %%eax", HIGH, 0x7f000000, 2, CF_OF);
	OP("imul $-3, (%%rbx), %%eax", TPR, 0x21, 0, CF_OF);
	OP("imul $0x12345, (%%rbx), %%rax", ABSENT, 0, 0, CF_OF);
	OP("divl (%%rbx)", TPR, 0x10, 0x12345678, 0);
	OP("divb (%%rbx)", ABSENT, 0, 0x1234, 0);
	OP("cltd; idivl (%%rbx)", TPR, 0x10, 0x80000001, 0);
	OP("cqto; idivq (%%rbx)", ABSENT, 0, 0x123456789, 0);
	mmio_write(TPR, 0);
	print("divide by 0: fault=%d\n", TRY(__asm__ volatile("divl (%0)" :: "b"(TPR), "a"(1), "d"(0))));
	print("overflow: fault=%d\n", TRY(__asm__ volatile("divl (%0)" :: "b"(ABSENT), "a"(0), "d"(-1))));
	print("signed overflow: fault=%d\n", TRY(__asm__ volatile("idivl (%0)" :: "b"(ABSENT), "a"(0x80000000), "d"(-1))));
}

static void exchanges(void)
{
	OP("xadd %%eax, (%%rbx)", TPR, 0x11, 0x22, FLAGS_ARITH);
	OP("lock xadd %%eax, (%%rbx)", HIGH, 0xff000000, 0x01000000, FLAGS_ARITH);
	OP("xadd %%ah, (%%rbx)", ABSENT, 0, 0x100, FLAGS_ARITH);
	OP("cmpxchg %%edx, (%%rbx)", TPR, 0x30, 0x30, FLAGS_ARITH);
	OP("cmpxchg %%edx, (%%rbx)", TPR, 0x30, 0xffffffff00000031, FLAGS_ARITH);
	OP("lock cmpxchg %%edx, (%%rbx)", HIGH, 0x80000000, 1, FLAGS_ARITH);
	OP("cmpxchg %%dl, (%%rbx)", ABSENT, 0, 0x1ff, FLAGS_ARITH);
	OP("cmpxchg8b (%%rbx)", ABSENT, 0, ~0ull, ZF);
	OP("mov $-1, %%edx; lock cmpxchg8b (%%rbx)", ABSENT, 0, 0xffffffff, ZF);
	OP("cmpxchg16b (%%rbx)", ABSENT, 0, 0, ZF);
	OP("mov $-1, %%rdx; lock cmpxchg16b (%%rbx)", ABSENT, 0, ~0ull, ZF);
	print("cmpxchg16b misaligned: fault=%d\n", TRY(__asm__ volatile("cmpxchg16b (%0)" :: "r"(ABSENT + 8) : "rax", "rdx", "memory")));
	OP("bts %%eax, (%%rbx)", TPR, 0x10, 3, CF);
	OP("lock btr %%eax, (%%rbx)", TPR, 0x18, 4, CF);
	OP("btc %%eax, (%%rbx)", TPR, 0x18, 0, CF);
	OP("bts %%eax, -0x200(%%rbx)", LAPIC + LAPIC_ICR_HI, 0, 8 * 0x200 + 30, CF);
	OP("btc %%eax, 0x10(%%rbx)", HIGH, 0x41000000, -128ull + 24, CF); /* bits before the operand */
	OP("btsl $4, (%%rbx)", TPR, 0x00, 0, CF);
	OP("lock btrl $4, (%%rbx)", TPR, 0x18, 0, CF);
	OP("btcq $63, (%%rbx)", ABSENT, 0, 0, CF);
	OP("btcw $0x25, (%%rbx)", ABSENT, 0, 0, CF);
}

static void conditions(void)
{
	OP("stc; setc (%%rbx)", ABSENT, 0, 0, CF);
	OP("cmp %%eax, %%eax; setne (%%rbx)", ABSENT, 0, 0, ZF);
	OP("stc; cmovc (%%rbx), %%eax", TPR, 0x44, ~0ull, CF);
	OP("cmovc (%%rbx), %%eax", TPR, 0x44, ~0ull, CF);
	OP("cmovz (%%rbx), %%ax", ABSENT, 0, 0x1234, 0);
	OP("cmovnz (%%rbx), %%rax", ABSENT, 0, 0, 0);
	OP("bsf (%%rbx), %%eax", TPR, 0x28, 0, ZF);
	OP("bsr (%%rbx), %%eax", TPR, 0x28, 0, ZF);
	OP("bsf (%%rbx), %%eax", TPR, 0, 0x77, ZF);
	OP("bsr (%%rbx), %%rax", ABSENT, 0, 0, ZF);
	OP("popcnt (%%rbx), %%eax", TPR, 0xa7, 0, FLAGS_ARITH);
	OP("popcnt (%%rbx), %%ax", ABSENT, 0, 0x12340000, FLAGS_ARITH);
	OP("tzcnt (%%rbx), %%eax", TPR, 0x28, 0, ZF);
	OP("lzcnt (%%rbx), %%eax", HIGH, 0x01000000, 0, ZF);
	OP("movnti %%eax, (%%rbx)", TPR, 0, 0x59, 0);
	OP("movnti %%rax, (%%rbx)", ABSENT, 0, 1, 0);
	OP("xlat (%%rbx)", ABSENT, 0, 0x1205, 0);
	OP("clflush (%%rbx)", ABSENT, 0, 0, 0);
	if (cpuid(1, 0).c & BIT(22)) {
		OP("movbe (%%rbx), %%eax", TPR, 0x5a, 0, 0);
		OP("movbe %%eax, (%%rbx)", HIGH, 0, 0x99, 0);
		OP("movbe (%%rbx), %%ax", ABSENT, 0, 0x12340000, 0);
		OP("movbe %%rax, (%%rbx)", ABSENT, 0, 1, 0);
	}
}

static void stack(void)
{
	OP("pushq (%%rbx); pop %%rax", ABSENT, 0, 0, 0);
	OP("pushw (%%rbx); pop %%ax", ABSENT, 0, 0x1122334455660000, 0);
	OP("push %%rax; popq (%%rbx)", ABSENT, 0, 5, 0);
	OP("push %%ax; popw (%%rbx)", ABSENT, 0, 5, 0);
	OP("mov %%rsp, %%rcx; lea 0x10(%%rbx), %%rsp; mov %%rcx, %%rsp; pushq 0x20(%%rbx); pop %%rax", ABSENT, 0, 0, 0);
	print("jmp through what is absent: fault=%d", TRY(__asm__ volatile("jmp *(%0)" :: "r"(ABSENT))));
	print(" error %lx rip %lx cr2 %lx\n", fault.error, fault.rip, fault.cr2);
	print("call: fault=%d", TRY(__asm__ volatile("call *(%0)" :: "r"(ABSENT))));
	print(" error %lx rip %lx cr2 %lx\n", fault.error, fault.rip, fault.cr2);
}

static void comparisons(void)
{
	static uint32_t buf[16];

	memset(buf, 0xff, sizeof(buf));
	buf[9] = 0xfffffffe;
	COMPARE("cmpsl", ABSENT, buf, 0, 0);
	COMPARE("repe cmpsl", ABSENT, buf, 16, 0);
	COMPARE("repe cmpsb", ABSENT, buf, 64, 0);
	COMPARE("repe cmpsl", buf, ABSENT, 16, 0);
	COMPARE("repne cmpsl", buf + 4, ABSENT, 3, 0);
	COMPARE("std; repe cmpsw", ABSENT + 100, (uint16_t *)buf + 31, 32, 0);
	COMPARE("repe cmpsl", ABSENT, buf, 0, 0);
	COMPARE("scasl", TPR, buf, 0, 0x10);
	COMPARE("scasb", ABSENT, buf, 0, 0xff);
	COMPARE("repe scasl", ABSENT, buf, 700, 0xffffffff); /* more than one piece of it */
	COMPARE("repne scasq", ABSENT, buf, 300, 5);
	COMPARE("repne scasw", ABSENT, buf, 300, 0xffff);
	COMPARE("addr32 repe scasl", ABSENT, buf, 0xff00000004, 0xffffffff);
	COMPARE("cmpsl", TPR, TPR, 0, 0);
}

void payload_main(void)
{
	irq_init();
	carries();
	shifts();
	products();
	exchanges();
	conditions();
	stack();
	comparisons();
	access_faults();
}
