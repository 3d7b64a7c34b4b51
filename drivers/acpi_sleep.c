/* ACPI 6.5, "ACPI Hardware Features", "Legacy/ACPI Select and the SCI Interrupt", "Sleep Control and Status Registers" */
#include "drivers/acpi_sleep.h"

#define PM1_BYTES       2
#define PM1_STS_ALL     0xc731u /* timer, bus master, global lock, buttons, RTC, PCIe wake, WAK_STS: written 1 to clear */
#define PM1_CNT_SCI_EN  BIT(0)
#define PM1_CNT_SLP_TYP 10      /* shift */
#define PM1_CNT_SLEEP   0x3c00u /* SLP_TYP and SLP_EN */
#define PM1_CNT_SLP_EN  BIT(13)
#define SLEEP_SLP_TYP   2       /* shift, in the sleep control register */
#define SLEEP_SLP_EN    BIT(5)
#define SLEEP_WAK_STS   BIT(7)

#define MODE_POLL_US    1000
#define MODE_POLLS      3000    /* the SMM code of some firmware takes seconds */
#define OFF_US          2000000

static bool acpi_mode(const struct acpi_info *a, const struct acpi_regs *r)
{
	return r->read(r->ctx, a->pm1_cnt[0], PM1_BYTES) & PM1_CNT_SCI_EN;
}

/* In legacy mode the sleep registers may be the firmware's: it hands them over when it is asked to. */
static bool enter_acpi_mode(const struct acpi_info *a, const struct acpi_regs *r)
{
	const struct acpi_gas smi_cmd = { ACPI_SPACE_IO, 8, a->smi_cmd };

	if (!a->smi_cmd || acpi_mode(a, r))
		return true;
	r->write(r->ctx, smi_cmd, 1, a->acpi_enable);
	for (unsigned i = 0; i < MODE_POLLS; i++) {
		if (acpi_mode(a, r))
			return true;
		r->wait_us(r->ctx, MODE_POLL_US);
	}
	return false;
}

static const char *sleep_reduced(const struct acpi_info *a, const struct acpi_regs *r)
{
	if (!a->sleep_control.address)
		return "the FADT names no sleep control register";
	if (a->sleep_status.address)
		r->write(r->ctx, a->sleep_status, 1, SLEEP_WAK_STS);
	r->flush_caches(r->ctx);
	r->write(r->ctx, a->sleep_control, 1, (uint32_t)a->s5_typ_a << SLEEP_SLP_TYP | (uint32_t)SLEEP_SLP_EN);
	r->wait_us(r->ctx, OFF_US);
	return "the machine does not obey its sleep control register";
}

/* What is pending or armed would wake the machine at once. */
static void quiet(const struct acpi_info *a, const struct acpi_regs *r)
{
	for (unsigned i = 0; i < 2; i++) {
		struct acpi_gas en = a->gpe_en[i];

		if (a->pm1_sts[i].address)
			r->write(r->ctx, a->pm1_sts[i], PM1_BYTES, PM1_STS_ALL);
		for (unsigned n = 0; en.address && n < a->gpe_en_len[i]; n++, en.address++)
			r->write(r->ctx, en, 1, 0);
	}
}

const char *acpi_enter_s5(const struct acpi_info *a, const struct acpi_regs *r)
{
	const uint8_t typ[2] = { a->s5_typ_a, a->s5_typ_b };
	uint32_t cnt[2] = { 0 };

	if (!a->has_s5)
		return "the ACPI tables have no \\_S5";
	if (a->hw_reduced)
		return sleep_reduced(a, r);
	if (!a->pm1_cnt[0].address)
		return "the FADT names no PM1 control register";
	bool switched = enter_acpi_mode(a, r);
	quiet(a, r);
	/* SLP_TYP goes to both blocks before SLP_EN does, as the specification has it. */
	for (unsigned i = 0; i < 2 && a->pm1_cnt[i].address; i++) {
		cnt[i] = (r->read(r->ctx, a->pm1_cnt[i], PM1_BYTES) & ~PM1_CNT_SLEEP) | (uint32_t)typ[i] << PM1_CNT_SLP_TYP;
		r->write(r->ctx, a->pm1_cnt[i], PM1_BYTES, cnt[i]);
	}
	r->flush_caches(r->ctx);
	for (unsigned i = 0; i < 2 && a->pm1_cnt[i].address; i++)
		r->write(r->ctx, a->pm1_cnt[i], PM1_BYTES, cnt[i] | (uint32_t)PM1_CNT_SLP_EN);
	r->wait_us(r->ctx, OFF_US);
	return switched ? "the machine does not obey its PM1 control register" : "the firmware does not switch to ACPI mode";
}
