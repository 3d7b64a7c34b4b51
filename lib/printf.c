/* Formatted output into a buffer, with C's rules for what it supports. */
#include <tf/string.h>

struct out {
	char *buf;
	size_t size;
	size_t len; /* of the whole text, also of what did not fit */
};

struct spec {
	bool left, zero, alternate, precise;
	size_t width, precision;
	unsigned bytes; /* of the integer argument */
	char conv;
};

#define DIGITS_MAX 20 /* of 2^64 in decimal */

static void emit(struct out *o, char c)
{
	if (o->len + 1 < o->size)
		o->buf[o->len] = c;
	o->len++;
}

static void emit_repeated(struct out *o, char c, size_t n)
{
	/* A width may be huge: what does not fit is counted, not looped over. */
	size_t fits = o->size > o->len + 1 ? MIN(n, o->size - 1 - o->len) : 0;

	if (fits)
		memset(o->buf + o->len, c, fits);
	o->len += n;
}

static void emit_text(struct out *o, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		emit(o, s[i]);
}

static void emit_string(struct out *o, const struct spec *f, const char *s, size_t n)
{
	size_t pad = f->width > n ? f->width - n : 0;

	if (!f->left)
		emit_repeated(o, ' ', pad);
	emit_text(o, s, n);
	if (f->left)
		emit_repeated(o, ' ', pad);
}

static void emit_number(struct out *o, const struct spec *f, uint64_t v, bool negative, unsigned base, bool upper)
{
	const char *set = upper ? "0123456789ABCDEF" : "0123456789abcdef", *prefix = "";
	char digits[DIGITS_MAX];
	size_t n = 0, zeros, total;

	if (negative)
		prefix = "-";
	else if (f->alternate && base == 16 && v)
		prefix = upper ? "0X" : "0x";
	for (; v; v /= base)
		digits[DIGITS_MAX - ++n] = set[v % base];

	zeros = f->precise ? f->precision : 1;
	zeros = zeros > n ? zeros - n : 0;
	total = strlen(prefix) + zeros + n;
	if (f->zero && !f->left && !f->precise && f->width > total) {
		zeros += f->width - total;
		total = f->width;
	}
	if (!f->left && f->width > total)
		emit_repeated(o, ' ', f->width - total);
	emit_text(o, prefix, strlen(prefix));
	emit_repeated(o, '0', zeros);
	emit_text(o, digits + DIGITS_MAX - n, n);
	if (f->left && f->width > total)
		emit_repeated(o, ' ', f->width - total);
}

static size_t parse_number(const char **p)
{
	size_t v = 0;

	while (**p >= '0' && **p <= '9')
		v = v * 10 + (size_t)(*(*p)++ - '0');
	return v;
}

static unsigned parse_size(const char **p)
{
	switch (*(*p)++) {
	case 'h':
		if (**p != 'h')
			return sizeof(short);
		(*p)++;
		return sizeof(char);
	case 'l':
		if (**p == 'l')
			(*p)++;
		return sizeof(long);
	case 'z':
	case 'j':
		return sizeof(uint64_t);
	default:
		(*p)--;
		return sizeof(int);
	}
}

static int64_t sign_extend(uint64_t v, unsigned bytes)
{
	unsigned shift = 64 - 8 * bytes;

	return (int64_t)(v << shift) >> shift;
}

static uint64_t zero_extend(uint64_t v, unsigned bytes)
{
	unsigned shift = 64 - 8 * bytes;

	return v << shift >> shift;
}

/* The argument list travels in a struct: a va_list is an array here, and its address as a parameter is another type. */
struct args { va_list ap; };

static uint64_t next_integer(struct args *a, unsigned bytes)
{
	return bytes > sizeof(int) ? va_arg(a->ap, uint64_t) : va_arg(a->ap, unsigned);
}

static void parse_spec(const char **p, struct args *a, struct spec *f)
{
	for (;; (*p)++) {
		if (**p == '-')
			f->left = true;
		else if (**p == '0')
			f->zero = true;
		else if (**p == '#')
			f->alternate = true;
		else
			break;
	}
	if (**p == '*') {
		int w = va_arg(a->ap, int);

		f->left |= w < 0;
		f->width = w < 0 ? 0 - (size_t)w : (size_t)w;
		(*p)++;
	} else {
		f->width = parse_number(p);
	}
	if (**p == '.') {
		f->precise = true;
		(*p)++;
		if (**p == '*') {
			int prec = va_arg(a->ap, int);

			f->precise = prec >= 0;
			f->precision = prec >= 0 ? (size_t)prec : 0;
			(*p)++;
		} else {
			f->precision = parse_number(p);
		}
	}
	f->bytes = parse_size(p);
	f->conv = **p;
	if (f->conv)
		(*p)++;
}

static void emit_conversion(struct out *o, const struct spec *f, struct args *a)
{
	struct spec pointer = *f;
	const char *s;
	int64_t i;
	char c;

	switch (f->conv) {
	case 'd':
	case 'i':
		i = sign_extend(next_integer(a, f->bytes), f->bytes);
		emit_number(o, f, i < 0 ? 0 - (uint64_t)i : (uint64_t)i, i < 0, 10, false);
		break;
	case 'u':
		emit_number(o, f, zero_extend(next_integer(a, f->bytes), f->bytes), false, 10, false);
		break;
	case 'x':
	case 'X':
		emit_number(o, f, zero_extend(next_integer(a, f->bytes), f->bytes), false, 16, f->conv == 'X');
		break;
	case 'p':
		pointer.alternate = true;
		emit_number(o, &pointer, (uintptr_t)va_arg(a->ap, void *), false, 16, false);
		break;
	case 'c':
		c = (char)va_arg(a->ap, int);
		emit_string(o, f, &c, 1);
		break;
	case 's':
		s = va_arg(a->ap, const char *);
		if (!s)
			s = "(null)";
		emit_string(o, f, s, f->precise ? strnlen(s, f->precision) : strlen(s));
		break;
	case '%':
		emit(o, '%');
		break;
	default: /* not ours: shown as it stands, so that the mistake is seen */
		emit(o, '%');
		if (f->conv)
			emit(o, f->conv);
		break;
	}
}

int tf_vsnprintf(char *buf, size_t size, const char *fmt, va_list ap)
{
	struct out o = { .buf = buf, .size = size };
	struct args a;

	va_copy(a.ap, ap);
	while (*fmt) {
		struct spec f = { 0 };

		if (*fmt != '%') {
			emit(&o, *fmt++);
			continue;
		}
		fmt++;
		parse_spec(&fmt, &a, &f);
		emit_conversion(&o, &f, &a);
	}
	va_end(a.ap);
	if (size)
		buf[MIN(o.len, size - 1)] = '\0';
	return (int)o.len;
}

int tf_snprintf(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = tf_vsnprintf(buf, size, fmt, ap);
	va_end(ap);
	return len;
}
