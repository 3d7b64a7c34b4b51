/* The PC that a guest sees: which device stands where, and which line goes to which pin. */
#pragma once
#include "guest/dev/vacpi.h"
#include "guest/dev/vioapic.h"
#include "guest/dev/vpic.h"
#include "guest/dev/vpit.h"
#include "guest/dev/vrtc.h"
#include "guest/dev/vuart.h"
#include "guest/dev/vwatchdog.h"
#include <tf/err.h>

struct vm;

/* The host side of one device, with the VM it belongs to. */
struct board_port { struct vm *vm; unsigned timer; struct dev_host host; };

struct board {
	struct vuart uart;
	struct vpic pic;
	struct vpit pit;
	struct vrtc rtc;
	struct vacpi acpi;
	struct vioapic ioapic;
	struct vwatchdog watchdog; /* if the configuration wants one */
	struct board_port port[5]; /* PIT, RTC, ACPI, UART, watchdog */
};

/* Registers the devices on the VM's buses. Once. */
__must_check enum tf_err board_create(struct vm *vm);
/* Power-up state of every device. */
void board_reset(struct vm *vm);
/* An interrupt line: ISA IRQ 0 to 15. */
void board_irq(struct vm *vm, unsigned irq, bool level);
/* Runs the device behind a timer of enum vcpu_timer. */
void board_timer(struct vm *vm, unsigned timer);
