/*
 * The host's ACPI tables (ACPI 6.5, "ACPI Software Programming Model"). Firmware is trusted to be firmware, not to be
 * right: every length and checksum is checked, and every structure is copied out before it is read.
 */
#include "drivers/acpi_internal.h"

#define TABLE_MAX        MiB(4) /* the largest DSDTs in the field are well under 1 MiB */
#define RSDP_STEP        16
#define RSDP_V1_LENGTH   20
#define RSDP_V2_REVISION 2

struct rsdp {
	char signature[8];
	uint8_t checksum; /* of the first 20 bytes */
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t extended_checksum;
	uint8_t reserved[3];
} __packed;

struct fadt {
	struct acpi_header h;
	uint32_t firmware_ctrl, dsdt;
	uint8_t reserved_a, profile;
	uint16_t sci_int;
	uint32_t smi_cmd;
	uint8_t acpi_enable, acpi_disable, s4bios_req, pstate_cnt;
	uint32_t pm1a_evt_blk, pm1b_evt_blk, pm1a_cnt_blk, pm1b_cnt_blk, pm2_cnt_blk, pm_tmr_blk, gpe0_blk, gpe1_blk;
	uint8_t pm1_evt_len, pm1_cnt_len, pm2_cnt_len, pm_tmr_len, gpe0_blk_len, gpe1_blk_len;
	uint8_t skipped[15]; /* GPE1 base, C states, caches, duty cycle, RTC */
	uint16_t iapc_boot_arch;
	uint8_t reserved_b;
	uint32_t flags;
	struct gas reset_reg;
	uint8_t reset_value, arm_boot_arch[2], minor_version;
	uint64_t x_firmware_ctrl, x_dsdt;
	struct gas x_pm1a_evt_blk, x_pm1b_evt_blk, x_pm1a_cnt_blk, x_pm1b_cnt_blk, x_pm2_cnt_blk, x_pm_tmr_blk, x_gpe0_blk,
		x_gpe1_blk, sleep_control_reg, sleep_status_reg;
} __packed;
#define FADT_TMR_VAL_EXT   BIT(8)
#define FADT_RESET_REG_SUP BIT(10)
#define FADT_HW_REDUCED    BIT(20)
#define FADT_ARCH_8042     BIT(1)
#define FADT_ARCH_REVISION 3   /* from here on IAPC_BOOT_ARCH is filled in */
#define FADT_V1_LENGTH     116 /* ACPI 1.0: up to the flags */
#define PM_TMR_LENGTH      4
#define PM1_WIDTH          16

struct hpet {
	struct acpi_header h;
	uint32_t block_id;
	struct gas base;
} __packed;
#define HPET_ALIGN 8 /* of its registers */

_Static_assert(sizeof(struct rsdp) == 36 && sizeof(struct gas) == 12, "ACPI 6.5");
_Static_assert(offsetof(struct fadt, smi_cmd) == 48 && offsetof(struct fadt, pm1a_cnt_blk) == 64 &&
	       offsetof(struct fadt, pm_tmr_len) == 91 && offsetof(struct fadt, iapc_boot_arch) == 109 &&
	       offsetof(struct fadt, flags) == 112 && offsetof(struct fadt, x_dsdt) == 140 &&
	       offsetof(struct fadt, x_pm1a_cnt_blk) == 172 && offsetof(struct fadt, x_pm_tmr_blk) == 208 &&
	       offsetof(struct fadt, sleep_control_reg) == 244, "ACPI 6.5");
_Static_assert(offsetof(struct hpet, base) == 40, "ACPI 6.5");

static uint8_t sum_bytes(const uint8_t *p, size_t n)
{
	uint8_t sum = 0;

	while (n--)
		sum += *p++;
	return sum;
}

/* Maps a table and checks it. TF_ENOENT: fine, but not the one that was wanted. TF_ECSUM: *t is set all the same. */
static enum tf_err open_table(struct acpi_parser *a, uint64_t addr, const char *signature, struct acpi_table *t)
{
	struct acpi_header h;
	const void *p;

	p = addr ? a->map(a->ctx, HPA(addr), sizeof(h)) : NULL;
	if (!p)
		return TF_EFAULT;
	memcpy(&h, p, sizeof(h));
	if (memcmp(h.signature, signature, sizeof(h.signature)))
		return TF_ENOENT;
	if (h.length < sizeof(h) || h.length > TABLE_MAX)
		return TF_EINVAL;
	p = a->map(a->ctx, HPA(addr), h.length);
	if (!p)
		return TF_EFAULT;
	*t = (struct acpi_table){ p, h.length };
	return sum_bytes(t->p, t->len) ? TF_ECSUM : TF_OK;
}

/* FADT and DSDT */

/* Can a register be there? Spaces other than these two need drivers that are not here. */
static bool reachable(const struct gas *g)
{
	return g->address && (g->space == ACPI_SPACE_MEMORY || (g->space == ACPI_SPACE_IO && g->address <= UINT16_MAX));
}

static struct acpi_gas register_at(const struct gas *g)
{
	return reachable(g) ? (struct acpi_gas){ g->space, g->bit_width, g->address } : (struct acpi_gas){ 0 };
}

/* The extended field where it is of use, else the I/O port of ACPI 1.0; address 0: neither. */
static struct acpi_gas block_at(const struct gas *x, uint32_t legacy, uint8_t width)
{
	const struct gas port = { .space = ACPI_SPACE_IO, .bit_width = width, .address = legacy };
	struct acpi_gas at = register_at(reachable(x) ? x : &port);

	at.width = at.address ? width : 0; /* some firmware has odd widths in the extended fields */
	return at;
}

static struct acpi_gas behind(struct acpi_gas block, uint32_t bytes)
{
	if (block.address)
		block.address += bytes;
	return block;
}

static void parse_fixed_hardware(struct acpi_info *out, const struct fadt *f)
{
	const struct acpi_gas gpe[2] = { block_at(&f->x_gpe0_blk, f->gpe0_blk, 8), block_at(&f->x_gpe1_blk, f->gpe1_blk, 8) };
	const uint8_t gpe_len[2] = { f->gpe0_blk_len, f->gpe1_blk_len };
	struct acpi_gas timer = block_at(&f->x_pm_tmr_blk, f->pm_tmr_blk, 32);

	if (f->pm_tmr_len == PM_TMR_LENGTH && timer.space == ACPI_SPACE_IO)
		out->pm_timer_port = (uint16_t)timer.address;
	else if (f->pm_tmr_len == PM_TMR_LENGTH)
		out->pm_timer_mem = HPA(timer.address);
	out->pm_timer_32bit = (out->pm_timer_port || out->pm_timer_mem.v) && (f->flags & FADT_TMR_VAL_EXT);
	out->pm1_sts[0] = block_at(&f->x_pm1a_evt_blk, f->pm1a_evt_blk, PM1_WIDTH);
	out->pm1_sts[1] = block_at(&f->x_pm1b_evt_blk, f->pm1b_evt_blk, PM1_WIDTH);
	out->pm1_cnt[0] = block_at(&f->x_pm1a_cnt_blk, f->pm1a_cnt_blk, PM1_WIDTH);
	out->pm1_cnt[1] = block_at(&f->x_pm1b_cnt_blk, f->pm1b_cnt_blk, PM1_WIDTH);
	for (unsigned i = 0; i < ARRAY_SIZE(gpe); i++) { /* status bits come first, and as many enable bits after them */
		out->gpe_en[i] = behind(gpe[i], gpe_len[i] / 2);
		out->gpe_en_len[i] = gpe[i].address ? gpe_len[i] / 2 : 0;
	}
	if (f->smi_cmd <= UINT16_MAX && f->acpi_enable)
		out->smi_cmd = (uint16_t)f->smi_cmd;
	out->acpi_enable = f->acpi_enable;
}

/* An integer constant of AML ("Data Objects Encoding") that fits SLP_TYPx, or -1. */
static int aml_slp_typ(const uint8_t **p, const uint8_t *end)
{
	enum { ZERO_OP = 0x00, ONE_OP = 0x01, BYTE_PREFIX = 0x0a, SLP_TYP_MAX = 7 };
	const uint8_t *at = *p;
	int v = -1;

	if (at < end && (*at == ZERO_OP || *at == ONE_OP))
		v = *at++;
	else if (end - at >= 2 && *at == BYTE_PREFIX && at[1] <= SLP_TYP_MAX) {
		v = at[1];
		at += 2;
	}
	*p = at;
	return v;
}

/* Name(_S5_, Package() { SLP_TYPa, SLP_TYPb, ... }): found by its bytes, as there is no AML interpreter here. */
static void find_s5(struct acpi_info *out, const struct acpi_table *t)
{
	enum { NAME_OP = 0x08, ROOT_CHAR = '\\', PACKAGE_OP = 0x12, PKG_LENGTH_BYTES_SHIFT = 6 };
	static const char name[4] = { '_', 'S', '5', '_' };
	const uint8_t *end = t->p + t->len, *start = t->p + sizeof(struct acpi_header);

	for (const uint8_t *p = start; end - p > (ptrdiff_t)sizeof(name); p++) {
		const uint8_t *at = p + sizeof(name);
		bool named;
		int a, b;

		if (*p != '_' || memcmp(p, name, sizeof(name)) || *at++ != PACKAGE_OP)
			continue;
		named = (p - start >= 1 && p[-1] == NAME_OP) ||
			(p - start >= 2 && p[-1] == ROOT_CHAR && p[-2] == NAME_OP);
		if (!named || at == end)
			continue;
		/* The lead byte says how many bytes of PkgLength follow; after them comes the number of elements. */
		if (end - at < 1 + (*at >> PKG_LENGTH_BYTES_SHIFT) + 1)
			continue;
		at += 1 + (*at >> PKG_LENGTH_BYTES_SHIFT) + 1;
		a = aml_slp_typ(&at, end);
		b = aml_slp_typ(&at, end);
		if (a >= 0 && b >= 0) {
			out->s5_typ_a = (uint8_t)a;
			out->s5_typ_b = (uint8_t)b;
			out->has_s5 = true;
			return;
		}
	}
}

static void suspect(struct acpi_parser *a, const char *what)
{
	if (!a->out->suspect)
		a->out->suspect = what;
}

static bool open_dsdt(struct acpi_parser *a, uint64_t addr, struct acpi_table *t)
{
	enum tf_err e = open_table(a, addr, "DSDT", t);

	if (e == TF_ECSUM)
		suspect(a, "DSDT");
	return e == TF_OK || e == TF_ECSUM;
}

static void parse_fadt(struct acpi_parser *a, const struct acpi_table *t)
{
	struct acpi_info *out = a->out;
	struct acpi_table dsdt;
	struct fadt f;

	if (t->len < FADT_V1_LENGTH) {
		acpi_complain(a, "FADT: too short");
		return;
	}
	acpi_read_fixed(t, &f, sizeof(f));
	out->no_8042 = f.h.revision >= FADT_ARCH_REVISION && !(f.iapc_boot_arch & FADT_ARCH_8042);
	out->hw_reduced = f.flags & FADT_HW_REDUCED;
	if (!out->hw_reduced)
		parse_fixed_hardware(out, &f);
	out->sleep_control = register_at(&f.sleep_control_reg);
	out->sleep_status = register_at(&f.sleep_status_reg);
	if ((f.flags & FADT_RESET_REG_SUP) && (reachable(&f.reset_reg) || f.reset_reg.space == ACPI_SPACE_PCI)) {
		out->has_reset = true;
		out->reset = (struct acpi_gas){ f.reset_reg.space, f.reset_reg.bit_width, f.reset_reg.address };
		out->reset_value = f.reset_value;
	}
	if (open_dsdt(a, f.x_dsdt, &dsdt) || open_dsdt(a, f.dsdt, &dsdt))
		find_s5(out, &dsdt);
	else
		acpi_complain(a, "DSDT: missing, or wrong length");
}

static void parse_hpet(struct acpi_parser *a, const struct acpi_table *t)
{
	struct hpet h;

	acpi_read_fixed(t, &h, sizeof(h));
	if (t->len < sizeof(h) || h.base.space != ACPI_SPACE_MEMORY)
		acpi_complain(a, "HPET: too short, or not in memory space");
	else if (!IS_ALIGNED(h.base.address, HPET_ALIGN))
		acpi_complain(a, "HPET: its address is wrong");
	else
		a->out->hpet_base = HPA(h.base.address);
}

/* Root tables */

static const struct wanted {
	const char *signature, *name, *bad_length, *bad_checksum;
	void (*parse)(struct acpi_parser *, const struct acpi_table *);
} wanted[] = {
	/* With a wrong checksum they are used: the parsers trust nothing in them, and without them the machine is lost. */
	{ "APIC", "MADT", "MADT: wrong length", NULL, acpi_parse_madt },
	{ "FACP", "FADT", "FADT: wrong length", NULL, parse_fadt },
	{ "HPET", "HPET", "HPET: wrong length", NULL, parse_hpet },
	/* These are not: what they name is written to before it can be known to be a UART. */
	{ "SPCR", "SPCR", "SPCR: wrong length", "SPCR: wrong checksum", acpi_parse_spcr },
	{ "DBG2", "DBG2", "DBG2: wrong length", "DBG2: wrong checksum", acpi_parse_dbg2 },
};

static void parse_if(struct acpi_parser *a, uint64_t addr, const struct wanted *w)
{
	uint32_t bit = (uint32_t)BIT(w - wanted);
	struct acpi_table t;
	enum tf_err e;

	if (a->have & bit)
		return;
	e = open_table(a, addr, w->signature, &t);
	if (e == TF_OK || (e == TF_ECSUM && !w->bad_checksum)) {
		if (e == TF_ECSUM)
			suspect(a, w->name);
		a->have |= bit;
		w->parse(a, &t);
	} else if (e != TF_ENOENT) {
		acpi_complain(a, e == TF_EFAULT ? "a table is not in readable memory" : e == TF_ECSUM ? w->bad_checksum : w->bad_length);
	}
}

static enum tf_err parse_root(struct acpi_parser *a, uint64_t addr, const char *signature, size_t entry_size)
{
	struct acpi_table t;
	enum tf_err e = open_table(a, addr, signature, &t);

	if (e != TF_OK) {
		acpi_complain(a, "the root table (XSDT or RSDT) is missing, or its length or checksum is wrong");
		return e == TF_ENOENT ? TF_EINVAL : e;
	}
	for (size_t at = sizeof(struct acpi_header); t.len - at >= entry_size; at += entry_size) {
		struct acpi_table ssdt;
		uint64_t entry = 0;

		memcpy(&entry, t.p + at, entry_size);
		for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
			parse_if(a, entry, &wanted[i]);
		if (!a->out->has_s5 && open_table(a, entry, "SSDT", &ssdt) == TF_OK)
			find_s5(a->out, &ssdt);
	}
	return TF_OK;
}

static bool rsdp_v1_ok(const uint8_t *p)
{
	return !memcmp(p, "RSD PTR ", sizeof((struct rsdp){ 0 }.signature)) && !sum_bytes(p, RSDP_V1_LENGTH);
}

/* A loader that keeps the ACPI 1.0 part only leaves zeros behind it; else the second checksum must be right. */
static enum tf_err rsdp_xsdt(const uint8_t *p, uint64_t *xsdt)
{
	struct rsdp r;

	memcpy(&r, p, sizeof(r));
	*xsdt = 0;
	if (r.revision < RSDP_V2_REVISION || (!r.length && !r.xsdt && !r.extended_checksum))
		return TF_OK;
	if (r.length < sizeof(r))
		return TF_EINVAL;
	if (r.length == sizeof(r) && sum_bytes(p, sizeof(r)))
		return TF_ECSUM;
	*xsdt = r.xsdt;
	return TF_OK;
}

enum tf_err acpi_parse(const uint8_t rsdp[36], acpi_map_fn map, void *ctx, struct acpi_info *out, const char **why)
{
	struct acpi_parser a = { .map = map, .ctx = ctx, .out = out };
	enum tf_err e = TF_EINVAL;
	uint64_t xsdt = 0;
	struct rsdp r;

	memset(out, 0, sizeof(*out));
	memcpy(&r, rsdp, sizeof(r));
	if (!rsdp_v1_ok(rsdp) || (e = rsdp_xsdt(rsdp, &xsdt)) != TF_OK) {
		*why = "RSDP: wrong signature, length or checksum";
		return e;
	}
	if (xsdt)
		e = parse_root(&a, xsdt, "XSDT", sizeof(uint64_t));
	if (!xsdt || e != TF_OK)
		e = parse_root(&a, r.rsdt, "RSDT", sizeof(uint32_t));
	*why = a.why;
	return e;
}

enum tf_err acpi_find_rsdp(const uint8_t *buf, size_t len, uint8_t rsdp[36])
{
	uint64_t xsdt;

	for (size_t at = 0; len >= RSDP_V1_LENGTH && at <= len - RSDP_V1_LENGTH; at += RSDP_STEP) {
		uint8_t found[sizeof(struct rsdp)] = { 0 };
		size_t want;

		if (!rsdp_v1_ok(buf + at))
			continue;
		want = buf[at + offsetof(struct rsdp, revision)] < RSDP_V2_REVISION ? RSDP_V1_LENGTH : sizeof(found);
		if (want > len - at)
			continue;
		memcpy(found, buf + at, want);
		if (rsdp_xsdt(found, &xsdt) != TF_OK)
			continue;
		memcpy(rsdp, found, sizeof(found));
		return TF_OK;
	}
	return TF_ENOENT;
}
