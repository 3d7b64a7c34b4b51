#include "arch/x86_64/cpu.h"
#include "arch/x86_64/frames.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/percpu.h"
#include "vmx/check.h"
#include "vmx/cpu.h"
#include "vmx/vcpu.h"
#include <tf/assert.h>
#include <tf/string.h>

#define CPUID_ADDRESS_SIZES 0x80000008u
#define CPUID_7_EBX_SGX     BIT(2)
#define CPUID_7_EBX_RTM     BIT(11)
#define CPUID_7_1_EAX_LAM   BIT(26)

static uint64_t read_field(void *ctx, uint32_t field)
{
	uint64_t v;
	bool failed;

	(void)ctx;
	__asm__ volatile("vmread %2, %0" : "=r"(v), "=@ccbe"(failed) : "r"((uint64_t)field) : "cc");
	return failed ? 0 : v;
}

/* Only RAM is always mapped, and a broken VMCS may point anywhere. */
static bool read_ram(void *ctx, uint64_t addr, uint64_t *out)
{
	(void)ctx;
	if (addr > UINT64_MAX - sizeof(*out) || !spans_contain(frames_ram(), addr, addr + sizeof(*out)))
		return false;
	memcpy(out, phys_to_virt(HPA(addr)), sizeof(*out));
	return true;
}

static struct vmcs_view current_view(void)
{
	const struct vmx_cpu *vc = this_cpu()->vmx;
	uint32_t sizes = cpuid(CPUID_ADDRESS_SIZES, 0).eax;
	struct cpuid seven = cpuid(0, 0).eax >= 7 ? cpuid(7, 0) : (struct cpuid){ 0 };

	ASSERT(vc->current);
	return (struct vmcs_view){
		.read = read_field, .read_mem = read_ram, .caps = &vmx_caps, .phys_bits = sizes & 0xff,
		.linear_bits = sizes >> 8 & 0xff, .sgx = seven.ebx & CPUID_7_EBX_SGX,
		.rtm = seven.ebx & CPUID_7_EBX_RTM,
		.lam = seven.eax >= 1 && (cpuid(7, 1).eax & CPUID_7_1_EAX_LAM), .vmcs = vc->current->vmcs.v,
	};
}

bool vmx_check_current(struct vmx_broken *out)
{
	const struct vmcs_view view = current_view();

	return vmx_check(&view, out);
}

bool vmx_check_current_msr_load(uint64_t n, struct vmx_broken *out)
{
	const struct vmcs_view view = current_view();

	return vmx_check_msr_load(&view, n, out);
}
