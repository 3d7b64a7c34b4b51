/*
 * The host's ACPI tables, as far as Trefoil needs them (ACPI 6.5, "ACPI Software Programming Model"). Untrusted bytes.
 * Pure: memory comes in as a function.
 */
#pragma once
#include <tf/bootinfo.h>
#include <tf/err.h>

#define ACPI_MAX_CPUS    256
#define ACPI_MAX_IOAPICS 16
#define ACPI_MAX_ISOS    32

struct acpi_cpu { uint32_t apic_id, uid; bool enabled, online_capable; };
struct acpi_ioapic { uint8_t id; hpa_t base; uint32_t gsi_base; };
struct acpi_iso { uint8_t irq; uint32_t gsi; bool active_low, level; }; /* interrupt source override, ISA bus */
struct acpi_gas { uint8_t space, width; uint64_t address; };             /* generic address: space 0 memory, 1 I/O */

struct acpi_info {
	hpa_t lapic_base;
	bool has_8259;
	struct acpi_cpu cpus[ACPI_MAX_CPUS];
	uint32_t ncpus, cpus_dropped;       /* dropped: more than fit, or with a duplicate id */
	struct acpi_ioapic ioapics[ACPI_MAX_IOAPICS];
	uint32_t nioapics;
	struct acpi_iso isos[ACPI_MAX_ISOS];
	uint32_t nisos;
	uint16_t pm_timer_port;             /* 0 if absent or not in I/O space */
	bool pm_timer_32bit;
	uint16_t pm1a_cnt_port, pm1b_cnt_port; /* 0 if absent */
	bool has_s5; uint8_t s5_typ_a, s5_typ_b; /* SLP_TYPx of \_S5 as found in the DSDT by pattern */
	bool has_reset; struct acpi_gas reset; uint8_t reset_value;
	hpa_t hpet_base;                    /* 0 if absent */
};

/* Maps [addr, addr + len) for reading; NULL if that is not readable memory. Valid until the next call of parse only. */
typedef const void *(*acpi_map_fn)(void *ctx, hpa_t addr, size_t len);

/*
 * Starts from the RSDP in `rsdp` (36 bytes, from the loader) and follows XSDT, or RSDT where there is none, to MADT,
 * FADT (and its DSDT), HPET. Verifies signatures, checksums and lengths; a bad table is skipped and named in *why
 * (static text), a missing or bad RSDP or root table is an error.
 */
__must_check enum tf_err acpi_parse(const uint8_t rsdp[36], acpi_map_fn map, void *ctx, struct acpi_info *out,
				    const char **why);
/* Searches an RSDP in the BIOS area image buf[0..len) (physical E0000h up, or the EBDA), at 16-byte steps. */
__must_check enum tf_err acpi_find_rsdp(const uint8_t *buf, size_t len, uint8_t rsdp[36]);
