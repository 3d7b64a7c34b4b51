/* Boot information, built byte by byte from the specification, and handed to the parser. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "boot/multiboot2.h"

#define ROOM 65536

static uint8_t info[ROOM];
static size_t at;
static struct boot_info out;

static inline void put(const void *bytes, size_t n) { memcpy(info + at, bytes, n); at += n; }
static inline void put32(uint32_t v) { put(&v, sizeof(v)); }
static inline void put64(uint64_t v) { put(&v, sizeof(v)); }

static inline void begin(void)
{
	memset(info, 0xaa, sizeof(info));
	at = 8;
}

static inline void tag(uint32_t type, const void *body, uint32_t n)
{
	put32(type);
	put32(8 + n);
	put(body, n);
	at = (at + 7) & ~(size_t)7;
}

static inline void tag_string(uint32_t type, const char *s) { tag(type, s, (uint32_t)strlen(s) + 1); }

static inline void tag_module(uint32_t start, uint32_t end, const char *s)
{
	uint8_t body[1024];
	uint32_t n = (uint32_t)strlen(s) + 1;

	memcpy(body, &start, 4);
	memcpy(body + 4, &end, 4);
	memcpy(body + 8, s, n);
	tag(3, body, 8 + n);
}

struct entry { uint64_t base, len; uint32_t type; };

static inline void tag_mmap(const struct entry *e, uint32_t n, uint32_t entry_size)
{
	put32(6);
	put32(16 + n * entry_size);
	put32(entry_size);
	put32(0);
	for (uint32_t i = 0; i < n; i++) {
		size_t start = at;

		put64(e[i].base);
		put64(e[i].len);
		put32(e[i].type);
		at = start + entry_size;
	}
}

__attribute__((unused)) static const struct entry one_range = { 0x100000, 0x7f00000, 1 };

static inline void end(void)
{
	uint32_t head[2];

	tag(0, "", 0);
	head[0] = (uint32_t)at;
	head[1] = 0;
	memcpy(info, head, sizeof(head));
}

/* Parses a copy of exactly `len` bytes, so that a read beyond is caught. */
static inline enum tf_err parse_n(size_t len, const char **why)
{
	uint8_t *copy = malloc(len ? len : 1);
	enum tf_err e;

	assert_non_null(copy);
	memcpy(copy, info, len);
	memset(&out, 0xee, sizeof(out));
	*why = "not set";
	e = multiboot2_parse(copy, len, &out, why);
	free(copy);
	assert_true((e == TF_OK) == (*why == NULL));
	return e;
}

static inline enum tf_err parse(void)
{
	const char *why;

	return parse_n(at, &why);
}

static inline void refused_for(const char *part)
{
	const char *why;

	assert_int_equal(parse_n(at, &why), TF_EINVAL);
	if (!strstr(why, part))
		fail_msg("refused for \"%s\", not for \"%s\"", why, part);
}
