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
#define MADT_IOAPIC   1
#define MADT_ISO      2
#define MADT_UNKNOWN  0x7f
#define ISO_SOURCE    3
#define ISO_GSI       4
#define COM1_IRQ      4
#define NO_GSI        99
#define IOAPIC_AT     4        /* in its entry: the address */
#define HPET_AT       44       /* in its table: 64 bits */
#define IN_RAM        0x7000000u
#define FAR           0x1000000u /* upper half of an address beyond any CPU's */
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

/* The place of a table's address in the RSDT. */
static uint32_t *find_table(uint8_t *rsdt, const char *signature)
{
	for (uint32_t at = SDT_HEADER; at < read32(rsdt + SDT_LENGTH); at += 4)
		if (same((const void *)read32(rsdt + at), signature, 4))
			return (uint32_t *)(rsdt + at);
	fail("there is no such table");
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

static void move_ioapic(uint8_t *t, uint32_t to)
{
	for (uint32_t at = MADT_HEADER; at < read32(t + SDT_LENGTH) && t[at + 1]; at += t[at + 1])
		if (t[at] == MADT_IOAPIC)
			*(uint32_t *)(t + at + IOAPIC_AT) = to;
	fix_checksum(t);
}

/* Neither CPUs nor I/O APICs, but an override that leads COM1 to nowhere. */
static void empty_madt(uint8_t *t)
{
	for (uint32_t at = MADT_HEADER; at < read32(t + SDT_LENGTH) && t[at + 1]; at += t[at + 1]) {
		if (t[at] == MADT_ISO) {
			t[at + ISO_SOURCE] = COM1_IRQ;
			*(uint32_t *)(t + at + ISO_GSI) = NO_GSI;
		} else {
			t[at] = MADT_UNKNOWN;
		}
	}
	fix_checksum(t);
}

static void move_hpet(uint8_t *t, uint32_t low, uint32_t high)
{
	((uint32_t *)(t + HPET_AT))[0] = low;
	((uint32_t *)(t + HPET_AT))[1] = high;
	fix_checksum(t);
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
	uint32_t *entry = find_table(rsdt, "APIC");

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
	} else if (option_is("acpi", "ioapic-ram")) {
		move_ioapic((uint8_t *)*entry, IN_RAM);
	} else if (option_is("acpi", "empty-madt")) {
		empty_madt((uint8_t *)*entry);
	} else if (option_is("acpi", "hpet-ram")) {
		move_hpet((uint8_t *)*find_table(rsdt, "HPET"), IN_RAM, 0);
	} else if (option_is("acpi", "hpet-far")) {
		move_hpet((uint8_t *)*find_table(rsdt, "HPET"), 0, FAR);
	} else if (!option_is("acpi", "rsdp") && !option_is("acpi", "search")) {
		fail("acpi=none, search, rsdp, root, madt, x2apic, ioapic-ram, empty-madt, hpet-ram, hpet-far");
	}
}
