/*
 * Who runs, and for how long. One run queue per CPU; vCPUs are switched on VM exits.
 *
 * Start-time fair queuing (Goyal, Guo, Vin: OSDI 1996) in the form that BVT and EEVDF share: each vCPU has a virtual
 * time that advances by the time it ran over its weight, and the lowest runs next, for a slice. A vCPU that wakes is
 * placed at most one slice behind the others, so that it runs soon and sleeping earns nothing more.
 */
#pragma once
#include "guest/vcpu.h"

#define SCHED_MAX_VCPUS 256

/* Sets up this CPU's queue. */
void sched_init_cpu(uint64_t slice_us);
/* Makes a vCPU known to the scheduler of this CPU; it does not run before it is woken. */
void sched_add(struct vcpu *v);
/* The hooks that the guest layer calls. */
extern const struct vm_host sched_vm_host;
/* Makes the running vCPU come back at once, so that `work` of sched_run() is done. From any interrupt handler. */
void sched_poke(void);
/*
 * Runs vCPUs for ever. `work` is called between runs, with interrupts off. It returns the TSC time at which it wants to be
 * called again at the latest, DEV_NEVER if it has no wish.
 */
__noreturn void sched_run(uint64_t (*work)(void));
/* `work` has a new wish: to be called at `tsc`. */
void sched_work_at(uint64_t tsc);
/* A vCPU's VM has stopped; called from sched_run. Implemented in core/vmm.c. */
void vmm_stopped(struct vm *vm);
/* Called when TIMER_RESTART, which it armed, is due. */
void vmm_restart_due(struct vm *vm);
/* TSC ticks that this CPU has spent without a vCPU to run. */
uint64_t sched_idle_ticks(void);
