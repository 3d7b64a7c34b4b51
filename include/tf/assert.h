/* ASSERT is for the hypervisor's own bugs and stays in release builds; a guest's mistake is refused, never asserted. */
#pragma once
#include <tf/types.h>

/* Reports the failed assertion and stops the machine (the process, in a host test). */
__noreturn void tf_assert_fail(const char *expr, const char *file, int line);

#define ASSERT(x) do { if (unlikely(!(x))) tf_assert_fail(#x, __FILE__, __LINE__); } while (0)
