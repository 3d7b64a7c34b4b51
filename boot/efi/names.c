/* The list of files that trefoil.conf names. */
#include "boot/efi/names.h"
#include <tf/string.h>

static void add(struct names *out, const char *text)
{
	char name[VM_PATH_MAX];
	size_t n = 0;

	while (text[n] && text[n] != ' ' && text[n] != '\t')
		n++;
	if (!n || !tf_strncpy(name, text, n, sizeof(name)))
		return;
	for (uint32_t i = 0; i < out->n; i++) {
		if (!strcmp(out->name[i], name))
			return;
	}
	if (out->n == NAMES_MAX)
		out->cut = true;
	else
		(void)tf_strcpy(out->name[out->n++], name, VM_PATH_MAX);
}

void names_collect(const struct config *config, struct names *out)
{
	out->n = 0;
	out->cut = false;
	for (uint32_t i = 0; i < config->nvms; i++) {
		const struct vm_config *vm = &config->vms[i];

		add(out, vm->kernel);
		add(out, vm->initrd);
		for (uint32_t j = 0; j < vm->nmodules; j++)
			add(out, vm->modules[j]);
	}
}
