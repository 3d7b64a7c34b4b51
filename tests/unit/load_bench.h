/* What the loaders' tests share: a kernel's file, guest RAM to load it into, and the outcome. After <cmocka.h>. */
#pragma once
#include "fake_ram.h"
#include <string.h>

struct fixture {
	struct fake_ram ram;
	uint8_t *file;
	struct load_request req;
	struct load_entry out;
	const char *why;
	uint64_t tag; /* end of the Multiboot2 tags */
};

static uint32_t get32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return v; }
static uint64_t get64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return v; }
static void put16(uint8_t *p, uint16_t v) { memcpy(p, &v, 2); }
static void put32(uint8_t *p, uint32_t v) { memcpy(p, &v, 4); }
static void put64(uint8_t *p, uint64_t v) { memcpy(p, &v, 8); }

static int teardown(void **state)
{
	struct fixture *f = *state;

	fake_ram_free(&f->ram);
	free(f->file);
	free(f);
	return 0;
}

static uint8_t *at(struct fixture *f, uint64_t gpa, uint64_t len)
{
	uint8_t *p = fake_at(&f->ram, GPA(gpa), len);

	assert_non_null(p);
	return p;
}

static void refused(struct fixture *f, enum tf_err e, const char *word)
{
	assert_int_equal(load_kernel(&f->req, &f->out, &f->why), e);
	assert_non_null(f->why);
	if (!strstr(f->why, word))
		fail_msg("\"%s\" does not say \"%s\"", f->why, word);
}

static void loads(struct fixture *f)
{
	if (load_kernel(&f->req, &f->out, &f->why) != TF_OK)
		fail_msg("refused: %s", f->why);
	assert_null(f->why);
}
