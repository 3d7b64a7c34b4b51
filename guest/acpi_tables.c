#include "guest/acpi_tables.h"
#include "guest/dev/vacpi.h"
#include "guest/dev/vioapic.h"
#include "guest/dev/vrtc.h"
#include "guest/dev/vwatchdog.h"
#include <tf/string.h>
#include <tf/x86.h>

extern const uint8_t guest_dsdt_aml[], guest_dsdt_aml_end[]; /* guest/dsdt_aml.asm */

#define OEM_ID        "TREFOI"
#define OEM_TABLE_ID  "TREFOIL "
#define CREATOR_ID    "TREF"
#define TABLE_ALIGN   64 /* what the FACS needs is good for all */
#define ENTRIES       3  /* of the RSDT and XSDT: FADT, MADT, WDAT */

/* ACPI 6.5, "System Description Table Header" */
struct sdt_header {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem_id[6], oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} __packed;
_Static_assert(sizeof(struct sdt_header) == 36, "ACPI table header");

/* "Root System Description Pointer (RSDP) Structure" */
struct rsdp {
	char signature[8];
	uint8_t checksum;
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt, length;
	uint64_t xsdt;
	uint8_t extended_checksum, reserved[3];
} __packed;
_Static_assert(sizeof(struct rsdp) == 36, "RSDP");
#define RSDP_V1_LENGTH 20 /* what `checksum` covers */
#define RSDP_REVISION  2

struct rsdt {
	struct sdt_header h;
	uint32_t entry[ENTRIES];
} __packed;

struct xsdt {
	struct sdt_header h;
	uint64_t entry[ENTRIES];
} __packed;

/* "Generic Address Structure (GAS)" */
struct gas {
	uint8_t space, bit_width, bit_offset, access_size;
	uint64_t address;
} __packed;
#define GAS_IO 1
enum { GAS_BYTE = 1, GAS_WORD, GAS_DWORD };

/* "Fixed ACPI Description Table (FADT)" */
struct fadt {
	struct sdt_header h;
	uint32_t firmware_ctrl, dsdt;
	uint8_t reserved_44, preferred_pm_profile;
	uint16_t sci_int;
	uint32_t smi_cmd;
	uint8_t acpi_enable, acpi_disable, s4bios_req, pstate_cnt;
	uint32_t pm1a_evt_blk, pm1b_evt_blk, pm1a_cnt_blk, pm1b_cnt_blk, pm2_cnt_blk, pm_tmr_blk, gpe0_blk, gpe1_blk;
	uint8_t pm1_evt_len, pm1_cnt_len, pm2_cnt_len, pm_tmr_len, gpe0_blk_len, gpe1_blk_len, gpe1_base, cst_cnt;
	uint16_t p_lvl2_lat, p_lvl3_lat, flush_size, flush_stride;
	uint8_t duty_offset, duty_width, day_alrm, mon_alrm, century;
	uint16_t iapc_boot_arch;
	uint8_t reserved_111;
	uint32_t flags;
	struct gas reset_reg;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor_version;
	uint64_t x_firmware_ctrl, x_dsdt;
	struct gas x_pm1a_evt_blk, x_pm1b_evt_blk, x_pm1a_cnt_blk, x_pm1b_cnt_blk, x_pm2_cnt_blk, x_pm_tmr_blk, x_gpe0_blk,
		   x_gpe1_blk, sleep_control_reg, sleep_status_reg;
	uint64_t hypervisor_vendor;
} __packed;
_Static_assert(offsetof(struct fadt, iapc_boot_arch) == 109 && offsetof(struct fadt, reset_reg) == 116 &&
	       offsetof(struct fadt, x_pm_tmr_blk) == 208 && sizeof(struct fadt) == 276, "FADT, revision 6");
#define FADT_REVISION       6
#define FADT_MINOR_VERSION  5
#define PM1_EVT_LEN         4
#define PM1_CNT_LEN         2
#define PM_TMR_LEN          4
#define NO_C2_LATENCY       101  /* more than 100 us says: no C2 */
#define NO_C3_LATENCY       1001 /* more than 1000 us says: no C3 */
#define BOOT_LEGACY_DEVICES BIT(0)
#define BOOT_NO_VGA         BIT(2)
#define FADT_WBINVD         BIT(0)
#define FADT_PROC_C1        BIT(2)
#define FADT_SLP_BUTTON     BIT(5) /* set: not a fixed feature (and here there is none) */
#define FADT_FIX_RTC        BIT(6) /* set: RTC wake status is not in the fixed registers */
#define FADT_TMR_VAL_EXT    BIT(8)
#define FADT_RESET_REG_SUP  BIT(10)

/* "Firmware ACPI Control Structure (FACS)" */
struct facs {
	char signature[4];
	uint32_t length, hardware_signature, waking_vector, global_lock, flags;
	uint64_t x_waking_vector;
	uint8_t version, reserved[31];
} __packed;
_Static_assert(sizeof(struct facs) == 64, "FACS");
#define FACS_VERSION 2

/* "Multiple APIC Description Table (MADT)" */
struct madt {
	struct sdt_header h;
	uint32_t lapic_address, flags;
} __packed;
#define MADT_REVISION    5
#define MADT_PCAT_COMPAT 1

struct madt_lapic {
	uint8_t type, length, uid, apic_id;
	uint32_t flags;
} __packed;
#define LAPIC_ENABLED 1

struct madt_ioapic {
	uint8_t type, length, id, reserved;
	uint32_t address, gsi_base;
} __packed;

struct madt_iso {
	uint8_t type, length, bus, source;
	uint32_t gsi;
	uint16_t flags;
} __packed;

struct madt_lapic_nmi {
	uint8_t type, length, uid;
	uint16_t flags;
	uint8_t lint;
} __packed;
_Static_assert(sizeof(struct madt_lapic) == 8 && sizeof(struct madt_ioapic) == 12 && sizeof(struct madt_iso) == 10 &&
	       sizeof(struct madt_lapic_nmi) == 6, "MADT structures");
enum { MADT_LAPIC = 0, MADT_IOAPIC = 1, MADT_ISO = 2, MADT_LAPIC_NMI = 4 };
#define IOAPIC_ID_MASK       0xf /* what an 82093AA's ID register holds */
#define UID_ALL              0xff
#define INTI_CONFORMS        0x0
#define INTI_ACTIVE_HIGH_LEVEL (0x1 | 0x3 << 2)
#define IRQ_PIT              0
#define GSI_PIT              2 /* where a PC wires the 8254, and where the 8259s would come in */

/* Microsoft, "Hardware Watchdog Timers Design Specification" */
struct wdat_entry {
	uint8_t action, instruction;
	uint16_t reserved;
	struct gas reg;
	uint32_t value, mask;
} __packed;

struct wdat {
	struct sdt_header h;
	uint32_t header_length;
	uint16_t pci_segment;
	uint8_t pci_bus, pci_device, pci_function, reserved_45[3];
	uint32_t period, max_count, min_count;
	uint8_t flags, reserved_61[3];
	uint32_t nentries;
} __packed;
_Static_assert(sizeof(struct wdat) == 68 && sizeof(struct wdat_entry) == 24, "WDAT");
#define WDAT_HEADER_LENGTH 32 /* from header_length on */
#define WDAT_NO_PCI        0xff
#define WDAT_ENABLED       BIT(0)
#define WDAT_WHOLE         0xffffffff
enum {
	WDAT_RESET = 1, WDAT_QUERY_COUNT = 4, WDAT_QUERY_TIMEOUT = 5, WDAT_SET_TIMEOUT = 6, WDAT_QUERY_RUNNING = 8,
	WDAT_SET_RUNNING = 9, WDAT_QUERY_STOPPED = 10, WDAT_SET_STOPPED = 11, WDAT_QUERY_REBOOT = 16, WDAT_SET_REBOOT = 17,
	WDAT_QUERY_STATUS = 32, WDAT_SET_STATUS = 33,
};
enum { READ_VALUE, READ_COUNT, WRITE_VALUE, WRITE_COUNT, PRESERVE = 0x80 };

#define REG32(at) { .space = GAS_IO, .bit_width = 32, .access_size = GAS_DWORD, .address = VWATCHDOG_BASE + (at) }
static const struct wdat_entry wdat_entries[] = {
	{ WDAT_RESET, WRITE_VALUE, 0, REG32(VWATCHDOG_COUNT), 1, WDAT_WHOLE },
	{ WDAT_QUERY_COUNT, READ_COUNT, 0, REG32(VWATCHDOG_COUNT), 0, WDAT_WHOLE },
	{ WDAT_QUERY_TIMEOUT, READ_COUNT, 0, REG32(VWATCHDOG_TIMEOUT), 0, WDAT_WHOLE },
	{ WDAT_SET_TIMEOUT, WRITE_COUNT, 0, REG32(VWATCHDOG_TIMEOUT), 0, WDAT_WHOLE },
	{ WDAT_QUERY_RUNNING, READ_VALUE, 0, REG32(VWATCHDOG_CONTROL), VWATCHDOG_RUN, VWATCHDOG_RUN },
	{ WDAT_SET_RUNNING, WRITE_VALUE | PRESERVE, 0, REG32(VWATCHDOG_CONTROL), VWATCHDOG_RUN, VWATCHDOG_RUN },
	{ WDAT_QUERY_STOPPED, READ_VALUE, 0, REG32(VWATCHDOG_CONTROL), 0, VWATCHDOG_RUN },
	{ WDAT_SET_STOPPED, WRITE_VALUE | PRESERVE, 0, REG32(VWATCHDOG_CONTROL), 0, VWATCHDOG_RUN },
	{ WDAT_QUERY_REBOOT, READ_VALUE, 0, REG32(VWATCHDOG_CONTROL), VWATCHDOG_REBOOT, VWATCHDOG_REBOOT },
	{ WDAT_SET_REBOOT, WRITE_VALUE | PRESERVE, 0, REG32(VWATCHDOG_CONTROL), VWATCHDOG_REBOOT, VWATCHDOG_REBOOT },
	{ WDAT_QUERY_STATUS, READ_VALUE, 0, REG32(VWATCHDOG_STATUS), VWATCHDOG_FIRED, VWATCHDOG_FIRED },
	{ WDAT_SET_STATUS, WRITE_VALUE, 0, REG32(VWATCHDOG_STATUS), VWATCHDOG_FIRED, VWATCHDOG_FIRED },
};

/* Where each table goes: offsets in the buffer. */
struct layout {
	size_t facs, dsdt, fadt, madt, wdat, rsdt, xsdt, end;
	unsigned entries; /* of the roots: without a watchdog one less */
	size_t dsdt_length, madt_length;
};

static uint8_t checksum(const void *data, size_t length)
{
	const uint8_t *byte = data;
	uint8_t sum = 0;

	for (size_t i = 0; i < length; i++)
		sum += byte[i];
	return (uint8_t)-sum;
}

static struct sdt_header header(const char *signature, uint8_t revision, size_t length)
{
	struct sdt_header h = { .length = (uint32_t)length, .revision = revision, .oem_revision = 1, .creator_revision = 1 };

	memcpy(h.signature, signature, sizeof(h.signature));
	memcpy(h.oem_id, OEM_ID, sizeof(h.oem_id));
	memcpy(h.oem_table_id, OEM_TABLE_ID, sizeof(h.oem_table_id));
	memcpy(h.creator_id, CREATOR_ID, sizeof(h.creator_id));
	return h;
}

/* Puts a complete table at `to` and makes its checksum right. */
static void put_table(uint8_t *to, const void *table, size_t length)
{
	memcpy(to, table, length);
	to[offsetof(struct sdt_header, checksum)] += checksum(to, length);
}

static uint8_t *append(uint8_t *to, const void *entry, size_t length)
{
	memcpy(to, entry, length);
	return to + length;
}

static size_t place(size_t *next, size_t length)
{
	size_t at = *next;

	*next = ALIGN_UP(at + length, TABLE_ALIGN);
	return at;
}

static struct layout make_layout(uint32_t vcpus, bool watchdog)
{
	struct layout l = {
		.entries = watchdog ? ENTRIES : ENTRIES - 1,
		.dsdt_length = (size_t)(guest_dsdt_aml_end - guest_dsdt_aml),
		.madt_length = sizeof(struct madt) + vcpus * sizeof(struct madt_lapic) + sizeof(struct madt_ioapic) +
			       2 * sizeof(struct madt_iso) + sizeof(struct madt_lapic_nmi),
	};
	size_t next = ALIGN_UP(sizeof(struct rsdp), TABLE_ALIGN);

	l.rsdt = place(&next, sizeof(struct rsdt));
	l.xsdt = place(&next, sizeof(struct xsdt));
	l.fadt = place(&next, sizeof(struct fadt));
	l.facs = place(&next, sizeof(struct facs));
	l.madt = place(&next, l.madt_length);
	l.dsdt = place(&next, l.dsdt_length);
	if (watchdog)
		l.wdat = place(&next, sizeof(struct wdat) + sizeof(wdat_entries));
	l.end = next;
	return l;
}

static struct gas io_register(uint16_t port, uint8_t bytes, uint8_t access_size)
{
	return (struct gas){ .space = GAS_IO, .bit_width = 8 * bytes, .access_size = access_size, .address = port };
}

static void put_fadt(uint8_t *to, const struct layout *l, uint64_t base)
{
	struct fadt t = {
		.h = header("FACP", FADT_REVISION, sizeof(t)),
		.firmware_ctrl = (uint32_t)(base + l->facs),
		.dsdt = (uint32_t)(base + l->dsdt),
		.sci_int = VACPI_SCI_IRQ,
		.pm1a_evt_blk = VACPI_PM_BASE,
		.pm1a_cnt_blk = VACPI_PM_BASE + 4,
		.pm_tmr_blk = VACPI_PM_BASE + 8,
		.pm1_evt_len = PM1_EVT_LEN,
		.pm1_cnt_len = PM1_CNT_LEN,
		.pm_tmr_len = PM_TMR_LEN,
		.p_lvl2_lat = NO_C2_LATENCY,
		.p_lvl3_lat = NO_C3_LATENCY,
		.century = VRTC_CENTURY,
		.iapc_boot_arch = BOOT_LEGACY_DEVICES | BOOT_NO_VGA, /* and no 8042 */
		.flags = FADT_WBINVD | FADT_PROC_C1 | FADT_SLP_BUTTON | FADT_FIX_RTC | FADT_TMR_VAL_EXT | FADT_RESET_REG_SUP,
		.reset_reg = io_register(VACPI_RESET_PORT, 1, GAS_BYTE),
		.reset_value = VACPI_RESET_VALUE,
		.minor_version = FADT_MINOR_VERSION,
		.x_dsdt = base + l->dsdt, /* the FACS is named by its 32-bit field alone, as both must not be */
		.x_pm1a_evt_blk = io_register(VACPI_PM_BASE, PM1_EVT_LEN, GAS_WORD),
		.x_pm1a_cnt_blk = io_register(VACPI_PM_BASE + 4, PM1_CNT_LEN, GAS_WORD),
		.x_pm_tmr_blk = io_register(VACPI_PM_BASE + 8, PM_TMR_LEN, GAS_DWORD),
	};

	put_table(to, &t, sizeof(t));
}

static void put_madt(uint8_t *to, size_t length, uint32_t vcpus)
{
	struct madt t = { .h = header("APIC", MADT_REVISION, length), .lapic_address = APIC_DEFAULT_BASE,
			  .flags = MADT_PCAT_COMPAT };
	struct madt_lapic cpu = { .type = MADT_LAPIC, .length = sizeof(cpu), .flags = LAPIC_ENABLED };
	struct madt_ioapic ioapic = { .type = MADT_IOAPIC, .length = sizeof(ioapic), .id = vcpus & IOAPIC_ID_MASK,
				      .address = VIOAPIC_BASE };
	struct madt_iso pit = { .type = MADT_ISO, .length = sizeof(pit), .source = IRQ_PIT, .gsi = GSI_PIT,
				.flags = INTI_CONFORMS };
	struct madt_iso sci = { .type = MADT_ISO, .length = sizeof(sci), .source = VACPI_SCI_IRQ, .gsi = VACPI_SCI_IRQ,
				.flags = INTI_ACTIVE_HIGH_LEVEL };
	struct madt_lapic_nmi nmi = { .type = MADT_LAPIC_NMI, .length = sizeof(nmi), .uid = UID_ALL, .flags = INTI_CONFORMS,
				      .lint = 1 };
	uint8_t *at = append(to, &t, sizeof(t));

	for (uint32_t i = 0; i < vcpus; i++) {
		cpu.uid = cpu.apic_id = (uint8_t)i;
		at = append(at, &cpu, sizeof(cpu));
	}
	at = append(at, &ioapic, sizeof(ioapic));
	at = append(at, &pit, sizeof(pit));
	at = append(at, &sci, sizeof(sci));
	append(at, &nmi, sizeof(nmi));
	to[offsetof(struct sdt_header, checksum)] = checksum(to, length);
}

static void put_wdat(uint8_t *to)
{
	size_t length = sizeof(struct wdat) + sizeof(wdat_entries);
	struct wdat t = {
		.h = header("WDAT", 1, length),
		.header_length = WDAT_HEADER_LENGTH,
		.pci_segment = WDAT_NO_PCI,
		.pci_bus = WDAT_NO_PCI,
		.pci_device = WDAT_NO_PCI,
		.pci_function = WDAT_NO_PCI,
		.period = VWATCHDOG_PERIOD_MS,
		.max_count = VWATCHDOG_MAX_COUNT,
		.min_count = VWATCHDOG_MIN_COUNT,
		.flags = WDAT_ENABLED,
		.nentries = ARRAY_SIZE(wdat_entries),
	};

	append(append(to, &t, sizeof(t)), wdat_entries, sizeof(wdat_entries));
	to[offsetof(struct sdt_header, checksum)] = checksum(to, length);
}

static void put_roots(uint8_t *buf, const struct layout *l, uint64_t base)
{
	struct rsdt rsdt = { .h = header("RSDT", 1, sizeof(rsdt)),
			     .entry = { (uint32_t)(base + l->fadt), (uint32_t)(base + l->madt), (uint32_t)(base + l->wdat) } };
	struct xsdt xsdt = { .h = header("XSDT", 1, sizeof(xsdt)), .entry = { base + l->fadt, base + l->madt, base + l->wdat } };
	struct rsdp rsdp = { .revision = RSDP_REVISION, .rsdt = (uint32_t)(base + l->rsdt), .length = sizeof(rsdp),
			     .xsdt = base + l->xsdt };

	rsdt.h.length -= (ENTRIES - l->entries) * sizeof(rsdt.entry[0]);
	xsdt.h.length -= (ENTRIES - l->entries) * sizeof(xsdt.entry[0]);
	put_table(buf + l->rsdt, &rsdt, rsdt.h.length);
	put_table(buf + l->xsdt, &xsdt, xsdt.h.length);
	memcpy(rsdp.signature, "RSD PTR ", sizeof(rsdp.signature));
	memcpy(rsdp.oem_id, OEM_ID, sizeof(rsdp.oem_id));
	rsdp.checksum = checksum(&rsdp, RSDP_V1_LENGTH);
	rsdp.extended_checksum = checksum(&rsdp, sizeof(rsdp));
	memcpy(buf, &rsdp, sizeof(rsdp));
}

enum tf_err guest_acpi_build(uint8_t *buf, size_t size, uint64_t base, uint32_t vcpus, bool watchdog)
{
	struct facs facs = { .signature = { 'F', 'A', 'C', 'S' }, .length = sizeof(facs), .version = FACS_VERSION };
	struct layout l;

	if (!vcpus || vcpus > GUEST_ACPI_MAX_VCPUS || !IS_ALIGNED(base, TABLE_ALIGN))
		return TF_EINVAL;
	l = make_layout(vcpus, watchdog);
	if (l.end > size)
		return TF_ENOMEM;
	if (base > GiB(4) - l.end)
		return TF_EINVAL;
	memset(buf, 0, l.end);
	put_roots(buf, &l, base);
	put_fadt(buf + l.fadt, &l, base);
	memcpy(buf + l.facs, &facs, sizeof(facs));
	put_madt(buf + l.madt, l.madt_length, vcpus);
	memcpy(buf + l.dsdt, guest_dsdt_aml, l.dsdt_length);
	if (watchdog)
		put_wdat(buf + l.wdat);
	return TF_OK;
}
