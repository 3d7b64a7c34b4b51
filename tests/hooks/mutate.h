/* What tests/hooks/break_vmcs.c calls. */
#pragma once
#include "guest/vm.h"

void test_hook_mutate(struct vcpu *v);
/* A number that ends at `end`; returns what is behind it. */
const char *test_hook_number(const char *s, char end, uint64_t *out);
