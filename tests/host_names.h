/*
 * Included by the compiler (-include) before lib/string.c in host builds, so that our own versions of libc's functions
 * live beside libc's and can be tested, and by the test, which needs their prototypes.
 */
#pragma once
#include <stddef.h>

void *tf_host_memcpy(void *restrict dst, const void *restrict src, size_t n);
void *tf_host_memmove(void *dst, const void *src, size_t n);
void *tf_host_memset(void *dst, int c, size_t n);
int tf_host_memcmp(const void *a, const void *b, size_t n);
void *tf_host_memchr(const void *s, int c, size_t n);
size_t tf_host_strlen(const char *s);
size_t tf_host_strnlen(const char *s, size_t max);
int tf_host_strcmp(const char *a, const char *b);
int tf_host_strncmp(const char *a, const char *b, size_t n);
char *tf_host_strchr(const char *s, int c);

#ifdef TF_HOST_RENAME
#define memcpy  tf_host_memcpy
#define memmove tf_host_memmove
#define memset  tf_host_memset
#define memcmp  tf_host_memcmp
#define memchr  tf_host_memchr
#define strlen  tf_host_strlen
#define strnlen tf_host_strnlen
#define strcmp  tf_host_strcmp
#define strncmp tf_host_strncmp
#define strchr  tf_host_strchr
#endif
