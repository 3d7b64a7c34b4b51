/* The arithmetic of the instruction executor: SDM 2A to 2C, "Instruction Set Reference", the "Operation" section of each. */
#include "guest/insn_internal.h"

#define LOGICAL_FLAGS    (RFLAGS_PF | RFLAGS_ZF | RFLAGS_SF)
#define ARITHMETIC_FLAGS (RFLAGS_CF | RFLAGS_AF | RFLAGS_OF | LOGICAL_FLAGS)

typedef unsigned __int128 wide_t;

static uint64_t top_bit(uint8_t size) { return BIT(8 * size - 1); }

static void set_flag(uint64_t *rflags, uint64_t flag, bool on)
{
	*rflags = on ? *rflags | flag : *rflags & ~flag;
}

static void set_result(uint64_t *rflags, uint64_t result, uint8_t size)
{
	static const uint16_t odd_parity = 0x6996; /* bit n: whether n has an odd number of ones */
	unsigned folded = (result ^ result >> 4) & 0xf;

	set_flag(rflags, RFLAGS_PF, !(odd_parity >> folded & 1));
	set_flag(rflags, RFLAGS_ZF, !result);
	set_flag(rflags, RFLAGS_SF, result & top_bit(size));
}

static uint64_t logical(uint64_t result, uint8_t size, uint64_t *rflags)
{
	*rflags &= ~ARITHMETIC_FLAGS; /* AF is undefined: clear */
	set_result(rflags, result, size);
	return result;
}

static uint64_t sum(uint64_t a, uint64_t b, uint64_t carry, uint8_t size, uint64_t *rflags)
{
	uint64_t result = insn_truncate(a + b + carry, size);

	set_result(rflags, result, size);
	set_flag(rflags, RFLAGS_CF, result < a || (carry && result == a));
	set_flag(rflags, RFLAGS_AF, (a ^ b ^ result) & 0x10);
	set_flag(rflags, RFLAGS_OF, (a ^ result) & (b ^ result) & top_bit(size));
	return result;
}

static uint64_t difference(uint64_t a, uint64_t b, uint64_t borrow, uint8_t size, uint64_t *rflags)
{
	uint64_t result = insn_truncate(a - b - borrow, size);

	set_result(rflags, result, size);
	set_flag(rflags, RFLAGS_CF, a < b || (borrow && a == b));
	set_flag(rflags, RFLAGS_AF, (a ^ b ^ result) & 0x10);
	set_flag(rflags, RFLAGS_OF, (a ^ b) & (a ^ result) & top_bit(size));
	return result;
}

uint64_t insn_alu(enum insn_op op, uint64_t a, uint64_t b, uint8_t size, uint64_t *rflags)
{
	uint64_t carry = *rflags & RFLAGS_CF, result;

	switch (op) {
	case INSN_ADD:
		return sum(a, b, 0, size, rflags);
	case INSN_ADC:
		return sum(a, b, carry, size, rflags);
	case INSN_SBB:
		return difference(a, b, carry, size, rflags);
	case INSN_INC:
	case INSN_DEC:
		result = op == INSN_INC ? sum(a, 1, 0, size, rflags) : difference(a, 1, 0, size, rflags);
		set_flag(rflags, RFLAGS_CF, carry);
		return result;
	case INSN_NEG:
		return difference(0, a, 0, size, rflags);
	case INSN_NOT:
		return insn_truncate(~a, size);
	case INSN_OR:
		return logical(a | b, size, rflags);
	case INSN_XOR:
		return logical(a ^ b, size, rflags);
	case INSN_AND:
	case INSN_TEST:
		return logical(a & b, size, rflags);
	default: /* SUB, CMP */
		return difference(a, b, 0, size, rflags);
	}
}

/* RCL and RCR are rotations of one bit more than the operand has; a step is as good as any here. */
static uint64_t rotate_carry(bool left, uint64_t value, unsigned count, uint8_t size, uint64_t *rflags)
{
	uint64_t top = top_bit(size), carry = *rflags & RFLAGS_CF, out;

	set_flag(rflags, RFLAGS_OF, !left && !!(value & top) != !!carry);
	for (unsigned i = 0; i < count; i++) {
		out = left ? !!(value & top) : value & 1;
		value = left ? insn_truncate(value << 1, size) | carry : value >> 1 | (carry ? top : 0);
		carry = out;
	}
	set_flag(rflags, RFLAGS_CF, carry);
	if (left)
		set_flag(rflags, RFLAGS_OF, !!(value & top) != !!carry);
	return value;
}

static uint64_t rotate(bool left, uint64_t value, unsigned count, uint8_t size, uint64_t *rflags)
{
	unsigned bits = 8 * size, by = (left ? count : bits - count % bits) % bits;
	uint64_t top = top_bit(size);

	if (by)
		value = insn_truncate(value << by, size) | value >> (bits - by);
	set_flag(rflags, RFLAGS_CF, left ? value & 1 : value & top);
	set_flag(rflags, RFLAGS_OF, left ? !!(value & top) != (value & 1) : !(value & top) != !(value & top >> 1));
	return value;
}

/* Bits shifted through a double width, so that SHLD and SHRD are the general case. */
static uint64_t shift(bool left, uint64_t value, uint64_t fill, unsigned count, uint8_t size, uint64_t *rflags)
{
	unsigned bits = 8 * size;
	uint64_t top = top_bit(size), result, carry;
	wide_t both;

	if (left) {
		both = ((wide_t)value << bits | fill) << count;
		result = insn_truncate((uint64_t)(both >> bits), size);
		carry = count > bits ? 0 : value >> (bits - count) & 1;
	} else {
		both = (wide_t)fill << bits | value;
		result = insn_truncate((uint64_t)(both >> count), size);
		carry = (uint64_t)(both >> (count - 1)) & 1;
	}
	set_result(rflags, result, size);
	set_flag(rflags, RFLAGS_CF, carry);
	set_flag(rflags, RFLAGS_OF, (left ? (result & top) != (carry ? top : 0) : (value ^ result) & top));
	return result;
}

static uint64_t shift_signed(uint64_t value, unsigned count, uint8_t size, uint64_t *rflags)
{
	int64_t extended = insn_sign_extend(value, size);
	uint64_t result = insn_truncate((uint64_t)(extended >> count), size);

	set_result(rflags, result, size);
	set_flag(rflags, RFLAGS_CF, extended >> (count - 1) & 1);
	set_flag(rflags, RFLAGS_OF, false);
	return result;
}

uint64_t insn_shift(enum insn_op op, uint64_t value, uint64_t fill, unsigned count, uint8_t size, uint64_t *rflags)
{
	count &= size == 8 ? 63 : 31;
	if (!count)
		return value;
	switch (op) {
	case INSN_ROL:
	case INSN_ROR:
		return rotate(op == INSN_ROL, value, count, size, rflags);
	case INSN_RCL:
	case INSN_RCR:
		return rotate_carry(op == INSN_RCL, value, count, size, rflags);
	case INSN_SHL:
	case INSN_SHR:
		return shift(op == INSN_SHL, value, 0, count, size, rflags);
	case INSN_SAR:
		return shift_signed(value, count, size, rflags);
	default:
		return shift(op == INSN_SHLD, value, fill, count, size, rflags);
	}
}

uint64_t insn_multiply(bool is_signed, uint64_t a, uint64_t b, uint8_t size, uint64_t *high, uint64_t *rflags)
{
	wide_t product = (wide_t)a * b;
	bool fits;

	if (is_signed)
		product = (wide_t)((__int128)insn_sign_extend(a, size) * insn_sign_extend(b, size));
	*high = insn_truncate((uint64_t)(product >> 8 * size), size);
	if (is_signed)
		fits = (__int128)product == insn_sign_extend((uint64_t)product, size);
	else
		fits = !*high;
	set_flag(rflags, RFLAGS_CF | RFLAGS_OF, !fits);
	return insn_truncate((uint64_t)product, size);
}

bool insn_divide(bool is_signed, uint64_t *high, uint64_t *low, uint64_t divisor, uint8_t size)
{
	uint64_t top = top_bit(size), quotient, rest, most = insn_truncate(UINT64_MAX, size);
	bool minus = is_signed && *high & top, minus_divisor = is_signed && divisor & top;
	wide_t dividend = (wide_t)*high << 8 * size | *low;

	if (minus) /* above the 2 * size bytes there may be anything: they are cut off */
		dividend = size == 8 ? -dividend : -dividend & (((wide_t)1 << 16 * size) - 1);
	if (minus_divisor)
		divisor = insn_truncate(-divisor, size);
	if ((uint64_t)(dividend >> 64) >= divisor) /* also by 0: the quotient has more than 64 bits */
		return false;
	__asm__("divq %4" : "=a"(quotient), "=d"(rest)
		: "a"((uint64_t)dividend), "d"((uint64_t)(dividend >> 64)), "rm"(divisor) : "cc");
	if (is_signed)
		most = minus != minus_divisor ? top : top - 1;
	if (quotient > most)
		return false;
	*low = insn_truncate(minus != minus_divisor ? -quotient : quotient, size);
	*high = insn_truncate(minus ? -rest : rest, size);
	return true;
}

#define SCAN(insn) \
	(size == 2 ? ({ __asm__(insn "w %w6, %w0" SCAN_OPERANDS); }) : \
	 size == 4 ? ({ __asm__(insn "l %k6, %k0" SCAN_OPERANDS); }) : ({ __asm__(insn "q %6, %0" SCAN_OPERANDS); }))
#define SCAN_OPERANDS \
	: "+r"(target), "=@ccc"(c), "=@ccp"(p), "=@ccz"(z), "=@ccs"(s), "=@cco"(o) : "r"(source)

uint64_t insn_scan(enum insn_op op, uint64_t target, uint64_t source, uint8_t size, uint64_t *rflags)
{
	bool c = false, p = false, z = false, s = false, o = false;

	switch (op) {
	case INSN_BSF: SCAN("bsf"); break;
	case INSN_BSR: SCAN("bsr"); break;
	case INSN_TZCNT: SCAN("tzcnt"); break;
	case INSN_LZCNT: SCAN("lzcnt"); break;
	default: SCAN("popcnt"); break;
	}
	*rflags &= ~ARITHMETIC_FLAGS;
	*rflags |= (c ? RFLAGS_CF : 0) | (p ? RFLAGS_PF : 0) | (z ? RFLAGS_ZF : 0) | (s ? RFLAGS_SF : 0) | (o ? RFLAGS_OF : 0);
	return target;
}

bool insn_condition(uint8_t cc, uint64_t rflags)
{
	bool less = !(rflags & RFLAGS_SF) != !(rflags & RFLAGS_OF), is;

	switch (cc >> 1) {
	case 0: is = rflags & RFLAGS_OF; break;
	case 1: is = rflags & RFLAGS_CF; break;
	case 2: is = rflags & RFLAGS_ZF; break;
	case 3: is = rflags & (RFLAGS_CF | RFLAGS_ZF); break;
	case 4: is = rflags & RFLAGS_SF; break;
	case 5: is = rflags & RFLAGS_PF; break;
	case 6: is = less; break;
	default: is = less || rflags & RFLAGS_ZF; break;
	}
	return is != (cc & 1);
}
