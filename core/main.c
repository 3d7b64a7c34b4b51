#include "core/main.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/frames.h"
#include "arch/x86_64/ioapic.h"
#include "arch/x86_64/irq.h"
#include "arch/x86_64/lapic.h"
#include "arch/x86_64/mce.h"
#include "arch/x86_64/nmi.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/percpu.h"
#include "arch/x86_64/trace.h"
#include "arch/x86_64/tsc.h"
#include "core/com2.h"
#include "core/config.h"
#include "core/keyboard.h"
#include "core/log.h"
#include "core/machine.h"
#include "core/panic.h"
#include "core/sched.h"
#include "core/screen.h"
#include "core/serial.h"
#include "core/terminal.h"
#include "core/vmm.h"
#include "drivers/acpi.h"
#include "drivers/power.h"
#include "guest/fpu.h"
#include "vmx/dump.h"
#include "vmx/mitigations.h"
#include "vmx/vcpu.h"
#include <tf/log.h>
#include <tf/panic.h>
#include <tf/string.h>

#define COM2_IRQ    3
#define CONFIG_NAME "trefoil.conf"
#define MEMORY_MIN  MiB(24)
#define BIOS_AREA   0xe0000
#define BIOS_LEN    0x20000
#define BDA         0
#define BDA_EBDA    0x40e
#define EBDA_LOWEST 0x80000
#define EBDA_END    0xa0000
#define EBDA_SEARCH 1024
#define IOAPIC_BASE 0xfec00000

static struct acpi_info acpi;

static __noreturn void halt(void)
{
	log_info("core", "event=halted");
	terminal_drain(); /* its interrupt does not come any more */
	for (;;)
		__asm__ volatile("cli; hlt" : : : "memory");
}

/* Trefoil cannot run here: says what is missing and what to do, and stops quietly. */
static __noreturn void refuse(const char *missing, const char *advice)
{
	serial_find(NULL);
	log_error("core", "event=refused missing=%s", missing);
	log_error("core", "event=advice text=%s", advice);
	halt();
}

__noreturn void core_power_off(void)
{
	log_info("core", "event=power-off");
	terminal_drain();
	log_error("core", "event=power-off-failed reason=%s", power_off(&acpi));
	halt();
}

static const void *map_table(void *ctx, hpa_t addr, size_t len)
{
	(void)ctx;
	return paging_map_firmware(addr, len);
}

/* Firmware without ACPI: what every PC has had since the MultiProcessor Specification, "Default Configurations". */
static void assume_pc(void)
{
	log_warn("acpi", "event=no-acpi");
	acpi.lapic_base = HPA(rdmsr(MSR_IA32_APIC_BASE) & APIC_BASE_ADDR);
	acpi.has_8259 = true;
	acpi.ncpus = 1;
	acpi.ioapics[acpi.nioapics++] = (struct acpi_ioapic){ .base = HPA(IOAPIC_BASE) };
	acpi.isos[acpi.nisos++] = (struct acpi_iso){ .irq = 0, .gsi = 2 };
}

static bool rsdp_in(uint64_t base, size_t len, uint8_t rsdp[36])
{
	const void *p = paging_map_firmware(HPA(base), len);

	return p && acpi_find_rsdp(p, len, rsdp) == TF_OK;
}

/* ACPI 6.5, "Finding the RSDP on IA-PC Systems": the first KiB of the EBDA, whose segment the BIOS keeps, and the BIOS. */
static bool search_rsdp(uint8_t rsdp[36])
{
	const uint8_t *bda = paging_map_firmware(HPA(BDA), PAGE_SIZE);
	uint64_t ebda = bda ? ((uint64_t)bda[BDA_EBDA] | (uint64_t)bda[BDA_EBDA + 1] << 8) << 4 : 0;

	return (ebda >= EBDA_LOWEST && ebda < EBDA_END && rsdp_in(ebda, EBDA_SEARCH, rsdp)) ||
	       rsdp_in(BIOS_AREA, BIOS_LEN, rsdp);
}

static void read_acpi(const struct boot_info *bi)
{
	uint8_t rsdp[36];
	const char *why = NULL;

	if (bi->has_rsdp) {
		memcpy(rsdp, bi->rsdp, sizeof(rsdp));
	} else if (bi->efi || !search_rsdp(rsdp)) {
		assume_pc();
		return;
	}
	enum tf_err e = acpi_parse(rsdp, map_table, NULL, &acpi, &why);
	if (e)
		refuse("usable ACPI tables", why ? why : tf_strerror(e));
	if (why)
		log_warn("acpi", "event=table-skipped reason=%s", why);
	if (acpi.suspect)
		log_warn("acpi", "event=table-checksum table=%s", acpi.suspect);
	if (!acpi.ncpus && !acpi.nioapics) { /* tables, but not a MADT among them: OVMF where it is given none */
		assume_pc();
		return;
	}
	if (!acpi.nioapics)
		refuse("an I/O APIC", "the ACPI MADT names none; enable it in the firmware settings");
	log_info("acpi", "event=found cpus=%u ioapics=%u", acpi.ncpus, acpi.nioapics);
}

/* The global interrupt and its trigger for an ISA interrupt. */
static struct acpi_iso isa_route(uint8_t irq)
{
	for (uint32_t i = 0; i < acpi.nisos; i++)
		if (acpi.isos[i].irq == irq)
			return acpi.isos[i];
	return (struct acpi_iso){ .irq = irq, .gsi = irq };
}

static void init_interrupts(void)
{
	pic_disable();
	lapic_init(acpi.lapic_base);
	lapic_park_others();
	for (unsigned lint = 0; lint < 2; lint++)
		if (acpi.nmi_lints & BIT(lint))
			lapic_open_nmi(lint, acpi.nmi_active_low);
	for (uint32_t i = 0; i < acpi.nioapics; i++)
		ioapic_add(acpi.ioapics[i].base, acpi.ioapics[i].gsi_base);
}

/* False: it will not come, and its device is to be polled. */
static bool route_isa(uint8_t irq, irq_fn fn)
{
	struct acpi_iso iso = isa_route(irq);
	uint8_t vector;
	enum tf_err e = irq_alloc_vector(&vector);

	if (!e) {
		irq_register(vector, fn, NULL);
		e = ioapic_route(iso.gsi, vector, lapic_id(), iso.level, iso.active_low);
	}
	if (!e)
		e = ioapic_mask(iso.gsi, false);
	if (e)
		log_warn("core", "event=irq-unusable irq=%u gsi=%u error=%s", irq, iso.gsi, tf_strerror(e));
	return !e;
}

static void init_consoles(const struct config *config)
{
	serial_configure(config);
	log_set_screen(config->screen);
	terminal_init(config);
	if (serial_irq())
		(void)route_isa(serial_irq(), terminal_interrupt);
	terminal_start();
	if (com2_init())
		(void)route_isa(COM2_IRQ, com2_interrupt);
	if (!acpi.no_8042 && keyboard_init()) {
		keyboard_start(route_isa(KEYBOARD_IRQ, keyboard_interrupt));
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
		refuse("memory", "there is no room for the configuration");
	config = phys_to_virt(*frames);
	for (uint32_t i = 0; i < bi->nmodules; i++) {
		const struct boot_module *m = &bi->modules[i];

		if (strncmp(m->name, CONFIG_NAME, n) || (m->name[n] && m->name[n] != ' '))
			continue;
		if (config_parse(phys_to_virt(m->start), m->size, config, &report))
			refuse("a usable VM in " CONFIG_NAME, "see the lines above and docs/trefoil.conf.md");
		return config;
	}
	refuse("the boot module " CONFIG_NAME, "add `module2 /boot/trefoil.conf trefoil.conf` to the GRUB menu entry");
}

static void dump_vmcs(void) { vmx_dump(panic_print); }

static void init_vmx(uint32_t disable)
{
	vmx_caps_disable(&vmx_caps, disable);
	for (unsigned f = 0; f < VMX_FEATURES; f++)
		if (disable & BIT(f))
			log_info("vmx", "event=disabled feature=%s", vmx_feature_name(f));
	if (vmx_cpu_enable())
		refuse("VMX operation (VMXON failed)", "see the line above");
	panic_dump_vmcs = dump_vmcs;
	log_info("vmx",
		 "event=enabled revision=%x true-controls=%u vpid=%u preemption-timer=%u tpr-shadow=%u apic-access=%u "
		 "apic-registers=%u virtual-interrupts=%u x2apic=%u ept-2m=%u ept-1g=%u ept-ad=%u",
		 vmx_caps.revision, vmx_caps.true_ctls, vmx_caps.vpid, vmx_caps.preemption_timer, vmx_caps.tpr_shadow,
		 vmx_caps.apic_access, vmx_caps.apic_registers, vmx_caps.virtual_intr, vmx_caps.x2apic,
		 !!(vmx_caps.ept_vpid & EPTCAP_2M), !!(vmx_caps.ept_vpid & EPTCAP_1G), vmx_caps.ept_ad);
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
	return MIN(MIN(terminal_poll(), com2_poll()), MIN(keyboard_poll(), screen_paint()));
}

void core_main(const struct boot_info *bi)
{
	struct vmx_refusal why;
	hpa_t config_frames;

	log_info("core", "event=boot loader=%s", bi->loader);
	if (vmx_probe(&why)) { /* before anything else: a machine that cannot is told at once */
		machine_report_cpu();
		refuse(why.missing, why.advice);
	}
	frames_init(bi);
	paging_init(bi);
	screen_remap();
	if (frames_free_bytes() < MEMORY_MIN)
		refuse("memory", "Trefoil needs 24 MiB besides the boot modules, and the guests theirs");
	machine_report(bi);
	mce_init();
	trace_off();
	read_acpi(bi);
	serial_find(&acpi);
	tsc_init(&(struct tsc_refs){ acpi.hpet_base, acpi.pm_timer_port, acpi.pm_timer_mem });
	init_interrupts();
	struct config *config = read_config(bi, &config_frames);
	log_set_level(config->debug ? LOG_DEBUG : LOG_INFO);
	init_consoles(config);
	init_vmx(config->disable);
	init_mitigations(config);
	fpu_init();
	sched_init_cpu(config->slice_us);
	vmm_create_all(config, bi);
	frame_free(config_frames, frame_order(sizeof(*config)));
	if (vmm_count() == 0)
		refuse("a VM that can be created", "see the lines above");
	report_ready(bi);
	sched_run(work);
}
