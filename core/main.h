/* The hypervisor's start, after boot/ has made sense of the boot loader. */
#pragma once
#include <tf/bootinfo.h>

__noreturn void core_main(const struct boot_info *bi);
#ifdef TF_TEST_HOOKS
/* First of all: tests/hooks/command.c. */
void test_hook_boot(const struct boot_info *bi);
#endif
