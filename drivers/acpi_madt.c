/* The MADT: CPUs, I/O APICs and interrupt overrides (ACPI 6.5, "Multiple APIC Description Table (MADT)"). */
#include "drivers/acpi_internal.h"

struct madt {
	struct acpi_header h;
	uint32_t lapic_base, flags;
} __packed;
#define MADT_PCAT_COMPAT BIT(0)

enum madt_type { MADT_LAPIC = 0, MADT_IOAPIC = 1, MADT_ISO = 2, MADT_LAPIC_NMI = 4, MADT_LAPIC_ADDRESS = 5, MADT_X2APIC = 9,
		 MADT_X2APIC_NMI = 10 };
struct madt_entry { uint8_t type, length; } __packed;
struct madt_lapic { struct madt_entry e; uint8_t uid, apic_id; uint32_t flags; } __packed;
struct madt_ioapic { struct madt_entry e; uint8_t id, reserved; uint32_t address, gsi_base; } __packed;
struct madt_iso { struct madt_entry e; uint8_t bus, source; uint32_t gsi; uint16_t flags; } __packed;
struct madt_lapic_nmi { struct madt_entry e; uint8_t uid; uint16_t flags; uint8_t lint; } __packed;
struct madt_lapic_address { struct madt_entry e; uint16_t reserved; uint64_t address; } __packed;
struct madt_x2apic { struct madt_entry e; uint16_t reserved; uint32_t apic_id, flags, uid; } __packed;
struct madt_x2apic_nmi { struct madt_entry e; uint16_t flags; uint32_t uid; uint8_t lint, reserved[3]; } __packed;
#define LAPIC_ENABLED        BIT(0)
#define LAPIC_ONLINE_CAPABLE BIT(1)
#define LAPIC_BROADCAST      0xffu
#define X2APIC_BROADCAST     0xffffffffu
#define INTI_POLARITY        0x3u /* "MPS INTI flags": 0 means as the bus has it, for ISA active high and edge */
#define INTI_ACTIVE_LOW      0x3u
#define INTI_TRIGGER         0xcu
#define INTI_LEVEL           0xcu
#define ISA_BUS              0
#define ISA_IRQS             16

_Static_assert(sizeof(struct madt) == 44 && sizeof(struct madt_lapic) == 8 && sizeof(struct madt_ioapic) == 12 &&
	       sizeof(struct madt_iso) == 10 && sizeof(struct madt_lapic_address) == 12 &&
	       sizeof(struct madt_x2apic) == 16 && sizeof(struct madt_lapic_nmi) == 6 &&
	       sizeof(struct madt_x2apic_nmi) == 12, "ACPI 6.5");

static void add_cpu(struct acpi_info *out, uint32_t id, uint32_t broadcast, uint32_t uid, uint32_t flags)
{
	if (!(flags & (LAPIC_ENABLED | LAPIC_ONLINE_CAPABLE)))
		return;
	for (uint32_t i = 0; i < out->ncpus; i++) {
		if (out->cpus[i].apic_id == id)
			id = broadcast;
	}
	if (id == broadcast || out->ncpus == ACPI_MAX_CPUS) {
		out->cpus_dropped++;
		return;
	}
	out->cpus[out->ncpus++] = (struct acpi_cpu){
		.apic_id = id, .uid = uid,
		.enabled = flags & LAPIC_ENABLED, .online_capable = flags & LAPIC_ONLINE_CAPABLE,
	};
}

static void add_ioapic(struct acpi_parser *a, const struct madt_ioapic *e)
{
	struct acpi_info *out = a->out;

	if (out->nioapics == ACPI_MAX_IOAPICS)
		acpi_complain(a, "MADT: more than 16 I/O APICs");
	else if (!e->address || !IS_ALIGNED(e->address, 16u))
		acpi_complain(a, "MADT: an I/O APIC's address is wrong");
	else
		out->ioapics[out->nioapics++] = (struct acpi_ioapic){ e->id, HPA(e->address), e->gsi_base };
}

static void add_iso(struct acpi_parser *a, const struct madt_iso *e)
{
	struct acpi_info *out = a->out;

	if (e->bus != ISA_BUS || e->source >= ISA_IRQS)
		acpi_complain(a, "MADT: an interrupt override is not for an ISA interrupt");
	else if (out->nisos == ACPI_MAX_ISOS)
		acpi_complain(a, "MADT: more than 32 interrupt overrides");
	else
		out->isos[out->nisos++] = (struct acpi_iso){
			.irq = e->source, .gsi = e->gsi,
			.active_low = (e->flags & INTI_POLARITY) == INTI_ACTIVE_LOW,
			.level = (e->flags & INTI_TRIGGER) == INTI_LEVEL,
		};
}

/* All machines wire their CPUs alike, whether they name each or all at once. */
static void add_nmi(struct acpi_info *out, uint8_t lint, uint16_t flags)
{
	if (lint > 1)
		return;
	out->nmi_lints |= (uint8_t)BIT(lint);
	out->nmi_active_low = (flags & INTI_POLARITY) == INTI_ACTIVE_LOW;
}

/* Returns false if the entry is too short for its type. */
static bool parse_madt_entry(struct acpi_parser *a, const struct acpi_table *e, uint8_t type)
{
	union {
		struct madt_lapic lapic;
		struct madt_ioapic ioapic;
		struct madt_iso iso;
		struct madt_lapic_nmi nmi;
		struct madt_x2apic_nmi x2nmi;
		struct madt_lapic_address address;
		struct madt_x2apic x2apic;
	} u;
	static const uint8_t needs[] = {
		[MADT_LAPIC] = sizeof(u.lapic), [MADT_IOAPIC] = sizeof(u.ioapic), [MADT_ISO] = sizeof(u.iso),
		[MADT_LAPIC_ADDRESS] = sizeof(u.address), [MADT_X2APIC] = sizeof(u.x2apic),
		[MADT_LAPIC_NMI] = sizeof(u.nmi), [MADT_X2APIC_NMI] = sizeof(u.x2nmi),
	};

	if (type < ARRAY_SIZE(needs) && e->len < needs[type])
		return false;
	acpi_read_fixed(e, &u, sizeof(u));
	switch (type) {
	case MADT_LAPIC:
		add_cpu(a->out, u.lapic.apic_id, LAPIC_BROADCAST, u.lapic.uid, u.lapic.flags);
		break;
	case MADT_X2APIC:
		add_cpu(a->out, u.x2apic.apic_id, X2APIC_BROADCAST, u.x2apic.uid, u.x2apic.flags);
		break;
	case MADT_IOAPIC:
		add_ioapic(a, &u.ioapic);
		break;
	case MADT_ISO:
		add_iso(a, &u.iso);
		break;
	case MADT_LAPIC_NMI:
		add_nmi(a->out, u.nmi.lint, u.nmi.flags);
		break;
	case MADT_X2APIC_NMI:
		add_nmi(a->out, u.x2nmi.lint, u.x2nmi.flags);
		break;
	case MADT_LAPIC_ADDRESS:
		a->out->lapic_base = HPA(u.address.address);
		break;
	}
	return true;
}

void acpi_parse_madt(struct acpi_parser *a, const struct acpi_table *t)
{
	struct madt_entry head;
	struct madt m;

	if (t->len < sizeof(m)) {
		acpi_complain(a, "MADT: too short");
		return;
	}
	acpi_read_fixed(t, &m, sizeof(m));
	a->out->lapic_base = HPA(m.lapic_base);
	a->out->has_8259 = m.flags & MADT_PCAT_COMPAT;
	for (size_t at = sizeof(m); at < t->len; at += head.length) {
		struct acpi_table entry = { t->p + at, t->len - at };

		acpi_read_fixed(&entry, &head, sizeof(head));
		if (head.length < sizeof(head) || head.length > entry.len) {
			acpi_complain(a, "MADT: an entry's length is wrong");
			return;
		}
		entry.len = head.length;
		if (!parse_madt_entry(a, &entry, head.type))
			acpi_complain(a, "MADT: an entry is too short for its type");
	}
}
