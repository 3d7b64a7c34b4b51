/*
 * The 8259 pair under any sequence of accesses, line changes and acknowledges. INTR is announced on changes only and
 * says the truth: while it is high an acknowledge gives a request that was there, unmasked, and takes it into service.
 */
#include "guest/dev/vpic.h"
#include <stdlib.h>

#define CHECK(x) do { if (!(x)) abort(); } while (0)

static bool intr;

static void on_intr(void *ctx, bool level)
{
	CHECK(ctx == &intr && level != intr);
	intr = level;
}

static void acknowledge(struct vpic *p)
{
	struct vpic before = *p;
	uint8_t vector = vpic_ack(p);
	struct vpic_chip *m = &before.chip[0], *s = &before.chip[1];
	unsigned input = vector & 7;
	if (!before.intr_level) {
		CHECK(vector == (m->vector_base | 7) && p->chip[0].isr == m->isr);
		return;
	}
	bool slave = p->chip[1].isr != s->isr || vector >> 3 != m->vector_base >> 3;
	if (slave && !m->single) {
		CHECK(vector >> 3 == s->vector_base >> 3);
		CHECK(m->irr & ~m->imr & 4);
		CHECK(s->irr & ~s->imr & 1u << input); /* never spurious: nothing changed since INTR rose */
		CHECK(s->auto_eoi || p->chip[1].isr & 1u << input);
	} else if (input != 2 || m->single) {
		CHECK(m->irr & ~m->imr & 1u << input || vector >> 3 == s->vector_base >> 3);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vpic p;
	static const dev_access_fn ports[] = { vpic_access_master, vpic_access_slave, vpic_access_elcr };
	intr = false;
	vpic_init(&p, on_intr, &intr);
	for (; size >= 3; data += 3, size -= 3) {
		struct dev_access a = { .offset = data[1] & 3, .size = 1, .value = data[2] };
		switch (data[0] & 7) {
		case 0:
		case 1:
		case 2:
			a.write = data[0] >> 3 & 1;
			ports[data[0] & 7](&p, &a);
			break;
		case 3:
			a.size = (uint8_t)(1u << (data[0] >> 4 & 3));
			a.write = data[0] >> 3 & 1;
			ports[data[0] >> 6 & 1](&p, &a);
			break;
		case 4:
		case 5: {
			unsigned irq = data[1] & 15;
			if (irq != 2)
				vpic_set_irq(&p, irq, data[0] & 1);
			break;
		}
		case 6:
			acknowledge(&p);
			break;
		case 7: { /* a whole initialization */
			for (unsigned i = 0; i < 4; i++) {
				const uint8_t icw[] = { 0x11, data[1] & 0xf8, 4, data[2] & 0x13 };
				a = (struct dev_access){ .offset = !!i, .size = 1, .write = true, .value = icw[i] };
				ports[data[1] & 1](&p, &a);
			}
			break;
		}
		}
		CHECK(vpic_intr(&p) == intr);
		for (unsigned n = 0; n < 2; n++) {
			struct vpic_chip *c = &p.chip[n];
			CHECK(!(c->elcr & (n ? 0x21 : 0x07)) && !(c->irr & ~c->line));
			CHECK(c->highest < 8 && c->init_state <= 4 && !(c->vector_base & 7));
		}
	}
	return 0;
}
