/*
 * The ACPI tables of an emulated board: RSDP, RSDT, XSDT, FADT, FACS, MADT, WDAT, DSDT (the AML is compiled by iasl from
 * guest/dsdt.asl). Pure.
 */
#pragma once
#include <tf/err.h>

#define GUEST_ACPI_BASE 0xe0000ull /* guest-physical; the RSDP comes first, so that a legacy scan finds it */
#define GUEST_ACPI_SIZE 0x20000ull
#define GUEST_ACPI_MAX_VCPUS 255   /* 8-bit APIC IDs, of which FFh is broadcast */

/*
 * Writes the tables for `vcpus` CPUs into buf (`size` bytes, which the guest sees at `base`, a multiple of 64 below 4 GiB).
 * APIC IDs count from 0; the I/O APIC's is the low four bits of `vcpus`, its own up to 15 CPUs and one of theirs beyond, which
 * matters to nobody since interrupts travel by the system bus. The CPUs are named in the MADT alone: with processor objects
 * in the DSDT a guest would idle by ACPI, and poll before it halts. The RSDP is at buf[0]. TF_ENOMEM if too small, TF_EINVAL if
 * `base` or `vcpus` cannot be. With `watchdog` a WDAT describes guest/dev/vwatchdog.h.
 */
__must_check enum tf_err guest_acpi_build(uint8_t *buf, size_t size, uint64_t base, uint32_t vcpus, bool watchdog);
