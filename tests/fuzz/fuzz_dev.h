/*
 * What the fuzzers of emulated devices share. The input is a list of steps, each a byte that says what to do and its
 * operands; time moves only by steps. An input that ends early reads as zeroes.
 *
 *   bits 0-1  size of an access: 1, 2, 4, 8 bytes      bit 2  write       bit 3  the range: first or second
 *   bits 4-5  0 access, 1 access at any 64-bit offset, 2 let time pass, 3 the device's own event
 */
#pragma once
#include "../unit/fake_host.h"
#include <tf/assert.h>
#include <string.h>

#define FUZZ_HZ 2893202000ull

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz_input { const uint8_t *data; size_t size; };

enum fuzz_kind { FUZZ_ACCESS, FUZZ_FAR_ACCESS, FUZZ_TIME, FUZZ_EVENT };

static inline uint64_t fuzz_take(struct fuzz_input *in, unsigned bytes)
{
	uint64_t value = 0;
	size_t n = bytes < in->size ? bytes : in->size;

	memcpy(&value, in->data, n);
	in->data += n;
	in->size -= n;
	return value;
}

/* Does an access step on one of two ranges; a time step with ticks wherever the device asked; returns the kind. */
static inline enum fuzz_kind fuzz_step(struct fuzz_input *in, struct fake_host *host, void *dev, const dev_access_fn range[2],
				       void (*tick)(void *dev))
{
	uint8_t op = (uint8_t)fuzz_take(in, 1);
	enum fuzz_kind kind = op >> 4 & 3;
	struct dev_access a = { .size = (uint8_t)(1u << (op & 3)), .write = op & 4 };
	uint64_t until;

	if (kind <= FUZZ_FAR_ACCESS) {
		a.offset = fuzz_take(in, kind == FUZZ_FAR_ACCESS ? 8 : 1);
		a.value = a.write ? fuzz_take(in, a.size) : 0;
		range[op >> 3 & 1](dev, &a);
	} else if (kind == FUZZ_TIME) {
		/* Up to 2^32 ticks, about 1.5 s, short ones as likely as long ones; or (bit 2) late: 2^40 ticks at a stroke. */
		until = host->now + (fuzz_take(in, 4) >> (op & 3) * 8);
		if (a.write)
			host->now += fuzz_take(in, 5);
		for (unsigned n = 0; tick && n < 64 && host->deadline <= until; n++) {
			host->now = MAX(host->now, host->deadline);
			tick(dev);
			ASSERT(host->deadline > host->now);
		}
		host->now = MAX(host->now, until);
	}
	return kind;
}
