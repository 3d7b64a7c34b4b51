/*
 * Who runs, where, and for how long: core/runq.h decides, this does it. One run queue per CPU; vCPUs are switched on VM
 * exits.
 *
 * Borrowed virtual time (Duda and Cheriton, SOSP 1999), with its form for several CPUs: each vCPU has a virtual time that
 * advances by the time it ran over its weight, and the lowest runs next, for a slice. A vCPU that wakes is placed at most one
 * slice behind the others, so that it runs soon and sleeping earns nothing more; one with `latency = low` may be ahead of its
 * time for a while, which it pays for. The virtual times of all CPUs can be compared, so that a CPU can see that another's
 * vCPU is due before its own: it takes that, if it is so by more than a slice, which is about what moving costs. What made us
 * choose it is that a decision needs one number for each vCPU and that the same number serves shares, latency and moving;
 * docs/scheduling.md has the bounds.
 */
#pragma once
#include "guest/vcpu.h"
#include "guest/vmconfig.h"

/* Sets up this CPU's queue. The boot CPU is the first. */
__must_check enum tf_err sched_init_cpu(uint64_t slice_us);
/* Can a VM with this configuration have what it asks for? If not, *key is the configuration's, and *why says it. */
__must_check enum tf_err sched_admit(const struct vm_config *cfg, const char **key, const char **why);
/* Makes a vCPU known, and gives it a home; it does not run before it is woken. Its VM was admitted. */
void sched_add(struct vcpu *v);
/* The hooks that the guest layer calls. */
extern const struct vm_host sched_vm_host;
/* Makes the boot CPU do `work` of sched_run() soon. From any CPU and any interrupt handler. */
void sched_poke(void);
/*
 * Runs vCPUs for ever. `work`, the boot CPU's alone, is called between runs, with interrupts off. It returns the TSC time at
 * which it wants to be called again at the latest, DEV_NEVER if it has no wish.
 */
__noreturn void sched_run(uint64_t (*work)(void));
/* All CPUs end the runs in progress soon. */
void sched_end_runs(void);
/* `work` has a new wish: to be called at `tsc`. From any CPU. */
void sched_work_at(uint64_t tsc);
/* A VM has stopped; from any CPU. Implemented in core/vmm.c. */
void vmm_stopped(struct vm *vm);
/* REQ_CONSOLE: see guest/vm.h. */
void vmm_console(struct vm *vm);
/* Called when TIMER_RESTART, which it armed, is due. */
void vmm_restart_due(struct vm *vm);
/* TSC ticks that a CPU has spent without a vCPU to run. */
uint64_t sched_idle_ticks(uint32_t cpu);
