#include "guest/dev/vpit.h"
#include "guest/dev/byte_access.h"
#include "guest/dev/vpit_count.h"
#include <tf/math.h>
#include <tf/string.h>

#define PORT_CONTROL 3

/* 8254, "Control Word Format" */
#define CW_CHANNEL(v)  ((v) >> 6)
#define CW_READ_BACK   3
#define CW_RW(v)       ((v) >> 4 & 3)
#define CW_MODE(v)     ((v) >> 1 & 7)
#define CW_BCD         0x01
#define CW_STATUS_MASK 0x3f /* what the status byte repeats */

#define RW_LATCH 0
#define RW_LSB   1
#define RW_MSB   2
#define RW_BOTH  3

/* "Read-Back Command": both bits are active low */
#define RB_NO_COUNT     0x20
#define RB_NO_STATUS    0x10
#define RB_CHANNEL(i)   (2u << (i))
#define STATUS_OUT      0x80
#define STATUS_NULL     0x40

#define P61_GATE2    0x01
#define P61_WRITABLE 0x0f
#define P61_REFRESH  0x10
#define P61_OUT2     0x20
#define REFRESH_CLOCKS 18 /* a DRAM row every 15 us: what channel 1 is programmed for on a PC */

/* Faster periodic edges are coalesced, so that a guest cannot keep the host's timer busy. */
#define MAX_EDGES_HZ 20000

/*
 * An edge before the last one is taken is lost. To a guest that waits for its turn of the CPU it must not be: such edges
 * are given later, as a backlog of a second's or so many at most, and so much faster than the period at most.
 */
#define BACKLOG_MAX     1000
#define BACKLOG_SPEEDUP 8

static uint64_t clocks_in(const struct vpit *p, uint64_t ticks)
{
	return mul_div(ticks, PIT_HZ, p->host->hz);
}

/* The fewest host ticks in which so many clocks pass. */
static uint64_t ticks_for(const struct vpit *p, uint64_t clocks)
{
	uint64_t ticks = mul_div(clocks, p->host->hz, PIT_HZ);

	return clocks_in(p, ticks) < clocks ? ticks + 1 : ticks;
}

static uint64_t time_now(const struct vpit *p)
{
	return p->host->now(p->host->ctx);
}

static bool is_counting(const struct vpit_channel *c)
{
	return c->loaded && (vpit_gate_triggers(c) ? c->triggered : c->gate);
}

/* Clocks since the count was written (or the trigger came); the first of them loads the count. */
static uint64_t elapsed(const struct vpit *p, const struct vpit_channel *c, uint64_t now)
{
	return c->held + (is_counting(c) ? clocks_in(p, now - c->start) : 0);
}

static void set_line(struct vpit *p, bool level)
{
	if (p->line == level)
		return;
	p->line = level;
	p->host->irq(p->host->ctx, 0, level);
}

static bool too_fast(const struct vpit_channel *c)
{
	return vpit_periodic(c) && c->count < PIT_HZ / MAX_EDGES_HZ;
}

static void pulse(struct vpit *p)
{
	set_line(p, false);
	set_line(p, true);
}

/* Gives one of the edges that are due, if the last one has been taken. */
static void give_edge(struct vpit *p)
{
	if (!p->backlog || (p->host->irq_taken && !p->host->irq_taken(p->host->ctx, 0)))
		return;
	p->backlog--;
	pulse(p);
}

static void run_edges(struct vpit *p, uint64_t clocks)
{
	const struct vpit_channel *c = &p->ch[0];
	uint64_t due = vpit_edges_until(c, clocks), most = 0;

	if (due <= p->edges)
		return;
	if (vpit_periodic(c)) {
		if (!too_fast(c))
			most = MIN(PIT_HZ / c->count, (uint32_t)BACKLOG_MAX);
		p->backlog = (uint32_t)MIN(p->backlog + (due - p->edges), most + 1);
		give_edge(p);
		p->backlog = (uint32_t)MIN(p->backlog, most);
	} else {
		pulse(p);
	}
	p->edges = due;
}

static void arm(struct vpit *p, uint64_t now)
{
	const struct vpit_channel *c = &p->ch[0];
	uint64_t clock = p->next_edge = vpit_edge_clock(c, p->edges + 1), deadline, soonest;

	if (clock != DEV_NEVER && c->pending)
		clock = MIN(clock, c->switch_at);
	if (clock == DEV_NEVER) {
		p->host->arm(p->host->ctx, DEV_NEVER);
		return;
	}
	deadline = c->start + (clock > c->held ? ticks_for(p, clock - c->held) : 0);
	soonest = now + p->host->hz / MAX_EDGES_HZ + 1;
	if (too_fast(c))
		deadline = MAX(deadline, soonest);
	if (p->backlog)
		deadline = MIN(deadline, MAX(soonest, now + ticks_for(p, c->count / BACKLOG_SPEEDUP)));
	p->host->arm(p->host->ctx, deadline);
}

static __attribute__((noinline)) uint64_t catch_up(struct vpit *p, struct vpit_channel *c, uint64_t now, uint64_t clocks)
{
	if (vpit_periodic(c) && c->pending && clocks >= c->switch_at) {
		bool at_half = (c->switch_at - 1) % c->count != 0;

		if (c == &p->ch[0])
			run_edges(p, c->switch_at);
		c->start += ticks_for(p, c->switch_at - c->held);
		c->count = c->next_count;
		c->pending = false;
		c->held = 1 + (at_half ? vpit_high_half(c->count) : 0);
		if (c == &p->ch[0])
			p->edges = 0;
		clocks = elapsed(p, c, now);
	}
	if (c == &p->ch[0]) {
		run_edges(p, clocks);
		p->next_edge = vpit_edge_clock(c, p->edges + 1);
	}
	return clocks;
}

/* Brings a channel up to `now`: edges that are due, and a new count whose reload has come. Returns the clocks elapsed. */
static inline uint64_t channel_run(struct vpit *p, struct vpit_channel *c, uint64_t now)
{
	uint64_t clocks = elapsed(p, c, now);

	if (likely(!c->pending && (c != &p->ch[0] || clocks < p->next_edge)))
		return clocks;
	return catch_up(p, c, now, clocks);
}

static void count_begin(struct vpit *p, struct vpit_channel *c, uint32_t count, uint64_t now)
{
	c->count = count;
	c->start = now;
	c->held = 0;
	c->pending = false;
	c->loaded = true;
	if (c == &p->ch[0])
		p->edges = 0;
}

static void count_written(struct vpit *p, struct vpit_channel *c, uint16_t raw, uint64_t now)
{
	uint32_t count = vpit_from_register(c, raw);
	uint64_t clocks;

	if (vpit_gate_triggers(c)) {
		c->next_count = count;
		c->pending = true;
		c->loaded = true;
	} else if (!vpit_periodic(c)) {
		count_begin(p, c, count, now);
		if (c->mode == 0 && c == &p->ch[0])
			set_line(p, false);
		if (!c->gate)
			c->held = 1; /* the gate stops the counting, not the loading */
	} else if (!c->loaded || !c->gate) {
		count_begin(p, c, count, now);
	} else {
		clocks = elapsed(p, c, now);
		if (clocks) {
			c->next_count = count;
			c->switch_at = vpit_next_reload(c, clocks);
			c->pending = true;
		} else {
			c->count = count;
		}
	}
}

static void count_out(struct vpit *p, struct vpit_channel *c, uint8_t value)
{
	uint64_t now = time_now(p);

	channel_run(p, c, now);
	if (c->rw == RW_BOTH && !c->write_msb) {
		c->write_lsb = value;
		c->write_msb = true;
		if (c->mode == 0) { /* "Mode 0": the first byte stops the counting and sets OUT low */
			c->held = elapsed(p, c, now);
			c->loaded = false;
			if (c == &p->ch[0])
				set_line(p, false);
		}
	} else {
		uint16_t raw = value;

		if (c->rw == RW_BOTH)
			raw = (uint16_t)(value << 8 | c->write_lsb);
		else if (c->rw == RW_MSB)
			raw = (uint16_t)(value << 8);
		c->write_msb = false;
		if (c == &p->ch[0])
			p->backlog = 0;
		count_written(p, c, raw, now);
	}
	if (c == &p->ch[0])
		arm(p, now);
}

static void latch_count(struct vpit *p, struct vpit_channel *c, uint64_t now)
{
	if (c->latched & PIT_LATCHED_COUNT)
		return;
	c->latch = vpit_to_register(c, vpit_element(c, channel_run(p, c, now)));
	c->latched |= PIT_LATCHED_COUNT;
}

static void latch_status(struct vpit *p, struct vpit_channel *c, uint64_t now)
{
	if (c->latched & PIT_LATCHED_STATUS)
		return;
	uint64_t clocks = channel_run(p, c, now);
	c->status = c->control;
	if (vpit_output(c, clocks))
		c->status |= STATUS_OUT;
	if (!c->loaded || c->pending || (is_counting(c) && !clocks))
		c->status |= STATUS_NULL;
	c->latched |= PIT_LATCHED_STATUS;
}

static void set_mode(struct vpit *p, struct vpit_channel *c, uint8_t value, uint64_t now)
{
	c->control = value & CW_STATUS_MASK;
	c->rw = CW_RW(value);
	c->mode = CW_MODE(value) > 5 ? CW_MODE(value) & 3 : CW_MODE(value);
	c->bcd = value & CW_BCD;
	c->held = 0;
	c->loaded = c->pending = c->triggered = false;
	c->write_msb = c->read_msb = false;
	c->latched = 0;
	if (c != &p->ch[0])
		return;
	p->edges = p->backlog = 0;
	set_line(p, c->mode != 0);
	arm(p, now);
}

static void control_out(struct vpit *p, uint8_t value)
{
	uint64_t now = time_now(p);

	if (CW_CHANNEL(value) == CW_READ_BACK) {
		for (unsigned i = 0; i < ARRAY_SIZE(p->ch); i++) {
			if (!(value & RB_CHANNEL(i)))
				continue;
			if (!(value & RB_NO_COUNT))
				latch_count(p, &p->ch[i], now);
			if (!(value & RB_NO_STATUS))
				latch_status(p, &p->ch[i], now);
		}
	} else if (CW_RW(value) == RW_LATCH) {
		latch_count(p, &p->ch[CW_CHANNEL(value)], now);
	} else {
		set_mode(p, &p->ch[CW_CHANNEL(value)], value, now);
	}
}

/* What was latched comes first: the status, then both halves of a count if both are read. */
static __attribute__((noinline)) uint8_t latched_in(struct vpit_channel *c)
{
	if (c->latched & PIT_LATCHED_STATUS) {
		c->latched &= (uint8_t)~PIT_LATCHED_STATUS;
		return c->status;
	}
	bool msb = c->rw == RW_MSB || (c->rw == RW_BOTH && c->read_msb);
	if (c->rw == RW_BOTH)
		c->read_msb = !c->read_msb;
	if (!c->read_msb)
		c->latched = 0;
	return (uint8_t)(msb ? c->latch >> 8 : c->latch);
}

static __attribute__((noinline)) uint8_t count_in(struct vpit *p, struct vpit_channel *c)
{
	if (unlikely(c->latched))
		return latched_in(c);
	uint32_t element = vpit_element(c, channel_run(p, c, time_now(p)));
	uint16_t value = likely(!c->bcd) ? (uint16_t)element : vpit_to_register(c, element);
	bool msb = c->rw == RW_MSB || (c->rw == RW_BOTH && c->read_msb);
	c->read_msb ^= c->rw == RW_BOTH;
	return (uint8_t)(msb ? value >> 8 : value);
}

static void vpit_out(void *dev, uint64_t port, uint8_t value)
{
	struct vpit *p = dev;

	if (port == PORT_CONTROL)
		control_out(p, value);
	else if (port < ARRAY_SIZE(p->ch))
		count_out(p, &p->ch[port], value);
}

static uint8_t vpit_in(void *dev, uint64_t port)
{
	struct vpit *p = dev;

	return port < ARRAY_SIZE(p->ch) ? count_in(p, &p->ch[port]) : 0xff;
}

/* Only channel 2 has a gate that software can move, and no interrupt. */
static void set_gate(struct vpit *p, struct vpit_channel *c, bool gate)
{
	uint64_t now = time_now(p);

	if (c->gate == gate)
		return;
	channel_run(p, c, now);
	if (!gate && !vpit_gate_triggers(c) && c->loaded)
		c->held = MAX(elapsed(p, c, now), (uint64_t)1);
	c->gate = gate;
	if (!gate || !c->loaded)
		return;
	if (vpit_gate_triggers(c)) {
		count_begin(p, c, c->pending ? c->next_count : c->count, now);
		c->triggered = true;
	} else if (vpit_periodic(c)) {
		count_begin(p, c, c->pending ? c->next_count : c->count, now);
	} else {
		c->start = now;
	}
}

static void p61_out(void *dev, uint64_t port, uint8_t value)
{
	struct vpit *p = dev;

	if (port)
		return;
	p->port61 = value & P61_WRITABLE;
	set_gate(p, &p->ch[2], value & P61_GATE2);
}

static uint8_t p61_in(void *dev, uint64_t port)
{
	struct vpit *p = dev;
	struct vpit_channel *c = &p->ch[2];
	uint64_t now = time_now(p);
	uint8_t value = p->port61;

	if (port)
		return 0xff;
	if (vpit_output(c, channel_run(p, c, now)))
		value |= P61_OUT2;
	if (clocks_in(p, now) / REFRESH_CLOCKS & 1)
		value |= P61_REFRESH;
	return value;
}

void vpit_init(struct vpit *p, const struct dev_host *host)
{
	memset(p, 0, sizeof(*p));
	p->host = host;
	p->line = true; /* OUT of a channel that firmware left in mode 2 or 3; nothing rises when a guest sets these */
	for (unsigned i = 0; i < ARRAY_SIZE(p->ch); i++) {
		struct vpit_channel *c = &p->ch[i];

		c->control = RW_BOTH << 4 | 3 << 1;
		c->rw = RW_BOTH;
		c->mode = 3;
		c->count = c->next_count = vpit_modulus(c);
		c->gate = i != 2;
	}
}

void vpit_access(void *p, struct dev_access *a)
{
	dev_access_bytes(p, a, vpit_in, vpit_out);
}

void vpit_access_61(void *p, struct dev_access *a)
{
	dev_access_bytes(p, a, p61_in, p61_out);
}

void vpit_tick(struct vpit *p)
{
	uint64_t now = time_now(p), edges = p->edges;

	channel_run(p, &p->ch[0], now);
	if (p->edges == edges)
		give_edge(p);
	arm(p, now);
}
