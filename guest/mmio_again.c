/*
 * A MOV that accesses a device where it has done so before: drivers do it at the same few places. Nothing is fetched, walked or
 * decoded again if all is as it was: RIP, CS and CR3, each entry of the paging structures that led to the bytes, and the bytes.
 */
#include "guest/mmio.h"
#include "guest/walk.h"
#include <tf/math.h>
#include <tf/string.h>

static bool as_noted(const struct walk_note *n)
{
#pragma GCC unroll WALK_LEVELS
	for (int i = 0; i < WALK_LEVELS; i++)
		if (__atomic_load_n(n->walk[i].at, __ATOMIC_RELAXED) != n->walk[i].entry)
			return false;
	return n->code->bytes[0] == n->bytes[0] && n->code->bytes[1] == n->bytes[1] && vmcs_read(VMCS_GUEST_CR3) == n->cr3 &&
	       vmcs_read(VMCS_GUEST_AR(SEG_CS)) == n->cs_ar && (vmcs_read(VMCS_GUEST_EFER) & EFER_LMA);
}

/* By multiplicative hashing: functions are aligned. */
struct decoded *mmio_decoded_set(struct vcpu *v, uint64_t rip)
{
	return v->decoded[rip * 0x9e3779b97f4a7c15ull >> (64 - bit_highest(DECODED_SETS))];
}

struct decoded *mmio_decoded(struct vcpu *v, uint64_t rip)
{
	struct decoded *d = mmio_decoded_set(v, rip);

	return d[0].rip == rip ? &d[0] : d[1].rip == rip ? &d[1] : NULL;
}

/* Does the operand begin at a page, as far as that is easily told? An access that crosses into a page begins before it. */
static bool begins_page(const struct vcpu *v, const struct insn *i)
{
	uint64_t address = (uint64_t)i->disp;

	if (i->seg >= SEG_FS || i->base == RSP || i->rip_relative || i->addrsize != 8)
		return false;
	if (i->base != INSN_NO_REG)
		address += v->vmx.gpr[i->base];
	if (i->index != INSN_NO_REG)
		address += v->vmx.gpr[i->index] * i->scale;
	return address % PAGE_SIZE == 0;
}

const struct insn *mmio_again(struct vcpu *v, uint64_t offset)
{
	const struct decoded *d = mmio_decoded(v, vmcs_read(VMCS_GUEST_RIP));

	if (!d || !d->noted || !as_noted(&d->note) || breakpoints_armed() || offset > PAGE_SIZE - sizeof(uint32_t))
		return NULL;
	return likely(offset) || begins_page(v, &d->insn) ? &d->insn : NULL;
}

/* A register of 32 bits on one side; not RSP, whose value is in the VMCS. */
static bool simple(const struct insn *i)
{
	return (i->op == INSN_MOV_LOAD || i->op == INSN_MOV_STORE || i->op == INSN_MOV_IMM) && i->memsize == 4 && i->opsize == 4 &&
	       !i->lock && (i->op == INSN_MOV_IMM || i->reg != RSP);
}

void mmio_remember(struct vcpu *v, uint64_t rip)
{
	struct decoded *d = mmio_decoded(v, rip);
	const uint64_t mask = BIT(8 * (INSN_MAX % 8)) - 1;

	if (d)
		d->noted = d->insn.mode == INSN_64 && simple(&d->insn) && walk_note(v, rip, &d->note) &&
			   d->note.bytes[0] == d->bytes[0] && (d->note.bytes[1] & mask) == d->bytes[1];
}

static uint32_t source(const struct vcpu *v, const struct insn *i)
{
	return (uint32_t)(i->op == INSN_MOV_IMM ? i->imm : v->vmx.gpr[i->reg]);
}

enum action mmio_move(struct vcpu *v, const struct insn *i, uint64_t gpa)
{
	struct dev_access a = { .size = 4, .write = i->op != INSN_MOV_LOAD };

	if (a.write)
		a.value = source(v, i);
	mmio_device(v, gpa, &a);
	if (!a.write)
		v->vmx.gpr[i->reg] = (uint32_t)a.value;
	if (unlikely(v->vm->state != VM_RUNNING))
		return ACT_STOP;
	v->next_len = i->len;
	return ACT_DECODED;
}

enum action mmio_move_apic(struct vcpu *v, const struct insn *i, uint32_t offset)
{
	if (i->op == INSN_MOV_LOAD) {
		v->vmx.gpr[i->reg] = vlapic_read(&v->lapic, offset);
	} else {
		vlapic_write(&v->lapic, offset, source(v, i));
		if (vlapic_write_delivers(offset))
			vcpu_request(v, REQ_EVENT);
	}
	v->next_len = i->len;
	return ACT_DECODED;
}
