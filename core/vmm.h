/* The life of the VMs: created from the configuration, started, stopped, restarted. */
#pragma once
#include "core/config.h"
#include "guest/vm.h"
#include <tf/bootinfo.h>

/* VMM_AGAIN: it has waited for long enough before its restart. */
enum vmm_request { VMM_START = 1, VMM_STOP = 2, VMM_RESTART = 4, VMM_AGAIN = 8 };

/* Creates every VM of the configuration whose files are among the boot modules; a VM that fails is reported and left out. */
void vmm_create_all(const struct config *cfg, const struct boot_info *bi);
/* Asks for something to be done with a VM, outside of any lock. From any CPU; done by the boot CPU. */
void vmm_request(struct vm *vm, enum vmm_request what);
/* Asks for the machine to be powered off. */
void vmm_request_power_off(void);
/* Does what was asked; part of the `work` of sched_run(). */
void vmm_work(void);
uint32_t vmm_count(void);
struct vm *vmm_vm(uint32_t i);
#ifdef TF_TEST_HOOKS
/* Is this VM, which was not created in so many tries, to be tried (again)? tests/hooks/faults.c */
bool test_hook_create(const struct vm_config *cfg, uint32_t tries);
#endif
