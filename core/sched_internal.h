/* What core/sched.c and core/admit.c share. */
#pragma once
#include "core/runq.h"
#include <tf/err.h>

struct vcpu;

struct sched_vcpu {
	struct runq_entity e; /* v->sched */
	struct vcpu *v;
	struct sched_vcpu *next;
	uint64_t inside;      /* percent that are reserved by those that may run only where it may, too */
};

extern struct runqs sched_queues;
/* Room in all CPUs' queues for `n` vCPUs. TF_ENOMEM. */
__must_check enum tf_err sched_make_room(uint32_t n);
