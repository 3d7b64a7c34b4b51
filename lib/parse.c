/* Numbers from text. */
#include <tf/string.h>

static int digit_of(char c, unsigned base)
{
	int d = -1;

	if (c >= '0' && c <= '9')
		d = c - '0';
	else if (c >= 'a' && c <= 'f')
		d = c - 'a' + 10;
	else if (c >= 'A' && c <= 'F')
		d = c - 'A' + 10;
	return d < (int)base ? d : -1;
}

static unsigned suffix_shift(char c)
{
	switch (c) {
	case 'K': case 'k': return 10;
	case 'M': case 'm': return 20;
	case 'G': case 'g': return 30;
	default: return 0;
	}
}

enum tf_err tf_parse_u64(const char *s, bool suffix, uint64_t *out)
{
	unsigned base = 10, shift;
	bool overflow = false;
	uint64_t v = 0;
	int d;

	if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) {
		base = 16;
		s += 2;
	}
	if (digit_of(*s, base) < 0)
		return TF_EINVAL;
	for (; (d = digit_of(*s, base)) >= 0; s++) {
		overflow |= __builtin_mul_overflow(v, base, &v);
		overflow |= __builtin_add_overflow(v, (unsigned)d, &v);
	}

	shift = suffix ? suffix_shift(*s) : 0;
	if (shift)
		s++;
	if (*s)
		return TF_EINVAL;
	if (overflow || v > UINT64_MAX >> shift)
		return TF_ERANGE;
	*out = v << shift;
	return TF_OK;
}
