/* Intel 82093AA I/O APIC data sheet, "Register Description"; 8259A data sheet, "Programming the 8259A" */
#include "arch/x86_64/ioapic.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/lock.h"
#include "arch/x86_64/paging.h"
#include <tf/log.h>

#define IOREGSEL 0    /* all as indices of 32-bit words */
#define IOWIN    4
#define EOIR     16   /* from version 20h on */
#define REG_VERSION        0x01
#define REG_REDIRECTION(n) (0x10 + 2 * (n))
#define RTE_DELIVERY       0x700u
#define RTE_DELIVERY_SMI   0x200u
#define RTE_ACTIVE_LOW     BIT(13)
#define RTE_REMOTE_IRR     BIT(14)
#define RTE_LEVEL          BIT(15)
#define RTE_MASKED         BIT(16)
#define RTE_DEST_SHIFT     24 /* in the upper word */
#define XAPIC_ID_MAX       0xff
#define VERSION_EOI        0x20
#define VERSION_ABSENT     0xffffffffu
#define INPUTS_MAX         120 /* for so many there are register numbers */

#define MAX_IOAPICS 16

#define PIC1_COMMAND 0x20
#define PIC1_DATA    0x21
#define PIC2_COMMAND 0xa0
#define PIC2_DATA    0xa1
#define ICW1_INIT    0x11 /* edge, cascade, ICW4 follows */
#define ICW4_8086    0x01
#define PIC_VECTOR   0x20 /* 16 vectors, behind the exceptions; only a spurious interrupt can use them */

struct ioapic { volatile uint32_t *regs; uint32_t gsi_base, count; };

static struct spinlock lock = SPINLOCK_INIT(RANK_IOAPIC); /* the window registers, and the table below */
static struct ioapic ioapics[MAX_IOAPICS];
static unsigned nioapics;

static uint32_t reg_read(const struct ioapic *io, uint32_t reg)
{
	io->regs[IOREGSEL] = reg;
	return io->regs[IOWIN];
}

static void reg_write(const struct ioapic *io, uint32_t reg, uint32_t v)
{
	io->regs[IOREGSEL] = reg;
	io->regs[IOWIN] = v;
}

static const struct ioapic *find(uint32_t gsi)
{
	for (unsigned i = 0; i < nioapics; i++)
		if (gsi >= ioapics[i].gsi_base && gsi - ioapics[i].gsi_base < ioapics[i].count)
			return &ioapics[i];
	return NULL;
}

/*
 * Masks it. A level-triggered interrupt that the firmware took and never ended has left Remote IRR set, and nothing more
 * would ever come from this input: an EOI for its vector ends it, or, in older ones, a spell as edge-triggered.
 */
static void clear_entry(const struct ioapic *io, uint32_t input, uint32_t version)
{
	uint32_t reg = REG_REDIRECTION(input), low = reg_read(io, reg);

	if ((low & RTE_DELIVERY) == RTE_DELIVERY_SMI)
		return; /* the firmware's own */
	reg_write(io, reg, low | (uint32_t)RTE_MASKED);
	if (low & RTE_REMOTE_IRR) {
		if ((version & 0xff) >= VERSION_EOI) {
			reg_write(io, reg, low | (uint32_t)(RTE_MASKED | RTE_LEVEL));
			io->regs[EOIR] = low & 0xff;
		} else {
			reg_write(io, reg, (low | (uint32_t)RTE_MASKED) & ~(uint32_t)RTE_LEVEL);
			reg_write(io, reg, low | (uint32_t)(RTE_MASKED | RTE_LEVEL));
		}
	}
	reg_write(io, reg, (uint32_t)RTE_MASKED);
}

void ioapic_add(hpa_t base, uint32_t gsi_base)
{
	struct ioapic io = { paging_map_device(base, (EOIR + 1) * sizeof(*io.regs)), gsi_base, 0 };
	const char *ignored = NULL;

	spin_lock(&lock);
	uint32_t version = io.regs ? reg_read(&io, REG_VERSION) : VERSION_ABSENT;
	if (version == VERSION_ABSENT)
		ignored = "no-answer";
	else if (nioapics == MAX_IOAPICS)
		ignored = "too-many";
	if (!ignored) {
		io.count = MIN((version >> 16 & 0xff) + 1, (uint32_t)INPUTS_MAX);
		for (uint32_t i = 0; i < io.count; i++)
			clear_entry(&io, i, version);
		ioapics[nioapics++] = io;
	}
	spin_unlock(&lock);
	log_info("ioapic", "event=ioapic base=0x%lx gsi=%u inputs=%u%s%s", (unsigned long)base.v, gsi_base, io.count,
	         ignored ? " ignored=" : "", ignored ? ignored : "");
}

enum tf_err ioapic_route(uint32_t gsi, uint8_t vector, uint32_t apic_id, bool level, bool active_low)
{
	enum tf_err e = TF_ENOENT;

	if (apic_id > XAPIC_ID_MAX)
		return TF_ERANGE; /* needs interrupt remapping */
	spin_lock(&lock);
	const struct ioapic *io = find(gsi);
	if (io) {
		uint32_t reg = REG_REDIRECTION(gsi - io->gsi_base);

		reg_write(io, reg, (uint32_t)RTE_MASKED);
		reg_write(io, reg + 1, apic_id << RTE_DEST_SHIFT);
		reg_write(io, reg, vector | (level ? (uint32_t)RTE_LEVEL : 0) | (active_low ? (uint32_t)RTE_ACTIVE_LOW : 0));
		e = TF_OK;
	}
	spin_unlock(&lock);
	return e;
}

enum tf_err ioapic_mask(uint32_t gsi, bool masked)
{
	enum tf_err e = TF_ENOENT;

	spin_lock(&lock);
	const struct ioapic *io = find(gsi);
	if (io) {
		uint32_t reg = REG_REDIRECTION(gsi - io->gsi_base), low = reg_read(io, reg);

		reg_write(io, reg, masked ? low | (uint32_t)RTE_MASKED : low & ~(uint32_t)RTE_MASKED);
		e = TF_OK;
	}
	spin_unlock(&lock);
	return e;
}

void pic_disable(void)
{
	outb(PIC1_DATA, 0xff);
	outb(PIC2_DATA, 0xff);
	outb(PIC1_COMMAND, ICW1_INIT);
	outb(PIC2_COMMAND, ICW1_INIT);
	outb(PIC1_DATA, PIC_VECTOR);
	outb(PIC2_DATA, PIC_VECTOR + 8);
	outb(PIC1_DATA, BIT(2)); /* the second one is on input 2 */
	outb(PIC2_DATA, 2);
	outb(PIC1_DATA, ICW4_8086);
	outb(PIC2_DATA, ICW4_8086);
	outb(PIC1_DATA, 0xff);
	outb(PIC2_DATA, 0xff);
}
