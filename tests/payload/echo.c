/* An interrupt-driven echo: IRQ 4 through the PIC, HLT when idle. Ctrl-D ends it. */
#include "payload.h"

#define IRQ_COM1  4
#define IER_RX    1
#define LSR_DR    1
#define LSR_THRE  0x20
#define CTRL_D    4

static volatile bool ended;

static void on_uart(struct frame *f)
{
	(void)f;
	while ((inb(COM1 + 2) & 1) == 0 || (inb(COM1 + 5) & LSR_DR)) { /* IIR: pending */
		while (inb(COM1 + 5) & LSR_DR) {
			uint8_t c = inb(COM1);

			ended |= c == CTRL_D;
			while (!(inb(COM1 + 5) & LSR_THRE))
				;
			outb(COM1, c == CTRL_D ? '\n' : c);
		}
	}
	pic_eoi(IRQ_COM1);
}

void payload_main(void)
{
	irq_init();
	irq_set(PIC_VECTOR + IRQ_COM1, on_uart);
	print("echo: ready\n");
	print_flush();
	pic_unmask(IRQ_COM1);
	outb(COM1 + 1, IER_RX);
	while (!ended)
		hlt_wait();
	outb(COM1 + 1, 0);
}
