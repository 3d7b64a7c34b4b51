/* On the host, in the place of vmx/run.h: tests/vtx/machine.c. */
#pragma once
#include "vmx/event.h"
#include "vmx/vcpu.h"

__must_check enum tf_err vmx_run(struct vmx_vcpu *v);
