/* Whatever the file says, a VM that is accepted keeps to the documented limits. */
#include "boot/efi/names.h"
#include "core/config.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void record(void *ctx, unsigned line, const char *vm, const char *key, const char *expected)
{
	(void)line;
	check(strlen(vm) < VM_NAME_MAX && strlen(key) < 64 && expected[0]);
	++*(unsigned *)ctx;
}

static void check_vm(const struct config *c, uint32_t which)
{
	const struct vm_config *vm = &c->vms[which];

	check(memchr(vm->name, 0, VM_NAME_MAX) && memchr(vm->kernel, 0, VM_PATH_MAX) &&
	      memchr(vm->initrd, 0, VM_PATH_MAX));
	check(memchr(vm->cmdline, 0, VM_CMDLINE_MAX) && vm->nmodules <= VM_MAX_MODULES);
	for (uint32_t i = 0; i < vm->nmodules; i++)
		check(vm->modules[i][0] && memchr(vm->modules[i], 0, VM_PATH_MAX));
	check(vm->name[0] && vm->name[0] != '-' && vm->kernel[0]);
	check(strspn(vm->name, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(vm->name));
	check(vm->memory >= VM_MEMORY_MIN && vm->memory <= VM_MEMORY_MAX && vm->memory % PAGE_SIZE == 0);
	check(vm->vcpus >= 1 && vm->vcpus <= VM_MAX_VCPUS && vm->weight >= 1 && vm->weight <= 10000);
	check(vm->kind <= VM_MULTIBOOT2 && vm->console <= VM_CONSOLE_NONE && vm->on_exit <= VM_ON_EXIT_RESTART);
	check(vm->cap <= 100 && vm->reservation <= (vm->cap ? vm->cap : 100));
	check(vm->latency <= VM_LATENCY_LOW && vm->core <= VM_CORE_DEDICATED && vm->hypervisor <= VM_HYPERVISOR_KVM);
	check(vm->core == VM_CORE_SHARED || (!vm->cap && !vm->reservation));
	for (uint32_t i = 0; i < which; i++)
		check(strcmp(c->vms[i].name, vm->name) != 0);
}

/* What the EFI loader will ask the disk for. */
static void check_names(const struct config *c)
{
	static struct names names;

	names_collect(c, &names);
	check(names.n <= NAMES_MAX && (names.n || !c->nvms) && (!names.cut || names.n == NAMES_MAX));
	for (uint32_t i = 0; i < names.n; i++) {
		check(memchr(names.name[i], 0, VM_PATH_MAX) && names.name[i][0]);
		for (uint32_t j = 0; j < i; j++)
			check(strcmp(names.name[i], names.name[j]) != 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct config c;
	unsigned errors = 0;
	const struct config_report report = { .ctx = &errors, .error = record };
	enum tf_err e = config_parse((const char *)data, size, &c, &report);
	bool focused = !c.focus[0] || !strcmp(c.focus, "log");

	check((e == TF_OK) == (c.nvms > 0) && c.nvms <= CONFIG_MAX_VMS);
	check(e == TF_OK || errors > 0);
	check(c.slice_us >= 100 && c.slice_us <= 100000 && c.host_cpus <= VM_MAX_CPUS);
	for (uint32_t i = 0; i < c.nvms; i++) {
		check_vm(&c, i);
		focused |= !strcmp(c.focus, c.vms[i].name);
	}
	check(focused);
	check_names(&c);
	return 0;
}
