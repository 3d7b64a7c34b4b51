/*
 * Memory and string functions for freestanding code. Bulk operations use the string instructions in 8-byte units: no
 * vector registers are needed, and an emulator or a microcoded CPU does one iteration per 8 bytes.
 */
#include <tf/string.h>

/* gcc would recognise the loops below as the very functions that they implement, and call them. */
#ifndef __clang__
#pragma GCC optimize("no-tree-loop-distribute-patterns")
#endif

#define WORD 8u

static void copy_up(void *dst, const void *src, size_t n)
{
	size_t words = n / WORD, bytes = n % WORD;

	__asm__ volatile("rep movsq\n\t"
			 "movq %3, %2\n\t"
			 "rep movsb"
			 : "+&D"(dst), "+&S"(src), "+&c"(words)
			 : "r"(bytes)
			 : "memory");
}

static void copy_down(void *dst, const void *src, size_t n)
{
	size_t words = n / WORD, bytes = n % WORD;
	uint8_t *d = dst;
	const uint8_t *s = src;

	while (bytes--) {
		n--;
		d[n] = s[n];
	}
	if (!words)
		return;
	d += n - WORD;
	s += n - WORD;
	__asm__ volatile("std\n\t"
			 "rep movsq\n\t"
			 "cld"
			 : "+D"(d), "+S"(s), "+c"(words)
			 :
			 : "memory", "cc");
}

void *memcpy(void *restrict dst, const void *restrict src, size_t n)
{
	copy_up(dst, src, n);
	return dst;
}

void *memmove(void *dst, const void *src, size_t n)
{
	/* Upwards is right whenever dst is not inside [src, src + n); one unsigned comparison says so. */
	if ((uintptr_t)dst - (uintptr_t)src >= n)
		copy_up(dst, src, n);
	else
		copy_down(dst, src, n);
	return dst;
}

void *memset(void *dst, int c, size_t n)
{
	uint64_t pattern = (uint8_t)c * 0x0101010101010101ull;
	size_t words = n / WORD, bytes = n % WORD;
	void *at = dst;

	__asm__ volatile("rep stosq\n\t"
			 "movq %2, %1\n\t"
			 "rep stosb"
			 : "+&D"(at), "+&c"(words)
			 : "r"(bytes), "a"(pattern)
			 : "memory");
	return dst;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *p = a, *q = b;

	for (size_t i = 0; i < n; i++) {
		if (p[i] != q[i])
			return p[i] - q[i];
	}
	return 0;
}

void *memchr(const void *s, int c, size_t n)
{
	const uint8_t *p = s;

	for (size_t i = 0; i < n; i++) {
		if (p[i] == (uint8_t)c)
			return (void *)(uintptr_t)(p + i);
	}
	return NULL;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

size_t strnlen(const char *s, size_t max)
{
	size_t n = 0;

	while (n < max && s[n])
		n++;
	return n;
}

int strcmp(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return (uint8_t)*a - (uint8_t)*b;
}

int strncmp(const char *a, const char *b, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (a[i] != b[i] || !a[i])
			return (uint8_t)a[i] - (uint8_t)b[i];
	}
	return 0;
}

char *strchr(const char *s, int c)
{
	for (;; s++) {
		if (*s == (char)c)
			return (char *)(uintptr_t)s;
		if (!*s)
			return NULL;
	}
}

bool tf_strncpy(char *dst, const char *src, size_t n, size_t size)
{
	size_t len = strnlen(src, n), take = MIN(len, size - 1);

	memcpy(dst, src, take);
	dst[take] = '\0';
	return take == len;
}

bool tf_strcpy(char *dst, const char *src, size_t size)
{
	return tf_strncpy(dst, src, SIZE_MAX, size);
}
