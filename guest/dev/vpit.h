/* An 8254 interval timer, with the speaker port 61h (Intel 8254 data sheet): all six modes, BCD, read-back, latches. */
#pragma once
#include <tf/dev.h>

#define PIT_HZ 1193182u

/*
 * A channel does not count: its counting element is computed from the clocks since the count was written. One of these
 * clocks loads the count, the others decrement it.
 */
struct vpit_channel {
	uint64_t start;       /* host ticks when counting (re)started */
	uint64_t held;        /* clocks that had passed already at `start`, or when the gate stopped the counting */
	uint32_t count;       /* 1 to 65536 (10000 in BCD) */
	uint32_t next_count;  /* written, waits for a reload or a trigger while `pending` */
	uint64_t switch_at;   /* clock of the reload that takes it (modes 2 and 3) */
	uint8_t control;      /* RW, mode and BCD as the control word gave them */
	uint8_t mode, rw, gate, status;
	uint8_t write_lsb;
	uint16_t latch;
	bool bcd;
	bool loaded;          /* a count has been written since the mode was set */
	bool pending, triggered, write_msb, read_msb;
	uint8_t latched;      /* PIT_LATCHED_*: what is read first */
};

#define PIT_LATCHED_COUNT  0x01
#define PIT_LATCHED_STATUS 0x02

struct vpit {
	const struct dev_host *host;
	struct vpit_channel ch[3];
	uint8_t port61;       /* gate 2 and speaker data enable */
	bool line;            /* level of IRQ 0 */
	uint64_t edges;       /* IRQ 0 edges of the current count so far */
	uint64_t next_edge;   /* the clock of the edge after these; or less, if it is to be looked at */
	uint32_t backlog;     /* of them, those that wait until the one before is taken */
};

/* Channel 0 drives line 0. */
void vpit_init(struct vpit *p, const struct dev_host *host);
void vpit_access(void *p, struct dev_access *a);        /* ports 40h to 43h */
void vpit_access_61(void *p, struct dev_access *a);     /* port 61h */
/*
 * The armed deadline has come (or not quite): gives an edge if one is due and arms the next. Periodic edges that came
 * while the last one was not taken yet, up to a second's, are made up for: one by one, in quicker succession.
 */
void vpit_tick(struct vpit *p);
