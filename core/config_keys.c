/* The keys of trefoil.conf: one table per section kind says everything about a key. */
#include "core/config_keys.h"
#include <tf/string.h>

#define SLICE_US_MIN  100
#define SLICE_US_MAX  100000
#define SERIAL_PORT_MIN 0x100 /* below are the board's own devices */
#define SERIAL_PORT_MAX 0xfff8
#define WEIGHT_MAX    10000
#define WATCHDOG_MS_MIN 100
#define WATCHDOG_MS_MAX 86400000
#define WATCHDOG_TEXT_MAX 16
#define PERCENT_MAX   100
#define TRACE_KIB_MAX 65536
#define HOST_CPUS_MAX 256
#define KVM_WORD      6 /* of hypervisor, behind the truth words */

/* Setters: false if the value is not what is expected. */

static void *field(void *obj, const struct config_key *k)
{
	return (uint8_t *)obj + k->at;
}

static bool set_text(void *obj, const struct config_key *k, const char *value)
{
	return strlen(value) < k->size && tf_strcpy(field(obj, k), value, k->size);
}

/* The name of a boot module: GRUB's module string ends it at the first blank. */
static bool set_module_name(void *obj, const struct config_key *k, const char *value)
{
	return value[0] && !strchr(value, ' ') && !strchr(value, '\t') && set_text(obj, k, value);
}

static bool set_module(void *obj, const struct config_key *k, const char *value)
{
	struct vm_config *vm = obj;

	(void)k;
	return value[0] && vm->nmodules < VM_MAX_MODULES &&
	       tf_strcpy(vm->modules[vm->nmodules++], value, VM_PATH_MAX);
}

static bool find_word(const struct config_key *k, const char *value, uint32_t *index)
{
	for (uint32_t i = 0; i < CONFIG_WORDS && k->words[i]; i++) {
		if (!strcmp(k->words[i], value)) {
			*index = i;
			return true;
		}
	}
	return false;
}

static bool set_choice(void *obj, const struct config_key *k, const char *value)
{
	uint32_t index;

	if (!find_word(k, value, &index))
		return false;
	memcpy(field(obj, k), &index, sizeof(index));
	return true;
}

/* Words in pairs: what is false, what is true. */
static bool set_flag(void *obj, const struct config_key *k, const char *value)
{
	uint32_t index;

	if (!find_word(k, value, &index))
		return false;
	*(bool *)field(obj, k) = index % 2;
	return true;
}

static bool set_u32(void *obj, const struct config_key *k, const char *value)
{
	uint32_t v32;
	uint64_t v;

	if (tf_parse_u64(value, false, &v) != TF_OK || v < k->min || v > k->max)
		return false;
	v32 = (uint32_t)v;
	memcpy(field(obj, k), &v32, sizeof(v32));
	return true;
}

/* A number, or the word that stands for 0. */
static bool set_limit(void *obj, const struct config_key *k, const char *value)
{
	const uint32_t none = 0;

	if (strcmp(value, k->words[0]))
		return set_u32(obj, k, value);
	memcpy(field(obj, k), &none, sizeof(none));
	return true;
}

/* The truth words, in pairs, and behind them what else CPUID can say. */
static bool set_hypervisor(void *obj, const struct config_key *k, const char *value)
{
	struct vm_config *vm = obj;
	uint32_t index;

	if (!find_word(k, value, &index))
		return false;
	vm->hypervisor = index == KVM_WORD ? VM_HYPERVISOR_KVM : index % 2 ? VM_HYPERVISOR_ON : VM_HYPERVISOR_OFF;
	return true;
}

static bool take_cpu(const char **at, uint32_t *cpu)
{
	const char *p = *at;

	for (*cpu = 0; *p >= '0' && *p <= '9' && *cpu < VM_MAX_CPUS; p++)
		*cpu = *cpu * 10 + (uint32_t)(*p - '0');
	bool some = p != *at;
	*at = p;
	return some && *cpu < VM_MAX_CPUS;
}

/* CPUs and ranges of them: 0-3,6 */
static bool set_cpus(void *obj, const struct config_key *k, const char *value)
{
	struct vm_config *vm = obj;
	uint32_t first, last;

	(void)k;
	do {
		if (!take_cpu(&value, &first))
			return false;
		last = first;
		if (*value == '-' && (value++, !take_cpu(&value, &last) || last < first))
			return false;
		for (uint32_t cpu = first; cpu <= last; cpu++)
			vm->cpus[cpu / 64] |= BIT(cpu % 64);
	} while (*value++ == ',');
	return !value[-1];
}

static bool set_memory(void *obj, const struct config_key *k, const char *value)
{
	uint64_t v;

	if (tf_parse_u64(value, true, &v) != TF_OK || v < VM_MEMORY_MIN || v > VM_MEMORY_MAX ||
	    !IS_ALIGNED(v, PAGE_SIZE))
		return false;
	memcpy(field(obj, k), &v, sizeof(v));
	return true;
}

/* A time with its unit, or off. */
static bool set_watchdog(void *obj, const struct config_key *k, const char *value)
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

static bool set_disable(void *obj, const struct config_key *k, const char *value)
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

static bool set_serial(void *obj, const struct config_key *k, const char *value)
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

_Static_assert(sizeof(enum vm_kind) == 4 && sizeof(enum vm_console) == 4 && sizeof(enum vm_on_exit) == 4 &&
	       sizeof(enum vm_latency) == 4 && sizeof(enum vm_core) == 4, "set_choice");
_Static_assert(VM_MEMORY_MIN == MiB(4) && VM_MEMORY_MAX == GiB(1024), "the text below says so");
_Static_assert(VM_MAX_CPUS == 256 && HOST_CPUS_MAX == VM_MAX_CPUS, "the text below says so");
_Static_assert(WATCHDOG_MS_MIN == 100 && WATCHDOG_MS_MAX == 86400 * 1000, "the text below says so");

#define BOOL_WORDS    { "off", "on", "no", "yes", "false", "true" }
#define BOOL_EXPECTED "on or off"
#define VM(f)         .at = offsetof(struct vm_config, f)
#define GLOBAL(f)     .at = offsetof(struct config, f)

static const struct config_key vm_keys[] = {
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
	{ "vcpus", "a number from 1 to " TEXT_OF(VM_MAX_VCPUS), set_u32, VM(vcpus), .min = 1, .max = VM_MAX_VCPUS },
	{ "weight", "a number from 1 to " TEXT_OF(WEIGHT_MAX), set_u32, VM(weight), .min = 1, .max = WEIGHT_MAX },
	{ "cap", "off, or percent of a CPU for each vCPU, 1 to " TEXT_OF(PERCENT_MAX), set_limit, VM(cap), .min = 1,
	  .max = PERCENT_MAX, .words = { "off" } },
	{ "reservation", "percent of a CPU for each vCPU, 0 to " TEXT_OF(PERCENT_MAX), set_u32, VM(reservation),
	  .max = PERCENT_MAX },
	{ "cpus", "numbers of CPUs, 0 to 255, and ranges of them, as 0-3,6", set_cpus, .at = 0 },
	{ "latency", "normal or low", set_choice, VM(latency),
	  .words = { [VM_LATENCY_NORMAL] = "normal", [VM_LATENCY_LOW] = "low" } },
	{ "core", "shared or dedicated", set_choice, VM(core),
	  .words = { [VM_CORE_SHARED] = "shared", [VM_CORE_DEDICATED] = "dedicated" } },
	{ "console", "mux, com2 or none", set_choice, VM(console),
	  .words = { [VM_CONSOLE_MUX] = "mux", [VM_CONSOLE_COM2] = "com2", [VM_CONSOLE_NONE] = "none" } },
	{ "on_exit", "halt or restart", set_choice, VM(on_exit),
	  .words = { [VM_ON_EXIT_HALT] = "halt", [VM_ON_EXIT_RESTART] = "restart" } },
	{ "watchdog", "off, or a time from 100ms to 86400s", set_watchdog, .min = WATCHDOG_MS_MIN, .max = WATCHDOG_MS_MAX },
	{ "autostart", BOOL_EXPECTED, set_flag, VM(autostart), .words = BOOL_WORDS },
	{ "hypervisor", "off, on or kvm", set_hypervisor, .at = 0,
	  .words = { "off", "on", "no", "yes", "false", "true", [KVM_WORD] = "kvm" } },
	{ "apicv", "auto or off", set_flag, VM(apicv), .words = { "off", "auto" } },
#ifdef TF_TEST_HOOKS
	{ "mutate", "COUNT:SEED:RUN", set_text, VM(mutate), .size = MUTATE_MAX },
	{ "break_vmcs", "ENCODING:VALUE ...", set_text, VM(break_vmcs), .size = BREAK_VMCS_MAX },
#endif
};

static const struct config_key global_keys[] = {
	{ "focus", "the name of a VM, or \"" LOG_NAME "\"", set_text, GLOBAL(focus), .size = VM_NAME_MAX },
	{ "show_all", BOOL_EXPECTED, set_flag, GLOBAL(show_all), .words = BOOL_WORDS },
	{ "slice_us", "a number from " TEXT_OF(SLICE_US_MIN) " to " TEXT_OF(SLICE_US_MAX), set_u32, GLOBAL(slice_us),
	  .min = SLICE_US_MIN, .max = SLICE_US_MAX },
	{ "host_cpus", "all, or a number from 1 to " TEXT_OF(HOST_CPUS_MAX), set_limit, GLOBAL(host_cpus), .min = 1,
	  .max = HOST_CPUS_MAX, .words = { "all" } },
	{ "log", "info or debug", set_flag, GLOBAL(debug), .words = { "info", "debug" } },
	{ "mitigations", "auto or off", set_flag, GLOBAL(mitigations), .words = { "off", "auto" } },
#ifdef TF_TEST_HOOKS
	{ "mitigation_flags", "a number", set_u32, GLOBAL(mitigation_flags), .max = UINT32_MAX },
#endif
	{ "disable", "words of: " DISABLE_WORDS, set_disable, .at = 0 },
	{ "serial", "auto, none, or an I/O port as 0x3f8", set_serial, .at = 0 },
	{ "screen", BOOL_EXPECTED, set_flag, GLOBAL(screen), .words = BOOL_WORDS },
	{ "trace", "a number of KiB from 0 to " TEXT_OF(TRACE_KIB_MAX), set_u32, GLOBAL(trace_kib), .max = TRACE_KIB_MAX },
	{ "poweroff", BOOL_EXPECTED, set_flag, GLOBAL(poweroff), .words = BOOL_WORDS },
};

_Static_assert(ARRAY_SIZE(vm_keys) <= 32 && ARRAY_SIZE(global_keys) <= 32, "one bit each in a mask of keys seen");

const struct config_keys config_vm_keys = { vm_keys, ARRAY_SIZE(vm_keys) };
const struct config_keys config_global_keys = { global_keys, ARRAY_SIZE(global_keys) };
