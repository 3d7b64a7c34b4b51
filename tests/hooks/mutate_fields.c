#include "tests/hooks/mutate_fields.h"
#include "vmx/vcpu.h"
#include <tf/assert.h>
#include <tf/x86.h>

#define NFIELDS 80
#define WIDTH(field) ((field) >> 13 & 3) /* "VMCS Encoding": 16, 64, 32 bits, natural */
#define LONG_CS   0xa09b
#define V86_AR    0xf3
#define V86_LIMIT 0xffff
#define V86_BASE  0x1000
#define LINK_BITS 46        /* what a CPU's physical addresses may have */
#define LINK_RAM  0xf9ff000 /* RAM, if a machine has 256 MiB, */
#define LINK_LOW  0x1000000 /* and from here on */

/* Where the first of a row of fields is, and how many follow at every second encoding. */
static const struct { uint32_t first; unsigned n; } rows[] = {
	{ 0x0800, 9 },  /* selectors, interrupt status */
	{ 0x0814, 1 },  /* UINV */
	{ 0x2800, 4 },  /* link pointer, DEBUGCTL, PAT, EFER */
	{ 0x280a, 5 },  /* PDPTEs, BNDCFGS */
	{ 0x2818, 1 },  /* PKRS */
	{ 0x4012, 1 },  /* entry controls */
	{ 0x4016, 3 },  /* event injection */
	{ 0x4800, 20 }, /* limits, access rights, interruptibility, activity */
	{ 0x482a, 1 },  /* SYSENTER_CS */
	{ 0x6800, 23 }, /* control registers, bases, DR7, RSP, RIP, RFLAGS, pending debug exceptions, SYSENTER, CET */
};

static uint32_t fields[NFIELDS];
static uint64_t good[NFIELDS];
static unsigned nfields;

/* Those of the valid states that differ from the one remembered; the end is a field 0. */
#define STATE_FIELDS 32
enum { PROTECTED, LONG_MODE, PAE, REAL, V8086, UNUSABLE, NSTATES };
static struct mutated states[NSTATES][STATE_FIELDS];

uint64_t mutate_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed * 0x2545f4914f6cdd1dull >> 16 | *seed << 48;
}

static bool present(uint32_t field, uint64_t *value)
{
	bool failed;

	__asm__ volatile("vmread %2, %0" : "=r"(*value), "=@ccbe"(failed) : "r"((uint64_t)field) : "cc");
	return !failed;
}

static void write_field(uint32_t field, uint64_t value) { vmcs_vmwrite(field, value); }

static uint64_t width_mask(uint32_t field)
{
	static const uint64_t masks[] = { 0xffff, ~0ull, 0xffffffff, ~0ull };

	return masks[WIDTH(field)];
}

static void make_states(void)
{
	uint64_t cr0 = vmcs_read(VMCS_GUEST_CR0), cr4 = vmcs_read(VMCS_GUEST_CR4);
	uint32_t entry = vmcs_read(VMCS_ENTRY_CTL);
	unsigned n = 0;

	struct mutated long_mode[] = {
		{ VMCS_ENTRY_CTL.enc, entry | ENTRY_IA32E }, { VMCS_GUEST_CR0.enc, cr0 | CR0_PG }, { VMCS_GUEST_CR4.enc, cr4 | CR4_PAE },
		{ VMCS_GUEST_EFER.enc, EFER_LMA | EFER_LME }, { VMCS_GUEST_CS_AR.enc, LONG_CS },
	};
	struct mutated pae[] = { { VMCS_GUEST_CR0.enc, cr0 | CR0_PG }, { VMCS_GUEST_CR4.enc, cr4 | CR4_PAE } };

	__builtin_memset(states, 0, sizeof(states));
	__builtin_memcpy(states[LONG_MODE], long_mode, sizeof(long_mode));
	__builtin_memcpy(states[PAE], pae, sizeof(pae));
	states[REAL][0] = (struct mutated){ VMCS_GUEST_CR0.enc, cr0 & ~CR0_PE };
	states[V8086][n++] = (struct mutated){ VMCS_GUEST_RFLAGS.enc, RFLAGS_VM | RFLAGS_RSV1 };
	for (unsigned s = 0; s < 6; s++) {
		states[V8086][n++] = (struct mutated){ VMCS_GUEST_SEL(s).enc, V86_BASE >> 4 };
		states[V8086][n++] = (struct mutated){ VMCS_GUEST_BASE(s).enc, V86_BASE };
		states[V8086][n++] = (struct mutated){ VMCS_GUEST_LIMIT(s).enc, V86_LIMIT };
		states[V8086][n++] = (struct mutated){ VMCS_GUEST_AR(s).enc, V86_AR };
	}
	n = 0;
	for (unsigned s = 0; s < 7; s++)
		if (s != 1 && s != 2) /* CS and SS, which is at CPL 0, are always usable here */
			states[UNUSABLE][n++] = (struct mutated){ VMCS_GUEST_AR(s).enc, AR_UNUSABLE };
}

void mutate_remember(void)
{
	nfields = 0;
	for (unsigned r = 0; r < ARRAY_SIZE(rows); r++) {
		for (unsigned i = 0; i < rows[r].n; i++) {
			uint32_t field = rows[r].first + 2 * i;

			if (!present(field, &good[nfields]))
				continue;
			ASSERT(nfields + 1 < NFIELDS);
			fields[nfields++] = field;
		}
	}
	make_states();
}

void mutate_restore(void)
{
	for (unsigned i = 0; i < nfields; i++)
		write_field(fields[i], good[i]);
}

static uint64_t boundary(uint64_t random)
{
	static const uint64_t values[] = {
		0, 1, 3, 0xff, 0x100, 0xfff, 0x1000, 0xffff, 0x10000, 0xfffff, 0x100000, 0x7fffffff, 0x80000000, 0xfffff000, 0xffffffff,
		1ull << 32, 1ull << 39, 1ull << 40, 1ull << 46, 1ull << 47, 0x7fffffffffff, 0xffff800000000000, 1ull << 52, 1ull << 56,
		1ull << 57, 1ull << 63, ~0ull, ~1ull,
	};

	return values[random % ARRAY_SIZE(values)];
}

/* A value that is nearly right for its field. */
static uint64_t plausible(uint32_t field, uint64_t old, uint64_t random)
{
	uint64_t few = random & random >> 16 & random >> 32;

	if (field == VMCS_ENTRY_INTR_INFO.enc)
		return INTR_VALID | (random & (INTR_TYPE_MASK | 0x1f)) | (random >> 20 & 1 ? INTR_ERROR_CODE : 0);
	if (field == VMCS_GUEST_RFLAGS.enc)
		return (random & 0x3f7fd5) | RFLAGS_RSV1;
	if (field == VMCS_GUEST_INTERRUPTIBILITY.enc || field == VMCS_ENTRY_INSN_LEN.enc)
		return random & 0x1f;
	if (field == VMCS_GUEST_ACTIVITY.enc)
		return random & 3;
	if (field == VMCS_GUEST_PENDING_DEBUG.enc)
		return random & 0x1500f;
	if (field == VMCS_GUEST_EFER.enc)
		return random & (EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE);
	if (field >= VMCS_GUEST_AR(0).enc && field <= VMCS_GUEST_TR_AR.enc)
		return random & 0x1f0ff;
	return old ^ (few & 0xffffffff);
}

static uint64_t mutate(uint64_t *seed, uint32_t field, uint64_t old)
{
	uint64_t random = mutate_random(seed), how = mutate_random(seed) >> 20;

	switch (how % 8) {
	case 0: case 1:
		old ^= 1ull << (random % (WIDTH(field) == 0 ? 16 : WIDTH(field) == 2 ? 32 : 64));
		break;
	case 2:
		old ^= 1ull << (random & 63) | 1ull << (random >> 6 & 63);
		break;
	case 3:
		old = boundary(random);
		break;
	case 4:
		old = good[random % nfields];
		break;
	case 5:
		old = random;
		break;
	default:
		old = plausible(field, old, random);
	}
	/* A CPU that waits for a SIPI takes nothing else, not even the preemption timer: it would be lost. */
	if (field == VMCS_GUEST_ACTIVITY.enc && old == ACTIVITY_WAIT_SIPI)
		old = ACTIVITY_SHUTDOWN;
	/* Only in RAM can the checker see what a page address leads to. */
	if (field == VMCS_LINK_POINTER.enc && IS_ALIGNED(old, PAGE_SIZE) && !(old >> LINK_BITS))
		old = (old & LINK_RAM) | LINK_LOW;
	return old & width_mask(field);
}

void mutate_apply(uint64_t *seed, struct mutation *m)
{
	m->from = mutate_random(seed) % NSTATES;
	m->n = 1 + mutate_random(seed) % MUTATED_MAX;
	mutate_restore();
	for (const struct mutated *f = states[m->from]; f->field; f++)
		write_field(f->field, f->value);
	for (unsigned i = 0; i < m->n; i++) {
		uint32_t field = fields[mutate_random(seed) % nfields];
		uint64_t old = vmcs_vmread(field);

		m->fields[i] = (struct mutated){ field, mutate(seed, field, old) };
		write_field(field, m->fields[i].value);
	}
}
