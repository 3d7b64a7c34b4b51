/*
 * For the watchdog. The command line names what the guest does: hung in a way (cli, halt, device), or healthy for `ms=N`
 * (compute, ticks, mostly, fed) and then done, or healthy for good (idle).
 */
#include "payload.h"

#define PM_HZ           3579545ull
#define PM_MASK         0xffffff
#define TICK_HZ         100
#define DEVICE          0x620 /* as the WDAT says */
#define DEVICE_COUNT    (DEVICE + 4)
#define DEVICE_CONTROL  (DEVICE + 8)
#define DEVICE_STATUS   (DEVICE + 12)
#define DEVICE_RUN      1
#define DEVICE_TIMEOUT  2 /* periods of 100 ms */
#define SILENT_LOOP     200000

static uint16_t pm_timer;
static uint64_t elapsed, wanted;
static uint32_t last;
static volatile unsigned ticks;

static uint32_t pm_now(void) { return inl(pm_timer) & PM_MASK; }

/* Called often enough for the timer not to wrap in between. */
static bool time_left(void)
{
	uint32_t now = pm_now();

	elapsed += (now - last) & PM_MASK;
	last = now;
	return elapsed < wanted;
}

static void spin(uint64_t n) { __asm__ volatile("1: dec %0; jnz 1b" : "+r"(n) :: "cc"); }

static void on_tick(struct frame *f)
{
	(void)f;
	ticks++;
	pic_eoi(0);
}

static void start_ticks(void)
{
	irq_init();
	irq_set(PIC_VECTOR, on_tick);
	pit_periodic(TICK_HZ);
	pic_unmask(0);
}

static void start_device(void)
{
	print("hang: status %u\n", inl(DEVICE_STATUS));
	outl(DEVICE, DEVICE_TIMEOUT);
	outl(DEVICE_CONTROL, inl(DEVICE_CONTROL) | DEVICE_RUN);
}

void payload_main(void)
{
	pm_timer = acpi_find().pm_timer;
	last = pm_now();
	wanted = option_number("ms", 0) * PM_HZ / 1000;
	print_flush();
	if (option("cli")) {
		for (;;)
			spin(SILENT_LOOP);
	} else if (option("halt")) {
		for (;;)
			__asm__ volatile("hlt");
	} else if (option("device")) { /* hung, although interrupts are on */
		start_device();
		sti();
		for (;;)
			spin(SILENT_LOOP);
	} else if (option("fed")) { /* silent, but fed */
		start_device();
		while (time_left()) {
			spin(SILENT_LOOP);
			outl(DEVICE_COUNT, 1);
		}
	} else if (option("compute")) { /* interrupts on, none come */
		pic_mask_all();
		sti();
		while (time_left())
			spin(SILENT_LOOP);
	} else if (option("mostly")) { /* interrupts on for an instant in a long while */
		start_ticks();
		while (time_left()) {
			spin(SILENT_LOOP);
			__asm__ volatile("sti; nop; cli");
		}
	} else if (option("ticks")) {
		start_ticks();
		while (ticks < wanted * TICK_HZ / PM_HZ)
			hlt_wait();
	} else if (option("idle")) { /* nothing to do, for good */
		irq_init();
		for (;;)
			hlt_wait();
	}
}
