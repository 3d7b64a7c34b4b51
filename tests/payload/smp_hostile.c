/* A guest of several CPUs that attacks the hypervisor, and its own siblings, from all of them at once. */
#include "smp_hostile.h"

#define EXCEPTIONS 32

static uint64_t rounds;
static strike_fn strike_now;

static void strike_on(void *unused)
{
	unsigned me = smp_index();
	uint64_t random = 0x9e3779b97f4a7c15ull * (me + 1);

	(void)unused;
	for (uint64_t r = 0; !rounds || r < rounds; r++)
		strike_now(me, &random);
}

void everywhere(strike_fn strike)
{
	strike_now = strike;
	smp_all(strike_on, NULL);
}

void alone(strike_fn strike)
{
	strike_now = strike;
	strike_on(NULL);
}

static void on_vector(struct frame *f)
{
	(void)f;
	apic_write(LAPIC_EOI, 0);
}

void answer(unsigned vector) { irq_set(vector, on_vector); }

void payload_main(void)
{
	static const struct smp_attack *const parts[] = { smp_hostile_ipis, smp_hostile_memory, smp_hostile_devices };

	rounds = option_number("rounds", 0);
	for (unsigned v = EXCEPTIONS; v < 256; v++)
		answer(v);
	smp_start();
	print("hostile: begins\n");
	print_flush();
	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++)
		for (const struct smp_attack *a = parts[i]; a->name; a++)
			if (option(a->name)) {
				a->run();
				print_init(); /* the line may be among what was attacked */
				print("hostile: %s done\n", a->name);
			}
}
