#include "guest/dev/vpit_count.h"

uint32_t vpit_element(const struct vpit_channel *c, uint64_t clocks)
{
	uint64_t t = clocks ? clocks - 1 : 0;
	uint32_t n = c->count, phase;

	switch (c->mode) {
	case 2:
		return n - (uint32_t)(t % n);
	case 3: /* counts down in twos, each half from the count (less one if it is odd) */
		phase = (uint32_t)(t % n);
		if (phase >= vpit_high_half(n))
			phase -= vpit_high_half(n);
		return (n & ~1u) - 2 * phase;
	default: /* goes on below zero */
		return (n % vpit_modulus(c) + vpit_modulus(c) - (uint32_t)(t % vpit_modulus(c))) % vpit_modulus(c);
	}
}

bool vpit_output(const struct vpit_channel *c, uint64_t clocks)
{
	uint64_t t = clocks ? clocks - 1 : 0;

	if (!c->loaded)
		return c->mode != 0;
	switch (c->mode) {
	case 0:
		return t >= c->count;
	case 1:
		return !c->triggered || !clocks || t >= c->count;
	case 2:
		return !c->gate || vpit_element(c, clocks) != 1;
	case 3:
		return !c->gate || t % c->count < vpit_high_half(c->count);
	case 4:
		return t != c->count;
	default:
		return !c->triggered || t != c->count;
	}
}

uint16_t vpit_to_register(const struct vpit_channel *c, uint32_t value)
{
	value %= vpit_modulus(c);
	if (!c->bcd)
		return (uint16_t)value;
	return (uint16_t)(value / 1000 << 12 | value / 100 % 10 << 8 | value / 10 % 10 << 4 | value % 10);
}

uint32_t vpit_from_register(const struct vpit_channel *c, uint16_t raw)
{
	if (!raw)
		return vpit_modulus(c);
	if (!c->bcd)
		return raw;
	return (raw >> 12) * 1000u + (raw >> 8 & 15) * 100u + (raw >> 4 & 15) * 10u + (raw & 15);
}

uint64_t vpit_edges_until(const struct vpit_channel *c, uint64_t clocks)
{
	if (!c->loaded)
		return 0;
	switch (c->mode) {
	case 0:
		return clocks >= (uint64_t)c->count + 1;
	case 2:
	case 3:
		return clocks ? (clocks - 1) / c->count : 0;
	case 4:
		return clocks >= (uint64_t)c->count + 2;
	default: /* the gate of channel 0 is wired high: no trigger ever comes */
		return 0;
	}
}

uint64_t vpit_edge_clock(const struct vpit_channel *c, uint64_t k)
{
	if (!c->loaded)
		return DEV_NEVER;
	if (vpit_periodic(c))
		return 1 + k * c->count;
	if (k > 1)
		return DEV_NEVER;
	if (c->mode == 0)
		return (uint64_t)c->count + 1;
	return c->mode == 4 ? (uint64_t)c->count + 2 : DEV_NEVER;
}

uint64_t vpit_next_reload(const struct vpit_channel *c, uint64_t clocks)
{
	uint64_t phase = (clocks - 1) % c->count, cycle = clocks - phase;

	if (c->mode == 3 && phase < vpit_high_half(c->count))
		return cycle + vpit_high_half(c->count);
	return cycle + c->count;
}
