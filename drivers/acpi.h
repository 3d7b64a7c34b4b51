/*
 * The host's ACPI tables, as far as Trefoil needs them (ACPI 6.5, "ACPI Software Programming Model"). Untrusted bytes.
 * Pure: memory comes in as a function.
 */
#pragma once
#include "drivers/uart.h"
#include <tf/bootinfo.h>
#include <tf/err.h>

#define ACPI_MAX_CPUS    256
#define ACPI_MAX_IOAPICS 16
#define ACPI_MAX_ISOS    32

struct acpi_cpu { uint32_t apic_id, uid; bool enabled, online_capable; };
struct acpi_ioapic { uint8_t id; hpa_t base; uint32_t gsi_base; };
struct acpi_iso { uint8_t irq; uint32_t gsi; bool active_low, level; }; /* interrupt source override, ISA bus */
enum acpi_space { ACPI_SPACE_MEMORY = 0, ACPI_SPACE_IO = 1, ACPI_SPACE_PCI = 2 };
struct acpi_gas { uint8_t space, width; uint64_t address; };             /* generic address, enum acpi_space */

/* A UART that the firmware names. Its interrupt is an ISA one (has_irq), or one of the I/O APICs' inputs (has_gsi). */
struct acpi_serial {
	bool found, has_irq, has_gsi, is_pci;
	struct uart_place at;
	uint8_t irq, bus, slot, function;
	uint32_t gsi;
};

struct acpi_info {
	hpa_t lapic_base;
	bool has_8259;
	struct acpi_cpu cpus[ACPI_MAX_CPUS];
	uint32_t ncpus, cpus_dropped;       /* dropped: more than fit, or with a duplicate id */
	struct acpi_ioapic ioapics[ACPI_MAX_IOAPICS];
	uint32_t nioapics;
	struct acpi_iso isos[ACPI_MAX_ISOS];
	uint32_t nisos;
	uint8_t nmi_lints;                  /* bits 0 and 1: the platform's NMIs arrive at LINT0, at LINT1 */
	bool nmi_active_low;
	uint16_t pm_timer_port;             /* 0 if absent or not in I/O space */
	hpa_t pm_timer_mem;                 /* 0 if absent or not in memory space */
	bool pm_timer_32bit;
	/* Fixed hardware, blocks a and b; in I/O or memory space. Address 0: absent. */
	struct acpi_gas pm1_sts[2], pm1_cnt[2], gpe_en[2];
	uint8_t gpe_en_len[2];              /* bytes of enable bits at gpe_en */
	uint16_t smi_cmd;                   /* the port that takes acpi_enable; 0: the machine is always in ACPI mode */
	uint8_t acpi_enable;
	bool hw_reduced;                    /* no fixed hardware; the sleep registers stand for it */
	struct acpi_gas sleep_control, sleep_status;
	bool has_s5; uint8_t s5_typ_a, s5_typ_b; /* SLP_TYPx of \_S5 as found in the DSDT by pattern */
	bool has_reset; struct acpi_gas reset; uint8_t reset_value;
	bool no_8042;                       /* the firmware says that there is no keyboard controller */
	hpa_t hpet_base;                    /* 0 if absent */
	struct acpi_serial spcr, dbg2;      /* the console's and the debugger's serial line */
	const char *suspect;                /* a table that is used although its checksum is wrong; NULL: none */
};

/* Maps [addr, addr + len) for reading; NULL if that is not readable memory. Valid until the next call of parse only. */
typedef const void *(*acpi_map_fn)(void *ctx, hpa_t addr, size_t len);

/*
 * Starts from the RSDP in `rsdp` (36 bytes, from the loader) and follows XSDT, or RSDT where there is none, to MADT,
 * FADT (and its DSDT), HPET, SPCR and DBG2. Verifies signatures, checksums and lengths; a table that cannot be read is
 * skipped and named in *why (static text), one whose checksum alone is wrong is used and named in out->suspect, unless it
 * is SPCR or DBG2, which can be done without; a missing or bad RSDP or root table is an error.
 */
__must_check enum tf_err acpi_parse(const uint8_t rsdp[36], acpi_map_fn map, void *ctx, struct acpi_info *out,
				    const char **why);
/* Searches an RSDP in the BIOS area image buf[0..len) (physical E0000h up, or the EBDA), at 16-byte steps. */
__must_check enum tf_err acpi_find_rsdp(const uint8_t *buf, size_t len, uint8_t rsdp[36]);
