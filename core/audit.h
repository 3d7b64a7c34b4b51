/*
 * Proves, while guests run, who can reach what: every EPT and the hypervisor's own page tables are read as the CPU reads
 * them, and each frame is looked up among all that are known to belong to someone. docs/isolation.md says what is proved.
 */
#pragma once
#include <tf/bootinfo.h>

/* The boot information stays the caller's. */
void audit_init(const struct boot_info *bi);
/* Asks for an audit; from anywhere. */
void audit_request(void);
/* One piece of it, a VM's or the host's; part of the `work` of sched_run(). Returns when it wants to go on, as `work` does. */
uint64_t audit_work(void);
#ifdef TF_TEST_HOOKS
/* All of it at once; how much is wrong. */
uint64_t audit_now(void);
/* Before each audit: tests/hooks/plant.c. */
void test_hook_before_audit(void);
#endif
