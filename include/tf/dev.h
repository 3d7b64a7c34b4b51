/*
 * What an emulated device sees of the world, and how the world reaches it. A device knows no vCPU, no clock and no
 * global: everything comes in through these two structures, so that the same file runs in the hypervisor, under a
 * fuzzer and in a unit test.
 */
#pragma once
#include <tf/types.h>

/* The host side of one device instance. `ctx` is handed back to each function. */
struct dev_host {
	void *ctx;
	uint64_t hz;                                        /* frequency of now() and arm(); never 0 */
	uint64_t (*now)(void *ctx);                         /* monotonic time in ticks of hz */
	void (*arm)(void *ctx, uint64_t deadline);          /* call the device's _tick() at or after this time; */
	                                                    /* replaces the earlier request; DEV_NEVER cancels it */
	void (*irq)(void *ctx, unsigned line, bool level);  /* drives an interrupt line (ISA IRQ or GSI number) */
	bool (*irq_taken)(void *ctx, unsigned line);        /* optional: would another edge be seen as one more? */
};
#define DEV_NEVER UINT64_MAX

/* One access. For a read the device fills `value` (bits above 8 * size are ignored); for a write it consumes it. */
struct dev_access {
	uint64_t offset; /* from the start of the range that the device was registered with */
	uint8_t size;    /* 1, 2, 4 or 8 bytes */
	bool write;
	uint64_t value;
};

typedef void (*dev_access_fn)(void *dev, struct dev_access *a);

/* What absent hardware answers. */
static inline uint64_t dev_ones(uint8_t size) { return size >= 8 ? ~0ull : BIT(8 * size) - 1; }

/* A character device's other end: a console, a physical line, a test. */
struct chardev_ops {
	size_t (*write)(void *ctx, const uint8_t *buf, size_t n); /* takes up to n bytes, returns how many it took */
	size_t (*room)(void *ctx);                                /* how many bytes write would take now */
};
struct chardev { const struct chardev_ops *ops; void *ctx; };
