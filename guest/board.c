#include "guest/board.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/percpu.h"
#include "arch/x86_64/tsc.h"
#include "guest/vm.h"
#include <tf/log.h>

/* Where things are on every PC. */
#define PORT_PIC_MASTER 0x20
#define PORT_PIT        0x40
#define PORT_SPEAKER    0x61
#define PORT_KBC        0x64
#define PORT_RTC        0x70
#define PORT_FAST_A20   0x92
#define PORT_PIC_SLAVE  0xa0
#define PORT_ELCR       0x4d0
#define PORT_COM1       0x3f8
#define PORT_PCI_ADDRESS 0xcf8
#define IRQ_TIMER       0
#define IRQ_CASCADE     2
#define IRQ_COM1        4
#define GSI_TIMER       2

enum { PORT_OF_PIT, PORT_OF_RTC, PORT_OF_ACPI, PORT_OF_UART, PORT_OF_WATCHDOG };

static unsigned gsi_of(unsigned irq) { return irq == IRQ_TIMER ? GSI_TIMER : irq; }

static uint64_t port_now(void *ctx)
{
	(void)ctx;
	return rdtsc();
}

static void port_arm(void *ctx, uint64_t deadline)
{
	struct board_port *p = ctx;

	vcpu_arm(p->vm->vcpus[0], p->timer, deadline);
}

static void port_irq(void *ctx, unsigned line, bool level)
{
	struct board_port *p = ctx;

	board_irq(p->vm, line, level);
}

/* Neither interrupt controller holds the line's last edge for a CPU that can take it. */
static bool port_irq_taken(void *ctx, unsigned line)
{
	const struct vm *vm = ((const struct board_port *)ctx)->vm;
	struct apic_msg msg;

	if (vpic_requested(&vm->board.pic, line) && vlapic_extint(&vm->vcpus[0]->lapic))
		return false;
	if (!vioapic_message(&vm->board.ioapic, gsi_of(line), &msg))
		return true;
	for (uint32_t i = 0; i < vm->nvcpus; i++) {
		const struct vlapic *l = &vm->vcpus[i]->lapic;

		if (vlapic_matches(l, msg.dest, msg.logical) && vcpu_requested(vm->vcpus[i], msg.vector))
			return false;
	}
	return true;
}

static void pic_intr(void *ctx, bool level)
{
	struct vm *vm = ctx;
	struct vcpu *v = vm->vcpus[0];

	if (this_cpu()->guest != v) {
		vcpu_signal(v, REQ_LINT); /* its local APIC is another CPU's */
		return;
	}
	vcpu_lint0(v);
	if (level)
		vcpu_kick(v);
}

static void ioapic_send(void *ctx, const struct apic_msg *msg) { vm_send(ctx, msg); }

static void acpi_request(void *ctx, enum vacpi_request what)
{
	vm_stop(ctx, what == VACPI_POWER_OFF ? VM_STOP_POWER_OFF : VM_STOP_RESET);
}

static bool watchdog_alive(void *ctx, uint64_t *silent)
{
	struct vm *vm = ctx;
	uint64_t least = UINT64_MAX;
	bool alive = vm->state != VM_RUNNING; /* loading is not the guest's time */

	for (uint32_t i = 0; i < vm->nvcpus; i++) {
		alive |= vcpu_look(vm->vcpus[i], silent);
		least = MIN(least, *silent);
	}
	*silent = least;
	return alive;
}

static void watchdog_expired(void *ctx, enum vwatchdog_reason why)
{
	struct vm *vm = ctx;
	bool device = why == VWATCHDOG_DEVICE;

	vmx_vcpu_load(&vm->vcpus[0]->vmx); /* whose timer this is */
	log_warn("guest", "vm=%s event=watchdog reason=%s timeout=%u rip=%lx rflags=%lx", vm->cfg.name,
		 device ? "device" : "no-progress",
		 device ? vm->board.watchdog.timeout * VWATCHDOG_PERIOD_MS : vm->cfg.watchdog_ms, vmcs_read(VMCS_GUEST_RIP),
		 vmcs_read(VMCS_GUEST_RFLAGS));
	vm_stop(vm, VM_STOP_WATCHDOG);
}

static const struct vwatchdog_ops watchdog_ops = { .alive = watchdog_alive, .expired = watchdog_expired };

void board_irq(struct vm *vm, unsigned irq, bool level)
{
	if (irq != IRQ_CASCADE)
		vpic_set_irq(&vm->board.pic, irq, level);
	vioapic_set_irq(&vm->board.ioapic, gsi_of(irq), level);
}

void board_timer(struct vm *vm, unsigned timer)
{
	switch (timer) {
	case TIMER_PIT:
		vpit_tick(&vm->board.pit);
		break;
	case TIMER_RTC:
		vrtc_tick(&vm->board.rtc);
		break;
	case TIMER_ACPI:
		vacpi_tick(&vm->board.acpi);
		break;
	case TIMER_WATCHDOG:
		vwatchdog_tick(&vm->board.watchdog);
		break;
	}
}

/* To bytes CF9h is the reset register; wider, the ports are PCI's address register, which this board has not. */
static void access_pci_address(void *acpi, struct dev_access *a)
{
	if (a->size == 1 && a->offset == VACPI_RESET_PORT - PORT_PCI_ADDRESS) {
		a->offset = 0;
		vacpi_access_cf9(acpi, a);
	} else {
		a->value = dev_ones(a->size);
	}
}

static void port_init(struct vm *vm, unsigned n, unsigned timer)
{
	struct board_port *p = &vm->board.port[n];

	*p = (struct board_port){ .vm = vm, .timer = timer };
	p->host = (struct dev_host){
		.ctx = p, .hz = tsc_hz, .now = port_now, .arm = port_arm, .irq = port_irq, .irq_taken = port_irq_taken,
	};
}

enum tf_err board_create(struct vm *vm)
{
	struct board *b = &vm->board;
	const struct { uint16_t base, len; dev_access_fn fn; void *dev; uint8_t width; } ports[] = {
		{ PORT_PIC_MASTER, 2, vpic_access_master, &b->pic, 1 },
		{ PORT_PIT, 4, vpit_access, &b->pit, 1 },
		{ PORT_SPEAKER, 1, vpit_access_61, &b->pit, 1 },
		{ PORT_KBC, 1, vacpi_access_64, &b->acpi, 1 },
		{ PORT_RTC, 2, vrtc_access, &b->rtc, 1 },
		{ PORT_FAST_A20, 1, vacpi_access_92, &b->acpi, 1 },
		{ PORT_PIC_SLAVE, 2, vpic_access_slave, &b->pic, 1 },
		{ PORT_COM1, 8, vuart_access, &b->uart, 1 },
		{ PORT_ELCR, 2, vpic_access_elcr, &b->pic, 1 },
		{ VACPI_PM_BASE, VACPI_PM_LEN, vacpi_access_pm, &b->acpi, 4 },
		{ PORT_PCI_ADDRESS, 4, access_pci_address, &b->acpi, 4 },
	};
	enum tf_err e;

	for (unsigned i = 0; i < ARRAY_SIZE(ports); i++)
		if ((e = bus_add(&vm->pio, ports[i].base, ports[i].len, ports[i].fn, ports[i].dev, ports[i].width)))
			return e;
	if (vm->cfg.watchdog_ms &&
	    (e = bus_add(&vm->pio, VWATCHDOG_BASE, VWATCHDOG_LEN, vwatchdog_access, &b->watchdog, 4)))
		return e;
	return bus_add(&vm->mmio, VIOAPIC_BASE, VIOAPIC_LEN, vioapic_access, &b->ioapic, 4);
}

void board_reset(struct vm *vm)
{
	struct board *b = &vm->board;
	uint64_t low = MIN(vm->mem.bytes, GiB(3));

	port_init(vm, PORT_OF_PIT, TIMER_PIT);
	port_init(vm, PORT_OF_RTC, TIMER_RTC);
	port_init(vm, PORT_OF_ACPI, TIMER_ACPI);
	port_init(vm, PORT_OF_UART, NTIMERS); /* the UART has no timer */
	port_init(vm, PORT_OF_WATCHDOG, TIMER_WATCHDOG);
	vpic_init(&b->pic, pic_intr, vm);
	vioapic_init(&b->ioapic, vm->nvcpus, ioapic_send, vm);
	vuart_init(&b->uart, &b->port[PORT_OF_UART].host, vm->console, IRQ_COM1);
	vpit_init(&b->pit, &b->port[PORT_OF_PIT].host);
	vrtc_init(&b->rtc, &b->port[PORT_OF_RTC].host, vm->start_unix, low, vm->mem.bytes - low);
	vacpi_init(&b->acpi, &b->port[PORT_OF_ACPI].host, acpi_request, vm);
	if (vm->cfg.watchdog_ms)
		vwatchdog_init(&b->watchdog, &b->port[PORT_OF_WATCHDOG].host, &watchdog_ops, vm, vm->cfg.watchdog_ms,
			       vm->by_watchdog);
}
