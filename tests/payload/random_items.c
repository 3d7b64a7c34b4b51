/* The generator's items that need more than an opcode: segments, far transfers, interrupts, ports, devices, strings. */
#include "random_items.h"

void emit_direct(struct gen *g, unsigned reg, uint32_t offset, unsigned behind)
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
	if (chance(g, 10) && g->m->kind != KIND_REAL)
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
		/*
		 * Apart, whatever comes: of REP MOVSD and MOVSQ that overlap the emulator copies some runs byte by byte, and which
		 * depends on the time to its next event.
		 */
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
		segment_load, segment_load, far_transfer, far_transfer, flags, flags, interrupts, gen_sensitive, gen_sensitive, ports, ports,
		gen_control, gen_control, gen_debug, gen_msrs, device, device, device, shadow, gen_system, gen_system, gen_system, strings,
	};

	PICK(items)(g);
}
