/* trefoil.conf: what each key accepts, and that one VM's error leaves the others alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/config.h"

#define ERRORS_MAX 64

struct seen_error { unsigned line; char vm[64], key[64], expected[256]; };

static struct config config;
static struct seen_error errors[ERRORS_MAX];
static unsigned nerrors;

static void record(void *ctx, unsigned line, const char *vm, const char *key, const char *expected)
{
	struct seen_error *e = &errors[nerrors < ERRORS_MAX ? nerrors : 0];

	assert_ptr_equal(ctx, &config);
	assert_true(expected[0]);
	e->line = line;
	snprintf(e->vm, sizeof(e->vm), "%s", vm);
	snprintf(e->key, sizeof(e->key), "%s", key);
	snprintf(e->expected, sizeof(e->expected), "%s", expected);
	nerrors++;
}

static enum tf_err parse(const char *text)
{
	const struct config_report report = { .ctx = &config, .error = record };

	nerrors = 0;
	memset(&config, 0xee, sizeof(config));
	return config_parse(text, strlen(text), &config, &report);
}

static void assert_error(unsigned i, unsigned line, const char *vm, const char *key)
{
	assert_true(i < nerrors);
	assert_int_equal(errors[i].line, line);
	assert_string_equal(errors[i].vm, vm);
	assert_string_equal(errors[i].key, key);
}

static void defaults(void **state)
{
	const struct vm_config *vm = &config.vms[0];

	(void)state;
	assert_int_equal(parse("[vm a]\nkernel = vmlinuz\nmemory = 64M\n"), TF_OK);
	assert_int_equal(nerrors, 0);
	assert_int_equal(config.nvms, 1);
	assert_string_equal(config.focus, "");
	assert_false(config.show_all);
	assert_false(config.debug);
	assert_false(config.poweroff);
	assert_int_equal(config.slice_us, 5000);
	assert_int_equal(config.host_cpus, 0);
	assert_int_equal(config.trace_kib, 0);
	assert_string_equal(vm->name, "a");
	assert_string_equal(vm->kernel, "vmlinuz");
	assert_int_equal(vm->kind, VM_AUTO);
	assert_int_equal(vm->memory, MiB(64));
	assert_string_equal(vm->initrd, "");
	assert_string_equal(vm->cmdline, "");
	assert_int_equal(vm->nmodules, 0);
	assert_int_equal(vm->vcpus, 1);
	assert_int_equal(vm->weight, 100);
	assert_int_equal(vm->cap, 0);
	assert_int_equal(vm->reservation, 0);
	for (size_t i = 0; i < ARRAY_SIZE(vm->cpus); i++)
		assert_int_equal(vm->cpus[i], 0);
	assert_int_equal(vm->latency, VM_LATENCY_NORMAL);
	assert_int_equal(vm->core, VM_CORE_SHARED);
	assert_int_equal(vm->console, VM_CONSOLE_MUX);
	assert_int_equal(vm->on_exit, VM_ON_EXIT_HALT);
	assert_int_equal(vm->watchdog_ms, 0);
	assert_true(vm->autostart);
	assert_int_equal(vm->hypervisor, VM_HYPERVISOR_ON);
	assert_true(vm->apicv);
}

static void every_key(void **state)
{
	const struct vm_config *a = &config.vms[0], *b = &config.vms[1];

	(void)state;
	assert_int_equal(
		parse("[trefoil]\nfocus = log\nshow_all = yes\nslice_us = 100000\nlog = debug\npoweroff = true\nserial = 0x2f8\nhost_cpus = 256\ntrace = 64\n"
		      "[vm web-1]\nkind = linux\nkernel = vmlinuz\ninitrd = web.img\n"
		      "cmdline = \"console=ttyS0,115200 # not a comment\"\nmemory = 0x10000K\nvcpus = 64\n"
		      "cap = 100\nreservation = 100\ncpus = 0-3,6,255\nlatency = low\ncore = shared\n"
		      "weight = 10000\nconsole = com2\non_exit = restart\nautostart = off\nhypervisor = no\nwatchdog = 30s\n"
		      "apicv = off\n"
		      "[vm 0]\nkind = multiboot2\nkernel = tiny.elf\nmodule = one a=1\nmodule = two\nmemory = 4M\n"
		      "weight = 1\nconsole = none\non_exit = halt\nautostart = on\nhypervisor = true\napicv = auto\nwatchdog = 100ms\n"
		      "cap = off\nreservation = 0\nlatency = normal\ncore = dedicated\n"),
		TF_OK);
	assert_int_equal(nerrors, 0);
	assert_int_equal(config.nvms, 2);
	assert_string_equal(config.focus, "log");
	assert_true(config.show_all);
	assert_int_equal(config.slice_us, 100000);
	assert_int_equal(config.host_cpus, 256);
	assert_int_equal(config.trace_kib, 64);
	assert_true(config.debug);
	assert_true(config.poweroff);
	assert_int_equal(config.serial, CONFIG_SERIAL_PORT);
	assert_int_equal(config.serial_port, 0x2f8);
	assert_string_equal(a->name, "web-1");
	assert_int_equal(a->kind, VM_LINUX);
	assert_string_equal(a->initrd, "web.img");
	assert_string_equal(a->cmdline, "console=ttyS0,115200 # not a comment");
	assert_int_equal(a->memory, MiB(64));
	assert_int_equal(a->vcpus, VM_MAX_VCPUS);
	assert_int_equal(a->weight, 10000);
	assert_int_equal(a->cap, 100);
	assert_int_equal(a->reservation, 100);
	assert_int_equal(a->cpus[0], 0x4f);
	assert_int_equal(a->cpus[1] | a->cpus[2], 0);
	assert_true(a->cpus[3] == 1ull << 63);
	assert_int_equal(a->latency, VM_LATENCY_LOW);
	assert_int_equal(a->core, VM_CORE_SHARED);
	assert_int_equal(a->console, VM_CONSOLE_COM2);
	assert_int_equal(a->on_exit, VM_ON_EXIT_RESTART);
	assert_int_equal(a->watchdog_ms, 30000);
	assert_false(a->autostart);
	assert_int_equal(a->hypervisor, VM_HYPERVISOR_OFF);
	assert_false(a->apicv);
	assert_string_equal(b->name, "0");
	assert_int_equal(b->kind, VM_MULTIBOOT2);
	assert_int_equal(b->nmodules, 2);
	assert_string_equal(b->modules[0], "one a=1");
	assert_string_equal(b->modules[1], "two");
	assert_int_equal(b->memory, VM_MEMORY_MIN);
	assert_int_equal(b->console, VM_CONSOLE_NONE);
	assert_int_equal(b->on_exit, VM_ON_EXIT_HALT);
	assert_int_equal(b->watchdog_ms, 100);
	assert_true(b->autostart);
	assert_int_equal(b->hypervisor, VM_HYPERVISOR_ON);
	assert_int_equal(b->cap, 0);
	assert_int_equal(b->core, VM_CORE_DEDICATED);
	assert_true(b->apicv);
}

/* Each of these lines refuses VM a, names line 4, and leaves VM b. */
static void bad_values(void **state)
{
	static const struct { const char *line, *key, *expected_part; } cases[] = {
		{ "kind = Linux", "kind", "multiboot2" },
		{ "kind =", "kind", "multiboot2" },
		{ "initrd =", "initrd", "boot module" },
		{ "initrd = a b", "initrd", "without blanks" },
		{ "module =", "module", "boot module" },
		{ "vcpus = 0", "vcpus", "1" },
		{ "vcpus = 65", "vcpus", "1 to 64" },
		{ "vcpus = 1,2", "vcpus", "1 to 64" },
		{ "cap = 0", "cap", "1 to 100" },
		{ "cap = 101", "cap", "1 to 100" },
		{ "cap = 50%", "cap", "1 to 100" },
		{ "cap = none", "cap", "off" },
		{ "reservation = 101", "reservation", "0 to 100" },
		{ "reservation = off", "reservation", "0 to 100" },
		{ "cpus =", "cpus", "0-3,6" },
		{ "cpus = all", "cpus", "0-3,6" },
		{ "cpus = 256", "cpus", "0 to 255" },
		{ "cpus = 0-256", "cpus", "0 to 255" },
		{ "cpus = 0-4294967296", "cpus", "0 to 255" },
		{ "cpus = 3-1", "cpus", "0-3,6" },
		{ "cpus = 1-", "cpus", "0-3,6" },
		{ "cpus = -1", "cpus", "0-3,6" },
		{ "cpus = 1-2-3", "cpus", "0-3,6" },
		{ "cpus = 1,", "cpus", "0-3,6" },
		{ "cpus = 1,,2", "cpus", "0-3,6" },
		{ "cpus = 1 2", "cpus", "0-3,6" },
		{ "cpus = 0x1", "cpus", "0-3,6" },
		{ "latency = high", "latency", "normal or low" },
		{ "core = own", "core", "dedicated" },
		{ "weight = 0", "weight", "1 to 10000" },
		{ "weight = 10001", "weight", "1 to 10000" },
		{ "weight = 100K", "weight", "1 to 10000" },
		{ "weight = 4294967297", "weight", "1 to 10000" },
		{ "weight = ten", "weight", "1 to 10000" },
		{ "console = tty", "console", "mux" },
		{ "on_exit = reboot", "on_exit", "restart" },
		{ "watchdog = 30", "watchdog", "100ms" },
		{ "watchdog = s", "watchdog", "100ms" },
		{ "watchdog = 99ms", "watchdog", "100ms" },
		{ "watchdog = 0s", "watchdog", "100ms" },
		{ "watchdog = -1s", "watchdog", "100ms" },
		{ "watchdog = 1 s", "watchdog", "100ms" },
		{ "watchdog = 86401s", "watchdog", "86400s" },
		{ "watchdog = 18446744073709552s", "watchdog", "86400s" },
		{ "watchdog = 99999999999999999999s", "watchdog", "86400s" },
		{ "watchdog = on", "watchdog", "off" },
		{ "autostart = 1", "autostart", "on or off" },
		{ "hypervisor = maybe", "hypervisor", "off, on or kvm" },
		{ "hypervisor = KVM", "hypervisor", "off, on or kvm" },
		{ "apicv = on", "apicv", "auto" },
		{ "kernel = again", "kernel", "once" },
		{ "memory = 64M", "memory", "once" },
		{ "colour = red", "colour", "trefoil.conf.md" },
		{ "KIND = linux", "KIND", "trefoil.conf.md" },
		{ "focus = a", "focus", "trefoil.conf.md" },
		{ "cmdline = \"open", "cmdline", "quote" },
		{ "cmdline", "cmdline", "'='" },
		{ "?", "", "key = value" },
	};
	char text[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		snprintf(text, sizeof(text), "[vm a]\nkernel = k\nmemory = 64M\n%s\n[vm b]\nkernel = k\nmemory = 64M\n",
			 cases[i].line);
		assert_int_equal(parse(text), TF_OK);
		assert_int_equal(nerrors, 1);
		assert_error(0, 4, "a", cases[i].key);
		assert_non_null(strstr(errors[0].expected, cases[i].expected_part));
		assert_int_equal(config.nvms, 1);
		assert_string_equal(config.vms[0].name, "b");
	}
}

static void cpu_lists(void **state)
{
	static const struct { const char *value; uint64_t low, high; } cases[] = {
		{ "0", 1, 0 }, { "5-5", 0x20, 0 }, { "6,0-3", 0x4f, 0 }, { "1,1,0-2", 7, 0 }, { "0-255", ~0ull, ~0ull },
		{ "192-255", 0, ~0ull }, { "007", 0x80, 0 },
	};
	char text[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		snprintf(text, sizeof(text), "[vm a]\nkernel = k\nmemory = 4M\ncpus = %s\n", cases[i].value);
		assert_int_equal(parse(text), TF_OK);
		assert_true(config.vms[0].cpus[0] == cases[i].low && config.vms[0].cpus[3] == cases[i].high);
	}
}

/* Wherever in the section the two keys stand. */
static void shares_agree(void **state)
{
	static const struct { const char *lines, *key; } cases[] = {
		{ "cap = 50\nreservation = 50\n", NULL }, { "cap = off\nreservation = 100\n", NULL },
		{ "core = dedicated\ncap = off\nreservation = 0\n", NULL }, { "core = dedicated\nweight = 7\ncpus = 1-2\n", NULL },
		{ "cap = 50\nreservation = 51\n", "reservation" }, { "reservation = 100\ncap = 99\n", "reservation" },
		{ "cap = 50\ncore = dedicated\n", "cap" }, { "core = dedicated\nreservation = 1\n", "reservation" },
	};
	char text[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		snprintf(text, sizeof(text), "\n[vm a]\nkernel = k\n%smemory = 4M\n", cases[i].lines);
		assert_int_equal(parse(text), cases[i].key ? TF_EINVAL : TF_OK);
		if (cases[i].key) {
			assert_int_equal(nerrors, 2);
			assert_error(0, 2, "a", cases[i].key);
		}
	}
}

static void who_cpuid_says_is_there(void **state)
{
	static const char *const words[] = { "off", "no", "false", "on", "yes", "true", "kvm" };
	char text[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		snprintf(text, sizeof(text), "[vm a]\nkernel = k\nmemory = 4M\nhypervisor = %s\n", words[i]);
		assert_int_equal(parse(text), TF_OK);
		assert_int_equal(config.vms[0].hypervisor, i / 3);
	}
}

static void memory_range(void **state)
{
	static const struct { const char *value; uint64_t bytes;
	} cases[] = {
		{ "4M", MiB(4) },       { "4096K", MiB(4) },
		{ "4194304", MiB(4) },  { "4100K", KiB(4100) },
		{ "1024G", GiB(1024) }, { "0x10000000", MiB(256) },
		{ "4095K", 0 },         { "4194303", 0 },
		{ "4194305", 0 },       { "4098K", 0 },
		{ "1025G", 0 },         { "17179869184G", 0 },
		{ "64MB", 0 },          { "64 M", 0 },
		{ "-64M", 0 },          { "", 0 },
		{ "lots", 0 },          { "0", 0 },
	};
	char text[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		snprintf(text, sizeof(text), "[vm a]\nkernel = k\nmemory = %s\n", cases[i].value);
		assert_int_equal(parse(text), cases[i].bytes ? TF_OK : TF_EINVAL);
		if (cases[i].bytes)
			assert_int_equal(config.vms[0].memory, cases[i].bytes);
		else
			assert_error(0, 3, "a", "memory");
	}
}

static void required_keys(void **state)
{
	(void)state;
	assert_int_equal(parse("\n[vm a]\nweight = 5\n"), TF_EINVAL);
	assert_int_equal(nerrors, 3);
	assert_error(0, 2, "a", "kernel");
	assert_error(1, 2, "a", "memory");
	assert_error(2, 0, "", "");
	assert_int_equal(config.nvms, 0);
}

static void kernels_and_their_modules(void **state)
{
	(void)state;
	assert_int_equal(parse("[vm a]\nkernel=k\nmemory=4M\nkind=linux\nmodule=m\n"
			       "[vm b]\nkernel=k\nmemory=4M\nkind=multiboot\ninitrd=i\n"
			       "[vm c]\nkernel=k\nmemory=4M\ninitrd=i\nmodule=m\n"), TF_OK);
	assert_int_equal(nerrors, 2);
	assert_error(0, 1, "a", "module");
	assert_error(1, 6, "b", "initrd");
	assert_int_equal(config.nvms, 1);
	assert_string_equal(config.vms[0].name, "c");
}

static void at_most_eight_modules(void **state)
{
	char text[256] = "[vm a]\nkernel=k\nmemory=4M\n";

	(void)state;
	for (int i = 0; i < VM_MAX_MODULES; i++)
		strcat(text, "module = m\n");
	assert_int_equal(parse(text), TF_OK);
	assert_int_equal(config.vms[0].nmodules, VM_MAX_MODULES);
	strcat(text, "module = m\n");
	assert_int_equal(parse(text), TF_EINVAL);
	assert_error(0, 4 + VM_MAX_MODULES, "a", "module");
}

static void names(void **state)
{
	static const char *const good[] = { "a", "9", "a-b-", "0-9", "abcdefghijklmnopqrstuvwxyz01234" };
	static const char *const bad[] = { "",    "-a",       "A",
					   "a_b", "a b",      "a.b",
					   "log", "\xc3\xa4", "abcdefghijklmnopqrstuvwxyz012345" };
	char text[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		snprintf(text, sizeof(text), "[vm %s]\nkernel = k\nmemory = 64M\n", good[i]);
		assert_int_equal(parse(text), TF_OK);
		assert_string_equal(config.vms[0].name, good[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(text, sizeof(text), "[vm %s]\nkernel = k\nmemory = 64M\n", bad[i]);
		assert_int_equal(parse(text), TF_EINVAL);
		assert_int_equal(nerrors, 2); /* its keys are not complained about as well */
		assert_error(0, 1, "", "");
	}
}

static void a_name_only_once(void **state)
{
	(void)state;
	assert_int_equal(parse("[vm a]\nkernel=first\nmemory=4M\n[vm b]\nkernel=k\nmemory=4M\n[vm "
			       "a]\nkernel=second\nmemory=4M\n"),
			 TF_OK);
	assert_int_equal(nerrors, 1);
	assert_error(0, 7, "a", "");
	assert_int_equal(config.nvms, 2);
	assert_string_equal(config.vms[0].kernel, "first");
	assert_string_equal(config.vms[1].name, "b");
}

/* Keys below a broken header must not reach the VM above it. */
static void broken_headers(void **state)
{
	static const char *const headers[] = { "[vm b", "[vm B]", "[vn b]", "[]", "[trefoil x]", "[vm]" };
	char text[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
		snprintf(text, sizeof(text), "[vm a]\nkernel=k\nmemory=4M\n%s\nweight = 7\nbad = x\n?\n", headers[i]);
		assert_int_equal(parse(text), TF_OK);
		assert_int_equal(nerrors, 1);
		assert_error(0, 4, "", "");
		assert_int_equal(config.nvms, 1);
		assert_int_equal(config.vms[0].weight, VM_WEIGHT_DEFAULT);
	}
}

static void global_errors_stop_no_vm(void **state)
{
	(void)state;
	assert_int_equal(
		parse("early = 1\n[trefoil]\nslice_us = 99\nslice_us = 500\nlog = loud\nshow_all = 2\ncolour = red\n"
		      "[vm a]\nkernel=k\nmemory=4M\nwatchdog = off\n[trefoil]\npoweroff = on\nserial = 0xff\nhost_cpus = 257\ntrace = 65537\n"),
		TF_OK);
	assert_int_equal(nerrors, 9);
	assert_error(0, 1, "", "early");
	assert_error(1, 3, "", "slice_us");
	assert_error(2, 4, "", "slice_us");
	assert_error(3, 5, "", "log");
	assert_error(4, 6, "", "show_all");
	assert_error(5, 7, "", "colour");
	assert_error(6, 14, "", "serial"); /* a port of the board's own */
	assert_error(7, 15, "", "host_cpus");
	assert_error(8, 16, "", "trace");
	assert_int_equal(config.host_cpus, 0);
	assert_int_equal(config.slice_us, 5000);
	assert_true(config.poweroff);
	assert_int_equal(config.serial, CONFIG_SERIAL_AUTO);
	assert_int_equal(config.nvms, 1);
	assert_int_equal(config.vms[0].watchdog_ms, 0);
}

static void focus_names_a_vm_that_is_there(void **state)
{
	static const char vms[] = "[vm a]\nkernel=k\nmemory=4M\n[vm b]\nkernel=k\n";
	char text[256];

	(void)state;
	snprintf(text, sizeof(text), "[trefoil]\nfocus = a\n%s", vms);
	assert_int_equal(parse(text), TF_OK);
	assert_string_equal(config.focus, "a");
	assert_int_equal(nerrors, 1); /* b's memory */

	snprintf(text, sizeof(text), "[trefoil]\nfocus = b\n%s", vms);
	assert_int_equal(parse(text), TF_OK);
	assert_string_equal(config.focus, "");
	assert_int_equal(nerrors, 2);
	assert_error(1, 2, "", "focus");

	snprintf(text, sizeof(text), "[trefoil]\nfocus = abcdefghijklmnopqrstuvwxyz0123456789\n%s", vms);
	assert_int_equal(parse(text), TF_OK);
	assert_string_equal(config.focus, "");
	assert_int_equal(nerrors, 2);
	assert_error(0, 2, "", "focus");
}

static void no_vm_is_an_error(void **state)
{
	static const char *const texts[] = { "", "\n", "# nothing\n", "[trefoil]\n", "\x7f\x02\x01", "[vm a" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		assert_int_equal(parse(texts[i]), TF_EINVAL);
		assert_int_equal(config.nvms, 0);
		assert_error(nerrors - 1, 0, "", "");
	}
}

static void as_many_vms_as_fit(void **state)
{
	static char text[(CONFIG_MAX_VMS + 1) * 64];
	char *p = text;

	(void)state;
	for (int i = 0; i <= CONFIG_MAX_VMS; i++)
		p += sprintf(p, "[vm v%d]\nkernel=k\nmemory=4M\n", i);
	assert_int_equal(parse(text), TF_OK);
	assert_int_equal(config.nvms, CONFIG_MAX_VMS);
	assert_int_equal(nerrors, 1);
	assert_error(0, 3 * CONFIG_MAX_VMS + 1, "", "");
	assert_string_equal(config.vms[CONFIG_MAX_VMS - 1].name, "v127");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(every_key),
		cmocka_unit_test(bad_values),
		cmocka_unit_test(cpu_lists),
		cmocka_unit_test(shares_agree),
		cmocka_unit_test(who_cpuid_says_is_there),
		cmocka_unit_test(memory_range),
		cmocka_unit_test(required_keys),
		cmocka_unit_test(kernels_and_their_modules),
		cmocka_unit_test(at_most_eight_modules),
		cmocka_unit_test(names),
		cmocka_unit_test(a_name_only_once),
		cmocka_unit_test(broken_headers),
		cmocka_unit_test(global_errors_stop_no_vm),
		cmocka_unit_test(focus_names_a_vm_that_is_there),
		cmocka_unit_test(no_vm_is_an_error),
		cmocka_unit_test(as_many_vms_as_fit),
	};

	return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
