/* A vCPU's x87, SSE, AVX and AVX-512 state, switched whole (SDM 1, "Managing State Using the XSAVE Feature Set"). */
#pragma once
#include <tf/err.h>

struct vcpu;
/* What this CPU can save; once, before the first vCPU. The hypervisor itself uses none of it. */
void fpu_init(void);
/* Prepares this CPU. */
void fpu_init_cpu(void);
__must_check enum tf_err fpu_create(struct vcpu *v);
void fpu_destroy(struct vcpu *v);
/* Of the frames that hold the state of one vCPU. */
unsigned fpu_order(void);
/* The state after reset. */
void fpu_reset(struct vcpu *v);
void fpu_save(struct vcpu *v);
void fpu_restore(struct vcpu *v);
