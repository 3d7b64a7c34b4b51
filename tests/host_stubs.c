/* What pure code expects from the hypervisor, for host tests. A test may define its own tf_assert_fail. */
#include <stdio.h>
#include <stdlib.h>
#include <tf/assert.h>

void tf_assert_fail(const char *expr, const char *file, int line)
{
	fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, expr);
	abort();
}
