#include "guest/walk.h"
#include "arch/x86_64/cpu.h"
#include <tf/string.h>

#define PTE_P   BIT(0)
#define PTE_W   BIT(1)
#define PTE_U   BIT(2)
#define PTE_A   BIT(5)
#define PTE_D   BIT(6)
#define PTE_PS  BIT(7)
#define PTE_NX  BIT(63)
#define PTE_KEY(e) ((e) >> 59 & 0xf)
#define PKRU_AD 1u /* of key 0; two bits for each */
#define PKRU_WD 2u
#define PTE_PSE36(e) (((e) & 0x1fe000) << 19) /* bits 20:13 of a 4 MiB entry are address bits 39:32 */
#define PTE_FRAME    0x000ffffffffff000ull
#define PTE_HIGH     0x7ff0000000000000ull /* bits 62:52: ignored in 4-level paging, reserved in PAE paging */
#define PSE_RESERVED(phys) ((uint32_t)(BIT(22) - BIT(13 + MIN(phys, 40u) - 32))) /* of a 4 MiB entry: above the width, and bit 21 */

#define WALK_TRIES 8

struct walk {
	struct vcpu *v;
	uint64_t cr0, cr4, efer;
	uint64_t phys_mask;
	uint32_t pse_reserved; /* bits of a 4 MiB entry */
	bool user, write, fetch, implicit, pages_1g, keys;
	uint32_t error;     /* what every page fault of this access says */
	uint64_t reserved;  /* bits that no entry may have in this paging mode */
	struct walk_note *note; /* where the entries are is to be noted; or NULL */
};

/* A paging-structure entry of 4 or 8 bytes in guest RAM; NULL if there is none. */
static void *entry_at(struct walk *w, uint64_t table, unsigned index, unsigned width)
{
	return mem_at(&w->v->vm->mem, GPA((table & w->phys_mask) + (uint64_t)index * width), width);
}

/* False: another vCPU has changed the entry meanwhile. */
static bool set_flags(void *pte, unsigned width, uint64_t entry, uint64_t flags)
{
	uint32_t half = (uint32_t)entry;

	if ((entry & flags) == flags)
		return true;
	if (width == 8)
		return __atomic_compare_exchange_n((uint64_t *)pte, &entry, entry | flags, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	return __atomic_compare_exchange_n((uint32_t *)pte, &half, half | (uint32_t)flags, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* SDM 3A, "Access Rights" */
static bool permitted(const struct walk *w, bool u, bool wr, bool nx)
{
	if (w->fetch) {
		if (nx && (w->efer & EFER_NXE))
			return false;
		return w->user ? u : !(u && (w->cr4 & CR4_SMEP));
	}
	if (w->user)
		return u && (wr || !w->write);
	if (u && (w->cr4 & CR4_SMAP) && (w->implicit || !(vmcs_read(VMCS_GUEST_RFLAGS) & RFLAGS_AC)))
		return false;
	return wr || !w->write || !(w->cr0 & CR0_WP);
}

/* "Protection Keys", of user pages in IA-32e mode; PKRU is the guest's own, but we run without CR4.PKE. */
static bool key_permits(const struct walk *w, uint64_t entry)
{
	uint64_t cr4 = read_cr4();

	write_cr4(cr4 | CR4_PKE);
	uint32_t rights = rdpkru() >> 2 * PTE_KEY(entry);
	write_cr4(cr4);
	return !(rights & PKRU_AD) && !((rights & PKRU_WD) && w->write && (w->user || (w->cr0 & CR0_WP)));
}

/* Of 4 levels; the last entry stands for those that a large page does not have. */
static void note_entries(struct walk_note *n, void *const used[4], const uint64_t entries[4], void *last, uint64_t e, int level)
{
	for (int i = 0; i < WALK_LEVELS; i++) {
		n->walk[i].at = i <= level ? last : used[i];
		n->walk[i].entry = (i <= level ? e : entries[i]) | PTE_A;
	}
}

/* Walks `levels` levels of `bits` index bits each, from `table`. TF_EAGAIN: an entry has changed meanwhile. */
static enum tf_err walk_once(struct walk *w, uint64_t table, uint64_t linear, int levels, unsigned bits,
			     gpa_t *out, uint32_t *error)
{
	unsigned width = bits == 9 ? 8 : 4;
	bool u = true, wr = true, nx = false;
	void *used[4]; /* accessed, if the translation succeeds */
	uint64_t entries[4];

	*error = w->error;
	for (int level = levels - 1; level >= 0; level--) {
		unsigned shift = PAGE_SHIFT + (unsigned)level * bits;
		void *p = entry_at(w, table, linear >> shift & ((1u << bits) - 1), width);

		if (!p) { /* ones: present, with reserved bits set, as exit_ept.c answers the guest's own access */
			*error |= PF_P | PF_RSVD;
			return TF_EFAULT;
		}
		/* Read once: other CPUs may write it. */
		uint64_t e = width == 8 ? __atomic_load_n((uint64_t *)p, __ATOMIC_RELAXED) :
					  __atomic_load_n((uint32_t *)p, __ATOMIC_RELAXED);
		if (!(e & PTE_P))
			return TF_EFAULT;
		u &= (e & PTE_U) != 0;
		wr &= (e & PTE_W) != 0;
		nx |= (e & PTE_NX) != 0;
		bool large = level > 0 && (e & PTE_PS) && (level <= 2 && (width == 8 || (w->cr4 & CR4_PSE)));
		uint64_t reserved = w->reserved;
		if (large)
			reserved |= width == 8 ? (BIT(shift) - 1) & ~0x1fffull : w->pse_reserved;
		if ((e & reserved) || (level >= 2 && (e & PTE_PS) && (level == 3 || !w->pages_1g))) {
			*error |= PF_P | PF_RSVD;
			return TF_EFAULT;
		}
		if (level == 0 || large) {
			*error |= PF_P;
			if (unlikely(w->keys) && u && !key_permits(w, e)) {
				*error |= PF_PK;
				return TF_EFAULT;
			}
			if (!permitted(w, u, wr, nx))
				return TF_EFAULT;
			bool same = true;
			for (int up = levels - 1; up > level; up--)
				same &= set_flags(used[up], width, entries[up], PTE_A);
			if (!same || !set_flags(p, width, e, PTE_A | (w->write ? PTE_D : 0)))
				return TF_EAGAIN;
			if (w->note)
				note_entries(w->note, used, entries, p, e, level);
			uint64_t frame = width == 8 ? e & w->phys_mask : (e & 0xfffff000) | (large ? PTE_PSE36(e) : 0);
			out->v = (frame & ~(BIT(shift) - 1)) | (linear & (BIT(shift) - 1));
			return TF_OK;
		}
		used[level] = p;
		entries[level] = e;
		table = width == 8 ? e & PTE_FRAME : e & 0xfffff000;
	}
	return TF_EFAULT;
}

/* A guest whose tables change at each try gets a page fault, as it may from a CPU. */
static enum tf_err walk_tables(struct walk *w, uint64_t table, uint64_t linear, int levels, unsigned bits,
			       gpa_t *out, uint32_t *error)
{
	enum tf_err e = TF_EAGAIN;

	for (unsigned i = 0; i < WALK_TRIES && e == TF_EAGAIN; i++)
		e = walk_once(w, table, linear, levels, bits, out, error);
	return e == TF_EAGAIN ? TF_EFAULT : e;
}

static enum tf_err translate(struct vcpu *v, uint64_t linear, uint32_t access, struct walk_note *note, gpa_t *out, uint32_t *error)
{
	struct walk w = {
		.v = v, .note = note, .cr0 = vmcs_read(VMCS_GUEST_CR0), .cr4 = vmcs_read(VMCS_GUEST_CR4),
		.efer = vmcs_read(VMCS_GUEST_EFER), .write = access & ACCESS_WRITE, .fetch = access & ACCESS_FETCH,
		.phys_mask = (BIT(v->vm->cpuid.phys_bits) - 1) & ~(PAGE_SIZE - 1),
		.user = !(access & ACCESS_SYSTEM) && vcpu_cpl() == 3, .implicit = access & ACCESS_SYSTEM,
		.pages_1g = v->vm->cpuid.extended[1].edx & CPUID_EXT_EDX_PAGE1GB,
	};
	uint64_t cr3 = vmcs_read(VMCS_GUEST_CR3);

	if (!(w.cr0 & CR0_PG)) {
		out->v = linear & 0xffffffff;
		return TF_OK;
	}
	bool pae = w.cr4 & CR4_PAE, nxe = pae && (w.efer & EFER_NXE);
	w.error = (w.write ? PF_W : 0) | (w.user ? PF_U : 0) | (w.fetch && (nxe || (w.cr4 & CR4_SMEP)) ? PF_I : 0);
	if (pae)
		w.reserved = (~w.phys_mask & PTE_FRAME) | (nxe ? 0 : PTE_NX);
	w.keys = (w.cr4 & CR4_PKE) && (w.efer & EFER_LMA) && !w.fetch;
	if (w.efer & EFER_LMA)
		return walk_tables(&w, cr3, linear, 4, 9, out, error);
	if (pae) {
		uint64_t e = vmcs_read(VMCS_GUEST_PDPTE(linear >> 30 & 3));

		*error = w.error;
		w.reserved |= PTE_HIGH;
		return e & PTE_P ? walk_tables(&w, e, linear, 2, 9, out, error) : TF_EFAULT;
	}
	w.phys_mask = ~0ull << PAGE_SHIFT;
	w.pse_reserved = PSE_RESERVED(v->vm->cpuid.phys_bits);
	return walk_tables(&w, cr3 & 0xfffff000, linear, 2, 10, out, error);
}

enum tf_err walk_linear(struct vcpu *v, uint64_t linear, uint32_t access, gpa_t *out, uint32_t *error)
{
	return translate(v, linear, access, NULL, out, error);
}

static bool canonical(uint64_t a) { return (int64_t)(a << 16) >> 16 == (int64_t)a; }

/* Limit check of a data segment, expand-down included (SDM 3A, "Limit Checking"). */
static bool within_limit(uint32_t ar, uint32_t limit, uint64_t offset, uint64_t size)
{
	uint64_t last = offset + size - 1;

	if (!(AR_TYPE(ar) & 8) && (AR_TYPE(ar) & 4))
		return offset > limit && last <= (ar & AR_DB ? 0xffffffffull : 0xffffull);
	return last <= limit;
}

/* SDM 3A, "Alignment Checking"; true: #AC was injected. */
static bool misaligned(struct vcpu *v, uint64_t linear, uint64_t size, enum action *act)
{
	if (likely(!(linear & (size - 1))) || vcpu_cpl() != 3 || !(vmcs_read(VMCS_GUEST_CR0) & CR0_AM) ||
	    !(vmcs_read(VMCS_GUEST_RFLAGS) & RFLAGS_AC))
		return false;
	*act = vcpu_fault(v, VEC_AC, 0);
	return true;
}

enum tf_err walk_segment(struct vcpu *v, enum insn_seg seg, uint64_t offset, uint64_t size, bool write,
			 uint64_t *linear, enum action *act)
{
	if (vcpu_code64()) {
		*linear = offset + (seg >= SEG_FS ? vmcs_read(VMCS_GUEST_BASE(seg)) : 0);
		if (canonical(*linear) && canonical(*linear + size - 1))
			return misaligned(v, *linear, size, act) ? TF_EFAULT : TF_OK;
	} else {
		uint32_t ar = vmcs_read(VMCS_GUEST_AR(seg)), limit = vmcs_read(VMCS_GUEST_LIMIT(seg));
		bool code = AR_TYPE(ar) & 8, rw = AR_TYPE(ar) & 2;
		bool real = !(vmcs_read(VMCS_GUEST_CR0) & CR0_PE) || (vmcs_read(VMCS_GUEST_RFLAGS) & RFLAGS_VM);
		bool type_ok = real || (write ? !code && rw : !code || rw);
		uint64_t base = vmcs_read(VMCS_GUEST_BASE(seg));
		/*
		 * Whether an access over the end of 4 GiB faults is implementation-specific (SDM 3A, "Limit Checking"):
		 * in a flat segment the bare machine does not check it and goes on at 0.
		 */
		bool flat = limit == UINT32_MAX && !base && (code || !(AR_TYPE(ar) & 4));

		*linear = (offset + base) & 0xffffffff;
		if (!(ar & AR_UNUSABLE) && type_ok && (flat || within_limit(ar, limit, offset, size)))
			return misaligned(v, *linear, size, act) ? TF_EFAULT : TF_OK;
	}
	*act = vcpu_fault(v, seg == SEG_SS ? VEC_SS : VEC_GP, 0);
	return TF_EFAULT;
}

enum tf_err walk_copy(struct vcpu *v, uint64_t linear, void *buf, uint64_t len, uint32_t access, enum action *act)
{
	uint8_t *p = buf;

	while (len) {
		uint64_t n = MIN(len, PAGE_SIZE - (linear & (PAGE_SIZE - 1)));
		gpa_t gpa;
		uint32_t error;

		if (walk_linear(v, linear, access, &gpa, &error)) {
			*act = vcpu_page_fault(v, linear, error);
			return TF_EFAULT;
		}
		if (access & ACCESS_WRITE ? mem_write(&v->vm->mem, gpa, p, n) : mem_read(&v->vm->mem, gpa, p, n))
			return TF_ERANGE;
		p += n;
		linear += n;
		len -= n;
	}
	return TF_OK;
}

size_t walk_fetch(struct vcpu *v, uint8_t *buf, size_t n)
{
	uint64_t rip = vmcs_read(VMCS_GUEST_RIP);
	uint64_t linear = vcpu_code64() ? rip : (rip + vmcs_read(VMCS_GUEST_BASE(SEG_CS))) & 0xffffffff;
	size_t done = 0;

	while (done < n) {
		uint64_t part = MIN(n - done, PAGE_SIZE - (linear & (PAGE_SIZE - 1)));
		gpa_t gpa;
		uint32_t error;

		if (walk_linear(v, linear, ACCESS_FETCH, &gpa, &error) ||
		    mem_read(&v->vm->mem, gpa, buf + done, part))
			break;
		done += part;
		linear += part;
	}
	return done;
}

bool walk_note(struct vcpu *v, uint64_t rip, struct walk_note *note)
{
	uint32_t error;
	gpa_t gpa;

	if (rip % PAGE_SIZE > PAGE_SIZE - sizeof(note->bytes) || translate(v, rip, ACCESS_FETCH, note, &gpa, &error))
		return false;
	note->code = mem_at(&v->vm->mem, gpa, sizeof(note->bytes));
	if (!note->code)
		return false;
	note->cr3 = vmcs_read(VMCS_GUEST_CR3);
	note->cs_ar = vmcs_read(VMCS_GUEST_AR(SEG_CS));
	note->bytes[0] = note->code->bytes[0];
	note->bytes[1] = note->code->bytes[1];
	return true;
}

enum insn_mode walk_code_mode(void)
{
	uint32_t ar = vmcs_read(VMCS_GUEST_AR(SEG_CS));

	if (vcpu_long_mode() && (ar & AR_L))
		return INSN_64;
	return ar & AR_DB ? INSN_32 : INSN_16;
}
