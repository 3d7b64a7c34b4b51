#include "core/vmm.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/frames.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/tsc.h"
#include "core/com2.h"
#include "core/sched.h"
#include "core/stop.h"
#include "core/terminal.h"
#include "drivers/rtc.h"
#include <tf/log.h>
#include <tf/panic.h>
#include <tf/string.h>

static struct {
	struct vm *vm;
	uint32_t requests; /* VMM_*; atomic, as others ask for this CPU's work */
	bool stopped;      /* vmm_stopped() was called; atomic */
	uint64_t started;  /* TSC */
	uint32_t hasty;    /* starts in a row that ended soon and were followed by another */
	bool waiting;      /* TIMER_RESTART is armed */
	bool live;         /* started, and not wholly ended yet */
} *slots;                  /* for every VM of the configuration */
static uint32_t nslots;
static bool wanted;        /* a slot has requests, or its VM has stopped; atomic, set after those */
static bool power_off_requested, power_off_with_last;
static int64_t unix_at_start; /* host clock when `tsc_boot` was: the clock is read once */

/* A guest that ends again and again is started at once a few times, then after delays that double: what each start costs,
 * and says in the log, would be the others' loss. */
#define RESTARTS_AT_ONCE 4
#define RESTART_SOON_US  10000000
#define RESTART_DELAY_US 1000000
#define RESTART_DOUBLES  4

/* A boot module by its name: the first word of its string. */
static const struct boot_module *find_module(const struct boot_info *bi, const char *name, size_t len)
{
	for (uint32_t i = 0; i < bi->nmodules; i++) {
		const char *s = bi->modules[i].name, *end = strchr(s, ' ');
		size_t n = end ? (size_t)(end - s) : strlen(s);

		if (n == len && !strncmp(s, name, len))
			return &bi->modules[i];
	}
	return NULL;
}

/* `spec` is a module's name, and its command line after a space. */
static bool find_blob(const struct boot_info *bi, const struct vm_config *cfg, const char *key, const char *spec,
		      struct load_blob *out)
{
	const char *space = strchr(spec, ' ');
	const struct boot_module *m = find_module(bi, spec, space ? (size_t)(space - spec) : strlen(spec));

	if (!m) {
		log_error("vmm", "vm=%s event=refused key=%s value=%s reason=no boot module of this name", cfg->name, key,
			  spec);
		return false;
	}
	*out = (struct load_blob){ phys_to_virt(m->start), m->size, spec };
	return true;
}

static bool find_files(const struct boot_info *bi, const struct vm_config *cfg, struct load_request *req)
{
	memset(req, 0, sizeof(*req));
	req->kind = cfg->kind;
	req->cmdline = cfg->cmdline;
	if (!find_blob(bi, cfg, "kernel", cfg->kernel, &req->kernel))
		return false;
	if (cfg->initrd[0] && !find_blob(bi, cfg, "initrd", cfg->initrd, &req->initrd))
		return false;
	for (uint32_t i = 0; i < cfg->nmodules; i++, req->nmodules++)
		if (!find_blob(bi, cfg, "module", cfg->modules[i], &req->modules[i]))
			return false;
	return true;
}

static struct chardev console_of(const struct vm_config *cfg)
{
	switch (cfg->console) {
	case VM_CONSOLE_COM2:
		return com2_chardev();
	case VM_CONSOLE_NONE:
		return terminal_nowhere();
	default:
		return terminal_chardev(nslots);
	}
}

/* The second serial port has room for one VM. */
static bool com2_free(const struct vm_config *cfg)
{
	const char *why = com2_missing();

	for (uint32_t i = 0; i < nslots; i++)
		if (slots[i].vm->cfg.console == VM_CONSOLE_COM2)
			why = "another VM has the second serial port";
	if (why)
		log_error("vmm", "vm=%s event=refused key=console value=com2 reason=%s", cfg->name, why);
	return !why;
}

#ifndef TF_TEST_HOOKS
static bool test_hook_create(const struct vm_config *cfg, uint32_t tries) { (void)cfg; return !tries; }
#endif

static void create(const struct vm_config *cfg, const struct boot_info *bi)
{
	struct load_request req;
	struct vm *vm;
	const char *key, *why;

	if (!find_files(bi, cfg, &req) || (cfg->console == VM_CONSOLE_COM2 && !com2_free(cfg)))
		return;
	enum tf_err e = sched_admit(cfg, &key, &why);
	if (e) {
		log_error("vmm", "vm=%s event=refused key=%s error=%s reason=%s", cfg->name, key, tf_strerror(e), why);
		return;
	}
	e = vm_create(cfg, nslots, &req, console_of(cfg), &sched_vm_host, &vm, &why);
	if (e) {
		log_error("vmm", "vm=%s event=refused error=%s reason=%s", cfg->name, tf_strerror(e), why);
		return;
	}
	vm->load.cmdline = vm->cfg.cmdline; /* the VM's own copies outlive the configuration */
	slots[nslots++].vm = vm;
	for (uint32_t i = 0; i < vm->nvcpus; i++)
		sched_add(vm->vcpus[i]);
	if (cfg->console == VM_CONSOLE_MUX)
		terminal_add(vm);
	else if (cfg->console == VM_CONSOLE_COM2)
		com2_connect(vm);
	log_info("vmm", "vm=%s event=created memory=%luM vcpus=%u weight=%u tables=%luK", cfg->name, cfg->memory >> 20,
		 cfg->vcpus, cfg->weight, (uint64_t)(vm->ept.tables * PAGE_SIZE >> 10));
}

static void start(struct vm *vm)
{
	slots[vm->id].started = rdtsc();
	slots[vm->id].waiting = false;
	slots[vm->id].live = true;
	vm->start_unix = unix_at_start + (int64_t)(tsc_to_us(rdtsc() - tsc_boot) / 1000000);
	vm_start(vm);
}

static void make_slots(uint32_t n)
{
	unsigned order = frame_order(n * sizeof(*slots));
	hpa_t frames;

	if (frame_alloc(order, &frames))
		panic("vmm: no memory");
	slots = phys_to_virt(frames);
	memset(slots, 0, PAGE_SIZE << order);
}

void vmm_create_all(const struct config *cfg, const struct boot_info *bi)
{
	make_slots(cfg->nvms);
	unix_at_start = rtc_read_unix() - (int64_t)(tsc_to_us(rdtsc() - tsc_boot) / 1000000);
	power_off_with_last = cfg->poweroff;
	for (uint32_t i = 0; i < cfg->nvms; i++)
		for (uint32_t tries = 0, before = nslots; nslots == before && test_hook_create(&cfg->vms[i], tries); tries++)
			create(&cfg->vms[i], bi);
	for (uint32_t i = 0; i < nslots; i++)
		if (slots[i].vm->cfg.autostart)
			start(slots[i].vm);
}

uint32_t vmm_count(void) { return nslots; }
struct vm *vmm_vm(uint32_t i) { return i < nslots ? slots[i].vm : NULL; }

/* vmm_work() is to look at the slots. */
static void want(void)
{
	__atomic_store_n(&wanted, true, __ATOMIC_RELEASE);
	sched_poke();
}

void vmm_request(struct vm *vm, enum vmm_request what)
{
	__atomic_fetch_or(&slots[vm->id].requests, what, __ATOMIC_RELEASE);
	want();
}

void vmm_request_power_off(void)
{
	power_off_requested = true;
	sched_poke();
}

static bool any_alive(void)
{
	for (uint32_t i = 0; i < nslots; i++)
		if (slots[i].live || slots[i].waiting || (slots[i].requests & (VMM_START | VMM_RESTART)))
			return true;
	return false;
}

void vmm_restart_due(struct vm *vm) { vmm_request(vm, VMM_AGAIN); }

static void start_again(struct vm *vm)
{
	uint64_t now = rdtsc();

	slots[vm->id].hasty = now - slots[vm->id].started < tsc_from_us(RESTART_SOON_US) ? slots[vm->id].hasty + 1 : 0;
	if (slots[vm->id].hasty <= RESTARTS_AT_ONCE) {
		vmm_request(vm, VMM_START);
		return;
	}
	uint64_t delay = RESTART_DELAY_US << MIN(slots[vm->id].hasty - RESTARTS_AT_ONCE - 1, (uint32_t)RESTART_DOUBLES);
	slots[vm->id].waiting = true;
	vcpu_arm(vm->vcpus[0], TIMER_RESTART, now + tsc_from_us(delay));
	log_info("vmm", "vm=%s event=restart-delayed delay=%lu", vm->cfg.name, delay);
}

void vmm_stopped(struct vm *vm)
{
	__atomic_store_n(&slots[vm->id].stopped, true, __ATOMIC_RELEASE);
	want();
}

void vmm_console(struct vm *vm)
{
	if (vm->cfg.console == VM_CONSOLE_COM2)
		com2_serve(vm);
	else if (vm->cfg.console == VM_CONSOLE_MUX)
		terminal_serve(vm);
}

/* What follows a stop. */
static void after_stop(struct vm *vm)
{
	bool again = vm->cfg.on_exit == VM_ON_EXIT_RESTART && vm->stop != VM_STOP_REQUEST;

	slots[vm->id].live = false;
	if (slots[vm->id].requests)
		want();
	log_info("vmm", "vm=%s event=stopped cause=%s starts=%lu", vm->cfg.name, vm_stop_name(vm->stop), vm->starts);
	/* A guest that asks for a reset gets one, as does one that hangs; other ends are final unless on_exit says otherwise. */
	if (slots[vm->id].requests & VMM_STOP)
		return; /* the rest is serve()'s */
	if (again || vm->stop == VM_STOP_RESET || vm->stop == VM_STOP_WATCHDOG)
		start_again(vm);
	else if (power_off_with_last && !any_alive())
		vmm_request_power_off();
}

static void serve(uint32_t i)
{
	struct vm *vm = slots[i].vm;
	bool alive = vm->state == VM_STARTING || vm->state == VM_RUNNING;

	bool ending = !alive || __atomic_load_n(&vm->stop, __ATOMIC_ACQUIRE) != VM_STOP_NONE;

	if (slots[i].live && ending) /* one thing after the other: after_stop() asks again */
		return;
	uint32_t r = __atomic_exchange_n(&slots[i].requests, 0, __ATOMIC_ACQUIRE);
	if ((r & VMM_AGAIN) && slots[i].waiting)
		r |= VMM_START;
	if ((r & (VMM_STOP | VMM_RESTART)) && alive) {
		if (r & VMM_RESTART)
			__atomic_fetch_or(&slots[i].requests, VMM_START, __ATOMIC_RELAXED);
		if (!vm_stop(vm, VM_STOP_REQUEST)) /* it ends by itself just now, but must not start again */
			__atomic_fetch_or(&slots[i].requests, r & VMM_STOP, __ATOMIC_RELAXED);
		return;
	}
	if (r & VMM_STOP) {
		if (slots[i].waiting)
			vcpu_arm(vm->vcpus[0], TIMER_RESTART, DEV_NEVER);
		slots[i].waiting = false;
		if (power_off_with_last && !any_alive())
			vmm_request_power_off();
		return;
	}
	if ((r & (VMM_START | VMM_RESTART)) && !alive)
		start(vm);
}

void vmm_work(void)
{
	if (power_off_requested)
		core_power_off();
	if (likely(!__atomic_exchange_n(&wanted, false, __ATOMIC_ACQUIRE)))
		return;
	for (uint32_t i = 0; i < nslots; i++) {
		if (__atomic_exchange_n(&slots[i].stopped, false, __ATOMIC_ACQUIRE))
			after_stop(slots[i].vm);
		if (slots[i].requests)
			serve(i);
	}
}
