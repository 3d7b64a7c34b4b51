/* trefoil.conf: one table of keys per section kind says everything about a key, the rest is bookkeeping. */
#include "core/config.h"
#include "lib/ini.h"
#include <tf/string.h>

#define TEXT_OF(n)    TEXT_OF_(n)
#define TEXT_OF_(n)   #n
#define SLICE_US_MIN  100
#define SLICE_US_MAX  100000
#define SLICE_US      5000
#define SERIAL_PORT_MIN 0x100 /* below are the board's own devices */
#define SERIAL_PORT_MAX 0xfff8
#define WEIGHT_MAX    10000
#define WATCHDOG_MS_MIN 100
#define WATCHDOG_MS_MAX 86400000
#define WATCHDOG_TEXT_MAX 16
#define WORDS_MAX     6
#define NAME_EXPECTED "[vm NAME], the name of a-z, 0-9 and '-', shorter than " TEXT_OF(VM_NAME_MAX) ", and not \"log\""
#define LOG_NAME      "log" /* what focus calls the hypervisor's log */

enum section { SECTION_NONE, SECTION_SKIP, SECTION_TREFOIL, SECTION_VM };

struct key {
	const char *name, *expected;
	bool (*set)(void *obj, const struct key *k, const char *value);
	size_t at;          /* offset in the object, which is a struct vm_config or a struct config */
	size_t size;        /* of text */
	uint32_t min, max;  /* of numbers */
	const char *words[WORDS_MAX]; /* of choices */
	bool required, repeatable;
};

/* Setters: false if the value is not what is expected. */

static void *field(void *obj, const struct key *k)
{
	return (uint8_t *)obj + k->at;
}

static bool set_text(void *obj, const struct key *k, const char *value)
{
	return strlen(value) < k->size && tf_strcpy(field(obj, k), value, k->size);
}

/* The name of a boot module: GRUB's module string ends it at the first blank. */
static bool set_module_name(void *obj, const struct key *k, const char *value)
{
	return value[0] && !strchr(value, ' ') && !strchr(value, '\t') && set_text(obj, k, value);
}

static bool set_module(void *obj, const struct key *k, const char *value)
{
	struct vm_config *vm = obj;

	(void)k;
	return value[0] && vm->nmodules < VM_MAX_MODULES &&
	       tf_strcpy(vm->modules[vm->nmodules++], value, VM_PATH_MAX);
}

static bool find_word(const struct key *k, const char *value, uint32_t *index)
{
	for (uint32_t i = 0; i < WORDS_MAX && k->words[i]; i++) {
		if (!strcmp(k->words[i], value)) {
			*index = i;
			return true;
		}
	}
	return false;
}

static bool set_choice(void *obj, const struct key *k, const char *value)
{
	uint32_t index;

	if (!find_word(k, value, &index))
		return false;
	memcpy(field(obj, k), &index, sizeof(index));
	return true;
}

/* Words in pairs: what is false, what is true. */
static bool set_flag(void *obj, const struct key *k, const char *value)
{
	uint32_t index;

	if (!find_word(k, value, &index))
		return false;
	*(bool *)field(obj, k) = index % 2;
	return true;
}

static bool set_u32(void *obj, const struct key *k, const char *value)
{
	uint32_t v32;
	uint64_t v;

	if (tf_parse_u64(value, false, &v) != TF_OK || v < k->min || v > k->max)
		return false;
	v32 = (uint32_t)v;
	memcpy(field(obj, k), &v32, sizeof(v32));
	return true;
}

static bool set_memory(void *obj, const struct key *k, const char *value)
{
	uint64_t v;

	if (tf_parse_u64(value, true, &v) != TF_OK || v < VM_MEMORY_MIN || v > VM_MEMORY_MAX ||
	    !IS_ALIGNED(v, PAGE_SIZE))
		return false;
	memcpy(field(obj, k), &v, sizeof(v));
	return true;
}

/* A time with its unit, or off. */
static bool set_watchdog(void *obj, const struct key *k, const char *value)
{
	size_t digits = 0;
	char number[WATCHDOG_TEXT_MAX];
	struct vm_config *vm = obj;
	uint64_t v, ms;

	if (!strcmp(value, "off")) {
		vm->watchdog_ms = 0;
		return true;
	}
	while (value[digits] >= '0' && value[digits] <= '9')
		digits++;
	ms = !strcmp(value + digits, "s") ? 1000 : !strcmp(value + digits, "ms") ? 1 : 0;
	if (!ms || !tf_strncpy(number, value, digits, sizeof(number)) || tf_parse_u64(number, false, &v) != TF_OK ||
	    v > k->max || v * ms < k->min || v * ms > k->max)
		return false;
	vm->watchdog_ms = (uint32_t)(v * ms);
	return true;
}

/* In the order of enum vmx_feature. */
#define DISABLE_WORDS "vpid preemption-timer tpr-shadow apicv ept-2m ept-1g ept-ad x2apic"
static const char *const disable_words[] = { "vpid", "preemption-timer", "tpr-shadow", "apicv", "ept-2m", "ept-1g",
					     "ept-ad", "x2apic" };

static bool set_disable(void *obj, const struct key *k, const char *value)
{
	struct config *c = obj;

	(void)k;
	while (*value) {
		size_t n = 0, i = 0;

		while (value[n] && value[n] != ' ' && value[n] != '\t')
			n++;
		while (i < ARRAY_SIZE(disable_words) && (strncmp(disable_words[i], value, n) || disable_words[i][n]))
			i++;
		if (n && i == ARRAY_SIZE(disable_words))
			return false;
		if (n)
			c->disable |= (uint32_t)BIT(i);
		value += value[n] ? n + 1 : n;
	}
	return true;
}

static bool set_serial(void *obj, const struct key *k, const char *value)
{
	struct config *c = obj;
	uint64_t v;

	(void)k;
	if (!strcmp(value, "auto") || !strcmp(value, "none")) {
		c->serial = value[0] == 'a' ? CONFIG_SERIAL_AUTO : CONFIG_SERIAL_NONE;
		return true;
	}
	if (tf_parse_u64(value, false, &v) != TF_OK || v < SERIAL_PORT_MIN || v > SERIAL_PORT_MAX)
		return false;
	c->serial = CONFIG_SERIAL_PORT;
	c->serial_port = (uint16_t)v;
	return true;
}

_Static_assert(sizeof(enum vm_kind) == 4 && sizeof(enum vm_console) == 4 && sizeof(enum vm_on_exit) == 4, "set_choice");
_Static_assert(VM_MEMORY_MIN == MiB(4) && VM_MEMORY_MAX == GiB(1024), "the text below says so");
_Static_assert(WATCHDOG_MS_MIN == 100 && WATCHDOG_MS_MAX == 86400 * 1000, "the text below says so");

#define BOOL_WORDS    { "off", "on", "no", "yes", "false", "true" }
#define BOOL_EXPECTED "on or off"
#define VM(f)         .at = offsetof(struct vm_config, f)
#define GLOBAL(f)     .at = offsetof(struct config, f)

static const struct key vm_keys[] = {
	{ "kind", "auto, linux, multiboot or multiboot2", set_choice, VM(kind),
	  .words = { [VM_AUTO] = "auto", [VM_LINUX] = "linux", [VM_MULTIBOOT] = "multiboot",
		     [VM_MULTIBOOT2] = "multiboot2" } },
	{ "kernel", "the name of a boot module, without blanks", set_module_name, VM(kernel), .size = VM_PATH_MAX,
	  .required = true },
	{ "initrd", "the name of a boot module, without blanks", set_module_name, VM(initrd), .size = VM_PATH_MAX },
	{ "module", "the name of a boot module and its command line, shorter than " TEXT_OF(VM_PATH_MAX)
	  " bytes, at most " TEXT_OF(VM_MAX_MODULES) " times", set_module, .repeatable = true },
	{ "cmdline", "shorter than " TEXT_OF(VM_CMDLINE_MAX) " bytes", set_text, VM(cmdline), .size = VM_CMDLINE_MAX },
	{ "memory", "4M to 1024G, a multiple of 4K, as 256M, 2G or bytes", set_memory, VM(memory), .required = true },
	{ "vcpus", "1: more than one virtual CPU is not supported yet", set_u32, VM(vcpus), .min = 1, .max = 1 },
	{ "weight", "a number from 1 to " TEXT_OF(WEIGHT_MAX), set_u32, VM(weight), .min = 1, .max = WEIGHT_MAX },
	{ "console", "mux, com2 or none", set_choice, VM(console),
	  .words = { [VM_CONSOLE_MUX] = "mux", [VM_CONSOLE_COM2] = "com2", [VM_CONSOLE_NONE] = "none" } },
	{ "on_exit", "halt or restart", set_choice, VM(on_exit),
	  .words = { [VM_ON_EXIT_HALT] = "halt", [VM_ON_EXIT_RESTART] = "restart" } },
	{ "watchdog", "off, or a time from 100ms to 86400s", set_watchdog, .min = WATCHDOG_MS_MIN, .max = WATCHDOG_MS_MAX },
	{ "autostart", BOOL_EXPECTED, set_flag, VM(autostart), .words = BOOL_WORDS },
	{ "hypervisor", BOOL_EXPECTED, set_flag, VM(hypervisor_bit), .words = BOOL_WORDS },
	{ "apicv", "auto or off", set_flag, VM(apicv), .words = { "off", "auto" } },
#ifdef TF_TEST_HOOKS
	{ "mutate", "COUNT:SEED:RUN", set_text, VM(mutate), .size = MUTATE_MAX },
	{ "break_vmcs", "ENCODING:VALUE ...", set_text, VM(break_vmcs), .size = BREAK_VMCS_MAX },
#endif
};

static const struct key global_keys[] = {
	{ "focus", "the name of a VM, or \"" LOG_NAME "\"", set_text, GLOBAL(focus), .size = VM_NAME_MAX },
	{ "show_all", BOOL_EXPECTED, set_flag, GLOBAL(show_all), .words = BOOL_WORDS },
	{ "slice_us", "a number from " TEXT_OF(SLICE_US_MIN) " to " TEXT_OF(SLICE_US_MAX), set_u32, GLOBAL(slice_us),
	  .min = SLICE_US_MIN, .max = SLICE_US_MAX },
	{ "log", "info or debug", set_flag, GLOBAL(debug), .words = { "info", "debug" } },
	{ "mitigations", "auto or off", set_flag, GLOBAL(mitigations), .words = { "off", "auto" } },
#ifdef TF_TEST_HOOKS
	{ "mitigation_flags", "a number", set_u32, GLOBAL(mitigation_flags), .max = UINT32_MAX },
#endif
	{ "disable", "words of: " DISABLE_WORDS, set_disable, .at = 0 },
	{ "serial", "auto, none, or an I/O port as 0x3f8", set_serial, .at = 0 },
	{ "screen", BOOL_EXPECTED, set_flag, GLOBAL(screen), .words = BOOL_WORDS },
	{ "poweroff", BOOL_EXPECTED, set_flag, GLOBAL(poweroff), .words = BOOL_WORDS },
};

_Static_assert(ARRAY_SIZE(vm_keys) <= 32 && ARRAY_SIZE(global_keys) <= 32, "one bit each in a mask of keys seen");

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

static void finish_vm(struct parser *p)
{
	if (p->section != SECTION_VM)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(vm_keys); i++) {
		if (vm_keys[i].required && !(p->vm_seen & BIT(i)))
			refuse(p, p->vm_line, vm_keys[i].name, "this key is required");
	}
	if (p->vm->kind == VM_LINUX && p->vm->nmodules)
		refuse(p, p->vm_line, "module", "only with kind = multiboot or multiboot2; Linux takes an initrd");
	if ((p->vm->kind == VM_MULTIBOOT || p->vm->kind == VM_MULTIBOOT2) && p->vm->initrd[0])
		refuse(p, p->vm_line, "initrd", "only with kind = linux; multiboot kernels take modules");
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
	p->vm->autostart = p->vm->hypervisor_bit = p->vm->apicv = true;
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

static void set_key(struct parser *p, const struct ini_event *ev, void *obj, const struct key *keys, size_t n,
		    uint32_t *seen)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(keys[i].name, ev->name))
			continue;
		if ((*seen & BIT(i)) && !keys[i].repeatable)
			refuse(p, ev->line, ev->name, "this key only once");
		else if (!keys[i].set(obj, &keys[i], ev->value))
			refuse(p, ev->line, ev->name, keys[i].expected);
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
		set_key(p, ev, p->out, global_keys, ARRAY_SIZE(global_keys), &p->global_seen);
		break;
	case SECTION_VM:
		set_key(p, ev, p->vm, vm_keys, ARRAY_SIZE(vm_keys), &p->vm_seen);
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
