/*
 * The local APIC's timer (SDM 3A, "APIC Timer"). host->hz is its input clock, so one count is 1 << timer_shift host
 * ticks. `deadline` is when the running countdown ends; the current count is computed from it. `timer_lvt` is the LVT
 * entry in force: with APIC-register virtualization the page already has the next one when we hear of it.
 *
 * IRR holds one request of a vector, and a guest that waits for its turn of the CPU takes none. The periodic interrupts
 * that would be lost so, which a guest that always runs would have had, are its backlog: given late, one at a time.
 */
#include "guest/dev/vlapic_regs.h"

/*
 * A periodic timer does not fire more often than this a second; what a guest asks beyond it coalesces. Where Trefoil is
 * a guest itself, one interrupt may take tens of microseconds: time has to be left for what is interrupted.
 */
#define TIMER_MAX_RATE 5000

/* The backlog is no more than the last second's interrupts, or this; they come so much faster than the period at most. */
#define BACKLOG_MAX     1000
#define BACKLOG_SPEEDUP 8

#define DCR_POWER_UP_SHIFT 1 /* DCR 0 divides by 2 */

static uint64_t timer_after(uint64_t now, uint64_t delta)
{
	uint64_t t;
	return __builtin_add_overflow(now, delta, &t) ? DEV_NEVER : t;
}

static uint32_t timer_mode(const struct vlapic *l) { return l->timer_lvt & LVT_TIMER_MODE; }

static uint64_t timer_period(const struct vlapic *l)
{
	return (uint64_t)*apic_reg(l, APIC_TIMER_ICR) << l->timer_shift;
}

/* A masked timer counts and needs no wake-up: what it missed is settled when somebody looks. */
static void timer_arm(struct vlapic *l)
{
	uint64_t wake = l->timer_lvt & LVT_MASKED ? DEV_NEVER : l->deadline;
	if (l->backlog)
		wake = MIN(wake, timer_after(l->host->now(l->host->ctx), timer_period(l) / BACKLOG_SPEEDUP));
	l->host->arm(l->host->ctx, wake);
}

/* Gives one of the interrupts that are due, if the last one has been taken. */
static void timer_give(struct vlapic *l)
{
	uint8_t vector = l->timer_lvt & LVT_VECTOR;
	if (!l->backlog || vlapic_requested(l, vector))
		return;
	l->backlog--;
	vlapic_inject(l, vector, false);
}

/*
 * Takes the timer to the present, which it returns: a countdown that has ended gives its interrupt, and a periodic one
 * goes on. The host's wake-up is not touched; if it was for this end, it still comes, and arms the next.
 */
static uint64_t timer_settle(struct vlapic *l)
{
	uint64_t now = l->host->now(l->host->ctx);
	if (l->deadline == DEV_NEVER || now < l->deadline)
		return now;
	uint64_t period = timer_period(l), ended = 1, most = 0;
	if (timer_mode(l) == LVT_TIMER_PERIODIC && period) {
		uint64_t missed = (now - l->deadline) / period;
		uint64_t gap = (l->host->hz / TIMER_MAX_RATE - 1) / period;
		l->deadline = timer_after(l->deadline, (missed + 1 + gap) * period);
		if (!gap) {
			ended += missed;
			most = MIN(l->host->hz / period, (uint64_t)BACKLOG_MAX);
		}
	} else {
		l->deadline = DEV_NEVER;
		l->tsc_deadline = 0;
	}
	if (!(l->timer_lvt & LVT_MASKED)) {
		l->backlog = (uint32_t)MIN(l->backlog + ended, most + 1);
		timer_give(l);
		l->backlog = (uint32_t)MIN(l->backlog, most);
	}
	return now;
}

void vlapic_tick(struct vlapic *l)
{
	timer_settle(l);
	timer_give(l);
	if (l->deadline != DEV_NEVER)
		timer_arm(l);
}

static void timer_stop(struct vlapic *l)
{
	l->tsc_deadline = 0;
	l->deadline = DEV_NEVER;
	l->backlog = 0;
}

void vlapic_timer_reset(struct vlapic *l)
{
	l->timer_lvt = LVT_MASKED;
	l->timer_shift = DCR_POWER_UP_SHIFT;
	timer_stop(l);
	timer_arm(l);
}

void vlapic_timer_lvt_written(struct vlapic *l, uint32_t lvt)
{
	timer_settle(l);
	uint32_t old = timer_mode(l);
	l->timer_lvt = lvt;
	if (lvt & LVT_MASKED || old != timer_mode(l))
		l->backlog = 0;
	if ((old | timer_mode(l)) & LVT_TIMER_DEADLINE && old != timer_mode(l)) {
		*apic_reg(l, APIC_TIMER_ICR) = 0;
		timer_stop(l);
	}
	timer_arm(l);
}

void vlapic_timer_load(struct vlapic *l, uint32_t count)
{
	if (timer_mode(l) & LVT_TIMER_DEADLINE) {
		*apic_reg(l, APIC_TIMER_ICR) = 0;
		return;
	}
	uint64_t now = timer_settle(l);
	*apic_reg(l, APIC_TIMER_ICR) = count;
	l->backlog = 0;
	l->deadline = count ? timer_after(now, timer_period(l)) : DEV_NEVER;
	timer_arm(l);
}

/* Counts left of the running countdown. In a periodic one the next interrupt may be several periods away. */
static uint32_t timer_left(const struct vlapic *l, uint64_t now)
{
	if (timer_mode(l) & LVT_TIMER_DEADLINE || now >= l->deadline || l->deadline == DEV_NEVER)
		return 0;
	uint64_t left = l->deadline - now, period = timer_period(l);
	if (timer_mode(l) == LVT_TIMER_PERIODIC && period)
		left = (left - 1) % period + 1;
	return (uint32_t)((left + BIT(l->timer_shift) - 1) >> l->timer_shift);
}

uint32_t vlapic_timer_count(struct vlapic *l)
{
	uint64_t now = timer_settle(l);
	return timer_left(l, now);
}

/* Bits 3, 1 and 0 are n for a division by 2 to the n + 1; 111b divides by 1. A running count goes on at the new rate. */
void vlapic_timer_divide(struct vlapic *l, uint32_t dcr)
{
	uint64_t now = timer_settle(l);
	uint64_t left = timer_left(l, now);
	l->backlog = 0;
	l->timer_shift = (uint8_t)((((dcr >> 1 & 4) | (dcr & 3)) + 1) & 7);
	if (left) {
		l->deadline = timer_after(now, left << l->timer_shift);
		timer_arm(l);
	}
}

void vlapic_timer_deadline_write(struct vlapic *l, uint64_t tsc)
{
	if (timer_mode(l) != LVT_TIMER_DEADLINE)
		return;
	timer_settle(l);
	l->tsc_deadline = tsc;
	l->deadline = !tsc ? DEV_NEVER : l->tsc_to_host ? l->tsc_to_host(l->ctx, tsc) : tsc;
	timer_settle(l);
	timer_arm(l);
}

uint64_t vlapic_timer_deadline_read(struct vlapic *l)
{
	timer_settle(l);
	return l->tsc_deadline;
}
