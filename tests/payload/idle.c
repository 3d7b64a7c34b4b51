/* Sleeps for ever. `hz=N`: by a periodic timer of its own, else by nothing. */
#include "payload.h"

#define IRQ_TIMER 0

static void on_timer(struct frame *f)
{
	(void)f;
	pic_eoi(IRQ_TIMER);
}

void payload_main(void)
{
	unsigned hz = (unsigned)option_number("hz", 0);

	irq_init();
	irq_set(PIC_VECTOR + IRQ_TIMER, on_timer);
	if (hz) {
		pit_periodic(hz);
		pic_unmask(IRQ_TIMER);
	}
	print("idle: hz=%u\n", hz);
	print_flush();
	for (;;)
		hlt_wait();
}
