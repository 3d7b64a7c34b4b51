/*
 * An I/O APIC under any sequence of accesses, line changes and EOIs, against what must hold after each: a level input
 * that is high and unmasked has been sent, only level entries have a remote IRR, reserved bits stay clear.
 */
#include "guest/dev/vioapic.h"
#include <stdlib.h>

#define CHECK(x) do { if (!(x)) abort(); } while (0)

static unsigned sent, sent_level;

static void on_send(void *ctx, const struct apic_msg *msg)
{
	struct vioapic *io = ctx;
	CHECK(io->send == on_send);
	CHECK(msg->delivery != 3 && msg->delivery != 6 && msg->delivery < 8 && msg->dest < 0x100);
	CHECK(!msg->level || msg->delivery <= 1);
	sent++;
	sent_level += msg->level;
}

static uint32_t reg_read(struct vioapic *io, uint32_t reg)
{
	struct dev_access a = { .size = 4, .write = true, .value = reg };
	vioapic_access(io, &a);
	a = (struct dev_access){ .offset = 0x10, .size = 4 };
	vioapic_access(io, &a);
	return (uint32_t)a.value;
}

static void check(struct vioapic *io, uint32_t lines)
{
	uint32_t select = io->select;
	CHECK(reg_read(io, 1) == 0x00170020);
	for (unsigned pin = 0; pin < VIOAPIC_PINS; pin++) {
		uint32_t lo = reg_read(io, 0x10 + 2 * pin), hi = reg_read(io, 0x11 + 2 * pin);
		CHECK(!(lo & 0xfffe1000) && !(hi & 0x00ffffff));
		bool level = lo & 0x8000 && (lo >> 8 & 7) <= 1, masked = lo & 0x10000, in_service = lo & 0x4000;
		CHECK(level || !in_service);
		CHECK(!(level && !masked && lines >> pin & 1) || in_service);
		if (level && (!masked || in_service))
			CHECK(vioapic_level_vector(io, (uint8_t)lo));
	}
	io->select = select;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vioapic io;
	uint32_t lines = 0;
	vioapic_init(&io, 1, on_send, &io);
	for (; size >= 6; data += 6, size -= 6) {
		uint32_t value = data[2] | (uint32_t)data[3] << 8 | (uint32_t)data[4] << 16 | (uint32_t)data[5] << 24;
		sent = sent_level = 0;
		switch (data[0] & 3) {
		case 0: { /* a register */
			struct dev_access a = { .size = 4, .write = true, .value = data[1] };
			vioapic_access(&io, &a);
			a = (struct dev_access){ .offset = 0x10, .size = 4, .write = true, .value = value };
			vioapic_access(&io, &a);
			CHECK(sent <= 1 && sent == sent_level);
			break;
		}
		case 1: { /* any access */
			struct dev_access a = { .offset = data[1], .size = (uint8_t)(1u << (data[0] >> 2 & 3)), .write = data[0] >> 4 & 1, .value = value };
			vioapic_access(&io, &a);
			CHECK(a.write || (a.offset & 15) < 4 || !a.value);
			break;
		}
		case 2: {
			unsigned pin = data[1] % VIOAPIC_PINS;
			bool level = data[0] & 0x80;
			vioapic_set_irq(&io, pin, level);
			CHECK(sent <= (level && !(lines >> pin & 1)));
			lines = level ? lines | 1u << pin : lines & ~(1u << pin);
			break;
		}
		case 3:
			vioapic_eoi(&io, data[1]);
			CHECK(sent == sent_level);
			break;
		}
		check(&io, lines);
	}
	return 0;
}
