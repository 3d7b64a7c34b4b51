/*
 * x87, SSE, AVX and AVX-512: the state over exits and other guests' turns, with the last instruction's pointers; what is
 * raised with each setting of CR0 and CR4; the faults of their loads and stores.
 */
#include "payload.h"

#define CR0_MP BIT(1)
#define CR0_EM BIT(2)
#define CR0_TS BIT(3)
#define CR0_NE BIT(5)
#define CR4_OSFXSR     BIT(9)
#define CR4_OSXMMEXCPT BIT(10)
#define CR4_OSXSAVE    BIT(18)
#define CPUID1C_XSAVE  BIT(26)
#define XCR0_AVX       7u
#define XCR0_AVX512    0xe7u
#define MXCSR_INIT     0x1f80
#define SPIN           2000000 /* iterations: some slices */
#define AREA           4096

static uint8_t area[AREA] __attribute__((aligned(64))), image[AREA] __attribute__((aligned(64)));
static uint8_t in[8 * 64] __attribute__((aligned(64))), out[8 * 64] __attribute__((aligned(64)));
static uint32_t mxcsr;
static const uint32_t zero;
static uint64_t x87_at;
static bool has_xsave;

static void nothing(void) { }
static void cpuid_exit(void) { cpuid(0, 0); }
static void port_exit(void) { inb(0x80); }
static void device_exit(void) { (void)mmio_read(IOAPIC); }
static void cr_exit(void)
{
	uint64_t cr0 = rdcr0();

	wrcr0((cr0 | BIT(30)) & ~BIT(29));
	wrcr0(cr0);
}
static void spin(void) { uint64_t n = SPIN; __asm__ volatile("1: dec %0; jnz 1b" : "+r"(n) :: "cc"); }

static const struct { const char *name; void (*fn)(void); } exits[] = {
	{ "nothing", nothing }, { "cpuid", cpuid_exit }, { "port", port_exit }, { "device", device_exit },
	{ "cr0", cr_exit }, { "turns", spin },
};

static void words(const char *name, const uint8_t *p, unsigned n)
{
	print("%s:", name);
	for (unsigned i = 0; i < n; i += 4)
		print(" %x", *(const uint32_t *)(p + i));
	print("\n");
}

/* Where the x87 last computed and with what: instruction, selector, opcode, operand. */
static void pointers(void (*exit)(void), const char *name)
{
	static uint32_t operand = 3;

	print("x87 over %s\n", name);
	memset(area, 0, sizeof(area));
	__asm__ volatile("fninit; fld1; fldpi; lea 1f(%%rip), %%rax; mov %%rax, %0\n1: fiaddl %1"
			 : "=m"(x87_at) : "m"(operand) : "rax");
	exit();
	__asm__ volatile("fnsave %0; fwait" : "=m"(area));
	print("fnsave: %x %x %x ip +%x cs %x op %x dp +%x ds %x\n", *(uint16_t *)area, *(uint16_t *)(area + 4), *(uint16_t *)(area + 8),
	      *(uint32_t *)(area + 12) - (uint32_t)x87_at, *(uint16_t *)(area + 16), *(uint16_t *)(area + 18),
	      *(uint32_t *)(area + 20) - (uint32_t)(uint64_t)&operand, *(uint16_t *)(area + 24));
	words("registers", area + 28, 20);
	__asm__ volatile("frstor %0; fld1" :: "m"(area));
	exit();
	__asm__ volatile("fxsave64 %0" : "=m"(image));
	uint64_t behind = *(uint64_t *)(image + 8) - x87_at;
	print("fxsave64: %x %x %x op %x ip +%lx dp +%lx\n", *(uint16_t *)image, *(uint16_t *)(image + 2), image[4],
	      *(uint16_t *)(image + 6), behind < 256 ? behind : 0xfff,
	      *(uint64_t *)(image + 16) - (uint64_t)&operand);
	__asm__ volatile("fxsave %0" : "=m"(image));
	print("fxsave: cs %x ds %x\n", *(uint16_t *)(image + 12), *(uint16_t *)(image + 20));
	words("st0", image + 32, 10);
	/* A pending exception waits, and is raised by the next instruction that waits. */
	__asm__ volatile("fninit; fldcw %0" :: "m"((uint16_t[]){ 0x37b })); /* divide by zero unmasked */
	__asm__ volatile("fld1; fidivl %0" :: "m"(zero));
	exit();
	print("fwait: fault=%d", TRY(__asm__ volatile("fwait")));
	print(" fninit: fault=%d\n", TRY(__asm__ volatile("fninit")));
	mxcsr = 0x3f80 | 0x21;
	__asm__ volatile("ldmxcsr %0" :: "m"(mxcsr));
	exit();
	__asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
	print("mxcsr: %x\n", mxcsr);
	mxcsr = MXCSR_INIT;
	__asm__ volatile("ldmxcsr %0" :: "m"(mxcsr));
}

#define EACH(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7)
#define LOAD_AVX(n)  "vmovdqa 64*" #n "(%0), %%ymm" #n ";"
#define STORE_AVX(n) "vmovdqa %%ymm" #n ", 64*" #n "(%0);"
#define LOAD_512(n)  "vmovdqa64 64*" #n "(%0), %%zmm1" #n ";"
#define STORE_512(n) "vmovdqa64 %%zmm1" #n ", 64*" #n "(%0);"

static void vectors(uint32_t xcr0, void (*exit)(void), const char *name)
{
	uint64_t k = 0x123456789abcdef0, kept = 0;

	memset(out, 0, sizeof(out));
	if (xcr0 == XCR0_AVX512) {
		__asm__ volatile(EACH(LOAD_512) "kmovq %1, %%k3" :: "r"(in), "r"(k) : "memory");
		exit();
		__asm__ volatile(EACH(STORE_512) "kmovq %%k3, (%1)" :: "r"(out), "r"(&kept) : "memory");
		print("zmm over %s: %s, mask %s\n", name, memcmp(in, out, sizeof(in)) ? "lost" : "kept", k == kept ? "kept" : "lost");
	} else if (xcr0 == XCR0_AVX) {
		bool lost = false;

		__asm__ volatile(EACH(LOAD_AVX) :: "r"(in) : "memory");
		exit();
		__asm__ volatile(EACH(STORE_AVX) :: "r"(out) : "memory");
		for (unsigned i = 0; i < 8; i++)
			lost |= memcmp(in + 64 * i, out + 64 * i, 32) != 0;
		print("ymm over %s: %s\n", name, lost ? "lost" : "kept");
	}
}

/* #NM, #UD or nothing. */
static void settings(void)
{
	uint64_t cr0 = rdcr0(), cr4 = rdcr4();

	for (unsigned i = 0; i < 32; i++) {
		print("%s%s%s%s%s:", i & 1 ? " mp" : "", i & 2 ? " em" : "", i & 4 ? " ts" : "",
		      i & 8 ? " osfxsr" : "", i & 16 ? " osxsave" : "");
#define ONE(insn) do { \
		wrcr4((cr4 & ~(CR4_OSFXSR | CR4_OSXSAVE)) | (i & 8 ? CR4_OSFXSR : 0) | (i & 16 && has_xsave ? CR4_OSXSAVE : 0)); \
		wrcr0((cr0 & ~(CR0_MP | CR0_EM | CR0_TS)) | (i & 7) << 1); \
		print(" %d", TRY(__asm__ volatile(insn :: "r"(area), "m"(mxcsr), "a"(3), "d"(0), "c"(0) : "memory"))); \
		wrcr0((cr0 & ~(CR0_EM | CR0_TS)) | CR0_MP); \
	} while (0)
		ONE("fwait"); ONE("fninit"); ONE("fnstcw (%0)"); ONE("emms"); ONE("movd %%eax, %%mm0; emms"); ONE("fxsave (%0)");
		ONE("ldmxcsr %1"); ONE("xorps %%xmm0, %%xmm0"); ONE("crc32b %%al, %%ecx");
		ONE("pause"); ONE("sfence"); ONE("movnti %%eax, (%0)");
		ONE("prefetcht0 (%0)"); ONE("xgetbv; mov $3, %%eax; mov $0, %%edx"); ONE("xsave (%0)");
		ONE("vzeroupper"); ONE("clflush (%0)");
		print("\n");
	}
	wrcr4(cr4);
	wrcr0(cr0);
}

#define XS(insn, p, mask) TRY(__asm__ volatile(insn " (%0)" :: "r"(p), "a"(mask), "d"(0) : "memory"))

/* What the loads refuse. */
static void refusals(uint32_t xcr0)
{
	__asm__ volatile("fninit; fxsave64 %0" : "=m"(image));
	print("fxsave odd: %d", TRY(__asm__ volatile("fxsave (%0)" :: "r"(area + 8) : "memory")));
	*(uint32_t *)(image + 24) = 0x80000000 | MXCSR_INIT;
	print(" fxrstor mxcsr: %d", TRY(__asm__ volatile("fxrstor64 %0" :: "m"(image))));
	*(uint32_t *)(image + 24) = MXCSR_INIT;
	print(" fxrstor: %d\n", TRY(__asm__ volatile("fxrstor64 %0" :: "m"(image))));
	for (unsigned bit = 0; bit < 32; bit++) {
		mxcsr = 1u << bit | MXCSR_INIT;
		print("%s%d", bit ? " " : "ldmxcsr: ", TRY(__asm__ volatile("ldmxcsr %0" :: "m"(mxcsr))));
	}
	mxcsr = MXCSR_INIT;
	__asm__ volatile("ldmxcsr %0" :: "m"(mxcsr));
	print("\n");
	for (unsigned on = 0; on < 2; on++) { /* divide by zero, unmasked */
		wrcr4(on ? rdcr4() | CR4_OSXMMEXCPT : rdcr4() & ~CR4_OSXMMEXCPT);
		mxcsr = MXCSR_INIT & ~0x200;
		print("divss: %d\n", TRY(__asm__ volatile("ldmxcsr %0; mov $0x3f800000, %%eax; movd %%eax, %%xmm1; xorps %%xmm2, %%xmm2;"
							  "divss %%xmm2, %%xmm1" :: "m"(mxcsr) : "rax")));
	}
	mxcsr = MXCSR_INIT;
	__asm__ volatile("ldmxcsr %0" :: "m"(mxcsr));
	print("movaps odd: %d\n", TRY(__asm__ volatile("movaps (%0), %%xmm0" :: "r"(area + 4))));
	if (!has_xsave)
		return;
	uint32_t variants = cpuid(0xd, 1).a;
	memset(image, 0, sizeof(image));
	print("xsave: %d bv %lx", XS("xsave64", image, xcr0), *(uint64_t *)(image + 512));
	print(" odd: %d", XS("xsave64", image + 8, xcr0));
	print(" xrstor: %d odd: %d", XS("xrstor64", image, xcr0), XS("xrstor64", image + 8, xcr0));
	static const struct { const char *name; unsigned at; uint64_t v; } bad[] = {
		{ "bv 63", 512, BIT(63) | 1 }, { "bv beyond xcr0", 512, BIT(20) }, { "comp", 520, BIT(63) | 3 },
		{ "comp bit", 520, 1 }, { "reserved", 528, 1 }, { "end of header", 568, 1 }, { "mxcsr", 24, 0xffffffff },
	};
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		uint64_t old = *(uint64_t *)(image + bad[i].at);

		*(uint64_t *)(image + bad[i].at) = bad[i].v;
		print(" %s: %d", bad[i].name, XS("xrstor64", image, xcr0));
		*(uint64_t *)(image + bad[i].at) = old;
	}
	print("\n");
	__asm__ volatile("fninit; fld1; xorps %xmm0, %xmm0");
	memset(image, 0xa5, sizeof(image));
	memset(image + 512, 0, 64);
	if (variants & BIT(0)) {
		print("xsaveopt: %d", XS("xsaveopt64", image, xcr0));
		print(" bv x87 %lx\n", *(uint64_t *)(image + 512) & 1);
	}
	if (variants & BIT(1)) {
		memset(image, 0, sizeof(image));
		print("xsavec: %d", XS("xsavec64", image, xcr0));
		print(" comp %lx xrstor %d\n", *(uint64_t *)(image + 520), XS("xrstor64", image, xcr0));
	}
}

void payload_main(void)
{
	uint32_t xcr0 = 3;

	for (unsigned i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)(i * 37 + 11);
	wrcr0((rdcr0() & ~(CR0_EM | CR0_TS)) | CR0_MP | CR0_NE);
	wrcr4(rdcr4() | CR4_OSFXSR | CR4_OSXMMEXCPT);
	has_xsave = cpuid(1, 0).c & CPUID1C_XSAVE;
	if (has_xsave) {
		wrcr4(rdcr4() | CR4_OSXSAVE);
		uint32_t can = cpuid(0xd, 0).a;
		xcr0 = (can & XCR0_AVX512) == XCR0_AVX512 ? XCR0_AVX512 : (can & XCR0_AVX) == XCR0_AVX ? XCR0_AVX : 3;
		__asm__ volatile("xsetbv" :: "c"(0), "a"(xcr0), "d"(0));
	}
	for (unsigned i = 0; i < ARRAY_SIZE(exits); i++) {
		pointers(exits[i].fn, exits[i].name);
		vectors(xcr0, exits[i].fn, exits[i].name);
	}
	mxcsr = MXCSR_INIT;
	settings();
	refusals(xcr0);
}
