#include "guest/cpuid.h"
#include "arch/x86_64/cpu.h"
#include "guest/vm.h"
#include "vmx/caps.h"
#include <tf/string.h>

/* Features that a guest may have, where this CPU has them (SDM 2A, "CPUID--CPU Identification"). What is not listed
 * is hidden: DTES64, MONITOR, DS-CPL, VMX, SMX, EIST, TM2, PDCM, DCA and the like.
 * Leaf 1: SSE3 PCLMULQDQ SSSE3 FMA CMPXCHG16B PCID SSE4.1 SSE4.2 x2APIC MOVBE POPCNT TSC-deadline AESNI XSAVE AVX F16C
 * RDRAND; FPU VME DE PSE TSC MSR PAE MCE CX8 APIC SEP MTRR PGE MCA CMOV PAT PSE-36 CLFSH MMX FXSR SSE SSE2 SS */
#define F1_ECX (BIT(0) | BIT(1) | BIT(9) | BIT(12) | BIT(13) | BIT(17) | BIT(19) | BIT(20) | BIT(21) | BIT(22) | \
		BIT(23) | BIT(24) | BIT(25) | BIT(26) | BIT(28) | BIT(29) | BIT(30))
#define F1_EDX (BIT(0) | BIT(1) | BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(9) | BIT(11) | \
		BIT(12) | BIT(13) | BIT(14) | BIT(15) | BIT(16) | BIT(17) | BIT(19) | BIT(23) | BIT(24) | BIT(25) | \
		BIT(26) | BIT(27))
/* Leaf 7: no SGX, RDT, MPX, PT; no LA57, WAITPKG, CET, key locker; no AMX, SRBDS_CTRL, hybrid.
 * FSGSBASE TSC_ADJUST BMI1 HLE AVX2 FDP_EXCPTN_ONLY SMEP BMI2 ERMS INVPCID RTM ZERO_FCS_FDS AVX512F AVX512DQ RDSEED ADX
 * SMAP AVX512_IFMA CLFLUSHOPT CLWB AVX512PF AVX512ER AVX512CD SHA AVX512BW AVX512VL; PREFETCHWT1 AVX512_VBMI UMIP PKU
 * AVX512_VBMI2 GFNI VAES VPCLMULQDQ AVX512_VNNI AVX512_BITALG AVX512_VPOPCNTDQ RDPID CLDEMOTE MOVDIRI MOVDIR64B;
 * AVX512_4VNNIW AVX512_4FMAPS FSRM AVX512_VP2INTERSECT MD_CLEAR SERIALIZE TSXLDTRK AVX512_FP16 IBRS_IBPB STIBP
 * L1D_FLUSH ARCH_CAPABILITIES SSBD. Subleaf 1: SHA512 SM3 SM4 AVX_VNNI AVX512_BF16 CMPCCXADD FZRM FSRS FSRCS AVX_IFMA;
 * AVX_VNNI_INT8 AVX_NE_CONVERT AVX_VNNI_INT16 PREFETCHI. Subleaf 2: PSFD IPRED_CTRL RRSBA_CTRL DDPD_U BHI_CTRL MCDT_NO */
#define F7_EBX (BIT(0) | BIT(1) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(9) | BIT(10) | BIT(11) | \
		BIT(13) | BIT(16) | BIT(17) | BIT(18) | BIT(19) | BIT(20) | BIT(21) | BIT(23) | BIT(24) | BIT(26) | \
		BIT(27) | BIT(28) | BIT(29) | BIT(30) | BIT(31))
#define F7_ECX (BIT(0) | BIT(1) | BIT(2) | BIT(3) | BIT(6) | BIT(8) | BIT(9) | BIT(10) | BIT(11) | BIT(12) | BIT(14) | \
		BIT(22) | BIT(25) | BIT(27) | BIT(28))
#define F7_EDX (BIT(2) | BIT(3) | BIT(4) | BIT(8) | BIT(10) | BIT(14) | BIT(16) | BIT(23) | BIT(26) | BIT(27) | BIT(28) | \
		BIT(29) | BIT(31))
#define F7_1_EAX (BIT(0) | BIT(1) | BIT(2) | BIT(4) | BIT(5) | BIT(7) | BIT(10) | BIT(11) | BIT(12) | BIT(23))
#define F7_1_EDX (BIT(4) | BIT(5) | BIT(10) | BIT(14))
#define F7_2_EDX (BIT(0) | BIT(1) | BIT(2) | BIT(3) | BIT(4) | BIT(5))
/* Leaf 80000001h: LAHF LZCNT PREFETCHW; SYSCALL NX PAGE1GB RDTSCP LM */
#define FX1_ECX (BIT(0) | BIT(5) | BIT(8))
#define FX1_EDX (BIT(11) | BIT(20) | BIT(26) | BIT(27) | BIT(29))
/* Leaf Dh, subleaf 1: XSAVEOPT XSAVEC XGETBV(1) XSAVES */
#define FD1_EAX (BIT(0) | BIT(1) | BIT(2) | BIT(3))

#define F1_ECX_OSXSAVE  BIT(27)
#define F1_ECX_HYP      BIT(31)
#define F1_EDX_HTT      BIT(28)
#define F7_EBX_TSC_ADJUST BIT(1)
#define F7_EBX_INVPCID  BIT(10)
#define F7_ECX_OSPKE    BIT(4)
#define F7_ECX_RDPID    BIT(22)
#define F6_EAX_ARAT     BIT(2)
#define FX1_EDX_SYSCALL BIT(11)
#define FX7_EDX_ITSC    BIT(8)
#define FX8_EBX_WBNOINVD BIT(9)

/* XCR0: x87, SSE, AVX, the three of AVX-512, PKRU */
#define XCR0_KNOWN      (BIT(0) | BIT(1) | BIT(2) | BIT(5) | BIT(6) | BIT(7) | BIT(9))
#define XSAVE_LEGACY    576

#define EPT_WIDTH       48u /* guest-physical address bits of four levels of EPT */
#define LINEAR_WIDTH    48u /* without LA57 */
#define HYP_BASE        0x40000000u
#define HYP_TIMING      0x40000010u
#define EXT_BASE        0x80000000u
#define LEAF_TSC        0x15
#define LEAF_FREQ       0x16
#define CACHE_SHARED_LEVEL 3

static struct cpuid_regs host(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid c = cpuid(leaf, subleaf);

	return (struct cpuid_regs){ c.eax, c.ebx, c.ecx, c.edx };
}

static void init_xsave(struct cpuid_table *t)
{
	struct cpuid_regs d = host(0xd, 0);

	t->xcr0 = ((uint64_t)d.edx << 32 | d.eax) & XCR0_KNOWN;
	t->xsave[1] = host(0xd, 1);
	t->xsave[1].eax &= FD1_EAX & ~(vmx_caps.xsaves ? 0 : (uint32_t)BIT(3));
	t->xsave[1].ecx = t->xsave[1].edx = 0; /* no supervisor states */
	uint32_t size = XSAVE_LEGACY;
	for (unsigned i = 2; i < CPUID_XSAVE_LEAVES; i++) {
		if (!(t->xcr0 >> i & 1))
			continue;
		t->xsave[i] = host(0xd, i);
		size = MAX(size, t->xsave[i].eax + t->xsave[i].ebx);
	}
	t->xsave[0] = (struct cpuid_regs){ (uint32_t)t->xcr0, size, size, 0 };
}

static void init_basic(struct cpuid_table *t, uint64_t tsc_hz)
{
	struct cpuid_regs *b = t->basic;

	for (uint32_t l = 0; l <= MIN(host(0, 0).eax, CPUID_BASIC_LEAVES - 1u); l++)
		b[l] = host(l, 0);
	t->max_basic = MAX(MIN(b[0].eax, (uint32_t)LEAF_FREQ), (uint32_t)LEAF_TSC);
	b[0].eax = t->max_basic;
	b[1].ebx = (b[1].ebx & 0xffff) | 1u << t->id_bits << 16;
	b[1].ecx = (b[1].ecx & F1_ECX) | CPUID_1_ECX_X2APIC | (t->hypervisor ? F1_ECX_HYP : 0);
	b[1].edx = (b[1].edx & F1_EDX) | (t->vcpus > 1 ? F1_EDX_HTT : 0);
	b[5] = (struct cpuid_regs){ 0 };
	b[6] = (struct cpuid_regs){ F6_EAX_ARAT, 0, 0, 0 };
	b[7].eax = MIN(b[7].eax, 2u);
	b[7].ebx &= F7_EBX & ~(vmx_caps.invpcid ? 0 : (uint32_t)F7_EBX_INVPCID);
	b[7].ebx |= F7_EBX_TSC_ADJUST; /* emulated, also where the CPU lacks it: with it Linux trusts the TSC */
	b[7].ecx &= F7_ECX & ~(vmx_caps.rdtscp ? 0 : (uint32_t)F7_ECX_RDPID);
	b[7].edx &= F7_EDX;
	if (b[7].eax >= 1)
		t->features1 = (struct cpuid_regs){ .eax = host(7, 1).eax & F7_1_EAX, .edx = host(7, 1).edx & F7_1_EDX };
	if (b[7].eax >= 2)
		t->features2.edx = host(7, 2).edx & F7_2_EDX;
	for (unsigned l = 8; l < LEAF_TSC; l++)
		if (l != 0xd)
			b[l] = (struct cpuid_regs){ 0 };
	/* Exact by construction, so that a guest need not calibrate: crystal = TSC / 4, ratio 4 : 1. */
	b[LEAF_TSC] = (struct cpuid_regs){ 1, 1 << LAPIC_TSC_SHIFT, (uint32_t)(tsc_hz >> LAPIC_TSC_SHIFT), 0 };
	uint32_t mhz = (uint32_t)(tsc_hz / 1000000);
	b[LEAF_FREQ] = (struct cpuid_regs){ mhz, mhz, 100, 0 };
	t->timing = (struct cpuid_regs){ (uint32_t)(tsc_hz / 1000), (uint32_t)((tsc_hz >> LAPIC_TSC_SHIFT) / 1000), 0, 0 };
	for (unsigned i = 0; i < CPUID_CACHE_LEAVES; i++) {
		t->cache[i] = host(4, i);
		if (!(t->cache[i].eax & 0x1f))
			break;
		/* Private below level 3, shared by all vCPUs there; the vCPUs are cores. Counted are APIC IDs, less one. */
		uint32_t ids = (1u << t->id_bits) - 1, level = t->cache[i].eax >> 5 & 7;
		t->cache[i].eax = (t->cache[i].eax & 0x3fff) | (level >= CACHE_SHARED_LEVEL ? ids : 0) << 14 | ids << 26;
	}
}

static void init_extended(struct cpuid_table *t)
{
	struct cpuid_regs *x = t->extended;

	t->max_extended = EXT_BASE + CPUID_EXTENDED_LEAVES - 1;
	for (uint32_t l = 0; l < CPUID_EXTENDED_LEAVES; l++)
		if (host(EXT_BASE, 0).eax >= EXT_BASE + l)
			x[l] = host(EXT_BASE + l, 0);
	x[0] = (struct cpuid_regs){ .eax = t->max_extended };
	x[1].ecx &= FX1_ECX;
	x[1].edx &= FX1_EDX & ~(vmx_caps.rdtscp ? 0 : (uint32_t)CPUID_EXT_EDX_RDTSCP);
	x[7] = (struct cpuid_regs){ .edx = x[7].edx & FX7_EDX_ITSC };
	t->phys_bits = MIN(x[8].eax & 0xff, EPT_WIDTH);
	x[8] = (struct cpuid_regs){ .eax = t->phys_bits | LINEAR_WIDTH << 8, .ebx = x[8].ebx & FX8_EBX_WBNOINVD };
}

/* A CR4 bit is the guest's if the feature that defines it is. */
static void init_reserved(struct cpuid_table *t)
{
	const struct { uint64_t cr4; bool have; } bits[] = {
		{ CR4_VME | CR4_PVI, CPUID_HAS(t, 1, edx, 1) }, { CR4_TSD, CPUID_HAS(t, 1, edx, 4) },
		{ CR4_DE, CPUID_HAS(t, 1, edx, 2) },            { CR4_PSE, CPUID_HAS(t, 1, edx, 3) },
		{ CR4_PAE, CPUID_HAS(t, 1, edx, 6) },           { CR4_MCE, CPUID_HAS(t, 1, edx, 7) },
		{ CR4_PGE, CPUID_HAS(t, 1, edx, 13) },          { CR4_PCE, true },
		{ CR4_OSFXSR, CPUID_HAS(t, 1, edx, 24) },       { CR4_OSXMMEXCPT, CPUID_HAS(t, 1, edx, 25) },
		{ CR4_UMIP, CPUID_HAS(t, 7, ecx, 2) },          { CR4_FSGSBASE, CPUID_HAS(t, 7, ebx, 0) },
		{ CR4_PCIDE, CPUID_HAS(t, 1, ecx, 17) },        { CR4_OSXSAVE, CPUID_HAS(t, 1, ecx, 26) },
		{ CR4_SMEP, CPUID_HAS(t, 7, ebx, 7) },          { CR4_SMAP, CPUID_HAS(t, 7, ebx, 20) },
		{ CR4_PKE, CPUID_HAS(t, 7, ecx, 3) },
	};
	uint64_t allowed = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(bits); i++)
		if (bits[i].have)
			allowed |= bits[i].cr4;
	t->cr4_reserved = ~allowed;
	t->efer_allowed = EFER_SCE | EFER_LME | EFER_LMA | (t->extended[1].edx & CPUID_EXT_EDX_NX ? EFER_NXE : 0);
}

void cpuid_table_init(struct cpuid_table *t, enum vm_hypervisor hypervisor, uint32_t vcpus, uint64_t tsc_hz)
{
	memset(t, 0, sizeof(*t));
	t->hypervisor = hypervisor;
	t->vcpus = vcpus;
	while ((1u << t->id_bits) < vcpus)
		t->id_bits++;
	init_basic(t, tsc_hz);
	init_extended(t);
	if (t->basic[1].ecx & CPUID_1_ECX_XSAVE)
		init_xsave(t);
	init_reserved(t);
}

/* Size of the XSAVE area for a set of components, standard or compacted form. */
static uint32_t xsave_size(const struct cpuid_table *t, uint64_t components, bool compacted)
{
	uint32_t size = XSAVE_LEGACY;

	for (unsigned i = 2; i < CPUID_XSAVE_LEAVES; i++) {
		if (!(components >> i & 1))
			continue;
		if (!compacted)
			size = MAX(size, t->xsave[i].eax + t->xsave[i].ebx);
		else
			size = (t->xsave[i].ecx & BIT(1) ? ALIGN_UP(size, 64u) : size) + t->xsave[i].eax;
	}
	return size;
}

/* Extended topology: one thread per core, `vcpus` cores in one package. */
static void topology(const struct vcpu *v, uint32_t subleaf, struct cpuid_regs *r)
{
	const struct cpuid_table *t = &v->vm->cpuid;

	*r = (struct cpuid_regs){ .ecx = subleaf & 0xff, .edx = v->lapic.id };
	if (subleaf == 0) {
		r->ebx = 1;
		r->ecx |= 1 << 8;
	} else if (subleaf == 1) {
		r->eax = t->id_bits;
		r->ebx = t->vcpus;
		r->ecx |= 2 << 8;
	}
}

static void basic_leaf(struct vcpu *v, const struct cpuid_table *t, uint32_t leaf, uint32_t subleaf, struct cpuid_regs *r)
{
	*r = t->basic[leaf];
	switch (leaf) {
	case 1:
		r->ebx |= v->lapic.id << 24;
		if (vmcs_read(VMCS_GUEST_CR4) & CR4_OSXSAVE)
			r->ecx |= F1_ECX_OSXSAVE;
		if (!vlapic_enabled(&v->lapic))
			r->edx &= ~(uint32_t)BIT(9);
		break;
	case 4:
		*r = subleaf < CPUID_CACHE_LEAVES ? t->cache[subleaf] : (struct cpuid_regs){ 0 };
		break;
	case 7:
		if (subleaf)
			*r = subleaf == 1 ? t->features1 : subleaf == 2 ? t->features2 : (struct cpuid_regs){ 0 };
		else if (vmcs_read(VMCS_GUEST_CR4) & CR4_PKE)
			r->ecx |= F7_ECX_OSPKE;
		break;
	case 0xb:
		topology(v, subleaf, r);
		break;
	case 0xd:
		*r = subleaf < CPUID_XSAVE_LEAVES ? t->xsave[subleaf] : (struct cpuid_regs){ 0 };
		if (subleaf == 0 && t->xcr0)
			r->ebx = xsave_size(t, v->xcr0, false);
		else if (subleaf == 1)
			r->ebx = t->xsave[1].eax & BIT(1) ? xsave_size(t, v->xcr0 | v->xss, true) : 0;
		break;
	}
}

void cpuid_guest(struct vcpu *v, uint32_t leaf, uint32_t subleaf, struct cpuid_regs *out)
{
	const struct cpuid_table *t = &v->vm->cpuid;

	if (leaf <= t->max_basic) {
		basic_leaf(v, t, leaf, subleaf, out);
	} else if (leaf >= EXT_BASE && leaf <= t->max_extended) {
		*out = t->extended[leaf - EXT_BASE];
		if (leaf == CPUID_EXTENDED && !vcpu_code64())
			out->edx &= ~(uint32_t)FX1_EDX_SYSCALL; /* where it is #UD */
	} else if (t->hypervisor == VM_HYPERVISOR_KVM && (leaf == KVM_CPUID_BASE || leaf == KVM_CPUID_FEATURES)) {
		kvm_pv_cpuid(v->vm, leaf, out);
	} else if (t->hypervisor == VM_HYPERVISOR_ON && leaf == HYP_BASE) {
		*out = (struct cpuid_regs){ HYP_TIMING, 0x66657254, 0x566c696f, 0x00004d4d }; /* "TrefoilVMM\0\0" */
	} else if (t->hypervisor == VM_HYPERVISOR_ON && leaf > HYP_BASE && leaf <= HYP_TIMING) {
		*out = leaf == HYP_TIMING ? t->timing : (struct cpuid_regs){ 0 };
	} else {
		/* Beyond the last leaf an Intel CPU answers as for the last basic one. */
		basic_leaf(v, t, t->max_basic, subleaf, out);
	}
}
