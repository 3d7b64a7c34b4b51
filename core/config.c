/* trefoil.conf: sections, and which keys they have had. The keys are in config_keys.c. */
#include "core/config.h"
#include "core/config_keys.h"
#include "lib/ini.h"
#include <tf/string.h>

#define NAME_EXPECTED "[vm NAME], the name of a-z, 0-9 and '-', shorter than " TEXT_OF(VM_NAME_MAX) ", and not \"log\""
#define SLICE_US 5000 /* the default */

enum section { SECTION_NONE, SECTION_SKIP, SECTION_TREFOIL, SECTION_VM };

struct parser {
	struct config *out;
	const struct config_report *report;
	enum section section;
	struct vm_config *vm;     /* SECTION_VM: the one being filled, at out->vms[out->nvms] */
	unsigned vm_line;
	bool vm_bad;
	uint32_t vm_seen, global_seen; /* bit per key of the table */
	unsigned focus_line;
};

/* Reports; a VM in which something is wrong is not taken. */
static void refuse(struct parser *p, unsigned line, const char *key, const char *expected)
{
	bool in_vm = p->section == SECTION_VM;

	p->report->error(p->report->ctx, line, in_vm ? p->vm->name : "", key, expected);
	if (in_vm)
		p->vm_bad = true;
}

static bool vm_name_ok(const char *name)
{
	size_t n = strlen(name);

	if (!n || n >= VM_NAME_MAX || name[0] == '-' || !strcmp(name, LOG_NAME))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!((name[i] >= 'a' && name[i] <= 'z') || (name[i] >= '0' && name[i] <= '9') || name[i] == '-'))
			return false;
	}
	return true;
}

static const struct vm_config *find_vm(const struct config *c, const char *name)
{
	for (uint32_t i = 0; i < c->nvms; i++) {
		if (!strcmp(c->vms[i].name, name))
			return &c->vms[i];
	}
	return NULL;
}

/* What the scheduler is asked for must not contradict itself. */
static void check_shares(struct parser *p)
{
	const struct vm_config *vm = p->vm;

	if (vm->cap && vm->reservation > vm->cap)
		refuse(p, p->vm_line, "reservation", "at most cap: more than that its vCPUs never get");
	if (vm->core == VM_CORE_DEDICATED && vm->cap)
		refuse(p, p->vm_line, "cap", "only with core = shared: nobody else could use what is left of a dedicated core");
	if (vm->core == VM_CORE_DEDICATED && vm->reservation)
		refuse(p, p->vm_line, "reservation", "only with core = shared: a dedicated core is reserved altogether");
}

static void finish_vm(struct parser *p)
{
	if (p->section != SECTION_VM)
		return;
	for (size_t i = 0; i < config_vm_keys.n; i++) {
		if (config_vm_keys.key[i].required && !(p->vm_seen & BIT(i)))
			refuse(p, p->vm_line, config_vm_keys.key[i].name, "this key is required");
	}
	if (p->vm->kind == VM_LINUX && p->vm->nmodules)
		refuse(p, p->vm_line, "module", "only with kind = multiboot or multiboot2; Linux takes an initrd");
	if ((p->vm->kind == VM_MULTIBOOT || p->vm->kind == VM_MULTIBOOT2) && p->vm->initrd[0])
		refuse(p, p->vm_line, "initrd", "only with kind = linux; multiboot kernels take modules");
	check_shares(p);
	if (!p->vm_bad)
		p->out->nvms++;
	p->section = SECTION_SKIP;
}

static void begin_vm(struct parser *p, const struct ini_event *ev)
{
	if (!vm_name_ok(ev->value)) {
		refuse(p, ev->line, "", NAME_EXPECTED);
		return;
	}
	if (p->out->nvms == CONFIG_MAX_VMS) {
		refuse(p, ev->line, "", "at most " TEXT_OF(CONFIG_MAX_VMS) " VMs");
		return;
	}
	p->vm = &p->out->vms[p->out->nvms];
	memset(p->vm, 0, sizeof(*p->vm));
	(void)tf_strcpy(p->vm->name, ev->value, sizeof(p->vm->name));
	p->vm->vcpus = 1;
	p->vm->weight = VM_WEIGHT_DEFAULT;
	p->vm->hypervisor = VM_HYPERVISOR_ON;
	p->vm->autostart = p->vm->apicv = true;
	p->vm_line = ev->line;
	p->vm_seen = 0;
	p->vm_bad = false;
	p->section = SECTION_VM;
	if (find_vm(p->out, ev->value))
		refuse(p, ev->line, "", "a name that no other VM has");
}

static void begin_section(struct parser *p, const struct ini_event *ev)
{
	finish_vm(p);
	p->section = SECTION_SKIP;
	if (!strcmp(ev->name, "vm"))
		begin_vm(p, ev);
	else if (!strcmp(ev->name, "trefoil") && !ev->value[0])
		p->section = SECTION_TREFOIL;
	else
		refuse(p, ev->line, "", "[trefoil] or [vm NAME]");
}

static void set_key(struct parser *p, const struct ini_event *ev, void *obj, const struct config_keys *keys,
		    uint32_t *seen)
{
	for (size_t i = 0; i < keys->n; i++) {
		const struct config_key *k = &keys->key[i];

		if (strcmp(k->name, ev->name))
			continue;
		if ((*seen & BIT(i)) && !k->repeatable)
			refuse(p, ev->line, ev->name, "this key only once");
		else if (!k->set(obj, k, ev->value))
			refuse(p, ev->line, ev->name, k->expected);
		*seen |= (uint32_t)BIT(i);
		return;
	}
	refuse(p, ev->line, ev->name, "a key that docs/trefoil.conf.md lists for this section");
}

static void take_key(struct parser *p, const struct ini_event *ev)
{
	switch (p->section) {
	case SECTION_NONE:
		refuse(p, ev->line, ev->name, "[trefoil] or [vm NAME] before the first key");
		break;
	case SECTION_TREFOIL:
		if (!strcmp(ev->name, "focus"))
			p->focus_line = ev->line;
		set_key(p, ev, p->out, &config_global_keys, &p->global_seen);
		break;
	case SECTION_VM:
		set_key(p, ev, p->vm, &config_vm_keys, &p->vm_seen);
		break;
	case SECTION_SKIP: /* its header was refused, which is enough said */
		break;
	}
}

static void take_error(struct parser *p, const struct ini_event *ev)
{
	/* A broken header ends the section before it: its keys must not be taken for that section's. */
	if (ev->name[0] == '[') {
		finish_vm(p);
		p->section = SECTION_SKIP;
		refuse(p, ev->line, "", ev->value);
	} else if (p->section != SECTION_SKIP) {
		refuse(p, ev->line, ev->name, ev->value);
	}
}

enum tf_err config_parse(const char *text, size_t len, struct config *out, const struct config_report *report)
{
	struct parser p = { .out = out, .report = report };
	struct ini_event ev;
	struct ini ini;

	memset(out, 0, sizeof(*out));
	out->slice_us = SLICE_US;
	out->mitigations = out->screen = true;
	ini_init(&ini, text, len);
	do {
		ini_next(&ini, &ev);
		switch (ev.kind) {
		case INI_SECTION:
			begin_section(&p, &ev);
			break;
		case INI_KEY:
			take_key(&p, &ev);
			break;
		case INI_ERROR:
			take_error(&p, &ev);
			break;
		case INI_END:
			finish_vm(&p);
			break;
		}
	} while (ev.kind != INI_END);

	p.section = SECTION_NONE;
	if (out->focus[0] && strcmp(out->focus, LOG_NAME) && !find_vm(out, out->focus)) {
		refuse(&p, p.focus_line, "focus", "the name of a VM that can start, or \"" LOG_NAME "\"");
		out->focus[0] = '\0';
	}
	if (!out->nvms) {
		refuse(&p, 0, "", "at least one VM without errors");
		return TF_EINVAL;
	}
	return TF_OK;
}
