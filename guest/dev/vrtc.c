#include "guest/dev/vrtc.h"
#include "guest/dev/byte_access.h"
#include "guest/dev/vrtc_time.h"
#include <tf/math.h>
#include <tf/string.h>

enum { PORT_INDEX, PORT_DATA };

#define RTC_IRQ    8
#define INDEX_MASK 0x7f /* bit 7 of port 70h is the board's NMI mask */

/* MC146818A, "Register A" to "Register D" */
#define A_UIP       0x80
#define A_DV        0x70
#define A_DV_32KHZ  0x20
#define A_RS        0x0f
#define B_SET       0x80
#define B_UIE       0x10
#define C_PF        0x40
#define C_AF        0x20
#define C_UF        0x10
#define C_FLAGS     (C_PF | C_AF | C_UF) /* PIE, AIE and UIE are at the same places in register B */
#define C_IRQF      0x80
#define D_VRT       0x80

#define CRYSTAL_HZ  32768u
#define UPDATE_US   (244 + 1984) /* UIP rises so long before the new time can be read: announcement and update cycle */
#define US_PER_SECOND 1000000u

/* CMOS bytes that firmware fills on a PC */
#define CMOS_EQUIPMENT       0x14
#define EQUIPMENT_FPU        0x02
#define CMOS_BASE_KB         0x15
#define CMOS_EXTENDED_KB     0x17
#define CMOS_EXTENDED_KB_2   0x30
#define CMOS_ABOVE_16M_64KB  0x34
#define CMOS_ABOVE_4G_64KB   0x5b
#define BASE_KB              640
#define EXTENDED_KB_MAX      0xfc00 /* 63 MiB */

static uint64_t time_now(const struct vrtc *r)
{
	return r->host->now(r->host->ctx);
}

/* The divider chain counts a 32768 Hz crystal; any other selection is a reset or a crystal that is not there. */
static bool is_running(const struct vrtc *r)
{
	return (r->ram[RTC_A] & A_DV) == A_DV_32KHZ;
}

/* While not, the clock registers in `ram` are plain memory. */
static bool is_updating(const struct vrtc *r)
{
	return is_running(r) && !(r->ram[RTC_B] & B_SET);
}

static bool is_clock_register(uint8_t index)
{
	return (index <= RTC_YEAR && index != RTC_SECONDS_ALARM && index != RTC_MINUTES_ALARM && index != RTC_HOURS_ALARM) ||
	       index == VRTC_CENTURY;
}

static int64_t seconds_at(const struct vrtc *r, uint64_t tick)
{
	return r->base_seconds + (int64_t)((tick - r->base_tick) / r->host->hz);
}

/* "Periodic Interrupt Rate and Square Wave Output Frequency": 0 is off, 1 and 2 repeat 8 and 9. */
static uint32_t periodic_hz(const struct vrtc *r)
{
	unsigned rs = r->ram[RTC_A] & A_RS;

	if (!rs)
		return 0;
	return CRYSTAL_HZ >> (rs <= 2 ? rs + 6 : rs - 1);
}

static uint64_t periods_at(const struct vrtc *r, uint64_t tick)
{
	return mul_div(tick - r->base_tick, periodic_hz(r), r->host->hz);
}

/* Sets the flags of what has happened since the last call. */
static void flags_sync(struct vrtc *r, uint64_t now)
{
	if (is_running(r) && periodic_hz(r) && periods_at(r, now) > periods_at(r, r->synced))
		r->ram[RTC_C] |= C_PF;
	if (is_updating(r) && seconds_at(r, now) > seconds_at(r, r->synced)) {
		r->ram[RTC_C] |= C_UF;
		if (vrtc_alarm_next(r, seconds_at(r, r->synced) + 1) <= seconds_at(r, now))
			r->ram[RTC_C] |= C_AF;
	}
	r->synced = now;
}

static uint64_t next_period(const struct vrtc *r)
{
	uint64_t n = periods_at(r, r->synced) + 1, ticks = mul_div(n, r->host->hz, periodic_hz(r));

	if (mul_div(ticks, periodic_hz(r), r->host->hz) < n)
		ticks++;
	return r->base_tick + ticks;
}

/* The tick when a flag that is not set yet and whose interrupt is enabled will be. */
static uint64_t next_interrupt(const struct vrtc *r)
{
	uint8_t wanted = r->ram[RTC_B] & (uint8_t)~r->ram[RTC_C] & C_FLAGS;
	int64_t seconds = seconds_at(r, r->synced), next = RTC_NO_ALARM;
	uint64_t deadline = DEV_NEVER;

	if (wanted & C_PF && is_running(r) && periodic_hz(r))
		deadline = next_period(r);
	if (!is_updating(r))
		return deadline;
	if (wanted & C_UF)
		next = seconds + 1;
	else if (wanted & C_AF)
		next = vrtc_alarm_next(r, seconds + 1);
	if (next != RTC_NO_ALARM)
		deadline = MIN(deadline, r->base_tick + (uint64_t)(next - r->base_seconds) * r->host->hz);
	return deadline;
}

static void irq_update(struct vrtc *r)
{
	bool level = r->ram[RTC_B] & r->ram[RTC_C] & C_FLAGS;

	if (level != r->irq_level) {
		r->irq_level = level;
		r->host->irq(r->host->ctx, RTC_IRQ, level);
	}
	r->host->arm(r->host->ctx, next_interrupt(r));
}

/* The clock goes on from what its registers say now. The divider chain, and so the phase, is not disturbed. */
static void clock_adopt(struct vrtc *r, uint64_t now)
{
	r->base_tick += (now - r->base_tick) / r->host->hz * r->host->hz;
	r->base_seconds = vrtc_time_parse(r);
}

/* A write to register A or B, which may stop or start the clock. */
static void control_write(struct vrtc *r, uint8_t index, uint8_t value)
{
	uint64_t now = time_now(r);
	bool was_updating = is_updating(r), was_running = is_running(r);

	flags_sync(r, now);
	if (was_updating) /* in the format until now: if the clock stops here, this stays */
		vrtc_time_render(r, seconds_at(r, now));
	if (index == RTC_A)
		r->ram[RTC_A] = value & (uint8_t)~A_UIP;
	else
		r->ram[RTC_B] = value & B_SET ? value & (uint8_t)~B_UIE : value;
	/* "Divider control": the first update comes half a second after the reset is released. */
	if (!was_running && is_running(r))
		r->base_tick = now - r->host->hz / 2;
	if (!was_updating && is_updating(r))
		clock_adopt(r, now);
	irq_update(r);
}

static void clock_write(struct vrtc *r, uint8_t index, uint8_t value)
{
	uint64_t now = time_now(r);

	if (!is_updating(r)) {
		r->ram[index] = value;
		return;
	}
	flags_sync(r, now);
	vrtc_time_render(r, seconds_at(r, now));
	r->ram[index] = value;
	clock_adopt(r, now);
	irq_update(r);
}

static void data_out(struct vrtc *r, uint8_t value)
{
	uint8_t index = r->index;

	if (index == RTC_A || index == RTC_B) {
		control_write(r, index, value);
	} else if (is_clock_register(index)) {
		clock_write(r, index, value);
	} else if (index <= RTC_HOURS_ALARM) {
		flags_sync(r, time_now(r));
		r->ram[index] = value;
		irq_update(r);
	} else if (index != RTC_C && index != RTC_D) {
		r->ram[index] = value;
	}
}

static bool update_in_progress(const struct vrtc *r)
{
	uint64_t hz = r->host->hz, since_update = (time_now(r) - r->base_tick) % hz;

	return is_updating(r) && hz - since_update <= mul_div(hz, UPDATE_US, US_PER_SECOND);
}

static uint8_t flags_read(struct vrtc *r)
{
	uint8_t value;

	flags_sync(r, time_now(r));
	value = r->ram[RTC_C];
	if (value & r->ram[RTC_B] & C_FLAGS)
		value |= C_IRQF;
	r->ram[RTC_C] = 0;
	irq_update(r);
	return value;
}

static uint8_t data_in(struct vrtc *r)
{
	uint8_t index = r->index;

	if (index == RTC_A)
		return r->ram[RTC_A] | (update_in_progress(r) ? A_UIP : 0);
	if (index == RTC_C)
		return flags_read(r);
	if (is_clock_register(index) && is_updating(r))
		vrtc_time_render(r, seconds_at(r, time_now(r)));
	return r->ram[index];
}

static void vrtc_out(void *dev, uint64_t port, uint8_t value)
{
	struct vrtc *r = dev;

	if (port == PORT_INDEX)
		r->index = value & INDEX_MASK;
	else if (port == PORT_DATA)
		data_out(r, value);
}

static uint8_t vrtc_in(void *dev, uint64_t port)
{
	return port == PORT_DATA ? data_in(dev) : 0xff; /* the index cannot be read */
}

static void cmos_put(struct vrtc *r, uint8_t index, unsigned bytes, uint64_t value)
{
	for (unsigned i = 0; i < bytes; i++)
		r->ram[index + i] = (uint8_t)(value >> (8 * i));
}

void vrtc_init(struct vrtc *r, const struct dev_host *host, int64_t unix_seconds, uint64_t ram_below_4g, uint64_t ram_above_4g)
{
	uint64_t extended_kb = ram_below_4g > MiB(1) ? (ram_below_4g - MiB(1)) / KiB(1) : 0;
	uint64_t above_16m = ram_below_4g > MiB(16) ? (ram_below_4g - MiB(16)) / KiB(64) : 0;

	memset(r, 0, sizeof(*r));
	r->host = host;
	r->base_seconds = MAX(RTC_TIME_MIN, MIN(unix_seconds, (int64_t)RTC_TIME_MAX));
	r->base_tick = r->synced = time_now(r);
	r->ram[RTC_A] = A_DV_32KHZ | 6; /* 1024 Hz, as firmware leaves it */
	r->ram[RTC_B] = RTC_B_24H;
	r->ram[RTC_D] = D_VRT;
	r->ram[CMOS_EQUIPMENT] = EQUIPMENT_FPU;
	extended_kb = MIN(extended_kb, (uint64_t)EXTENDED_KB_MAX);
	cmos_put(r, CMOS_BASE_KB, 2, MIN(ram_below_4g / KiB(1), (uint64_t)BASE_KB));
	cmos_put(r, CMOS_EXTENDED_KB, 2, extended_kb);
	cmos_put(r, CMOS_EXTENDED_KB_2, 2, extended_kb);
	cmos_put(r, CMOS_ABOVE_16M_64KB, 2, MIN(above_16m, (uint64_t)UINT16_MAX));
	cmos_put(r, CMOS_ABOVE_4G_64KB, 3, MIN(ram_above_4g / KiB(64), (uint64_t)0xffffff));
}

void vrtc_access(void *r, struct dev_access *a)
{
	dev_access_bytes(r, a, vrtc_in, vrtc_out);
}

void vrtc_tick(struct vrtc *r)
{
	flags_sync(r, time_now(r));
	irq_update(r);
}
