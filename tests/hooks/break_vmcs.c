/*
 * `break_vmcs = ENCODING:VALUE ...` in a VM's section: the fields are written to the VMCS before the VM's first entry.
 * Logs what vmx_check says before the CPU has its turn, so that a rule that is wrong shows too. The encoding TRAP, which
 * no field has, stands for an NMI or a machine check of the machine's at this moment.
 */
#include "arch/x86_64/cpu.h"
#include "guest/exit.h"
#include "tests/hooks/faults.h"
#include "tests/hooks/mutate.h"
#include "vmx/check.h"
#include <tf/assert.h>
#include <tf/log.h>
#include <tf/string.h>
#include <tf/x86.h>

#define NUMBER_MAX 24
#define TRAP       0xffff

const char *test_hook_number(const char *s, char end, uint64_t *out)
{
	const char *stop = strchr(s, end);
	size_t n = stop ? (size_t)(stop - s) : strlen(s);
	char text[NUMBER_MAX];

	bool fits = tf_strncpy(text, s, n, sizeof(text));
	ASSERT(fits);
	enum tf_err e = tf_parse_u64(text, false, out);
	ASSERT(e == TF_OK);
	return stop ? stop + 1 : s + n;
}

/* A guest that uses IA32_SPEC_CTRL must not leave its value to the hypervisor. */
static void check_spec_ctrl(const struct vcpu *v)
{
	if (v->vmx.spec_ctrl_native && rdmsr(MSR_IA32_SPEC_CTRL) != v->vmx.host_spec_ctrl)
		log_error("test", "vm=%s event=spec-ctrl-leaked", v->vm->cfg.name);
}

void test_hook_before_entry(struct vcpu *v)
{
	char *list = v->vm->cfg.break_vmcs;
	struct vmx_broken b;

	faults_before_entry();
	check_spec_ctrl(v);
	test_hook_mutate(v);
	if (!*list)
		return;
	for (const char *s = list; *s;) {
		uint64_t field, value;

		s = test_hook_number(s, ':', &field);
		s = test_hook_number(s, ' ', &value);
		if (field == TRAP && value == VEC_NMI)
			__asm__ volatile("int $2" : : : "memory");
		else if (field == TRAP)
			__asm__ volatile("int $18" : : : "memory");
		else
			vmcs_vmwrite((uint32_t)field, value);
	}
	log_info("test", "vm=%s event=vmcs-broken fields=%s", v->vm->cfg.name, list);
	*list = '\0';
	if (vmx_check_current(&b))
		log_info("test", "vm=%s event=vmcs-check rule=none", v->vm->cfg.name);
	else
		log_info("test", "vm=%s event=vmcs-check field=%04x rule=%s", v->vm->cfg.name, b.field, b.rule);
}
