/*
 * `break_vmcs = ENCODING:VALUE ...` in a VM's section: the fields are written to the VMCS before the VM's first entry.
 * Logs what vmx_check says before the CPU has its turn, so that a rule that is wrong shows too.
 */
#include "guest/exit.h"
#include "vmx/check.h"
#include <tf/assert.h>
#include <tf/log.h>
#include <tf/string.h>

#define NUMBER_MAX 24

/* A number that ends at `end`; returns what is behind it. */
static const char *take_number(const char *s, char end, uint64_t *out)
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

void test_hook_before_entry(struct vcpu *v)
{
	char *list = v->vm->cfg.break_vmcs;
	struct vmx_broken b;

	if (!*list)
		return;
	for (const char *s = list; *s;) {
		uint64_t field, value;

		s = take_number(s, ':', &field);
		s = take_number(s, ' ', &value);
		vmcs_vmwrite((uint32_t)field, value, __func__);
	}
	log_info("test", "vm=%s event=vmcs-broken fields=%s", v->vm->cfg.name, list);
	*list = '\0';
	if (vmx_check_current(&b))
		log_info("test", "vm=%s event=vmcs-check rule=none", v->vm->cfg.name);
	else
		log_info("test", "vm=%s event=vmcs-check field=%04x rule=%s", v->vm->cfg.name, b.field, b.rule);
}
