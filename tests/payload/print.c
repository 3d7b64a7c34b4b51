/* Printing on COM1, polled; and the memory functions that the compiler calls. */
#include "payload.h"

#define UART_THR 0
#define UART_IER 1
#define UART_FCR 2
#define UART_LCR 3
#define UART_MCR 4
#define UART_LSR 5
#define LSR_THRE 0x20
#define LSR_TEMT 0x40

void print_init(void)
{
	outb(COM1 + UART_IER, 0);
	outb(COM1 + UART_LCR, 0x83); /* DLAB, 8n1 */
	outb(COM1 + 0, 1);           /* 115200 */
	outb(COM1 + 1, 0);
	outb(COM1 + UART_LCR, 0x03);
	outb(COM1 + UART_FCR, 0x07); /* FIFOs on and empty */
	outb(COM1 + UART_MCR, 0x0b); /* DTR, RTS, OUT2 */
}

static void put(char c)
{
	while (!(inb(COM1 + UART_LSR) & LSR_THRE))
		;
	outb(COM1 + UART_THR, (uint8_t)c);
}

void print_flush(void)
{
	while (!(inb(COM1 + UART_LSR) & LSR_TEMT))
		;
}

static void put_number(uint64_t v, unsigned base, unsigned width, char fill)
{
	char buf[24];
	unsigned n = 0;

	do
		buf[n++] = "0123456789abcdef"[v % base];
	while (v /= base);
	while (n < width && n < sizeof(buf))
		buf[n++] = fill;
	while (n)
		put(buf[--n]);
}

void print(const char *fmt, ...)
{
	__builtin_va_list ap;

	__builtin_va_start(ap, fmt);
	for (; *fmt; fmt++) {
		unsigned width = 0;
		bool wide = false;
		char fill = ' ';
		uint64_t v;

		if (*fmt == '\n')
			put('\r');
		if (*fmt != '%') {
			put(*fmt);
			continue;
		}
		if (*++fmt == '0')
			fill = *fmt++;
		while (*fmt >= '0' && *fmt <= '9')
			width = width * 10 + (unsigned)(*fmt++ - '0');
		for (; *fmt == 'l'; fmt++)
			wide = true;
		if (*fmt == 's') {
			for (const char *s = __builtin_va_arg(ap, const char *); *s; s++)
				put(*s);
			continue;
		}
		if (*fmt == 'c' || *fmt == '%') {
			put(*fmt == 'c' ? (char)__builtin_va_arg(ap, int) : '%');
			continue;
		}
		v = wide ? __builtin_va_arg(ap, uint64_t) : __builtin_va_arg(ap, uint32_t);
		if (*fmt == 'd') {
			int64_t s = wide ? (int64_t)v : (int32_t)v;

			if (s < 0)
				put('-');
			v = (uint64_t)(s < 0 ? -s : s);
		}
		put_number(v, *fmt == 'x' ? 16 : 10, width, fill);
	}
	__builtin_va_end(ap);
}

void *memset(void *dst, int c, size_t n)
{
	void *d = dst;

	__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
	return dst;
}

void *memcpy(void *dst, const void *src, size_t n)
{
	void *d = dst;

	__asm__ volatile("rep movsb" : "+D"(d), "+S"(src), "+c"(n) :: "memory");
	return dst;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *x = a, *y = b;

	for (; n; n--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}
