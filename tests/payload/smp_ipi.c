/*
 * Interrupts from CPU to CPU: every way to say whom, to those that are open, closed, busy with a higher priority or
 * halted. A CPU that waits for work is closed, so what was sent is pending until its window is opened, and there is no race.
 */
#include "smp_ipi.h"

#define VEC_NMI      2
#define DFR_FLAT     0xffffffff
#define DFR_CLUSTER  0x0fffffff
#define CALL_ROUNDS  (48 / smp_count)
#define HALT_ROUNDS  15u
#define LOWEST_ROUNDS 8
#define CPUID1C_X2APIC BIT(21)
#define MSR_SELF_IPI 0x83f

static volatile unsigned got[SMP_MAX], nmis[SMP_MAX];
static volatile unsigned trace[32], ntrace, go;
static volatile bool mail[SMP_MAX][SMP_MAX];
static volatile unsigned calls[SMP_MAX];
static struct barrier together;
static const char *mode = "";

void ipi_send(void *ipi)
{
	const struct ipi *i = ipi;

	apic_ipi(i->dest, i->command);
}

void ipi_window(void *unused)
{
	(void)unused;
	open_window();
}

static void send_from(unsigned cpu, uint32_t dest, uint32_t command)
{
	struct ipi i = { dest, command };

	smp_call(cpu, ipi_send, &i);
}

static void digits(volatile unsigned *counts)
{
	for (unsigned i = 0; i < smp_count; i++) {
		print("%u", counts[i]);
		counts[i] = 0;
	}
}

void ipi_show(const char *name, uint32_t value)
{
	smp_all(ipi_window, NULL);
	print("%s%s %x: ", mode, name, value);
	digits(got);
	print("\n");
}

static void on_v1(struct frame *f)
{
	(void)f;
	atomic_add(&got[smp_index()], 1);
	apic_write(LAPIC_EOI, 0);
}

static void note(unsigned v) { trace[(atomic_add(&ntrace, 1) - 1) % ARRAY_SIZE(trace)] = v; }

static void on_traced(struct frame *f)
{
	note((unsigned)f->vector);
	apic_write(LAPIC_EOI, 0);
}

static void show_trace(const char *name)
{
	print("%s%s:", mode, name);
	for (unsigned i = 0; i < ntrace; i++)
		print(" %x", trace[i]);
	print("\n");
	ntrace = 0;
}

static bool on_nmi(struct frame *f)
{
	if (f->vector != VEC_NMI)
		return false;
	atomic_add(&nmis[smp_index()], 1);
	while (go == 1)
		pause();
	return true;
}

static void physical(void)
{
	for (unsigned from = 0; from < smp_count; from++) {
		for (unsigned to = 0; to < smp_count; to++) {
			send_from(from, smp_cpus[to].apic_id, V1);
			ipi_show("physical to", to);
		}
		send_from(from, 0, ICR_SELF | V1);
		ipi_show("self", from);
		send_from(from, 0, ICR_ALL | V1);
		ipi_show("all from", from);
		send_from(from, 0, ICR_OTHERS | V1);
		ipi_show("others from", from);
		send_from(from, ~0u, V1);
		ipi_show("broadcast from", from);
		send_from(from, 0x7e, V1);
		ipi_show("nobody from", from);
	}
}

static void set_logical(void *dfr)
{
	bool cluster = *(uint32_t *)dfr == DFR_CLUSTER;
	unsigned i = smp_index();

	apic_write(LAPIC_DFR, *(uint32_t *)dfr);
	apic_write(LAPIC_LDR, (cluster ? (i / 2 + 1) << 4 | 1u << i % 2 : 1u << i) << 24);
}

static void logical(void)
{
	static const uint8_t flat[] = { 0x01, 0x02, 0x03, 0x06, 0x0c, 0x0f, 0xf0, 0xff, 0 };
	static const uint8_t cluster[] = { 0x11, 0x12, 0x13, 0x21, 0x23, 0x1f, 0x3f, 0xff };
	uint32_t dfr = DFR_FLAT;
	uint8_t sum = 0;

	smp_all(set_logical, &dfr);
	for (unsigned from = 0; from < 2; from++)
		for (unsigned i = 0; i < ARRAY_SIZE(flat); i++) {
			send_from(from, flat[i], ICR_LOGICAL | V1);
			ipi_show("flat", flat[i]);
		}
	/* One of them gets it, the CPU decides which. */
	for (unsigned i = 0; i < LOWEST_ROUNDS; i++) {
		send_from(i % smp_count, 0xff, ICR_LOGICAL | ICR_LOWEST | V1);
		smp_all(ipi_window, NULL);
	}
	for (unsigned i = 0; i < smp_count; i++) {
		sum += got[i];
		print("# lowest priority to %u: %u\n", i, got[i]);
		got[i] = 0;
	}
	print("lowest priority: %u of %u\n", sum, LOWEST_ROUNDS);
	dfr = DFR_CLUSTER;
	smp_all(set_logical, &dfr);
	for (unsigned i = 0; i < ARRAY_SIZE(cluster); i++) {
		send_from(1, cluster[i], ICR_LOGICAL | V1);
		ipi_show("cluster", cluster[i]);
	}
	dfr = DFR_FLAT;
	smp_all(set_logical, &dfr);
}

static void nothing(void *unused) { (void)unused; }

/* A call that goes to a CPU and comes back has left it time to take its NMI. */
static void show_nmis(const char *name, unsigned from)
{
	smp_all(nothing, NULL);
	print("%s%s %u: ", mode, name, from);
	digits(nmis);
	print("\n");
}

static void nmi(void)
{
	smp_trap_hook = on_nmi;
	for (unsigned from = 0; from < smp_count; from++) {
		for (unsigned to = 0; to < smp_count; to++) {
			send_from(from, smp_cpus[to].apic_id, ICR_NMI);
			show_nmis("nmi to", to);
		}
		send_from(from, 0, ICR_OTHERS | ICR_NMI);
		show_nmis("nmi others from", from);
		send_from(from, 0, ICR_ALL | ICR_NMI);
		show_nmis("nmi all from", from);
	}
	/* Two more while one is in its handler are one more. */
	go = 1;
	send_from(0, smp_cpus[1].apic_id, ICR_NMI);
	while (!nmis[1])
		pause();
	send_from(0, smp_cpus[1].apic_id, ICR_NMI);
	send_from(0, smp_cpus[1].apic_id, ICR_NMI);
	go = 0;
	show_nmis("nmi thrice to", 1);
}

static void set_tpr(void *tpr)
{
	apic_write(LAPIC_TPR, *(uint32_t *)tpr);
	open_window();
}

/* While it is in service, the same and a higher one come from elsewhere. */
static void on_slow(struct frame *f)
{
	note((unsigned)f->vector);
	go++;
	while (go == 1)
		pause();
	sti();
	__asm__ volatile("nop; nop");
	cli();
	note((unsigned)f->vector | 0x1000);
	apic_write(LAPIC_EOI, 0);
}

static void priorities(void)
{
	static const uint8_t vectors[] = { V2, V4, V1, V3 };
	static const uint32_t tprs[] = { 0x5f, 0x3f, 0x40, 0x70, 0x80 };
	uint32_t zero = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(vectors); i++)
		irq_set(vectors[i], on_traced);
	for (unsigned i = 0; i < ARRAY_SIZE(vectors); i++)
		send_from(i % smp_count == 1 ? 0 : i % smp_count, smp_cpus[1].apic_id, vectors[i]);
	smp_call(1, ipi_window, NULL);
	show_trace("four pending");
	for (unsigned t = 0; t < ARRAY_SIZE(tprs); t++) {
		uint32_t tpr = tprs[t];

		smp_call(1, set_tpr, &tpr);
		for (unsigned i = 0; i < ARRAY_SIZE(vectors); i++)
			send_from(0, smp_cpus[1].apic_id, vectors[i]);
		smp_call(1, ipi_window, NULL);
		print("tpr %x ", tpr);
		show_trace("lets in");
		smp_call(1, set_tpr, &zero);
		show_trace("then");
	}
	for (unsigned i = 0; i < 3; i++)
		send_from(i % 2 ? 0 : smp_count - 1, smp_cpus[1].apic_id, V1);
	smp_call(1, ipi_window, NULL);
	show_trace("thrice the same");
	irq_set(V2, on_slow);
	go = 0;
	send_from(0, smp_cpus[1].apic_id, V2);
	smp_run(1, ipi_window, NULL);
	while (!go)
		pause();
	send_from(0, smp_cpus[1].apic_id, V2);
	send_from(0, smp_cpus[1].apic_id, V1);
	send_from(0, smp_cpus[1].apic_id, V4);
	go = 2;
	smp_wait(1);
	smp_call(1, ipi_window, NULL);
	show_trace("while in service");
	irq_set(V1, on_v1);
}

static void illegal(void)
{
	for (unsigned v = 0; v < 16; v += 5) {
		send_from(0, smp_cpus[1].apic_id, v);
		send_from(1, 0, ICR_ALL | v);
		ipi_show("illegal vector", v);
	}
	send_from(0, smp_cpus[1].apic_id, 0x20);
	print("icr: %x %x\n", lapic_read(LAPIC_ICR_HI), lapic_read(LAPIC_ICR));
	irq_set(0x20, on_v1);
	ipi_show("lowest vector", 0x20);
	irq_set(0xff, on_v1);
	send_from(1, smp_cpus[0].apic_id, 0xfe);
	irq_set(0xfe, on_v1);
	ipi_show("highest vector", 0xfe);
}

static void halted(void *unused)
{
	(void)unused;
	while (!go)
		hlt_wait();
}

/* One at a time, to those that sleep and to those that wait for the next with interrupts on. */
static void to_sleepers(void)
{
	go = 0;
	smp_others(halted, NULL);
	for (unsigned i = 1; i <= HALT_ROUNDS; i++)
		for (unsigned to = 1; to < smp_count; to++) {
			apic_ipi(smp_cpus[to].apic_id, V1);
			while (got[to] < i)
				pause();
		}
	go = 1;
	apic_ipi(0, ICR_OTHERS | V1);
	smp_wait_others();
	ipi_show("to the halted", HALT_ROUNDS);
}

static void on_call(struct frame *f)
{
	unsigned me = smp_index();

	(void)f;
	for (unsigned from = 0; from < smp_count; from++)
		if (__atomic_exchange_n(&mail[me][from], false, __ATOMIC_SEQ_CST))
			calls[me]++;
	apic_write(LAPIC_EOI, 0);
}

/* As kernels call each other: a letter, an interrupt, and both sides open while the sender waits. */
static void caller(void *halts)
{
	unsigned me = smp_index();

	barrier_wait(&together);
	sti();
	for (unsigned r = 0; r < CALL_ROUNDS; r++)
		for (unsigned to = 0; to < smp_count; to++) {
			if (to == me)
				continue;
			__atomic_store_n(&mail[to][me], true, __ATOMIC_SEQ_CST);
			apic_ipi(smp_cpus[to].apic_id, V1);
			while (mail[to][me])
				pause();
		}
	cli();
	atomic_add(&go, 1);
	/* Others are still calling. */
	while (go < smp_count)
		if (halts && me)
			hlt_wait();
		else
			open_window();
}

static void everybody(void *halts)
{
	irq_set(V1, on_call);
	together = (struct barrier){ .n = smp_count };
	go = 0;
	smp_others(caller, halts);
	caller(halts);
	apic_ipi(0, ICR_OTHERS | V1); /* wakes those that halt */
	smp_wait_others();
	smp_all(ipi_window, NULL); /* whose letter another interrupt has brought already */
	print("%severybody calls everybody%s:", mode, halts ? " and halts" : "");
	for (unsigned i = 0; i < smp_count; i++) {
		print(" %u", calls[i]);
		calls[i] = 0;
	}
	print("\n");
	irq_set(V1, on_v1);
}

static void to_x2apic(void *unused)
{
	(void)unused;
	apic_enter_x2apic();
}

static void self_msr(void *unused)
{
	(void)unused;
	wrmsr(MSR_SELF_IPI, V1);
}

/* All at once. Back is possible only through the state "off", which Bochs does not leave again. */
static void x2apic(void)
{
	if (!(cpuid(1, 0).c & CPUID1C_X2APIC)) {
		print("x2apic: none\n");
		return;
	}
	mode = "x2apic ";
	smp_all(to_x2apic, NULL);
	physical();
	for (unsigned from = 0; from < 2; from++)
		for (uint32_t mask = 1; mask < 1u << smp_count; mask++) {
			send_from(from, mask, ICR_LOGICAL | V1); /* ids below 16: cluster 0 */
			ipi_show("logical", mask);
		}
	send_from(1, 0x10001, ICR_LOGICAL | V1);
	ipi_show("other cluster", 1);
	send_from(1, ~0u, ICR_LOGICAL | V1);
	ipi_show("logical broadcast", 1);
	for (unsigned i = 0; i < smp_count; i++)
		smp_call(i, self_msr, NULL);
	ipi_show("self ipi", 0);
	nmi();
	to_sleepers();
	everybody(NULL);
	everybody("halts");
}

void payload_main(void)
{
	if (smp_start() < 2)
		return;
	irq_set(V1, on_v1);
	physical();
	logical();
	nmi();
	priorities();
	illegal();
	to_sleepers();
	everybody(NULL);
	everybody("halts");
	ipi_start();
	x2apic();
}
