/* The generator's items that need more than an opcode: far transfers, control and debug registers, MSRs, ports, devices. */
#include "random.h"

#define COUNT(a) below(g, ARRAY_SIZE(a))
#define PICK(a)  ((a)[COUNT(a)])

static void emit_bytes(struct gen *g, const uint8_t *p, unsigned n)
{
	while (n--)
		emit(g, *p++);
}
#define EMIT(...) emit_bytes(g, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static uint16_t selector(struct gen *g)
{
	uint16_t sel = g->k->selectors[below(g, g->k->nselectors)];

	return chance(g, 15) ? sel ^ (uint16_t)below(g, 4) : sel;
}

static bool is64(const struct gen *g) { return g->m->bits == 64; }
static bool segmented(const struct gen *g) { return g->m->kind == KIND_LONG || g->m->kind == KIND_LEGACY; }
static uint16_t any_selector(struct gen *g)
{
	/* Segments of the 8086: anywhere in the sandbox */
	return segmented(g) ? selector(g) : (uint16_t)((g->m->ds) + below(g, 16) * 16 * (rnd(g) & 1));
}

/* An address without registers: 16 or 32 bits, or relative to RIP; `behind` bytes follow it. */
static void emit_direct(struct gen *g, unsigned reg, uint32_t offset, unsigned behind)
{
	emit(g, reg << 3 | (g->m->bits == 16 ? 6 : 5));
	if (is64(g))
		offset -= g->m->code + g->at + 4 + behind;
	emit_n(g, offset, g->m->bits == 16 ? 2 : 4);
}

static void segment_load(struct gen *g)
{
	static const uint8_t sregs[] = { 0, 0, 2, 3, 3, 4, 5, 1 };
	static const uint8_t pops[][2] = { { 0x07, 0 }, { 0x17, 0 }, { 0x1f, 0 }, { 0x0f, 0xa1 }, { 0x0f, 0xa9 } };
	static const uint8_t pointers[][2] = { { 0xc4, 0 }, { 0xc5, 0 }, { 0x0f, 0xb2 }, { 0x0f, 0xb4 }, { 0x0f, 0xb5 } };
	unsigned reg = below(g, 4);

	switch (below(g, 4)) {
	case 0:
		emit_push(g, any_selector(g));
		const uint8_t *p = pops[below(g, 5)];
		if (is64(g) && !p[1])
			p = pops[3];
		emit_bytes(g, p, p[1] ? 2 : 1);
		break;
	case 1: {
		const uint8_t *q = pointers[below(g, 5)];
		if (is64(g) && !q[1])
			q = pointers[2];
		/* a far pointer on the stack */
		emit_push(g, any_selector(g));
		emit_push(g, g->m->data + random_pointer(g));
		if (is64(g)) {
			EMIT(0xc7, 0x44, 0x24, 0x04); /* MOV DWORD [RSP + 4] */
			emit_n(g, any_selector(g), 4);
		}
		if (g->m->bits == 16) {
			EMIT(0x89, 0xe6, 0x36); /* MOV SI, SP; SS: */
			emit_bytes(g, q, q[1] ? 2 : 1);
			emit(g, reg << 3 | 4);
		} else {
			emit_bytes(g, q, q[1] ? 2 : 1);
			EMIT((uint8_t)(reg << 3 | 4), 0x24);
		}
		break;
	}
	default:
		emit_mov(g, reg, any_selector(g));
		EMIT(0x8e, (uint8_t)(0xc0 | PICK(sregs) << 3 | reg));
		if (chance(g, 30)) { /* used at once */
			emit(g, PICK(((const uint8_t[]){ 0x26, 0x36, 0x3e, 0x64, 0x65 })));
			emit(g, PICK(((const uint8_t[]){ 0x8a, 0x88, 0x8b, 0x89 })));
			emit_direct(g, below(g, 8), g->m->data + random_pointer(g), 0);
		}
	}
}

/* The selector and the offset right behind the transfer, where VEC_STEP waits. */
static void far_transfer(struct gen *g)
{
	uint16_t sel = segmented(g) ? g->k->far[below(g, g->k->nfar)] : g->m->cs;
	bool call = rnd(g) & 1, wide;
	unsigned width = g->m->bits == 16 ? 2 : 4;
	unsigned at;

	if (segmented(g) && chance(g, 30))
		sel = selector(g);
	if (chance(g, 10))
		sel ^= (uint16_t)below(g, 4);
	switch (below(g, 3)) {
	case 0: /* RETF, perhaps to another ring */
		if ((sel & 3u) > g->m->cpl && segmented(g)) {
			emit_push(g, (uint16_t)(g->m->ss | 3));
			emit_push(g, g->m->data + BOX_STACK_TOP - 64);
		}
		emit_push(g, sel);
		at = g->at + 1 + width + 1 + is64(g);
		emit_push(g, g->m->code + at);
		if (is64(g))
			emit(g, 0x48);
		emit(g, 0xcb);
		break;
	case 1:
		if (!is64(g)) {
			emit(g, call ? 0x9a : 0xea);
			emit_n(g, g->m->code + g->at + width + 2, width);
			emit_n(g, sel, 2);
			break;
		}
		/* fall through */
	default: /* through a pointer behind it */
		wide = is64(g) && (rnd(g) & 1);
		if (wide)
			emit(g, 0x48);
		if (!is64(g))
			emit(g, 0x2e);
		emit(g, 0xff);
		at = g->at + 1 + width; /* what follows the instruction */
		emit_direct(g, call ? 3 : 5, g->m->code + at + 2, 0);
		EMIT(0xcd, VEC_STEP);
		emit_n(g, g->m->code + at, wide ? 8 : width);
		emit_n(g, sel, 2);
		return;
	}
	EMIT(0xcd, VEC_STEP);
}

static uint32_t random_flags(struct gen *g)
{
	static const uint32_t sets[] = { 0x2, 0x102, 0x10002, 0x4002, 0x40002, 0x202, 0x3002, 0xcd7, 0x200002, 0x10102, 0x80002, 0x100202 };

	return PICK(sets) | (chance(g, 20) ? PICK(sets) : 0);
}

static void flags(struct gen *g)
{
	switch (below(g, 3)) {
	case 0: /* IRET to the next instruction, perhaps to another ring */
	{
		uint16_t sel = segmented(g) ? (chance(g, 50) ? g->m->cs : g->k->far[below(g, g->k->nfar)]) : g->m->cs;
		unsigned width = g->m->bits == 16 ? 2 : 4;

		if (is64(g) || (segmented(g) && (sel & 3u) > g->m->cpl)) {
			emit_push(g, (sel & 3u) > g->m->cpl ? (uint16_t)(g->m->ss | 3) : g->m->ss);
			emit_push(g, g->m->data + BOX_STACK_TOP - 64);
		}
		emit_push(g, random_flags(g));
		emit_push(g, sel);
		emit_push(g, g->m->code + g->at + 1 + width + is64(g) + 1);
		if (is64(g))
			emit(g, 0x48);
		emit(g, 0xcf);
		EMIT(0x90, 0xcd, VEC_STEP);
		break;
	}
	case 1:
		EMIT(PICK(((const uint8_t[]){ 0xfa, 0xfb, 0xfc, 0xfd, 0x9c })));
		break;
	default:
		emit_push(g, random_flags(g));
		if (g->m->bits == 16 && chance(g, 30))
			emit(g, 0x66);
		emit(g, 0x9d);
		break;
	}
}

static void interrupts(struct gen *g)
{
	static const uint8_t vectors[] = { 0, 1, 2, 3, 4, 5, 6, 8, 10, 13, 14, 17, VEC_USER, VEC_USER, VEC_USER, VEC_ABSENT, VEC_TRAPGATE,
					   VEC_BADTYPE, VEC_BADSEL, 0x50, 0xff };

	switch (below(g, 6)) {
	case 0: emit(g, 0xcc); break;
	case 1: emit(g, is64(g) ? 0xf1 : 0xce); break;
	case 2: emit(g, 0xf1); break;
	case 3: EMIT(0x0f, 0x0b); break;
	default: EMIT(0xcd, PICK(vectors));
	}
}

static void sensitive(struct gen *g)
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

static void ports(struct gen *g)
{
	static const uint8_t byte_ops[] = { 0xec, 0xee, 0x6c, 0x6e, 0x6c, 0x6e }, ops[] = { 0xed, 0xef, 0x6d, 0x6f, 0x6d, 0x6f, 0x6e, 0xec };
	bool absent = rnd(g) & 1;

	emit_mov(g, 2, absent ? g->k->io_absent : g->k->io_byte);
	if (chance(g, 50)) {
		emit_mov(g, 1, 1 + below(g, 11)); /* with none and 32-bit addresses, what becomes of the upper halves is a CPU's own */
		if (chance(g, 50))
			emit_mov(g, 6 + below(g, 2), g->m->data + random_pointer(g));
		if (chance(g, 20))
			emit(g, PICK(((const uint8_t[]){ 0x26, 0x2e, 0x36, 0x64, 0x65 })));
		emit(g, PICK(((const uint8_t[]){ 0xf3, 0xf3, 0xf3, 0xf2 })));
	}
	if (chance(g, 15))
		emit(g, 0x67);
	if (absent && chance(g, 25))
		emit(g, 0x66);
	emit(g, absent ? PICK(ops) : PICK(byte_ops));
}

static void control(struct gen *g)
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
		emit_mov(g, 3, 1 | below(g, 16));
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

static void debug(struct gen *g)
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

static void msrs(struct gen *g)
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

/* What can be executed on a device's page. */
static void device(struct gen *g)
{
	static const uint8_t plain[] = { 0x88, 0x89, 0x8a, 0x8b, 0x00, 0x01, 0x02, 0x03, 0x08, 0x09, 0x0a, 0x0b, 0x20, 0x21, 0x22, 0x23,
					 0x28, 0x29, 0x2a, 0x2b, 0x30, 0x31, 0x32, 0x33, 0x38, 0x39, 0x3a, 0x3b, 0x84, 0x85, 0x86, 0x87 };
	static const uint8_t two[] = { 0xb6, 0xb7, 0xbe, 0xbf, 0xa3, 0xab, 0xb3, 0xbb };
	static const uint8_t group1[] = { 0, 1, 4, 5, 6, 7 };
	static const uint8_t strings[] = { 0xa4, 0xa5, 0xaa, 0xab, 0xac, 0xad };
	uint32_t at = g->m->data + BOX_DEVICE + (chance(g, 10) ? PAGE - 1 - below(g, 8) : below(g, 64) * 4 + (chance(g, 20) ? below(g, 4) : 0));
	unsigned modrm = is64(g) ? 4 : 5, reg = below(g, 8), op = 0, imm = 0, what = below(g, 8);
	bool two_byte = false;

	if (g->m->bits == 16)
		return;
	if (what == 0) { /* strings: the index registers point there for as long as it takes */
		emit_mov(g, 1, below(g, 5));
		emit_mov(g, 6, chance(g, 50) ? at : g->m->data + random_pointer(g));
		emit_mov(g, 7, chance(g, 50) ? at : g->m->data + random_pointer(g));
		emit(g, PICK(((const uint8_t[]){ 0xfc, 0xfc, 0xfd })));
		if (chance(g, 60))
			emit(g, PICK(((const uint8_t[]){ 0xf3, 0xf3, 0xf2 })));
		emit(g, PICK(strings));
		/* apart: the emulator copies what overlaps in pieces, as the clock divides them */
		emit_mov(g, 6, g->m->data + BOX_DATA);
		emit_mov(g, 7, g->m->data + BOX_DATA + (uint32_t)PAGE);
		emit(g, 0xfc);
		return;
	}
	if (chance(g, 15))
		emit(g, PICK(((const uint8_t[]){ 0xf0, 0xf0, 0xf2, 0xf3, 0x3e, 0x36 })));
	if (chance(g, 25))
		emit(g, 0x66), g->opsize = true;
	else
		g->opsize = false;
	g->rex = is64(g) && chance(g, 40) ? (uint8_t)(0x40 | (below(g, 16) & 0xc)) : 0; /* without an index and a base */
	if (g->rex)
		emit(g, g->rex);
	unsigned z = g->rex & 8 ? 4 : g->opsize ? 2 : 4;
	switch (what) {
	case 1: op = 0x80 + PICK(((const uint8_t[]){ 0, 1, 3 })); reg = PICK(group1); imm = op == 0x81 ? z : 1; break;
	case 2: op = 0xc6 + below(g, 2); reg = 0; imm = op == 0xc7 ? z : 1; break;
	case 3: op = 0xf6 + below(g, 2); reg = 0; imm = op == 0xf7 ? z : 1; break;
	case 4: two_byte = true; op = PICK(two); break;
	case 5: two_byte = true; op = 0xba; reg = 4 + below(g, 4); imm = 1; break;
	default: op = PICK(plain);
	}
	if (op == 0xa3 || op == 0xab || op == 0xb3 || op == 0xbb) { /* the bit's number stays near */
		reg = 8; /* no: by a number in the instruction */
	}
	if (reg == 8) {
		op = 0xba;
		reg = 4 + below(g, 4);
		imm = 1;
	}
	if (two_byte)
		emit(g, 0x0f);
	emit(g, op);
	emit(g, reg << 3 | modrm);
	if (is64(g))
		emit(g, 0x25);
	emit_n(g, at, 4);
	emit_n(g, rnd(g), imm);
}

static void shadow(struct gen *g)
{
	emit_mov(g, 0, g->m->ss);
	if (rnd(g) & 1)
		emit(g, 0xfb);
	if (chance(g, 30)) { /* with a single step to come */
		emit_push(g, 0x102);
		emit(g, 0x9d);
	}
	EMIT(0x8e, 0xd0);
	if (rnd(g) & 1)
		gen_general(g);
	else
		interrupts(g);
}

static void system(struct gen *g)
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
	case 10: EMIT(0x0f, PICK(((const uint8_t[]){ 0x05, 0x05, 0x34, 0x34, 0x07, 0x35 }))); break;
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

static void strings(struct gen *g)
{
	static const uint8_t ops[] = { 0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf };

	emit_mov(g, 1, below(g, 40));
	if (chance(g, 60)) {
		emit_mov(g, 6, g->m->data + random_pointer(g));
		emit_mov(g, 7, g->m->data + random_pointer(g));
	}
	if (chance(g, 20))
		emit(g, 0x66);
	if (chance(g, 10))
		emit(g, 0x67);
	emit(g, PICK(((const uint8_t[]){ 0xf2, 0xf3, 0xf3, 0x90 })));
	emit(g, PICK(ops));
}

void gen_special(struct gen *g)
{
	static void (*const items[])(struct gen *) = {
		segment_load, segment_load, far_transfer, far_transfer, flags, flags, interrupts, sensitive, sensitive, ports, ports,
		control, control, debug, msrs, device, device, device, shadow, system, system, system, strings,
	};

	PICK(items)(g);
}
