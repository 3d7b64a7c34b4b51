/* Tests on the machine of tests/vtx: a guest in some mode, one exit, and what it has led to. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "arch/x86_64/cpu.h"
#include "tests/vtx/machine.h"

#define FAULT(vector)       (INTR_VALID | INTR_TYPE_HW | (vector))
#define FAULT_ERROR(vector) (FAULT(vector) | INTR_ERROR_CODE)

static struct run_limit limit;
static uint32_t reason;

/* One exit, then the time is up. */
static inline uint32_t one_exit(struct machine *m)
{
	(void)m;
	limit.end = limit.until = 0;
	return reason;
}

static inline void start(enum machine_mode mode)
{
	machine_init(MACHINE_VPID);
	machine_mode(mode);
	machine.run = one_exit;
}

static inline void exit_with(uint32_t kind, uint64_t qualification)
{
	reason = kind;
	limit.end = limit.until = UINT64_MAX;
	CPU_SET(VMCS_EXIT_QUALIFICATION, qualification);
	CPU_SET(VMCS_EXIT_INSN_LEN, 2);
	assert_int_equal(vcpu_run(machine.v, &limit), RUN_EXPIRED);
}

static inline void assert_fault(uint32_t info, uint32_t error)
{
	assert_int_equal(machine.v->vmx.pending_event, info);
	assert_int_equal(machine.v->vmx.pending_error, error);
	assert_int_equal(CPU_GET(VMCS_GUEST_RIP), AT_CODE);
	assert_true(CPU_GET(VMCS_GUEST_RFLAGS) & RFLAGS_RF);
}

static inline int end(void **state)
{
	(void)state;
	machine_free();
	return 0;
}
