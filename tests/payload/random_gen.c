/* The generator: random numbers, operands, and any instruction whose opcode says how long it is (SDM 2D, "Opcode Map"). */
#include "random.h"

/*
 * What follows an opcode: m ModRM, p ModRM with a memory operand, M and Z the same with an immediate byte or one of the operand
 * size; b w z v immediates; o an offset; j J jumps; e ENTER; g G the groups F6 and F7; n nothing; x: not made here.
 */
static const char one_byte[] =
	"mmmmbznnmmmmbznx" "mmmmbznnmmmmbznn" "mmmmbzxnmmmmbzxn" "mmmmbzxnmmmmbzxn"
	"nnnnnnnnnnnnnnnn" "nnnnnnnnnnnnnnnn" "nnpmxxxxzZbMxxxx" "jjjjjjjjjjjjjjjj"
	"MZMMmmmmmmmmmmmm" "nnnnnnnnnnxnnnnn" "oooonnnnbznnnnnn" "bbbbbbbbvvvvvvvv"
	"MMwnppMZenwnnxnn" "mmmmbbnnmmmmmmmm" "jjjjxxxxJJxjxxxx" "xnxxxngGnnnnnnmm";
static const char two_byte[] =
	"xxmmnxnxnnnnnmnx" "mmmmmmmmmmmmmmmm" "xxxxxxxxmmmmmmmm" "xxxxxxxxxxxxxxxx"
	"mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm" "MMMMmmmnxxxxmmmm"
	"JJJJJJJJJJJJJJJJ" "mmmmmmmmmmmmmmmm" "nnxmMmxxnnxmMmmm" "mmpmppmmmmMmmmmm"
	"mmMmMMMxnnnnnnnn" "mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm";
/* Of these, what would leave the sandbox in real mode: what loads segments, SP or IP with what is there. */
static bool untamed_in_real(unsigned op, bool two)
{
	static const uint8_t one[] = { 0x07, 0x17, 0x1f, 0x44, 0x4c, 0x5c, 0x8e, 0x94, 0xbc, 0xc2, 0xc3, 0xc4, 0xc5, 0xc9, 0xca, 0xcb, 0xcf },
			     other[] = { 0xa1, 0xa9, 0xb2, 0xb4, 0xb5, 0xcc };
	const uint8_t *list = two ? other : one;

	for (unsigned i = 0; i < (two ? sizeof(other) : sizeof(one)); i++)
		if (list[i] == op)
			return true;
	return false;
}
/* Of these, what 64-bit mode reads otherwise: REX, VEX and EVEX prefixes. */
static bool prefix_in_64(unsigned op) { return (op & 0xf0) == 0x40 || op == 0x62 || op == 0xc4 || op == 0xc5; }

uint32_t rnd(struct gen *g)
{
	uint64_t z = g->state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return (uint32_t)(z >> 32);
}

uint32_t below(struct gen *g, uint32_t n) { return (uint32_t)((uint64_t)rnd(g) * n >> 32); }

/* An offset in the sandbox: mostly memory that can be written, also the last bytes of a page. */
uint32_t random_pointer(struct gen *g)
{
	static const uint32_t pages[] = { BOX_DATA, BOX_DATA, BOX_DATA, BOX_DATA + PAGE, BOX_DATA + PAGE, BOX_STACK, BOX_STACK + PAGE,
					  BOX_RO, BOX_SUPER, BOX_CLEAN, BOX_CLEAN, BOX_ABSENT, BOX_BAD, BOX_CODE };
	uint32_t page = pages[below(g, ARRAY_SIZE(pages))], at = below(g, PAGE);

	switch (below(g, 4)) {
	case 0: return page + PAGE - 1 - below(g, 9);
	case 1: return page + at;
	default: return page + (at & ~15u);
	}
}

uint64_t random_value(struct gen *g)
{
	static const uint64_t edges[] = { 0, 1, ~0ull, 0x7fffffff, 0x80000000, 0xffffffff, 0x7fff, 0x8000, 0xffff, 0x80, 0x7f, 0xff,
					  0x8000000000000000, 0x7fffffffffffffff, 0x0000800000000000, 0xffff7fffffffffff };
	uint32_t n = below(g, 100);

	if (n < 55)
		return g->m->data + random_pointer(g);
	if (n < 75)
		return below(g, 10);
	if (n < 88)
		return edges[below(g, ARRAY_SIZE(edges))];
	return n < 95 ? rnd(g) : (uint64_t)rnd(g) << 32 | rnd(g);
}

void emit(struct gen *g, unsigned byte)
{
	if (g->at < PAGE)
		g->out[g->at++] = (uint8_t)byte;
}

void emit_n(struct gen *g, uint64_t value, unsigned bytes)
{
	for (; bytes; bytes--, value >>= 8)
		emit(g, (uint8_t)value);
}

void emit_mov(struct gen *g, unsigned reg, uint32_t value)
{
	if (g->m->bits == 16)
		emit(g, 0x66);
	emit(g, 0xb8 + reg);
	emit_n(g, value, 4);
}

void emit_push(struct gen *g, uint32_t value)
{
	emit(g, 0x68);
	emit_n(g, value, g->m->bits == 16 ? 2 : 4);
}

static unsigned operand_size(const struct gen *g)
{
	return g->rex & 8 ? 8 : (g->m->bits == 16) != g->opsize ? 2 : 4;
}

static unsigned address_size(const struct gen *g)
{
	if (g->m->bits == 64)
		return g->addrsize ? 4 : 8;
	return (g->m->bits == 16) != g->addrsize ? 2 : 4;
}

static uint32_t displacement(struct gen *g) { return below(g, 3) ? below(g, 64) : (uint32_t)-(int32_t)below(g, 64); }

void emit_modrm(struct gen *g, unsigned reg, bool memory_only, unsigned imm)
{
	unsigned mod = memory_only || chance(g, 60) ? below(g, 3) : 3, rm = below(g, 8);

	if (mod != 3 && chance(g, 15)) /* an address of its own */
		mod = 0, rm = address_size(g) == 2 ? 6 : 5;
	if (mod == 3 && rm == 4 && g->m->kind == KIND_REAL) /* SP stays where a frame can be pushed */
		rm = 0;
	emit(g, mod << 6 | (reg & 7) << 3 | rm);
	if (mod == 3)
		return;
	if (address_size(g) == 2) {
		if (mod == 0 && rm == 6)
			emit_n(g, g->m->data + random_pointer(g), 2);
		else
			emit_n(g, displacement(g), mod);
		return;
	}
	if (rm == 4) {
		unsigned sib = below(g, 256);

		if (chance(g, 50))
			sib = (sib & 0xc7) | 4 << 3; /* no index */
		emit(g, sib);
		rm = sib & 7;
	}
	if (mod == 0 && rm == 5) {
		uint32_t target = g->m->data + random_pointer(g);

		if (g->m->bits == 64 && (g->out[g->at - 1] & 0xc7) == 5)
			target -= g->m->code + g->at + 4 + imm; /* relative to RIP */
		emit_n(g, target, 4);
	} else if (mod) {
		emit_n(g, displacement(g), mod == 1 ? 1 : 4);
	}
}

static void emit_prefixes(struct gen *g)
{
	static const uint8_t others[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0xf0, 0xf2, 0xf3, 0xf2, 0xf3, 0xf0 };

	g->opsize = g->addrsize = false;
	g->rex = 0;
	if (chance(g, 20)) {
		unsigned prefix = others[below(g, ARRAY_SIZE(others))];
		emit(g, prefix == 0x2e && g->m->kind == KIND_REAL ? 0x3e : prefix); /* the code can be written there */
	}
	if (chance(g, 20))
		emit(g, 0x66), g->opsize = true;
	if (chance(g, 8))
		emit(g, 0x67), g->addrsize = true;
	if (g->m->bits == 64 && chance(g, 40))
		emit(g, g->rex = (uint8_t)(0x40 | below(g, 16)));
}

static void emit_jump(struct gen *g, unsigned size)
{
	if (g->njumps < ARRAY_SIZE(g->jumps)) {
		g->jumps[g->njumps].at = (uint16_t)g->at;
		g->jumps[g->njumps].size = (uint8_t)size;
		g->jumps[g->njumps++].item = (uint8_t)(g->nitems + 1 + below(g, 3));
	}
	emit_n(g, 0, size);
}

/* What follows the opcode. */
static void emit_operands(struct gen *g, char form, unsigned op)
{
	unsigned z = operand_size(g) == 2 ? 2 : 4, reg = below(g, 8);

	if (reg == 4 && g->m->kind == KIND_REAL)
		reg = 3;
	switch (form) {
	case 'm': emit_modrm(g, reg, false, 0); break;
	case 'p': emit_modrm(g, reg, true, 0); break;
	case 'M': emit_modrm(g, reg, false, 1); emit(g, rnd(g)); break;
	case 'Z': emit_modrm(g, reg, false, z); emit_n(g, rnd(g), z); break;
	case 'b': emit(g, rnd(g)); break;
	case 'w': emit_n(g, below(g, 32), 2); break;
	case 'z': emit_n(g, random_value(g), z); break;
	case 'v': emit_n(g, random_value(g), operand_size(g)); break;
	case 'o': emit_n(g, g->m->data + random_pointer(g), address_size(g)); break;
	case 'e': emit_n(g, below(g, 64), 2); emit(g, below(g, 4)); break;
	case 'j': emit_jump(g, 1); break;
	case 'J': emit_jump(g, g->m->bits == 64 ? 4 : z); break;
	case 'g':
	case 'G':
		emit_modrm(g, reg, false, reg > 1 ? 0 : op == 0xf6 ? 1 : z);
		emit_n(g, rnd(g), reg > 1 ? 0 : op == 0xf6 ? 1 : z);
		break;
	}
}

void gen_general(struct gen *g)
{
	bool two = chance(g, 35), x64 = g->m->bits == 64;
	unsigned op;
	char form;

	do {
		op = below(g, 256);
		form = two ? two_byte[op] : one_byte[op];
	} while (form == 'x' || (!two && x64 && prefix_in_64(op)) || (!two && op == 0xff && !g->k->nx) ||
		 (g->m->kind == KIND_REAL && untamed_in_real(op, two)));
	emit_prefixes(g);
	/* In 64-bit mode a near branch with a prefix 66h differs between makers; elsewhere it cuts EIP. */
	if ((form == 'j' || form == 'J') && (g->opsize || g->rex)) {
		g->opsize = false, g->rex = 0;
		op = two ? 0x0b : 0x90;
		form = 'n';
	}
	if (two)
		emit(g, 0x0f);
	emit(g, op);
	emit_operands(g, form, op);
}

/* Without the means to go backwards: no loop is endless. Also out goes what tells the time, or is random, or is a machine's own. */
static void tame(uint8_t *p, unsigned n)
{
	bool again;

	do {
		again = false;
		for (unsigned i = 0; i < n; i++) {
			bool rel8 = (p[i] & 0xf0) == 0x70 || (p[i] & 0xfc) == 0xe0 || p[i] == 0xeb;
			bool rel = (p[i] & 0xfe) == 0xe8 || (i && p[i - 1] == 0x0f && (p[i] & 0xf0) == 0x80);
			bool indirect = p[i] == 0xff && i + 1 < n && (p[i + 1] >> 3 & 7u) - 2 < 4;
			bool system = i && p[i - 1] == 0x0f && (p[i] == 0x31 || p[i] == 0x33 || p[i] == 0xa2 || p[i] == 0xc7 || p[i] == 0x01 || p[i] == 0xae);
			uint8_t bits[4] = { rel8 ? 0x80 : 0, rel ? 0x80 : 0, 0, rel ? 0x80 : 0 };

			for (unsigned k = 0; k < 4 && i + 1 + k < n; k++) {
				again |= p[i + 1 + k] & bits[k];
				p[i + 1 + k] &= (uint8_t)~bits[k];
			}
			if (indirect) { /* CALL and JMP become INC and DEC */
				p[i + 1] &= 0xcf;
				again = true;
			}
			if (system) {
				p[i - 1] = 0x0c;
				again = true;
			}
		}
	} while (again);
}

static void gen_raw(struct gen *g)
{
	static const uint8_t starts[] = { 0x0f, 0x0f, 0xc4, 0xc5, 0x62, 0xff, 0x8e, 0xcd, 0x66, 0x67, 0xf0, 0xf3 };
	unsigned n = 3 + below(g, 12), from = g->at;

	if (chance(g, 50))
		emit(g, starts[below(g, ARRAY_SIZE(starts))]);
	while (n--)
		emit(g, rnd(g));
	tame(g->out + from, g->at - from);
	/* OR AL, 0Ch, and a NOP that may be the last operand: an unfinished instruction ends here, not in the next item */
	for (unsigned i = 0; i < 10; i++)
		emit(g, 0x0c);
	emit(g, 0x90);
}

static void resolve_jumps(struct gen *g)
{
	for (unsigned i = 0; i < g->njumps; i++) {
		unsigned item = g->jumps[i].item < g->nitems ? g->jumps[i].item : g->nitems, at = g->jumps[i].at, size = g->jumps[i].size;
		unsigned distance = g->start[item] - (at + size);

		if (size == 1 && distance > 127)
			distance = 0;
		for (unsigned b = 0; b < size; b++)
			g->out[at + b] = (uint8_t)(distance >> 8 * b);
	}
}

void gen_sequence(struct gen *g, uint64_t seed, uint32_t number, uint32_t keep)
{
	unsigned n;

	g->state = seed * 0x2545f4914f6cdd1dull ^ (uint64_t)number << 20 ^ (uint64_t)g->m->bits << 8 ^ g->m->cpl ^ (uint64_t)g->m->kind << 4;
	g->at = g->njumps = g->nitems = 0;
	g->raw = false;
	g->iopl = g->m->cpl && chance(g, 30) ? 3 : 0;
	n = 1 + below(g, MAX_ITEMS);
	memset(g->out, 0xcc, PAGE);
	for (unsigned i = 0; i < n; i++) {
		unsigned from = g->at, jumps = g->njumps, what = below(g, 100);

		g->start[g->nitems] = (uint16_t)from;
		if (what < 45)
			gen_general(g);
		else if (what < 53 && g->m->cpl && !g->iopl && g->k->nx)
			gen_raw(g), g->raw = true;
		else
			gen_special(g);
		if (!(keep >> i & 1)) { /* its random numbers are used up all the same */
			memset(g->out + from, 0xcc, g->at - from);
			g->at = from;
			g->njumps = jumps;
			continue;
		}
		g->nitems++;
	}
	g->start[g->nitems] = (uint16_t)g->at;
	resolve_jumps(g);
	if (g->raw)
		tame(g->out, g->at);
	for (unsigned i = 0; i < 6; i++)
		emit(g, 0x0c); /* OR AL, 0Ch: ends an instruction that began before, and is no jump backwards */
	emit(g, 0xcd);
	emit(g, VEC_END);
}
