#include "guest/vm.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/frames.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/smp.h"
#include "arch/x86_64/tsc.h"
#include "guest/acpi_tables.h"
#include "guest/exit.h"
#include "guest/walk.h"
#include "vmx/mitigations.h"
#include <stdarg.h>
#include <tf/log.h>
#include <tf/string.h>

#define CLEAR_PIECE  MiB(2) /* of RAM cleared between two looks at who else wants the CPU */
#define STOP_TEXT    288

/* Those set aside first, as far as there are any. */
static enum tf_err table_alloc(void *ctx, hpa_t *out)
{
	struct vm *vm = ctx;

	if (!vm->spare_tables.v)
		return frame_alloc_zero(out);
	*out = vm->spare_tables;
	uint64_t *next = phys_to_virt(*out);
	vm->spare_tables = HPA(*next);
	*next = 0;
	return TF_OK;
}

/* For guests' large pages that are split when they are executed. */
static enum tf_err set_tables_aside(struct vm *vm)
{
	hpa_t frame, all = HPA(0);
	enum tf_err e = TF_OK;

	for (uint64_t n = ept_exec_tables(&vm->ept); n > 0 && !(e = frame_alloc_zero(&frame)); n--) {
		*(uint64_t *)phys_to_virt(frame) = all.v;
		all = frame;
	}
	vm->spare_tables = all;
	return e;
}

static void free_spare_tables(struct vm *vm)
{
	while (vm->spare_tables.v) {
		hpa_t frame = vm->spare_tables;

		vm->spare_tables = HPA(*(uint64_t *)phys_to_virt(frame));
		frame_free(frame, 0);
	}
}

static void table_free(void *ctx, hpa_t frame)
{
	(void)ctx;
	frame_free(frame, 0);
}

static void *table_virt(void *ctx, hpa_t frame)
{
	(void)ctx;
	return phys_to_virt(frame);
}

static void vm_destroy(struct vm *vm)
{
	for (uint32_t i = 0; i < vm->nvcpus; i++)
		vcpu_destroy(vm->vcpus[i]);
	mem_destroy(&vm->mem);
	if (vm->ept.root.v)
		ept_destroy(&vm->ept);
	free_spare_tables(vm);
	if (vm->io_bitmap.v)
		frame_free(vm->io_bitmap, IO_BITMAP_ORDER);
	if (vm->apic_access.v)
		frame_free(vm->apic_access, 0);
	if (vm->empty_rom.v)
		frame_free(vm->empty_rom, 0);
	frame_free(virt_to_phys(vm), frame_order(sizeof(*vm)));
}

/* Kernels search the option ROM sockets: with nothing in them they read as ones, without an exit for each access. */
static enum tf_err map_empty_rom(struct vm *vm)
{
	enum tf_err e = frame_alloc(0, &vm->empty_rom);

	if (e)
		return e;
	memset(phys_to_virt(vm->empty_rom), 0xff, PAGE_SIZE);
	for (uint64_t gpa = OPTION_ROM_BASE; gpa < OPTION_ROM_END && !e; gpa += PAGE_SIZE)
		e = ept_map(&vm->ept, GPA(gpa), vm->empty_rom, PAGE_SIZE, EPT_R, MT_WB);
	return e;
}

static enum tf_err create_memory(struct vm *vm, const char **why)
{
	const struct ept_host host = { .ctx = vm, .alloc = table_alloc, .free = table_free, .virt = table_virt };
	enum tf_err e;

	*why = "no memory for page tables";
	if ((e = ept_init(&vm->ept, &host, vmx_caps.ept_vpid & EPTCAP_2M, vmx_caps.ept_vpid & EPTCAP_1G)))
		return e;
	vm->ept.small_exec = vmx_mitigations.plan.flags & MITIGATE_SPLIT;
	vm->eptp = ept_pointer(&vm->ept, vmx_caps.ept_ad);
	*why = "not enough free memory for the guest's RAM";
	if ((e = mem_create(&vm->mem, &vm->ept, vm->cfg.memory)))
		return e;
	*why = "no memory for bitmaps";
	if ((e = frame_alloc(IO_BITMAP_ORDER, &vm->io_bitmap)) || (e = frame_alloc_zero(&vm->apic_access)))
		return e;
	memset(phys_to_virt(vm->io_bitmap), 0xff, PAGE_SIZE << IO_BITMAP_ORDER);
	memset(phys_to_virt(vm->apic_access), 0xff, PAGE_SIZE);
	if ((e = map_empty_rom(vm)))
		return e;
	if (vm->cfg.apicv && vmx_caps.apic_access &&
	    (e = ept_map(&vm->ept, GPA(APIC_DEFAULT_BASE), vm->apic_access, PAGE_SIZE, EPT_R, MT_WB)))
		return e;
	*why = "no memory for page tables";
	return set_tables_aside(vm);
}

enum tf_err vm_create(const struct vm_config *cfg, uint32_t id, const struct load_request *load, struct chardev console,
		      const struct vm_host *host, struct vm **out, const char **why)
{
	hpa_t frame;
	enum tf_err e = frame_alloc(frame_order(sizeof(struct vm)), &frame);

	*why = "no memory for the VM";
	if (e)
		return e;
	struct vm *vm = phys_to_virt(frame);
	memset(vm, 0, sizeof(*vm));
	vm->lock = (struct spinlock)SPINLOCK_INIT(RANK_VM);
	vm->cfg = *cfg;
	vm->id = id;
	vm->load = *load;
	vm->console = console;
	vm->host = host;
	cpuid_table_init(&vm->cpuid, cfg->hypervisor, cfg->vcpus, tsc_hz);
	if ((e = create_memory(vm, why)))
		goto fail;
	*why = "no memory for a vCPU";
	for (uint32_t i = 0; i < cfg->vcpus; i++, vm->nvcpus++)
		if ((e = vcpu_create(vm, i, &vm->vcpus[i])))
			goto fail;
	for (uint32_t i = 0; i < vm->nvcpus; i++)
		vcpu_release(vm->vcpus[i]);
	*why = "the board does not fit on its buses";
	if ((e = board_create(vm)))
		goto fail;
	*out = vm;
	*why = NULL;
	return TF_OK;
fail:
	vm_destroy(vm);
	return e;
}

void vm_start(struct vm *vm)
{
	vm->by_watchdog = vm->stop == VM_STOP_WATCHDOG;
	vm->nstopped = vm->nreset = 0;
	vm->start_cleared = 0;
	vm->start_tsc = rdtsc();
	vm->starts++;
	__atomic_store_n(&vm->stop, VM_STOP_NONE, __ATOMIC_SEQ_CST);
	/* From here on a vCPU that is woken by something late does not take itself for stopped: vcpu_stopped(). */
	__atomic_store_n(&vm->state, VM_STARTING, __ATOMIC_SEQ_CST);
	for (uint32_t i = 0; i < vm->nvcpus; i++) {
		for (unsigned t = 0; t < NTIMERS; t++)
			vcpu_arm(vm->vcpus[i], t, DEV_NEVER);
		__atomic_store_n(&vm->vcpus[i]->ended, false, __ATOMIC_SEQ_CST);
		__atomic_store_n(&vm->vcpus[i]->requests, 0, __ATOMIC_SEQ_CST);
	}
	for (uint32_t i = 0; i < vm->nvcpus; i++)
		vcpu_signal(vm->vcpus[i], REQ_RESET);
}

static void *load_at(void *ctx, gpa_t gpa, uint64_t len) { return mem_at(ctx, gpa, len); }

static enum tf_err load_guest(struct vm *vm, struct load_entry *entry, const char **why)
{
	struct load_mem mem = { .ctx = &vm->mem, .at = load_at, .map = vm->mem.e820, .nmap = vm->mem.ne820,
				.rsdp = GPA(GUEST_ACPI_BASE) };
	struct load_request req = vm->load;
	uint8_t *bios = mem_at(&vm->mem, GPA(GUEST_ACPI_BASE), GUEST_ACPI_SIZE);

	*why = "the ACPI tables do not fit";
	enum tf_err e = guest_acpi_build(bios, GUEST_ACPI_SIZE, GUEST_ACPI_BASE, vm->nvcpus,
						vm->cfg.watchdog_ms != 0);
	if (e)
		return e;
	req.mem = &mem;
	return load_kernel(&req, entry, why);
}

void vm_start_step(struct vm *vm)
{
	if (__atomic_load_n(&vm->nreset, __ATOMIC_ACQUIRE) < vm->nvcpus)
		return; /* some vCPU is still in its last life */
	uint64_t n = mem_clear(&vm->mem, vm->start_cleared, CLEAR_PIECE);
	struct load_entry entry;
	const char *why;

	vm->start_cleared += n;
	if (n)
		return;
	enum tf_err e = load_guest(vm, &entry, &why);
	if (e) {
		log_error("guest", "vm=%s event=refused kernel=%s error=%s reason=%s", vm->cfg.name, vm->cfg.kernel,
			  tf_strerror(e), why);
		vm_stop(vm, VM_STOP_ERROR);
		return;
	}
	/*
	 * Power-up time is now: the clearing is not part of the guest's life. The other vCPUs, which wait for a start-up IPI,
	 * take it then.
	 */
	vm->start_tsc = rdtsc();
	vcpu_reset(vm->vcpus[0]);
	spin_lock(&vm->lock);
	board_reset(vm);
	spin_unlock(&vm->lock);
	vcpu_set_entry(vm->vcpus[0], &entry);
	vcpu_switch_in(vm->vcpus[0]);
	enum vm_state starting = VM_STARTING;
	if (!__atomic_compare_exchange_n(&vm->state, &starting, VM_RUNNING, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return; /* it has been stopped meanwhile */
	log_info("guest", "vm=%s event=started kernel=%s memory=%luM entry=%lx", vm->cfg.name, vm->cfg.kernel,
		 vm->mem.bytes >> 20, entry.rip);
}

/* True for the first who wants to end it. */
static bool claim_stop(struct vm *vm, enum vm_stop how)
{
	enum vm_stop none = VM_STOP_NONE;

	return __atomic_compare_exchange_n(&vm->stop, &none, how, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/*
 * Each vCPU has its part in a stop, and whoever stops the VM has one, too: nothing of it goes on when the last has ended.
 */
static bool last_part(struct vm *vm)
{
	return __atomic_add_fetch(&vm->nstopped, 1, __ATOMIC_ACQ_REL) == vm->nvcpus + 1;
}

bool vcpu_stopped(struct vcpu *v)
{
	if (v->ended || __atomic_load_n(&v->vm->state, __ATOMIC_SEQ_CST) != VM_STOPPED)
		return false;
	__atomic_store_n(&v->ended, true, __ATOMIC_SEQ_CST);
	return last_part(v->vm);
}

static void stop_all(struct vm *vm)
{
	__atomic_store_n(&vm->state, VM_STOPPED, __ATOMIC_RELEASE);
	for (uint32_t i = 0; i < vm->nvcpus; i++) {
		for (unsigned t = 0; t < NTIMERS; t++)
			vcpu_arm(vm->vcpus[i], t, DEV_NEVER);
		vcpu_signal(vm->vcpus[i], REQ_STOP);
	}
	if (last_part(vm))
		vm->host->stopped(vm);
}

bool vm_stop(struct vm *vm, enum vm_stop how)
{
	bool claimed = claim_stop(vm, how);

	if (claimed)
		stop_all(vm);
	return claimed;
}

static void flush_here(void *ctx) { vm_flush_stale(ctx); }

void vm_flush_ept(struct vm *vm)
{
	__atomic_fetch_add(&vm->ept_changes, 1, __ATOMIC_SEQ_CST);
	vm_flush_stale(vm);
	for (uint32_t i = 0; i < vm->nvcpus; i++) {
		int32_t cpu = __atomic_load_n(&vm->vcpus[i]->on_cpu, __ATOMIC_SEQ_CST);

		if (cpu != NO_CPU && (uint32_t)cpu != this_cpu()->id)
			smp_call((uint32_t)cpu, flush_here, vm);
	}
}

const char *vm_stop_name(enum vm_stop how)
{
	static const char *const names[] = { "none", "power-off", "reset", "triple-fault", "error", "request",
					     "watchdog" };

	return how < ARRAY_SIZE(names) ? names[how] : "unknown";
}

const char *vm_state_name(enum vm_state s)
{
	static const char *const names[] = { "off", "starting", "running", "stopped" };

	return s < ARRAY_SIZE(names) ? names[s] : "unknown";
}

static void report_registers(const struct vcpu *v)
{
	const uint64_t *g = v->vmx.gpr;
	const char *name = v->vm->cfg.name;

	log_error("guest", "vm=%s vcpu=%u event=registers rip=%lx rsp=%lx rflags=%lx cr0=%lx cr2=%lx cr3=%lx cr4=%lx efer=%lx",
		  name, v->id, vmcs_read(VMCS_GUEST_RIP), vmcs_read(VMCS_GUEST_RSP), vmcs_read(VMCS_GUEST_RFLAGS),
		  vmcs_read(VMCS_GUEST_CR0), read_cr2(), vmcs_read(VMCS_GUEST_CR3), vmcs_read(VMCS_GUEST_CR4),
		  vmcs_read(VMCS_GUEST_EFER));
	log_error("guest", "vm=%s vcpu=%u event=registers rax=%lx rbx=%lx rcx=%lx rdx=%lx rsi=%lx rdi=%lx rbp=%lx",
		  name, v->id, g[RAX], g[RBX], g[RCX], g[RDX], g[RSI], g[RDI], g[RBP]);
	log_error("guest", "vm=%s vcpu=%u event=registers r8=%lx r9=%lx r10=%lx r11=%lx r12=%lx r13=%lx r14=%lx r15=%lx",
		  name, v->id, g[R8], g[R9], g[R10], g[R11], g[R12], g[R13], g[R14], g[R15]);
	for (unsigned s = SEG_ES; s <= SEG_TR; s++) {
		static const char *const seg[] = { "es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr" };

		log_error("guest", "vm=%s vcpu=%u event=segment name=%s selector=%04x base=%lx limit=%x access=%x", name,
			  v->id, seg[s], vmcs_read(VMCS_GUEST_SEL(s)), vmcs_read(VMCS_GUEST_BASE(s)),
			  vmcs_read(VMCS_GUEST_LIMIT(s)), vmcs_read(VMCS_GUEST_AR(s)));
	}
}

static void report_code(struct vcpu *v)
{
	uint8_t bytes[INSN_MAX];
	char hex[2 * INSN_MAX + 1] = "";
	size_t n = walk_fetch(v, bytes, sizeof(bytes));

	for (size_t i = 0; i < n; i++)
		tf_snprintf(hex + 2 * i, sizeof(hex) - 2 * i, "%02x", bytes[i]);
	log_error("guest", "vm=%s vcpu=%u event=code bytes=%s", v->vm->cfg.name, v->id, n ? hex : "unreadable");
}

void vm_stop_report(struct vcpu *v, enum vm_stop how, const char *fmt, ...)
{
	char text[STOP_TEXT];
	va_list ap;

	if (!claim_stop(v->vm, how))
		return;
	va_start(ap, fmt);
	tf_vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_error("guest", "vm=%s vcpu=%u event=fault exit=%s reason=%s", v->vm->cfg.name, v->id,
		  vmx_exit_name(v->vmx.exit.reason), text);
	report_registers(v);
	report_code(v);
	stop_all(v->vm);
}
