/*
 * For a test that provokes an ASSERT. Takes the place of the tf_assert_fail() in tests/host_stubs.c, and so is included by
 * one file of a program. After <cmocka.h>.
 */
#pragma once
#include <setjmp.h>
#include <stdlib.h>
#include <tf/assert.h>

static jmp_buf assert_env;
static bool assert_expected;

void tf_assert_fail(const char *expr, const char *file, int line)
{
	if (assert_expected)
		longjmp(assert_env, 1);
	print_error("%s:%d: %s\n", file, line, expr);
	abort();
}

/* Does the statement end in a failed assertion? */
#define ASSERTS(statement) ({ \
	bool caught_ = true; \
	assert_expected = true; \
	if (!setjmp(assert_env)) { \
		statement; \
		caught_ = false; \
	} \
	assert_expected = false; \
	caught_; \
})
