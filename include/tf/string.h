/* The C library's memory and string functions that freestanding code needs. On the host, libc's own are used. */
#pragma once
#include <stdarg.h>
#include <tf/err.h>

void *memcpy(void *restrict dst, const void *restrict src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
void *memchr(const void *s, int c, size_t n);
size_t strlen(const char *s);
size_t strnlen(const char *s, size_t max);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, int c);

/* Copies at most size - 1 bytes and always terminates; returns false if `src` was cut. size must not be 0. */
bool tf_strcpy(char *dst, const char *src, size_t size);
/* The same for `n` bytes that are not terminated (stops at a NUL inside). */
bool tf_strncpy(char *dst, const char *src, size_t n, size_t size);

/*
 * Decimal, or hexadecimal after "0x"; with an optional suffix K, M or G (powers of 1024) if `suffix`.
 * The whole string must be the number. TF_EINVAL or TF_ERANGE otherwise, and *out is untouched.
 */
__must_check enum tf_err tf_parse_u64(const char *s, bool suffix, uint64_t *out);

/*
 * %d %i %u %x %X %c %s %p %% with flags `-`, `0`, width and precision (numbers or `*`), sizes hh h l ll z j.
 * Same result as C's: the length that the whole text would have; always terminates if size > 0.
 */
int tf_vsnprintf(char *buf, size_t size, const char *fmt, va_list ap) __printf(3, 0);
int tf_snprintf(char *buf, size_t size, const char *fmt, ...) __printf(3, 4);
