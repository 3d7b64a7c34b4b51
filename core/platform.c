#include "core/platform.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/ioapic.h"
#include "arch/x86_64/lapic.h"
#include "arch/x86_64/paging.h"
#include "core/stop.h"
#include <tf/log.h>
#include <tf/string.h>

#define BIOS_AREA   0xe0000
#define BIOS_LEN    0x20000
#define BDA         0
#define BDA_EBDA    0x40e
#define EBDA_LOWEST 0x80000
#define EBDA_END    0xa0000
#define EBDA_SEARCH 1024
#define IOAPIC_BASE 0xfec00000

static struct acpi_info acpi;

const struct acpi_info *platform_acpi(void) { return &acpi; }

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
	acpi.ioapics[0] = (struct acpi_ioapic){ .base = HPA(IOAPIC_BASE) };
	acpi.nioapics = 1;
	acpi.isos[0] = (struct acpi_iso){ .irq = 0, .gsi = 2 };
	acpi.nisos = 1; /* what an empty MADT may have left does not count */
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

void platform_read(const struct boot_info *bi)
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
		core_refuse("usable ACPI tables", why ? why : tf_strerror(e));
	if (why)
		log_warn("acpi", "event=table-skipped reason=%s", why);
	if (acpi.suspect)
		log_warn("acpi", "event=table-checksum table=%s", acpi.suspect);
	if (!acpi.ncpus && !acpi.nioapics) { /* tables, but not a MADT among them: OVMF where it is given none */
		assume_pc();
		return;
	}
	if (!acpi.nioapics)
		core_refuse("an I/O APIC", "the ACPI MADT names none; enable it in the firmware settings");
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

void platform_init_interrupts(void)
{
	pic_disable();
	lapic_init(acpi.lapic_base);
	for (unsigned lint = 0; lint < 2; lint++)
		if (acpi.nmi_lints & BIT(lint))
			lapic_open_nmi(lint, acpi.nmi_active_low);
	for (uint32_t i = 0; i < acpi.nioapics; i++)
		ioapic_add(acpi.ioapics[i].base, acpi.ioapics[i].gsi_base);
}

bool platform_route_isa(uint8_t irq, irq_fn fn)
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
