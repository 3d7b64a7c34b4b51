#include "guest/dev/vacpi.h"
#include "guest/dev/byte_access.h"
#include <tf/math.h>
#include <tf/string.h>

/* ACPI 6.5, "PM1 Event Grouping", "PM1 Control Grouping", "Power Management Timer (PM_TMR)" */
#define PM1_STS 0
#define PM1_EN  2
#define PM1_CNT 4
#define PM_TMR  8

#define STS_TMR    BIT(0)
#define STS_PWRBTN BIT(8)
#define EN_MASK    (BIT(0) | BIT(5) | BIT(8) | BIT(9) | BIT(10)) /* TMR, GBL, PWRBTN, SLPBTN, RTC */

#define CNT_SCI_EN  BIT(0)
#define CNT_BM_RLD  BIT(1)
#define CNT_SLP_TYP (7u << 10)
#define CNT_SLP_TYP_SHIFT 10
#define CNT_SLP_EN  BIT(13) /* write-only, as is GBL_RLS */
#define CNT_MASK    (CNT_BM_RLD | CNT_SLP_TYP)

#define CARRY_BIT 31

/* Intel ICH, "RST_CNT: Reset Control Register" */
#define CF9_RST_CPU 0x04
#define CF9_KEPT    0x0a /* SYS_RST, FULL_RST */

/* "PORT92: Fast A20 and Init Register" */
#define P92_INIT_NOW 0x01
#define P92_A20      0x02

#define KBC_PULSE_RESET 0xfe

static uint64_t time_now(const struct vacpi *v)
{
	return v->host->now(v->host->ctx);
}

static uint64_t pm_timer(const struct vacpi *v, uint64_t tick)
{
	return mul_div(tick, VACPI_PM_TMR_HZ, v->host->hz);
}

static uint64_t carries(const struct vacpi *v, uint64_t tick)
{
	return pm_timer(v, tick) >> CARRY_BIT;
}

static void status_sync(struct vacpi *v)
{
	uint64_t now = time_now(v);

	if (carries(v, now) != carries(v, v->synced))
		v->pm1_sts |= STS_TMR;
	v->synced = now;
}

/* The SCI is level-triggered: it follows what is both set and enabled. SCI_EN is always on. */
static void sci_update(struct vacpi *v)
{
	bool level = v->pm1_sts & v->pm1_en;
	uint64_t deadline = DEV_NEVER, count;

	if (level != v->sci_level) {
		v->sci_level = level;
		v->host->irq(v->host->ctx, VACPI_SCI_IRQ, level);
	}
	if (v->pm1_en & ~v->pm1_sts & STS_TMR) {
		count = (carries(v, v->synced) + 1) << CARRY_BIT;
		deadline = mul_div(count, v->host->hz, VACPI_PM_TMR_HZ);
		if (pm_timer(v, deadline) < count)
			deadline++;
	}
	v->host->arm(v->host->ctx, deadline);
}

static void pm_out(void *dev, uint64_t port, uint8_t value)
{
	struct vacpi *v = dev;
	unsigned shift = 8 * (port & 1);
	uint16_t field = (uint16_t)(0xff << shift), bits = (uint16_t)(value << shift);

	switch (port & ~1ull) {
	case PM1_STS:
		status_sync(v);
		v->pm1_sts &= (uint16_t)~bits;
		break;
	case PM1_EN:
		status_sync(v);
		v->pm1_en = (uint16_t)((v->pm1_en & ~field) | (bits & EN_MASK));
		break;
	case PM1_CNT:
		v->pm1_cnt = (uint16_t)((v->pm1_cnt & ~field) | (bits & CNT_MASK));
		if (bits & CNT_SLP_EN && (v->pm1_cnt & CNT_SLP_TYP) >> CNT_SLP_TYP_SHIFT == VACPI_S5_TYP)
			v->request(v->ctx, VACPI_POWER_OFF);
		return;
	default: /* the timer is read-only */
		return;
	}
	sci_update(v);
}

/* All registers at one moment, so that a wide or crossing read is never torn. */
static __attribute__((noinline)) uint64_t pm_read(struct vacpi *v, uint64_t port, uint8_t size)
{
	uint16_t control = v->pm1_cnt | CNT_SCI_EN;
	uint32_t timer = (uint32_t)pm_timer(v, time_now(v));
	uint8_t regs[VACPI_PM_LEN];
	uint64_t value = 0;

	status_sync(v);
	memset(regs, 0xff, VACPI_PM_LEN);
	memcpy(regs + PM1_STS, &v->pm1_sts, sizeof(v->pm1_sts));
	memcpy(regs + PM1_EN, &v->pm1_en, sizeof(v->pm1_en));
	memcpy(regs + PM1_CNT, &control, sizeof(control));
	memcpy(regs + PM_TMR, &timer, sizeof(timer));
	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)(port + i < VACPI_PM_LEN ? regs[port + i] : 0xff) << (8 * i);
	return value;
}

void vacpi_access_pm(void *dev, struct dev_access *a)
{
	struct vacpi *v = dev;

	if (a->write)
		dev_access_bytes(v, a, NULL, pm_out);
	else if (a->offset == PM_TMR && a->size == sizeof(uint32_t)) /* a clock source: read often */
		a->value = (uint32_t)pm_timer(v, time_now(v));
	else
		a->value = pm_read(v, a->offset, a->size);
}

static uint8_t cf9_in(void *dev, uint64_t port)
{
	const struct vacpi *v = dev;

	return port ? 0xff : v->cf9;
}

static void cf9_out(void *dev, uint64_t port, uint8_t value)
{
	struct vacpi *v = dev;
	uint8_t before = v->cf9;

	if (port)
		return;
	v->cf9 = value & (CF9_KEPT | CF9_RST_CPU);
	/* SYS_RST tells a hard from a soft reset: both begin this machine anew. */
	if (value & ~before & CF9_RST_CPU)
		v->request(v->ctx, VACPI_RESET);
}

static uint8_t p92_in(void *dev, uint64_t port)
{
	const struct vacpi *v = dev;

	return port ? 0xff : v->port92;
}

static void p92_out(void *dev, uint64_t port, uint8_t value)
{
	struct vacpi *v = dev;
	uint8_t before = v->port92;

	if (port)
		return;
	v->port92 = value & (P92_INIT_NOW | P92_A20);
	if (value & ~before & P92_INIT_NOW)
		v->request(v->ctx, VACPI_RESET);
}

/* There is no keyboard controller; only the pulse on its reset line is kept, which systems use blindly. */
static uint8_t p64_in(void *dev, uint64_t port)
{
	(void)dev;
	(void)port;
	return 0xff;
}

static void p64_out(void *dev, uint64_t port, uint8_t value)
{
	struct vacpi *v = dev;

	if (!port && value == KBC_PULSE_RESET)
		v->request(v->ctx, VACPI_RESET);
}

void vacpi_init(struct vacpi *v, const struct dev_host *host, void (*request)(void *ctx, enum vacpi_request what), void *ctx)
{
	memset(v, 0, sizeof(*v));
	v->host = host;
	v->request = request;
	v->ctx = ctx;
	v->port92 = P92_A20;
	v->synced = time_now(v);
}

void vacpi_access_cf9(void *v, struct dev_access *a)
{
	dev_access_bytes(v, a, cf9_in, cf9_out);
}

void vacpi_access_92(void *v, struct dev_access *a)
{
	dev_access_bytes(v, a, p92_in, p92_out);
}

void vacpi_access_64(void *v, struct dev_access *a)
{
	dev_access_bytes(v, a, p64_in, p64_out);
}

void vacpi_tick(struct vacpi *v)
{
	status_sync(v);
	sci_update(v);
}

void vacpi_power_button(struct vacpi *v)
{
	status_sync(v);
	v->pm1_sts |= STS_PWRBTN;
	sci_update(v);
}
