/* The parts of the hypervisor around the guest layer, as far as it can tell: CPU, frames, log, scheduler. */
#define _GNU_SOURCE
#include "tests/vtx/machine.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/frames.h"
#include "arch/x86_64/gdt.h"
#include "arch/x86_64/irq.h"
#include "arch/x86_64/lapic.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/tsc.h"
#include "guest/fpu.h"
#include "vmx/cpu.h"
#include "vmx/mitigations.h"
#include "vmx/run.h"
#include <asm/prctl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <tf/assert.h>
#include <tf/log.h>
#include <unistd.h>

#define POOL_FRAMES   64

struct machine machine;
uint64_t machine_fields[MACHINE_FIELDS], machine_created[MACHINE_FIELDS];
uint64_t host_register[HOST_REGISTERS];
struct vmx_caps vmx_caps;
struct vmx_mitigations vmx_mitigations;
uint64_t tsc_hz = 2400000000;
struct cpu *cpus[MAX_CPUS];

static _Alignas(PAGE_SIZE) uint8_t pool[POOL_FRAMES * PAGE_SIZE];
static uint64_t pool_used;
static struct cpu cpu;
static struct vmx_cpu vmx_cpu;

/* --- the VMCS */

UNSEEN static uint32_t field_index(uint32_t e)
{
	ASSERT(!(e & ~0x6c7eu)); /* width, type and up to 64 indices; no upper halves */
	return (e >> 13 & 3) << 8 | FIELD_TYPE(e) << 6 | (e >> 1 & 0x3f);
}

uint64_t machine_get(uint32_t field) { return machine_fields[field_index(field)]; }
void machine_set(uint32_t field, uint64_t value) { machine_fields[field_index(field)] = value; }

uint64_t vmcs_vmread(uint32_t field) { return machine_get(field); }

void vmcs_vmwrite(uint32_t field, uint64_t v)
{
	ASSERT(FIELD_TYPE(field) != TYPE_READ_ONLY);
	machine_set(field, v);
}

static uint64_t view_read(void *ctx, uint32_t field)
{
	(void)ctx;
	return field & ~0x6c7eu ? 0 : machine_get(field);
}

static bool view_memory(void *ctx, uint64_t addr, uint64_t *out)
{
	(void)ctx;
	if (addr > sizeof(pool) - sizeof(*out))
		return false;
	memcpy(out, pool + addr, sizeof(*out));
	return true;
}

bool machine_entry_ok(struct vmx_broken *why)
{
	const struct vmcs_view view = {
		.read = view_read, .read_mem = view_memory, .caps = &vmx_caps, .phys_bits = MACHINE_PHYS_BITS,
		.linear_bits = 48, .vmcs = machine.v->vmx.vmcs.v,
	};

	return vmx_check(&view, why);
}

/* --- the CPU */

uint64_t rdtsc(void) { return machine.now += 30; }
uint64_t tsc_from_us(uint64_t us) { return us * (tsc_hz / 1000000); }
/* What runs natively, C0000080h and those behind it. */
static uint64_t *native_msr(uint32_t msr)
{
	ASSERT(msr - MSR_IA32_EFER < ARRAY_SIZE(machine.native_msrs));
	return &machine.native_msrs[msr - MSR_IA32_EFER];
}
uint64_t rdmsr(uint32_t msr)
{
	return msr == MSR_IA32_EFER ? EFER_LME | EFER_LMA | EFER_NXE : msr == MSR_IA32_PAT ? PAGING_PAT : *native_msr(msr);
}
void wrmsr(uint32_t msr, uint64_t v)
{
	machine.msrs_written++;
	*native_msr(msr) = v;
}
bool wrmsr_safe(uint32_t msr, uint64_t v)
{
	bool address = msr == MSR_IA32_LSTAR || msr == MSR_IA32_CSTAR, low = msr == MSR_IA32_FMASK || msr == MSR_IA32_TSC_AUX;

	if ((address && (int64_t)(v << 16) >> 16 != (int64_t)v) || (low && v >> 32))
		return false;
	wrmsr(msr, v);
	return true;
}
bool rdmsr_safe(uint32_t msr, uint64_t *v)
{
	(void)msr;
	*v = 0;
	return false;
}

void xsetbv(uint32_t i, uint64_t v)
{
	ASSERT(i == 0 && (v & 1) && !(v & ~0x2e7ull));        /* "XSETBV": reserved bits, and bit 0 */
	ASSERT(!(v & 4) || (v & 2));                          /* AVX needs SSE */
	ASSERT(!(v & 0xe0) || ((v & 0xe0) == 0xe0 && (v & 4))); /* AVX-512 is whole, and needs AVX */
}

uint32_t rdpkru(void)
{
	ASSERT(host_register[HOST_CR4] & CR4_PKE); /* #UD */
	return (uint32_t)host_register[HOST_PKRU];
}

struct cpuid cpuid(uint32_t leaf, uint32_t subleaf)
{
	static const struct cpuid xsave[] = {
		[0] = { 0x2e7, 2696, 2696, 0 }, [1] = { 0xf, 2696, 0, 0 }, [2] = { 256, 576, 0, 0 },
		[5] = { 64, 1088, 0, 0 }, [6] = { 512, 1152, 0, 0 }, [7] = { 1024, 1664, 0, 0 }, [9] = { 8, 2688, 0, 0 },
	};

	static const uint32_t caches[] = { 0x121, 0x122, 0x143, 0x163 }; /* data, code, L2, L3 */

	switch (leaf) {
	case 0: return (struct cpuid){ 0x16, 0x756e6547, 0x6c65746e, 0x49656e69 };
	case 1: return (struct cpuid){ 0x506e3, 0x800, ~0u, ~0u };
	case 4: return subleaf < ARRAY_SIZE(caches) ? (struct cpuid){ 0xfc1c0000 | caches[subleaf], 0x1c0003f, 63, 0 } :
						      (struct cpuid){ 0 };
	case 7: return subleaf ? (struct cpuid){ 0 } : (struct cpuid){ 0, ~0u, ~0u, ~0u };
	case 0xd: return subleaf < ARRAY_SIZE(xsave) ? xsave[subleaf] : (struct cpuid){ 0 };
	case 0x80000000: return (struct cpuid){ 0x80000008, 0, 0, 0 };
	case 0x80000001: return (struct cpuid){ 0, 0, ~0u, ~0u };
	case 0x80000008: return (struct cpuid){ MACHINE_PHYS_BITS | 48 << 8, 0, 0, 0 };
	default: return (struct cpuid){ 0 };
	}
}

enum tf_err vmx_run(struct vmx_vcpu *v)
{
	if (v->pending_event)
		vmx_commit_event(v);
	v->exit.reason = machine.run(&machine);
	return TF_OK;
}

void vmx_vmclear(hpa_t vmcs) { (void)vmcs; }
/* One VMCS is in machine_fields, the others wait here. */
static struct { uint64_t vmcs, fields[MACHINE_FIELDS]; } stored[MACHINE_VCPUS];
static unsigned loaded;

UNSEEN void vmx_vmptrld(hpa_t vmcs)
{
	unsigned i = 0;

	if (stored[loaded].vmcs == vmcs.v)
		return;
	memcpy(stored[loaded].fields, machine_fields, sizeof(machine_fields));
	while (stored[i].vmcs && stored[i].vmcs != vmcs.v)
		ASSERT(++i < MACHINE_VCPUS);
	stored[i].vmcs = vmcs.v;
	memcpy(machine_fields, stored[i].fields, sizeof(machine_fields));
	loaded = i;
}

void vmx_flush_ept(uint64_t eptp) { (void)eptp; }
void vmx_flush_vpid(uint16_t vpid) { (void)vpid, machine.flushes++; }
void vmx_mitigate_vcpu(struct vmx_vcpu *v) { (void)v; }
void vmx_mitigate_turn_needed(struct vmx_vcpu *v) { (void)v; }
void vmx_mitigate_touched(void) {}
void vmx_forget_vcpu(const struct vmx_vcpu *v) { (void)v; }
void vmx_open_spec_ctrl(struct vmx_vcpu *v) { v->spec_ctrl_native = true; }
uint64_t gdt_base(const struct cpu *c) { return (void)c, 0xffff800000001000; }
uint64_t gdt_tss_base(const struct cpu *c) { return (void)c, 0xffff800000002000; }
uint64_t idt_base(void) { return 0xffff800000003000; }
void irq_dispatch(uint8_t vector) { (void)vector; }
void lapic_timer_arm(uint64_t tsc) { (void)tsc; }
void lapic_ipi(uint32_t apic_id, uint8_t vector) { (void)apic_id, (void)vector; }
uint32_t smp_cpus(void) { return 1; }

/* --- memory */

void *phys_to_virt(hpa_t p)
{
	ASSERT(p.v < sizeof(pool));
	return pool + p.v;
}

hpa_t virt_to_phys(const void *v) { return HPA((uint64_t)((const uint8_t *)v - pool)); }

enum tf_err frame_alloc(unsigned order, hpa_t *out)
{
	uint64_t len = PAGE_SIZE << order;

	pool_used = ALIGN_UP(pool_used, len);
	ASSERT(pool_used + len <= sizeof(pool));
	*out = HPA(pool_used);
	pool_used += len;
	return TF_OK;
}

enum tf_err frame_alloc_zero(hpa_t *out)
{
	enum tf_err e = frame_alloc(0, out);

	memset(phys_to_virt(*out), 0, PAGE_SIZE);
	return e;
}

void frame_free(hpa_t p, unsigned order) { (void)p, (void)order; }

static enum tf_err table_alloc(void *ctx, hpa_t *out) { return (void)ctx, frame_alloc_zero(out); }
static void table_free(void *ctx, hpa_t frame) { (void)ctx, (void)frame; }
static void *table_virt(void *ctx, hpa_t frame) { return (void)ctx, phys_to_virt(frame); }

/* Only the page of the APIC: the guest layer changes no other. */
static void make_ept(struct vm *vm)
{
	const struct ept_host host = { .alloc = table_alloc, .free = table_free, .virt = table_virt };

	if (frame_alloc_zero(&vm->apic_access) || ept_init(&vm->ept, &host, false, false) ||
	    ept_map(&vm->ept, GPA(APIC_DEFAULT_BASE), vm->apic_access, PAGE_SIZE, EPT_R | EPT_W, MT_WB))
		abort();
	vm->eptp = ept_pointer(&vm->ept, vmx_caps.ept_ad);
}

void *machine_ram(uint64_t gpa, uint64_t len)
{
	uint64_t block = gpa / MACHINE_RAM_BLOCK, at = gpa % MACHINE_RAM_BLOCK;

	return block < 2 && len <= MACHINE_RAM_BLOCK - at ? machine.ram[block] + at : NULL;
}

void *mem_at(struct guest_mem *m, gpa_t gpa, uint64_t len) { return (void)m, machine_ram(gpa.v, len); }

enum tf_err mem_read(struct guest_mem *m, gpa_t gpa, void *buf, uint64_t len)
{
	for (uint64_t i = 0; i < len; i++) {
		const uint8_t *p = mem_at(m, GPA(gpa.v + i), 1);

		if (!p)
			return TF_EFAULT;
		((uint8_t *)buf)[i] = *p;
	}
	return TF_OK;
}

enum tf_err mem_write(struct guest_mem *m, gpa_t gpa, const void *buf, uint64_t len)
{
	for (uint64_t i = 0; i < len; i++) {
		uint8_t *p = mem_at(m, GPA(gpa.v + i), 1);

		if (!p)
			return TF_EFAULT;
		*p = ((const uint8_t *)buf)[i];
	}
	return TF_OK;
}

enum tf_err fpu_create(struct vcpu *v) { return (void)v, TF_OK; }
void fpu_destroy(struct vcpu *v) { (void)v; }
void fpu_reset(struct vcpu *v) { v->xcr0 = 1; }
void fpu_save(struct vcpu *v) { (void)v; }
void fpu_restore(struct vcpu *v) { (void)v; }

/* --- the layers above */

void tf_log(enum log_level level, const char *module, const char *fmt, ...) { (void)level, (void)module, (void)fmt; }
bool log_allow(uint64_t *count, unsigned burst) { return (*count)++ < burst; }

bool vm_stop(struct vm *vm, enum vm_stop how)
{
	if (vm->state == VM_STOPPED)
		return false;
	vm->state = VM_STOPPED;
	vm->stop = how;
	vcpu_request(machine.v, REQ_STOP);
	for (unsigned t = 0; t < NTIMERS; t++)
		vcpu_arm(machine.v, t, DEV_NEVER);
	return true;
}

void vm_stop_report(struct vcpu *v, enum vm_stop how, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(machine.stop_reason, sizeof(machine.stop_reason), fmt, ap);
	va_end(ap);
	vm_stop(v->vm, how);
}

void vm_start_step(struct vm *vm) { (void)vm, abort(); }
void vm_flush_ept(struct vm *vm) { vmx_flush_ept(vm->eptp); }
void vcpu_entry_refused(struct vcpu *v) { (void)v, abort(); }
enum action exit_entry_failure(struct vcpu *v) { (void)v, abort(); }

static void host_wake(struct vcpu *v) { (void)v, machine.wakes++; }
static bool host_yield(struct vcpu *v) { return (void)v, machine.yields++, true; }
static void host_deadline(struct vcpu *v) { (void)v; }
static void host_vm(struct vm *vm) { (void)vm; }
static const struct vm_host host = { .wake = host_wake, .deadline = host_deadline, .yield = host_yield, .restart = host_vm,
				     .stopped = host_vm, .console = host_vm };

static size_t console_write(void *ctx, const uint8_t *buf, size_t n) { return (void)ctx, (void)buf, n; }
static size_t console_room(void *ctx) { return (void)ctx, SIZE_MAX; }
static const struct chardev_ops console = { .write = console_write, .room = console_room };

static void make_caps(unsigned options)
{
	vmx_caps = (struct vmx_caps){
		.revision = 0x12, .true_ctls = true, .io_insn_info = true, .any_error_code = !(options & MACHINE_OLD_ERROR),
		.pin = 0xffull << 32 | 0x16, .proc2 = 0x07ffffffull << 32,
		.proc = 0xfff9fffeull << 32 | 0x04006172 | (options & MACHINE_CR3_EXITS ? PROC_CR3_LOAD_EXIT | PROC_CR3_STORE_EXIT : 0),
		.exit = 0x3fffffffull << 32 | 0x36dfb, .entry = 0x7fffffull << 32 | 0x11fb,
		.ept_vpid = EPTCAP_WALK4 | EPTCAP_WB | EPTCAP_AD | EPTCAP_INVVPID | EPTCAP_INVVPID_SINGLE | EPTCAP_INVVPID_ALL,
		.misc = 7 << 6 | 4 << 16 | 1u << 30,
		.cr0_fixed0 = CR0_PE | CR0_NE | CR0_PG, .cr0_fixed1 = 0xffffffff,
		.cr4_fixed0 = CR4_VMXE, .cr4_fixed1 = 0x1ff7fff,
	};
	vmx_caps_derive(&vmx_caps);
	vmx_caps_disable(&vmx_caps, (options & MACHINE_VPID ? 0 : BIT(VMX_FEATURE_VPID)) |
				    (options & MACHINE_SHADOW ? BIT(VMX_FEATURE_APICV) | BIT(VMX_FEATURE_X2APIC) : 0));
}

void machine_reset(void)
{
	struct vm *vm = &machine.vm;

	vm->start_tsc = rdtsc();
	vcpu_reset(machine.v);
	board_reset(vm);
	vcpu_switch_in(machine.v);
	vm->state = VM_RUNNING;
	vm->stop = VM_STOP_NONE;
}

void machine_init(unsigned options)
{
	struct vm *vm = &machine.vm;
	enum tf_err e;

	machine_free();
	machine = (struct machine){ .now = 1 };
	memset(machine_fields, 0, sizeof(machine_fields));
	memset(stored, 0, sizeof(stored));
	loaded = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(machine.ram); i++)
		if (!(machine.ram[i] = calloc(1, MACHINE_RAM_BLOCK)))
			abort();
	pool_used = PAGE_SIZE; /* no frame at 0 */
	make_caps(options);
	host_register[HOST_CR0] = CR0_PE | CR0_NE | CR0_PG | CR0_WP;
	host_register[HOST_CR3] = PAGE_SIZE;
	host_register[HOST_CR4] = CR4_VMXE | CR4_PAE | CR4_MCE;
	vmx_cpu = (struct vmx_cpu){ 0 };
	cpus[0] = &cpu;
	cpu = (struct cpu){ .self = &cpu, .vmx = &vmx_cpu };
	if (syscall(SYS_arch_prctl, ARCH_SET_GS, &cpu)) /* this_cpu() */
		abort();
	*vm = (struct vm){ .state = VM_OFF, .host = &host, .console = { .ops = &console }, .nvcpus = 1,
			   .cfg = { .name = "host", .apicv = options & (MACHINE_APICV | MACHINE_SHADOW),
				    .hypervisor = options & MACHINE_KVM ? VM_HYPERVISOR_KVM : VM_HYPERVISOR_ON } };
	vm->mem.bytes = MACHINE_RAM;
	cpuid_table_init(&vm->cpuid, vm->cfg.hypervisor, 1, tsc_hz);
	make_ept(vm);
	if (frame_alloc(1, &vm->io_bitmap) || vcpu_create(vm, 0, &vm->vcpus[0]))
		abort();
	machine.v = vm->vcpus[0];
	e = board_create(vm);
	ASSERT(!e);
	CPU_SET(VMCS_HOST_RSP, 0xffff800000004000); /* by vmx/entry.asm */
	CPU_SET(VMCS_HOST_RIP, 0xffffffff80001000);
	machine_reset();
	memcpy(machine_created, machine_fields, sizeof(machine_created));
}

void machine_choose(uint32_t id)
{
	machine.v = machine.vm.vcpus[id];
	vcpu_switch_in(machine.v);
}

void machine_add_vcpu(void)
{
	struct vm *vm = &machine.vm;

	if (vcpu_create(vm, vm->nvcpus, &vm->vcpus[vm->nvcpus]))
		abort();
	vcpu_reset(vm->vcpus[vm->nvcpus++]);
	machine_choose(machine.v->id);
}

void machine_free(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(machine.ram); i++)
		free(machine.ram[i]);
	machine.ram[0] = machine.ram[1] = NULL;
}
