/* Names of errors for people. */
#include <tf/err.h>

static const char *const names[] = {
	[TF_OK] = "ok",
	[TF_EINVAL] = "invalid",
	[TF_ENOMEM] = "no-memory",
	[TF_ENODEV] = "no-device",
	[TF_ENOENT] = "not-found",
	[TF_EEXIST] = "exists",
	[TF_ERANGE] = "out-of-range",
	[TF_ETRUNC] = "truncated",
	[TF_ECSUM] = "bad-checksum",
	[TF_ENOTSUP] = "not-supported",
	[TF_EFAULT] = "bad-address",
	[TF_EIO] = "io-error",
	[TF_EAGAIN] = "changed-meanwhile",
};

const char *tf_strerror(enum tf_err e)
{
	unsigned i = (unsigned)e;

	return i < ARRAY_SIZE(names) && names[i] ? names[i] : "unknown";
}
