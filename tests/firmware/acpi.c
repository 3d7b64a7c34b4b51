/* ACPI tables that are missing, broken or larger than the machine. */
#include "shim.h"

#define BIOS_AREA     0xe0000u
#define BIOS_END      0x100000u
#define RSDP_STEP     16
#define RSDP_V1       20
#define RSDP_CHECKSUM 8
#define RSDP_RSDT     16
#define SDT_LENGTH    4
#define SDT_CHECKSUM  9
#define SDT_HEADER    36
#define MADT_HEADER   44
#define MADT_X2APIC   9
#define MADT_MAX      4096
#define LAPIC_ENABLED 1
#define PCI_ADDRESS   0xcf8
#define PCI_DATA      0xcfc
#define PCI_HOST      0x80000000u
#define PAM_FIRST     0x59     /* of the 440FX: memory from E0000 up, reads and writes to RAM */
#define PAM_LAST      0x5f
#define PAM_RAM       0x33
#define EXTRA_CPUS    40
#define EXTRA_ID      0x100    /* beyond what an xAPIC can name */

struct x2apic { uint8_t type, length; uint16_t reserved; uint32_t id, flags, uid; } __attribute__((packed));

static uint8_t madt[MADT_MAX] __attribute__((aligned(4096)));

static uint8_t sum(const uint8_t *p, uint32_t n)
{
	uint8_t s = 0;

	while (n--)
		s += *p++;
	return s;
}

static uint32_t read32(const uint8_t *p) { return *(const uint32_t *)p; }

static void fix_checksum(uint8_t *t)
{
	t[SDT_CHECKSUM] -= sum(t, read32(t + SDT_LENGTH));
}

/* The firmware's code is read-only for all but the chipset. */
static void make_writable(void)
{
	for (uint32_t reg = PAM_FIRST; reg <= PAM_LAST; reg++) {
		outl(PCI_ADDRESS, PCI_HOST | (reg & ~3u));
		outb((uint16_t)(PCI_DATA + (reg & 3)), PAM_RAM);
	}
}

static uint8_t *find_rsdp(void)
{
	for (uint32_t at = BIOS_AREA; at < BIOS_END; at += RSDP_STEP)
		if (same((const void *)at, "RSD PTR ", 8) && !sum((const void *)at, RSDP_V1))
			return (void *)at;
	fail("there is no RSDP");
}

/* The place of the MADT's address in the RSDT. */
static uint32_t *find_madt(uint8_t *rsdt)
{
	for (uint32_t at = SDT_HEADER; at < read32(rsdt + SDT_LENGTH); at += 4)
		if (same((const void *)read32(rsdt + at), "APIC", 4))
			return (uint32_t *)(rsdt + at);
	fail("there is no MADT");
}

/* The MADT with a crowd of CPUs behind the real ones. */
static void add_cpus(uint8_t *rsdt, uint32_t *entry)
{
	const uint8_t *old = (const void *)*entry;
	uint32_t len = read32(old + SDT_LENGTH);

	if (len < MADT_HEADER || len + EXTRA_CPUS * sizeof(struct x2apic) > sizeof(madt))
		fail("a strange MADT");
	memcpy(madt, old, len);
	for (uint32_t i = 0; i < EXTRA_CPUS; i++, len += sizeof(struct x2apic))
		*(struct x2apic *)(madt + len) = (struct x2apic){ MADT_X2APIC, sizeof(struct x2apic), 0, EXTRA_ID + 2 * i,
								  LAPIC_ENABLED, EXTRA_ID + i };
	*(uint32_t *)(madt + SDT_LENGTH) = len;
	fix_checksum(madt);
	*entry = (uint32_t)madt;
	fix_checksum(rsdt);
	map_punch((uint32_t)madt, sizeof(madt), ACPI);
}

bool acpi_hidden(void) { return option_is("acpi", "none") || option_is("acpi", "search"); }

void acpi_edit(uint8_t *copy, uint32_t len)
{
	if (!option("acpi"))
		return;
	if (copy) { /* of the RSDP, in the boot information */
		if (option_is("acpi", "rsdp"))
			copy[RSDP_CHECKSUM] ^= len ? 0xff : 0;
		return;
	}
	uint8_t *rsdp = find_rsdp(), *rsdt = (uint8_t *)read32(rsdp + RSDP_RSDT);
	uint32_t *entry = find_madt(rsdt);

	if (option_is("acpi", "none")) {
		make_writable();
		memset(rsdp, 0, 8);
		if (same(rsdp, "RSD PTR ", 8))
			fail("the RSDP cannot be written");
	} else if (option_is("acpi", "root")) {
		rsdt[SDT_CHECKSUM]++;
	} else if (option_is("acpi", "madt")) {
		((uint8_t *)*entry)[SDT_CHECKSUM]++;
	} else if (option_is("acpi", "x2apic")) {
		add_cpus(rsdt, entry);
	} else if (!option_is("acpi", "rsdp") && !option_is("acpi", "search")) {
		fail("acpi=none, search, rsdp, root, madt, x2apic");
	}
}
