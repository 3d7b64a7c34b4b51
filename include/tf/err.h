/* The one error enumeration. A function that can fail returns it, and the compiler checks that it is looked at. */
#pragma once
#include <tf/types.h>

enum tf_err {
	TF_OK = 0,
	TF_EINVAL,  /* an argument or an input byte is wrong */
	TF_ENOMEM,  /* no frame, no slot, no room in a buffer */
	TF_ENODEV,  /* the hardware does not have it */
	TF_ENOENT,  /* no such thing */
	TF_EEXIST,  /* there already */
	TF_ERANGE,  /* outside the permitted range */
	TF_ETRUNC,  /* the input ends too early */
	TF_ECSUM,   /* a checksum does not match */
	TF_ENOTSUP, /* understood, and not supported */
	TF_EFAULT,  /* an address that cannot be reached */
	TF_EIO,     /* the device or a VMX instruction failed */
	TF_EAGAIN,  /* it has changed meanwhile */
};

/* A short lower-case name of `e` for a log line ("truncated", "no-memory"...). Never NULL. */
const char *tf_strerror(enum tf_err e);
