#include "core/main.h"
#include "arch/x86_64/frames.h"
#include "arch/x86_64/lapic.h"
#include "arch/x86_64/mce.h"
#include "arch/x86_64/nmi.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/smp.h"
#include "arch/x86_64/trace.h"
#include "arch/x86_64/tsc.h"
#include "core/audit.h"
#include "core/com2.h"
#include "core/config.h"
#include "core/keyboard.h"
#include "core/log.h"
#include "core/machine.h"
#include "core/panic.h"
#include "core/platform.h"
#include "core/report.h"
#include "core/sched.h"
#include "core/screen.h"
#include "core/serial.h"
#include "core/statistics.h"
#include "core/stop.h"
#include "core/terminal.h"
#include "core/tracing.h"
#include "core/vmm.h"
#include "guest/fpu.h"
#include "vmx/dump.h"
#include "vmx/mitigations.h"
#include "vmx/vcpu.h"
#include <tf/log.h>
#include <tf/string.h>

#define COM2_IRQ    3
#define CONFIG_NAME "trefoil.conf"
#define MEMORY_MIN  MiB(24)

static void init_consoles(const struct config *config)
{
	serial_configure(config);
	log_set_screen(config->screen);
	terminal_init(config);
	if (serial_irq())
		(void)platform_route_isa(serial_irq(), terminal_interrupt);
	terminal_start();
	if (com2_init())
		(void)platform_route_isa(COM2_IRQ, com2_interrupt);
	if (!platform_acpi()->no_8042 && keyboard_init()) {
		keyboard_start(platform_route_isa(KEYBOARD_IRQ, keyboard_interrupt));
		log_info("core", "event=keyboard");
	}
}

static void config_error(void *ctx, unsigned line, const char *vm, const char *key, const char *expected)
{
	(void)ctx;
	log_error("config", "event=config-error file=" CONFIG_NAME " line=%u vm=%s key=%s expected=%s", line,
		  vm[0] ? vm : "-", key[0] ? key : "-", expected);
}

/* Into frames that the caller frees: it is large, and needed only until the VMs exist. */
static struct config *read_config(const struct boot_info *bi, hpa_t *frames)
{
	const struct config_report report = { NULL, config_error };
	size_t n = strlen(CONFIG_NAME);
	struct config *config;

	if (frame_alloc(frame_order(sizeof(*config)), frames))
		core_refuse("memory", "there is no room for the configuration");
	config = phys_to_virt(*frames);
	for (uint32_t i = 0; i < bi->nmodules; i++) {
		const struct boot_module *m = &bi->modules[i];

		if (strncmp(m->name, CONFIG_NAME, n) || (m->name[n] && m->name[n] != ' '))
			continue;
		if (config_parse(phys_to_virt(m->start), m->size, config, &report))
			core_refuse("a usable VM in " CONFIG_NAME, "see the lines above and docs/trefoil.conf.md");
		return config;
	}
	core_refuse("the boot module " CONFIG_NAME,
		    "put it into \\trefoil on the stick, or add `module2 /boot/trefoil.conf trefoil.conf` to the GRUB menu entry");
}

static const struct boot_info *boot_information;

static void dump_vmcs(void) { vmx_dump(panic_print); }

static void init_vmx(uint32_t disable)
{
	vmx_caps_disable(&vmx_caps, disable);
	for (unsigned f = 0; f < VMX_FEATURES; f++)
		if (disable & BIT(f))
			log_info("vmx", "event=disabled feature=%s", vmx_feature_name(f));
	enum tf_err e = vmx_cpu_enable();
	if (e == TF_ENOMEM)
		core_refuse("memory", "there is no room for the VMXON region");
	if (e)
		core_refuse("VMX operation (VMXON failed)", "see the line above");
	panic_dump_vmcs = dump_vmcs;
	log_info("vmx",
		 "event=enabled revision=%x true-controls=%u vpid=%u preemption-timer=%u tpr-shadow=%u apic-access=%u "
		 "apic-registers=%u virtual-interrupts=%u x2apic=%u ept-2m=%u ept-1g=%u ept-ad=%u",
		 vmx_caps.revision, vmx_caps.true_ctls, vmx_caps.vpid, vmx_caps.preemption_timer, vmx_caps.tpr_shadow,
		 vmx_caps.apic_access, vmx_caps.apic_registers, vmx_caps.virtual_intr, vmx_caps.x2apic,
		 !!(vmx_caps.ept_vpid & EPTCAP_2M), !!(vmx_caps.ept_vpid & EPTCAP_1G), vmx_caps.ept_ad);
}

/* --- on each CPU beside the boot CPU */

static uint32_t slice_us;

static const char *prepare_cpu(void)
{
	trace_off();
	mce_init();
	const char *why = vmx_cpu_differs();
	if (why)
		return why;
	enum tf_err e = vmx_cpu_enable();
	if (e)
		return e == TF_ENOMEM ? "no memory for its VMXON region" : "VMXON failed";
	vmx_mitigate_cpu();
	fpu_init_cpu();
	return sched_init_cpu(slice_us) ? "no memory for its run queue" : NULL;
}

static __noreturn void run_cpu(void) { sched_run(NULL); }

static bool low_page_free(uint64_t start, uint64_t end)
{
	const struct boot_info *bi = boot_information;

	for (uint32_t i = 0; i < bi->nmodules; i++)
		if (start < bi->modules[i].start.v + bi->modules[i].size && end > bi->modules[i].start.v)
			return false;
	return spans_contain(frames_ram(), start, end);
}

/* What a core's threads share tells each of the other's data, whatever is flushed when one of them changes hands. */
static bool threads_leak(void)
{
	const enum mitigation_state *s = vmx_mitigations.plan.state;

	return vmx_mitigations.enabled && (s[MITIGATION_L1D_FLUSH] != MITIGATION_NOT_NEEDED || s[MITIGATION_VERW] != MITIGATION_NOT_NEEDED);
}

/* Is it on the core of the boot CPU, or of one of those, and must not be used? */
static bool unsafe_sibling(uint32_t apic_id, const uint32_t *ids, uint32_t n)
{
	unsigned bits = smp_thread_bits();
	bool shares = apic_id != this_cpu()->apic_id && apic_id >> bits == this_cpu()->apic_id >> bits;

	for (uint32_t i = 0; i < n; i++)
		shares |= ids[i] != this_cpu()->apic_id && apic_id != this_cpu()->apic_id && ids[i] >> bits == apic_id >> bits;
	if (!bits || !shares || !threads_leak())
		return false;
	log_warn("smp", "event=cpu-left-out apic-id=%u reason=it shares a core, which leaks between guests (mitigations)", apic_id);
	return true;
}

static void start_cpus(const struct config *config)
{
	const struct acpi_info *acpi = platform_acpi();
	uint32_t ids[ACPI_MAX_CPUS], n = 0;

	for (uint32_t i = 0; i < acpi->ncpus; i++)
		if (acpi->cpus[i].enabled && !unsafe_sibling(acpi->cpus[i].apic_id, ids, n))
			ids[n++] = acpi->cpus[i].apic_id;
	if (acpi->cpus_dropped)
		log_warn("smp", "event=cpus-unnamed count=%u reason=more than 256, or one id twice", acpi->cpus_dropped);
	slice_us = config->slice_us;
	smp_start(&(struct smp_boot){
		.apic_ids = ids, .n = n, .max = config->host_cpus ? config->host_cpus : MAX_CPUS,
		.lapic_base = acpi->lapic_base, .low_page_free = low_page_free, .prepare = prepare_cpu, .run = run_cpu,
	});
}

static void init_mitigations(const struct config *config)
{
	vmx_mitigations_init(config->mitigations);
#ifdef TF_TEST_HOOKS
	if (config->mitigation_flags)
		vmx_mitigations_force(config->mitigation_flags);
#endif
	vmx_mitigate_cpu();
}

/* How the memory is shared out: what is neither free, nor a guest's, nor a boot module's is ours. */
static void report_ready(const struct boot_info *bi)
{
	uint64_t guests = 0, modules = 0;

	for (uint32_t i = 0; i < vmm_count(); i++)
		guests += vmm_vm(i)->mem.bytes;
	for (uint32_t i = 0; i < bi->nmodules; i++)
		modules += bi->modules[i].size;
	log_info("core", "event=ready vms=%u guests=%luK modules=%luK hypervisor=%luK free=%luK", vmm_count(), guests >> 10,
		 modules >> 10, (frames_total_bytes() - frames_free_bytes() - guests - modules) >> 10,
		 frames_free_bytes() >> 10);
}

static uint64_t work(void)
{
	vmm_work();
	nmi_report();
	tracing_work();
	report_work();
	uint64_t lines = MIN(MIN(terminal_poll(), com2_poll()), MIN(keyboard_poll(), screen_paint()));
	return MIN(MIN(lines, audit_work()), statistics_work());
}

void core_main(const struct boot_info *bi)
{
	const struct acpi_info *acpi = platform_acpi();
	struct vmx_refusal why;
	hpa_t config_frames;

	log_info("core", "event=boot loader=%s", bi->loader);
#ifdef TF_TEST_HOOKS
	test_hook_boot(bi);
#endif
	if (vmx_probe(&why)) { /* before anything else: a machine that cannot is told at once */
		machine_report_cpu();
		core_refuse(why.missing, why.advice);
	}
	/* What still uses memory that the firmware has given up. */
	trace_off();
	lapic_park_others();
	frames_init(bi);
	paging_init(bi);
	screen_remap();
	if (frames_free_bytes() < MEMORY_MIN)
		core_refuse("memory", "Trefoil needs 24 MiB besides the boot modules, and the guests theirs");
	machine_report(bi);
	mce_init();
	platform_read(bi);
	serial_find(acpi);
	tsc_init(&(struct tsc_refs){ acpi->hpet_base, acpi->pm_timer_port, acpi->pm_timer_mem });
	platform_init_interrupts();
	struct config *config = read_config(bi, &config_frames);
	log_set_level(config->debug ? LOG_DEBUG : LOG_INFO);
	init_consoles(config);
	init_vmx(config->disable);
	init_mitigations(config);
	fpu_init();
	fpu_init_cpu();
	if (sched_init_cpu(config->slice_us))
		core_refuse("memory", "there is no room for a run queue");
	boot_information = bi;
	start_cpus(config);
	tracing_init(config->trace_kib);
	audit_init(bi);
	vmm_create_all(config, bi);
	frame_free(config_frames, frame_order(sizeof(*config)));
	if (vmm_count() == 0)
		core_refuse("a VM that can be created", "see the lines above");
	report_ready(bi);
	sched_run(work);
}
