/* The generator's items on the system's state: its registers, MSRs, and the instructions for them */
#include "random_items.h"

void gen_sensitive(struct gen *g)
{
	unsigned reg;

	if (chance(g, 15))
		emit(g, 0x66), g->opsize = true;
	else
		g->opsize = false;
	g->addrsize = false;
	g->rex = 0;
	switch (below(g, 8)) {
	case 0: EMIT(0x0f, 0x01); emit_modrm(g, below(g, 2), true, 0); break;         /* SGDT, SIDT */
	case 1: EMIT(0x0f, 0x01); emit_modrm(g, 4, false, 0); break;                  /* SMSW */
	case 2: EMIT(0x0f, 0x00); emit_modrm(g, below(g, 2), false, 0); break;        /* SLDT, STR */
	case 3: EMIT(0x0f, 0x00); emit_modrm(g, 4 + below(g, 2), false, 0); break;    /* VERR, VERW */
	case 4: EMIT(0x8c); emit_modrm(g, below(g, 6), false, 0); break;
	default: /* LAR, LSL, VERR, VERW of a known selector */
		reg = below(g, 8);
		emit_mov(g, 1, selector(g));
		if (rnd(g) & 1)
			EMIT(0x0f, (uint8_t)(0x02 + below(g, 2)), (uint8_t)(0xc0 | reg << 3 | 1));
		else
			EMIT(0x0f, 0x00, (uint8_t)(0xe0 | below(g, 2) << 3 | 1));
	}
}

void gen_control(struct gen *g)
{
	static const uint32_t cr0_bits[] = { BIT(1), BIT(2), BIT(3), BIT(3), BIT(18), BIT(4), BIT(6), BIT(28), BIT(29), BIT(30), BIT(30) | BIT(29) };
	static const uint8_t cr4_bits[] = { 0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 15, 16, 17, 18, 20, 21, 24, 27 };
	uint32_t value;

	switch (below(g, 9)) {
	case 0:
		value = (uint32_t)g->k->cr0 ^ PICK(cr0_bits);
		emit_mov(g, 0, chance(g, 40) ? value ^ PICK(cr0_bits) : value);
		EMIT(0x0f, 0x22, 0xc0);
		break;
	case 1:
	case 2:
		value = (uint32_t)g->k->cr4 ^ BIT(PICK(cr4_bits));
		if (g->m->kind == KIND_LONG && chance(g, 10))
			value ^= BIT(5);
		emit_mov(g, 0, value);
		EMIT(0x0f, 0x22, 0xe0);
		break;
	case 3:
		if (g->m->kind == KIND_REAL)
			break;
		emit_mov(g, 0, (uint32_t)g->k->cr3 | below(g, 4) << 3);
		if (is64(g) && chance(g, 25)) {
			EMIT(0x48, 0xb8);
			emit_n(g, g->k->cr3 | BIT(46 + below(g, 17)), 8);
		}
		EMIT(0x0f, 0x22, 0xd8);
		break;
	case 4: EMIT(0x0f, (uint8_t)(0x20 | (chance(g, 20) ? 2 : 0)), (uint8_t)(0xd0 | below(g, 8))); break;          /* CR2 */
	case 5: EMIT(0x0f, 0x20, (uint8_t)(0xc0 | PICK(((const uint8_t[]){ 0, 2, 3, 4, 1, 5, 6, 7 })) << 3 | below(g, 8))); break;
	case 6: EMIT(0x0f, 0x06); break;                                                                              /* CLTS */
	case 7:
		emit_mov(g, 3, g->m->kind == KIND_REAL ? below(g, 8) << 1 : 1 | below(g, 16));
		EMIT(0x0f, 0x01, 0xf3);                                                                               /* LMSW */
		break;
	case 8:
		if (!is64(g))
			break;
		emit_mov(g, 0, below(g, 18));
		EMIT(0x44, 0x0f, (uint8_t)(0x20 | (rnd(g) & 2)), 0xc0);                                               /* CR8 */
		break;
	}
}

void gen_debug(struct gen *g)
{
	unsigned n = below(g, 8);
	uint32_t value = n < 4 ? (chance(g, 70) ? g->m->data + random_pointer(g) : g->m->code + g->at + below(g, 24)) :
			 n == 6 || n == 4 ? rnd(g) & ~0xe00fu : /* the emulator drops these with the next #DB */ (rnd(g) & 0xffff03ff) | (chance(g, 15) ? BIT(13) : 0) | 0x400;

	/* where 16-bit addresses begin */
	if (n < 4 && !segmented(g))
		value += (uint32_t)g->m->ds << 4;
	if (chance(g, 25)) {
		EMIT(0x0f, 0x21, (uint8_t)(0xc0 | n << 3 | below(g, 8)));
		return;
	}
	emit_mov(g, 0, value);
	EMIT(0x0f, 0x23, (uint8_t)(0xc0 | n << 3));
	if (n < 4) { /* and on */
		emit_mov(g, 0, (uint32_t)(BIT(2 * n) | 0x400 | below(g, 16) << (16 + 4 * n)));
		EMIT(0x0f, 0x23, 0xf8);
	}
}

void gen_msrs(struct gen *g)
{
	static const uint32_t readable[] = { 0x1b, 0x174, 0x175, 0x176, 0x277, 0xc0000080, 0xc0000081, 0xc0000082, 0xc0000084, 0xc0000100,
					     0xc0000101, 0xc0000102, 0xdeadbeef };
	static const uint32_t writable[] = { 0x174, 0x175, 0x176, 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0xc0000100, 0xc0000101,
					     0xc0000102, 0x277, 0xc0000080, 0xc0000080, 0xdeadbeef };
	static const uint32_t efer[] = { 0, 1, 0x800, 0x801, 0x802, 0x101, 0xffffffff };
	uint32_t msr;

	if (chance(g, 30)) {
		emit_mov(g, 1, PICK(readable));
		EMIT(0x0f, 0x32);
		return;
	}
	msr = PICK(writable);
	uint64_t value = random_value(g);
	if (msr == 0xc0000080)
		value = PICK(efer) ^ (g->m->kind == KIND_LONG ? 0x500 : 0);
	else if (msr == 0x277)
		value = chance(g, 50) ? 0x0007040600070406 : value;
	emit_mov(g, 1, msr);
	emit_mov(g, 0, (uint32_t)value);
	emit_mov(g, 2, (uint32_t)(value >> 32));
	EMIT(0x0f, 0x30);
	if (msr == 0xc0000080) /* what is cached of NXE goes */
		EMIT(0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8);
}

void gen_system(struct gen *g)
{
	static const uint8_t rdfs[] = { 0xc0, 0xc8, 0xd0, 0xd8 };

	switch (below(g, 16)) {
	case 0:
		emit_mov(g, 0, PICK(((const uint32_t[]){ 0x80000002, 0x80000003, 0x80000004, 2 })));
		EMIT(0x0f, 0xa2);
		break;
	case 1:
		emit_mov(g, 1, below(g, 2) ? 0 : rnd(g));
		EMIT(0x0f, 0x01, 0xd0); /* XGETBV */
		break;
	case 2:
		emit_mov(g, 1, chance(g, 80) ? 0 : 1);
		emit_mov(g, 0, below(g, 16));
		EMIT(0x31, 0xd2, 0x0f, 0x01, 0xd1); /* XSETBV */
		break;
	case 3: EMIT(0x0f, 0x01); g->addrsize = false; g->rex = 0; emit_modrm(g, 7, true, 0); break; /* INVLPG */
	case 4: EMIT(0x0f, 0x09); break;
	case 5: EMIT(0x0f, 0x08); break;
	case 6: EMIT(0xf3, 0x90); break;
	case 7: EMIT(0x0f, 0x01, 0xf8); break; /* SWAPGS */
	case 8:
		emit(g, 0xf3);
		if (is64(g) && (rnd(g) & 1))
			emit(g, 0x48);
		EMIT(0x0f, 0xae, (uint8_t)(PICK(rdfs) | below(g, 8)));
		break;
	case 9: EMIT(0x0f, 0x01, PICK(((const uint8_t[]){ 0xca, 0xcb }))); break; /* CLAC, STAC */
	case 10: /* SYSCALL, SYSENTER, SYSRET, SYSEXIT; the first are not for real mode */
		EMIT(0x0f, (uint8_t)(PICK(((const uint8_t[]){ 0x05, 0x05, 0x34, 0x34, 0x07, 0x35 })) | (g->m->kind == KIND_REAL ? 0x30 : 0)));
		break;
	case 11: EMIT(0x0f, 0x01, PICK(((const uint8_t[]){ 0xc1, 0xc2, 0xc3, 0xc4, 0xd4, 0xd5, 0xd6 }))); break;
	case 12: /* LLDT, LTR */
		emit_mov(g, 0, selector(g));
		EMIT(0x0f, 0x00, (uint8_t)((chance(g, 60) ? 0xd0 : 0xd8)));
		break;
	case 13: /* LGDT, LIDT: the same again */
	{
		bool idt = rnd(g) & 1;
		unsigned n = g->m->bits == 64 ? 8 : 4;

		if (!segmented(g)) {
			emit(g, 0x90);
			break;
		}
		if (g->m->bits == 16)
			emit(g, 0x66);
		if (!is64(g))
			emit(g, 0x2e);
		EMIT(0x0f, 0x01);
		emit_direct(g, 2 + idt, g->m->code + g->at + (g->m->bits == 16 ? 3 : 5) + 2, 0);
		EMIT(0xeb, (uint8_t)(2 + n));
		emit_n(g, idt ? g->k->idt_limit : g->k->gdt_limit - 8 * below(g, 4), 2);
		emit_n(g, idt ? g->k->idt_base : g->k->gdt_base, n);
		break;
	}
	case 14: /* VEX */
	{
		static const uint8_t ops[] = { 0x10, 0x11, 0x28, 0x29, 0x54, 0x57, 0x58, 0x6f, 0x7f };

		g->opsize = g->addrsize = false;
		g->rex = 0;
		EMIT(0xc5, PICK(((const uint8_t[]){ 0xf8, 0xfc, 0xfd, 0xf9 })), PICK(ops));
		emit_modrm(g, below(g, 8), false, 0);
		break;
	}
	case 15: EMIT(0x0f, 0x77); break;
	}
}
