/*
 * Translation of a guest's linear addresses against a second one, written from SDM 3A, "Paging", and as simple as it can
 * be: the same address or the same error code, and the same accessed and dirty bits in memory, in every paging mode. What a
 * translation that fails leaves accessed on its way is the CPU's own choice.
 *
 * Input: flags of the CPU's state, the access, the linear address, PKRU, then the entries that the walk will meet.
 */
#include <stdlib.h>
#include <string.h>
#include <tf/assert.h>
#include "arch/x86_64/cpu.h"
#include "tests/vtx/machine.h"

enum { F_PAE = 1, F_LONG = 2, F_WP = 4, F_PSE = 8, F_SMEP = 16, F_SMAP = 32, F_NXE = 64, F_PKE = 128, F_AC = 256, F_USER = 512,
       F_PG = 1024, F_1G = 2048 };
#define BIT_P  1ull
#define BIT_RW 2ull
#define BIT_US 4ull
#define BIT_A  0x20ull
#define BIT_D  0x40ull
#define BIT_PS 0x80ull
#define BITS(from, to) ((BIT(to) - 1) * 2 + 1 - (BIT(from) - 1)) /* both included, to < 63 */

struct input { const uint8_t *data; size_t size; };
struct state { unsigned flags; uint32_t access, pkru; uint64_t linear, cr3, pdpte[4]; };
struct outcome { bool fault; uint64_t gpa; uint32_t error; uint64_t passed[4]; unsigned npassed; };

static uint8_t ram[MACHINE_RAM];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t take(struct input *in, unsigned bytes)
{
	uint64_t value = 0;
	size_t n = MIN((size_t)bytes, in->size);

	memcpy(&value, in->data, n);
	in->data += n;
	in->size -= n;
	return value;
}

/* What an entry of a structure at this level may not have set. Level 1 maps pages; `large`: it maps a page itself. */
static uint64_t reserved_bits(const struct state *s, unsigned level, bool large)
{
	uint64_t r;

	if (!(s->flags & F_PAE)) /* "32-Bit Paging", PSE-36 with 40 bits, of which this CPU has one less */
		return large ? BITS(MACHINE_PHYS_BITS - 32 + 13, 21) : 0;
	r = BITS(MACHINE_PHYS_BITS, 51);
	if (!(s->flags & F_NXE))
		r |= BIT(63);
	if (!(s->flags & F_LONG))
		r |= BITS(52, 62);
	if (level == 4)
		r |= BIT_PS;
	if (level == 3 && !(s->flags & F_1G))
		r |= BIT_PS;
	if (large)
		r |= BITS(13, (level == 3 ? 29 : 20));
	return r;
}

/* "Determination of Access Rights", and the keys */
static bool allowed(const struct state *s, bool us, bool rw, bool xd, unsigned key, bool *by_key)
{
	bool user = s->flags & F_USER && !(s->access & ACCESS_SYSTEM), write = s->access & ACCESS_WRITE;
	bool fetch = s->access & ACCESS_FETCH, wp = s->flags & F_WP, ok;

	if (fetch)
		ok = !(xd && s->flags & F_NXE) && (user ? us : !(us && s->flags & F_SMEP));
	else if (user)
		ok = us && (!write || rw);
	else
		ok = (!write || rw || !wp) &&
		     !(us && s->flags & F_SMAP && (s->access & ACCESS_SYSTEM || !(s->flags & F_AC)));
	*by_key = false;
	if (us && !fetch && s->flags & F_LONG && s->flags & F_PKE) {
		bool ad = s->pkru >> 2 * key & 1, wd = s->pkru >> (2 * key + 1) & 1;

		*by_key = ad || (write && wd && (user || wp));
	}
	return ok && !*by_key;
}

static struct outcome model(const struct state *s)
{
	bool pae = s->flags & F_PAE, user = s->flags & F_USER && !(s->access & ACCESS_SYSTEM), by_key;
	unsigned level = s->flags & F_LONG ? 4 : 2, width = pae ? 8 : 4, index_bits = pae ? 9 : 10;
	uint64_t table = pae ? s->cr3 & BITS(12, MACHINE_PHYS_BITS - 1) : s->cr3 & 0xfffff000;
	bool us = true, rw = true, xd = false;
	struct outcome o = { .fault = true };

	if (!(s->flags & F_PG))
		return (struct outcome){ .gpa = s->linear & 0xffffffff };
	o.error = (s->access & ACCESS_WRITE ? 2 : 0) | (user ? 4 : 0);
	if (s->access & ACCESS_FETCH && (s->flags & F_SMEP || (pae && s->flags & F_NXE)))
		o.error |= 16;
	if (pae && !(s->flags & F_LONG)) { /* "PAE Paging": PDPTE registers */
		uint64_t e = s->pdpte[s->linear >> 30 & 3];

		if (!(e & BIT_P))
			return o;
		table = e & BITS(12, MACHINE_PHYS_BITS - 1);
	}
	for (;; level--) {
		unsigned shift = 12 + (level - 1) * index_bits;
		uint64_t at = table + (s->linear >> shift & (BIT(index_bits) - 1)) * width, e = 0;

		if (at + width > MACHINE_RAM) { /* reads as ones */
			o.error |= 1 | 8;
			return o;
		}
		memcpy(&e, ram + at, width);
		if (!(e & BIT_P))
			return o;
		bool ps = (level == 2 && e & BIT_PS && (pae || s->flags & F_PSE)) || (level == 3 && e & BIT_PS);
		if (e & reserved_bits(s, level, ps)) {
			o.error |= 1 | 8;
			return o;
		}
		us &= !!(e & BIT_US);
		rw &= !!(e & BIT_RW);
		xd |= e >> 63;
		if (level == 1 || ps) {
			o.error |= 1;
			if (!allowed(s, us, rw, xd, e >> 59 & 15, &by_key)) {
				o.error |= by_key ? 32 : 0;
				return o;
			}
			e |= BIT_A | (s->access & ACCESS_WRITE ? BIT_D : 0);
			memcpy(ram + at, &e, width);
			uint64_t frame = pae ? e & BITS(12, MACHINE_PHYS_BITS - 1) : e & 0xfffff000;
			if (!pae && ps)
				frame |= (e >> 13 & 0xff) << 32;
			return (struct outcome){ .gpa = (frame & ~(BIT(shift) - 1)) | (s->linear & (BIT(shift) - 1)) };
		}
		e |= BIT_A;
		memcpy(ram + at, &e, width);
		o.passed[o.npassed++] = at;
		table = pae ? e & BITS(12, 51) : e & 0xfffff000;
	}
}

/* The VMCS that says the same. */
static void load_state(struct state *s)
{
	bool ia32e = s->flags & F_LONG;

	machine_mode(ia32e ? LONG : PROTECTED);
	CPU_SET(VMCS_GUEST_CR0, CR0_PE | CR0_NE | (s->flags & F_PG ? CR0_PG : 0) | (s->flags & F_WP ? CR0_WP : 0));
	CPU_SET(VMCS_GUEST_CR4, CR4_VMXE | (s->flags & F_PAE ? CR4_PAE : 0) | (s->flags & F_PSE ? CR4_PSE : 0) |
				(s->flags & F_SMEP ? CR4_SMEP : 0) | (s->flags & F_SMAP ? CR4_SMAP : 0) |
				(s->flags & F_PKE ? CR4_PKE : 0));
	CPU_SET(VMCS_GUEST_EFER, (ia32e ? EFER_LME | EFER_LMA : 0) | (s->flags & F_NXE ? EFER_NXE : 0));
	CPU_SET(VMCS_GUEST_RFLAGS, RFLAGS_RSV1 | (s->flags & F_AC ? RFLAGS_AC : 0));
	CPU_SET(VMCS_GUEST_CR3, s->cr3);
	for (unsigned i = 0; i < 4; i++)
		CPU_SET(VMCS_GUEST_PDPTE(i), s->pdpte[i]);
	if (s->flags & F_USER)
		CPU_SET(VMCS_GUEST_AR(SEG_SS), CPU_GET(VMCS_GUEST_AR(SEG_SS)) | 3 << 5);
	host_register[HOST_PKRU] = s->pkru;
	machine.vm.cpuid.extended[1].edx = s->flags & F_1G ? CPUID_EXT_EDX_PAGE1GB : 0;
}

/* An entry whose address is in RAM, mostly. */
static uint64_t make_entry(struct input *in, bool pae)
{
	uint8_t how = (uint8_t)take(in, 1);
	uint64_t low = take(in, 2), at = (uint64_t)(how & 15) << 12;

	low = (low & 0xfff) | (how & 16 ? low & 0xf000 : 0);
	if (how & 32)
		return low ^ at ^ (pae ? take(in, 8) : take(in, 4));
	return low | at | (how & 64 ? 7 : 0) | (pae && how & 128 ? BIT(63) : 0);
}

static void fill_tables(struct input *in, const struct state *s)
{
	bool pae = s->flags & F_PAE;
	unsigned bits = pae ? 9 : 10, width = pae ? 8 : 4;

	memset(ram, 0, sizeof(ram));
	for (unsigned level = s->flags & F_LONG ? 4 : 2; level > 0; level--) {
		uint64_t index = s->linear >> (12 + (level - 1) * bits) & (BIT(bits) - 1), e = make_entry(in, pae);

		/* In each of the sixteen pages that a table could be in: the same for all of a level, unless they meet. */
		for (uint64_t page = level; page < 16; page += 4)
			memcpy(ram + page * PAGE_SIZE + index * width, &e, width);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct state s = { .flags = (unsigned)take(&in, 2), .access = take(&in, 1) & 7 };
	struct outcome want;
	uint32_t error;
	gpa_t gpa;

	if (s.flags & F_LONG)
		s.flags |= F_PAE | F_PG;
	if (s.access & ACCESS_FETCH)
		s.access &= ~(uint32_t)(ACCESS_WRITE | ACCESS_SYSTEM);
	s.linear = take(&in, 8);
	if (!(s.flags & F_LONG))
		s.linear &= UINT32_MAX;
	s.pkru = (uint32_t)take(&in, 4);
	s.cr3 = (take(&in, 1) & 15) << 12 | (take(&in, 1) & 0x18);
	for (unsigned i = 0; i < 4; i++)
		s.pdpte[i] = (take(&in, 1) & 15) << 12 | !(take(&in, 1) & 1);
	fill_tables(&in, &s);

	machine_init(0);
	load_state(&s);
	memcpy(machine_ram(0, MACHINE_RAM_BLOCK), ram, MACHINE_RAM_BLOCK);
	memcpy(machine_ram(MACHINE_RAM_BLOCK, MACHINE_RAM_BLOCK), ram + MACHINE_RAM_BLOCK, MACHINE_RAM_BLOCK);
	bool fault = walk_linear(machine.v, s.linear, s.access, &gpa, &error) != TF_OK;
	want = model(&s);
	ASSERT(fault == want.fault);
	ASSERT(fault ? error == want.error : gpa.v == want.gpa);
	for (unsigned i = 0; want.fault && i < want.npassed; i++)
		*(uint8_t *)machine_ram(want.passed[i], 1) |= BIT_A;
	ASSERT(!memcmp(machine_ram(0, MACHINE_RAM_BLOCK), ram, MACHINE_RAM_BLOCK));
	ASSERT(!memcmp(machine_ram(MACHINE_RAM_BLOCK, MACHINE_RAM_BLOCK), ram + MACHINE_RAM_BLOCK, MACHINE_RAM_BLOCK));
	machine_free();
	return 0;
}
