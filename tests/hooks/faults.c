/*
 * Faults of the machine and of the hypervisor's own paths, by the command line:
 *   refuse=boot:N       the Nth allocation of frames since the start fails
 *   refuse=VM:1         while VM is created all fail from the first on, then, tried again, all from the second on, and so
 *                       on until it exists
 *   refuse=each:N       of the VM at place N the Nth fails, and of the next the one behind it...
 *   vmx=INSTRUCTION:N   the Nth use of a VMX instruction fails: it gets an operand that the CPU refuses
 *   spurious=N          before every Nth entry on average there is an interrupt that nobody asked for
 *   lost=timer:N, lost=device:N   every Nth such interrupt is not seen by its handler
 *   nmi=DIVISOR         NMIs from the PIT at 1193182 Hz / DIVISOR, at any instruction
 *   silent=ID, differs=ID  the CPU with this APIC ID does not answer when it is started, or has another VMX
 *   machine-check=N     before the Nth entry there is a machine check
 */
#include "tests/hooks/faults.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/frames.h"
#include "arch/x86_64/irq.h"
#include "arch/x86_64/lapic.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/smp.h"
#include "core/audit.h"
#include "core/platform.h"
#include "core/vmm.h"
#include "tests/hooks/command.h"
#include <tf/log.h>
#include <tf/string.h>

#define BAD_FIELD    0xfffe /* an encoding that no field has */
#define BAD_TYPE     9      /* of INVEPT and INVVPID */
#define PIT_MODE     0x43
#define PIT_COUNTER0 0x40
#define PIT_RATE     0x34   /* counter 0, both bytes, mode 2 */
#define IOAPIC_SIZE  0x20
#define RTE_NMI      0x400u
#define DEST_SHIFT   24

/* What the command line says; 0: nothing. */
static struct {
	char insn[WORD_MAX], vm[WORD_MAX], lost[WORD_MAX];
	uint64_t boot, each, vmx, spurious, lost_each, nmi, machine_check, silent, differs;
} ask;
static uint64_t allocations, vmx_uses, entries, interrupts, seed = 0x2545f4914f6cdd1dull;
static uint64_t allowed = UINT64_MAX; /* allocations until one fails... */
static bool once;                     /* ...and only one */

static uint64_t number_word(const char *key)
{
	char value[WORD_MAX];
	uint64_t n;

	return command_word(key, value) && tf_parse_u64(value, false, &n) == TF_OK ? n : 0;
}

void faults_read(void)
{
	char value[WORD_MAX];
	uint64_t n;

	if (command_word("refuse", value) && command_count(value, ask.vm, &n) && !strcmp(ask.vm, "boot"))
		ask.boot = n;
	else if (!strcmp(ask.vm, "each"))
		ask.each = n;
	if (command_word("vmx", value) && command_count(value, ask.insn, &n))
		ask.vmx = n;
	if (command_word("lost", value) && command_count(value, ask.lost, &n))
		ask.lost_each = n;
	ask.spurious = number_word("spurious");
	ask.nmi = number_word("nmi");
	ask.machine_check = number_word("machine-check");
	ask.silent = number_word("silent");
	ask.differs = number_word("differs");
}

bool test_hook_cpu_silent(void) { return ask.silent && this_cpu()->apic_id == ask.silent; }
bool test_hook_cpu_differs(void) { return ask.differs && this_cpu()->apic_id == ask.differs; }

bool test_hook_frame_refused(void)
{
	bool refused = !allowed || ++allocations == ask.boot;

	if (allowed != UINT64_MAX)
		allowed = refused && once ? UINT64_MAX : refused ? 0 : allowed - 1;
	return refused;
}

/* Each VM once: those that are refused must have given everything back. */
static bool refuse_each(const struct vm_config *cfg, uint32_t tries)
{
	static uint64_t free_before, count_before, place, wrong;

	if (tries)
		return false;
	if (place && vmm_count() == count_before && frames_free_bytes() != free_before)
		wrong++;
	free_before = frames_free_bytes();
	count_before = vmm_count();
	once = true;
	allowed = place >= ask.each ? place : UINT64_MAX;
	log_info("test", "vm=%s event=refusing allocation=%lu wrong=%lu", cfg->name, ++place, wrong);
	return true;
}

bool test_hook_create(const struct vm_config *cfg, uint32_t tries)
{
	static uint64_t free_before, wrong;

	if (ask.each)
		return refuse_each(cfg, tries);
	if (strcmp(ask.vm, cfg->name)) {
		allowed = UINT64_MAX;
		return !tries;
	}
	allowed = UINT64_MAX; /* for the audit */
	if (!tries)
		free_before = frames_free_bytes();
	else if (frames_free_bytes() != free_before || audit_now())
		wrong++;
	allowed = tries;
	log_info("test", "vm=%s event=refusing allocation=%u wrong=%lu", cfg->name, tries + 1, wrong);
	return true;
}

uint64_t test_hook_vmx(const char *insn, uint64_t operand)
{
	if (likely(!ask.vmx) || strcmp(insn, ask.insn) || ++vmx_uses != ask.vmx)
		return operand;
	if (!strcmp(insn, "vmread") || !strcmp(insn, "vmwrite"))
		return BAD_FIELD;
	if (!strncmp(insn, "inv", 3))
		return BAD_TYPE;
	return operand ^ 1; /* a misaligned address; of an entry: VMLAUNCH instead of VMRESUME, or the reverse */
}

bool test_hook_interrupt_lost(uint8_t vector)
{
	if (likely(!ask.lost_each) || vector < IRQ_VECTOR_FIRST || (vector == IRQ_VECTOR_TIMER) != !strcmp(ask.lost, "timer") ||
	    ++interrupts % ask.lost_each)
		return false;
	if (log_allow(&(uint64_t){ interrupts / ask.lost_each - 1 }, 1))
		log_info("test", "event=interrupt-lost vector=%02x count=%lu", vector, interrupts / ask.lost_each);
	return true;
}

static uint64_t random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* Vectors that are nobody's, from the local APIC; and what an 8259 and a local APIC send by mistake. */
static void spurious(void)
{
	static uint64_t count;

	switch (random() % 6) {
	case 0: __asm__ volatile("int $0x27"); break;
	case 1: __asm__ volatile("int $0x2f"); break;
	case 2: __asm__ volatile("int %0" : : "i"(IRQ_VECTOR_SPURIOUS)); break;
	default: lapic_ipi(lapic_id(), (uint8_t)(0x80 + random() % 0x70)); break;
	}
	if (log_allow(&count, 1))
		log_info("test", "event=spurious count=%lu", count);
}

static void start_nmis(void)
{
	const struct acpi_info *acpi = platform_acpi();
	volatile uint32_t *ioapic = paging_map_device(acpi->ioapics[0].base, IOAPIC_SIZE);
	uint32_t input = 0;

	for (uint32_t i = 0; i < acpi->nisos; i++)
		if (acpi->isos[i].irq == 0)
			input = acpi->isos[i].gsi;
	outb(PIT_MODE, PIT_RATE);
	outb(PIT_COUNTER0, (uint8_t)ask.nmi);
	outb(PIT_COUNTER0, (uint8_t)(ask.nmi >> 8));
	ioapic[0] = 0x11 + 2 * input;
	ioapic[4] = lapic_id() << DEST_SHIFT;
	ioapic[0] = 0x10 + 2 * input;
	ioapic[4] = RTE_NMI;
	log_info("test", "event=nmis");
}

void faults_before_entry(void)
{
	entries++;
	allowed = UINT64_MAX;
	if (ask.nmi && entries == 1)
		start_nmis();
	if (ask.spurious && random() % ask.spurious == 0)
		spurious();
	if (entries == ask.machine_check)
		__asm__ volatile("int $18" : : : "memory");
}
