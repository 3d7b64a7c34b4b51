/* A guest that attacks the hypervisor's time. The command line names what it does; most of it goes on for ever. */
#include "hostile.h"

bool again(struct frame *f)
{
	(void)f;
	return true;
}

void payload_main(void)
{
	static const struct attack *const parts[] = { hostile_faults, hostile_exits, hostile_interrupts, hostile_long };

	print("hostile: begins\n");
	print_flush();
	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++)
		for (const struct attack *a = parts[i]; a->name; a++)
			if (option(a->name))
				a->run();
}
