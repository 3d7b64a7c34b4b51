/*
 * The input is: one byte of options, the RSDP (36 bytes), then memory from PHYS up. Without help no input would get
 * past the checksums, so with FIX_CHECKSUMS they are made right in what the parser is shown. What was found is used to
 * switch off a machine that does not obey: no register is written that the tables do not name.
 */
#include "drivers/acpi.h"
#include "drivers/acpi_sleep.h"
#include <stdlib.h>
#include <string.h>

#define PHYS          0x1000u
#define FIX_CHECKSUMS 1
#define MAPS_MAX      4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct memory {
	const uint8_t *p;
	size_t size;
	bool fix;
	void *maps[MAPS_MAX];
	unsigned nmaps;
};

static void check(bool ok)
{
	if (!ok)
		abort();
}

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;

	while (n--)
		s += *p++;
	return s;
}

static const void *map(void *ctx, hpa_t addr, size_t len)
{
	enum { HEADER = 36, CHECKSUM = 9 };
	struct memory *m = ctx;
	uint8_t *copy;

	if (addr.v < PHYS || len > m->size || addr.v - PHYS > m->size - len || m->nmaps == MAPS_MAX)
		return NULL;
	copy = malloc(len);
	check(copy);
	memcpy(copy, m->p + (addr.v - PHYS), len);
	if (m->fix && len >= HEADER)
		copy[CHECKSUM] = (uint8_t)(copy[CHECKSUM] - sum(copy, len));
	m->maps[m->nmaps++] = copy;
	return copy;
}

static void check_serial(const struct acpi_serial *s)
{
	unsigned stride = s->at.stride, width = s->at.width;

	if (!s->found)
		return;
	check((stride == 1 || stride == 2 || stride == 4 || stride == 8) && (width == 1 || width == 2 || width == 4));
	check(width <= stride && s->slot < 32 && s->function < 8 && s->at.base && s->at.divisor < 0xffff);
	check(s->at.mmio ? s->at.base < BIT(52) && !(s->at.base % width) : s->at.base <= 0xfff8);
}

static bool named(const struct acpi_info *a, struct acpi_gas at)
{
	bool found = at.address == a->smi_cmd && at.space == ACPI_SPACE_IO;

	for (unsigned i = 0; i < 2; i++)
		found |= at.address == a->pm1_sts[i].address || at.address == a->pm1_cnt[i].address ||
			 at.address - a->gpe_en[i].address < a->gpe_en_len[i];
	return at.address && (found || at.address == a->sleep_control.address || at.address == a->sleep_status.address);
}

static uint32_t read_register(void *ctx, struct acpi_gas at, unsigned bytes)
{
	check(named(ctx, at) && bytes <= 2);
	return (uint32_t)at.address * 0x9e3779b9u >> 16;
}

static void write_register(void *ctx, struct acpi_gas at, unsigned bytes, uint32_t v)
{
	check(named(ctx, at) && (bytes == 1 ? v <= 0xff : bytes == 2 && v <= 0xffff));
}

static unsigned waits;
static void wait_us(void *ctx, unsigned us)
{
	(void)ctx;
	check(us <= 2000000 && ++waits <= 4000);
}
static void flush_caches(void *ctx) { (void)ctx; }

static void check_sleep(struct acpi_info *info)
{
	const struct acpi_regs regs = { info, read_register, write_register, wait_us, flush_caches };
	const char *why;

	waits = 0;
	why = acpi_enter_s5(info, &regs);
	check(why && why[0]);
}

static void check_info(const struct acpi_info *info)
{
	check(info->ncpus <= ACPI_MAX_CPUS && info->nioapics <= ACPI_MAX_IOAPICS && info->nisos <= ACPI_MAX_ISOS);
	for (uint32_t i = 0; i < info->ncpus; i++) {
		check(info->cpus[i].enabled || info->cpus[i].online_capable);
		for (uint32_t j = 0; j < i; j++)
			check(info->cpus[i].apic_id != info->cpus[j].apic_id);
	}
	for (uint32_t i = 0; i < info->nisos; i++)
		check(info->isos[i].irq < 16);
	check(info->s5_typ_a <= 7 && info->s5_typ_b <= 7);
	check(!info->has_reset || info->reset.space <= ACPI_SPACE_PCI);
	for (unsigned i = 0; i < 2; i++) {
		check(info->pm1_cnt[i].space <= ACPI_SPACE_IO && info->pm1_sts[i].space <= ACPI_SPACE_IO);
		check(info->gpe_en[i].address || !info->gpe_en_len[i]);
	}
	check(info->sleep_control.space <= ACPI_SPACE_IO && info->nmi_lints <= 3);
	check_serial(&info->spcr);
	check_serial(&info->dbg2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct acpi_info info;
	static struct memory m;
	uint8_t rsdp[36], found[36];
	const char *why;

	if (size < 1 + sizeof(rsdp))
		return 0;
	memcpy(rsdp, data + 1, sizeof(rsdp));
	m = (struct memory){
		.p = data + 1 + sizeof(rsdp), .size = size - 1 - sizeof(rsdp), .fix = data[0] & FIX_CHECKSUMS,
	};
	if (m.fix) {
		rsdp[8] = (uint8_t)(rsdp[8] - sum(rsdp, 20));
		rsdp[32] = (uint8_t)(rsdp[32] - sum(rsdp, 36));
	}
	if (acpi_parse(rsdp, map, &m, &info, &why) != TF_OK)
		check(why && why[0]);
	check_info(&info);
	check_sleep(&info);
	while (m.nmaps)
		free(m.maps[--m.nmaps]);

	if (acpi_find_rsdp(data, size, found) == TF_OK)
		check(!memcmp(found, "RSD PTR ", 8) && !sum(found, 20));
	return 0;
}
