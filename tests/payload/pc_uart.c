/* The 16550 in loopback: FIFO, trigger levels, overrun, what an interrupt is for; MTRR and PAT; the ACPI registers. */
#include "pc.h"

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR };
#define FCR IIR
#define LOOP 0x10
#define MSR_PAT 0x277
#define MTRR_CAP 0xfe
#define MTRR_DEFAULT 0x2ff
#define MTRR_BASE(n) (0x200 + 2 * (n))
#define MTRR_MASK(n) (0x201 + 2 * (n))

static uint8_t notes[128];
static unsigned nnotes;

static void note(uint8_t v) { if (nnotes < sizeof(notes)) notes[nnotes++] = v; }
static uint8_t in(unsigned r) { return inb((uint16_t)(COM1 + r)); }
static void out(unsigned r, uint8_t v) { outb((uint16_t)(COM1 + r), v); }

static void send(unsigned n)
{
	while (n--) {
		out(DATA, (uint8_t)(0x40 + n));
		while (!(in(LSR) & 0x40))
			;
	}
}

static void show(const char *name)
{
	print_init();
	print("%s:", name);
	for (unsigned i = 0; i < nnotes; i++)
		print(" %02x", notes[i]);
	print("\n");
	print_flush();
	nnotes = 0;
	out(MCR, LOOP);
	in(MSR);
}

/*
 * As many as the trigger asks for at least. The time-out of fewer is left out: a guest has it at once, and Bochs keeps it when
 * the FIFO is empty already.
 */
static void fifo(void)
{
	static const uint8_t levels[] = { 0x01, 0x41, 0x81, 0xc1 };

	for (unsigned i = 0; i < ARRAY_SIZE(levels); i++) {
		out(FCR, (uint8_t)(levels[i] | 6));
		note(in(IIR));
		send(14);
		out(IER, 1);
		note(in(IIR));
		out(IER, 0);
		while (in(LSR) & 1) /* resetting the FIFO leaves "data ready" in Bochs */
			note(in(DATA));
		note(in(IIR));
	}
	show("uart triggers");
	out(FCR, 7);
	send(16);
	note(in(LSR));
	for (unsigned i = 0; i < 16; i++)
		note(in(DATA));
	note(in(LSR));
	show("uart fifo");
	out(FCR, 0);
	note(in(IIR));
	send(1);
	out(IER, 4);
	send(1); /* overruns the one register */
	note(in(IIR));
	note(in(LSR) | 0x20);
	note(in(LSR));
	note(in(IIR));
	note(in(DATA));
	note(in(LSR));
	out(IER, 0);
	show("uart overrun");
}

static void reasons(void)
{
	out(FCR, 0);
	out(IER, 0);
	send(1);
	out(MCR, LOOP | 2);
	out(IER, 0x0d);
	note(in(IIR)); /* received data before the modem's lines */
	in(DATA);
	note(in(IIR));
	note(in(MSR));
	note(in(IIR));
	note(in(MSR));
	out(MCR, LOOP | 4); /* OUT1 is the ring indicator: only its end counts */
	note(in(MSR));
	out(MCR, LOOP);
	note(in(MSR));
	out(IER, 0);
	out(IER, 2);
	note(in(IIR));
	out(IER, 0);
	note(in(IIR));
	for (unsigned lcr = 0; lcr < 0x80; lcr += 0x15) {
		out(LCR, (uint8_t)(lcr & ~0x40));
		note(in(LCR));
	}
	out(LCR, 0x83);
	out(DATA, 0x12);
	out(IER, 0x34);
	note(in(DATA));
	note(in(IER));
	out(LCR, 3);
	note(in(IER));
	out(LCR, 0x83);
	note(in(DATA));
	out(LCR, 3);
	show("uart reasons");
}

void pc_uart(void)
{
	print_flush();
	out(MCR, LOOP);
	in(MSR);
	fifo();
	reasons();
	print_init();
}

static void try_msr(const char *name, uint32_t msr, uint64_t value)
{
	uint64_t old = rdmsr(msr);
	int fault_of = TRY(wrmsr(msr, value));

	print("%s %lx: fault=%d, %lx\n", name, value, fault_of, fault_of < 0 ? rdmsr(msr) : 0);
	wrmsr(msr, old);
}

void pc_msr_acpi(void)
{
	static const uint64_t pats[] = { 0x0007040600070406, 0x0505050505050505, 0x0102, 0x03, 0x0800000000000000,
					 0x0104050600070406, 0xff };
	static const uint64_t types[] = { 0, 1, 2, 3, 4, 5, 6, 7, 0x106 };
	struct acpi_ports acpi = acpi_find();
	uint64_t beyond = BIT(cpuid(0x80000008, 0).a & 0xff), cap = rdmsr(MTRR_CAP);

	for (unsigned i = 0; i < ARRAY_SIZE(pats); i++)
		try_msr("pat", MSR_PAT, pats[i]);
	print("mtrr cap: fixed %lx wc %lx, variable %s\n", cap >> 8 & 1, cap >> 10 & 1, (cap & 0xff) >= 8 ? "8 or more" : "fewer");
	print("mtrr cap written: %d\n", TRY(wrmsr(MTRR_CAP, cap)));
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		try_msr("mtrr default", MTRR_DEFAULT, 0xc00 | types[i]);
		try_msr("mtrr base", MTRR_BASE(3), 0x1000000 | types[i]);
		try_msr("mtrr fixed", 0x250, 0x0606060606060600 | (types[i] & 0xff));
		try_msr("mtrr fixed last", 0x26f, types[i] << 56);
	}
	try_msr("mtrr default reserved", MTRR_DEFAULT, 0x1006);
	try_msr("mtrr mask", MTRR_MASK(3), 0xff000800);
	try_msr("mtrr mask reserved", MTRR_MASK(3), 0xff000801);
	print("mtrr base too wide: %d\n", TRY(wrmsr(MTRR_BASE(3), beyond | 6)));
	print("mtrr mask too wide: %d\n", TRY(wrmsr(MTRR_MASK(3), beyond | 0x800)));
	print("mtrr beyond: %d %d\n", TRY(rdmsr(MTRR_BASE(cap & 0xff))), TRY(rdmsr(0x251)));

	uint16_t status = (uint16_t)(acpi.pm1a_cnt - 4), enable = status + 2;
	uint32_t last = inl(acpi.pm_timer), now, width = 0;
	outw(enable, 0);
	outw(status, 0xffff);
	print("pm1 status: %x", inw(status));
	outw(enable, 0xffff);
	print(", enable %x", inw(enable) & 0x0521);
	outw(enable, 0);
	print(", off %x", inw(enable));
	outw(status, 0);
	print(", status %x\n", inw(status));
	for (unsigned i = 0; i < 100; i++, last = now) {
		now = inl(acpi.pm_timer);
		width |= now < last;
	}
	print("pm timer: %s\n", width ? "goes back" : "goes on");
}
