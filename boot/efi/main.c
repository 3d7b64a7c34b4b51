/*
 * BOOTX64.EFI: starts Trefoil from \trefoil on the volume that it was loaded from itself, with the same boot contract
 * as GRUB (Multiboot2). Whatever goes wrong is said on the firmware's console, and the firmware gets control back.
 */
#include "boot/efi/loader.h"
#include <tf/string.h>

#define CONFIG_FILE "trefoil.conf"
#define IMAGE_FILE  "trefoil.elf"
#define CONFIG_SIZE_MAX MiB(1)
#define FILE_SIZE_MAX   (LOADER_BELOW - 1)
#define WARNING_SECONDS 3
#define ERROR_SECONDS   30

EFI_HANDLE loader_handle;
EFI_SYSTEM_TABLE *loader_system;

static bool warned;

EFI_STATUS efi_main(EFI_HANDLE handle, EFI_SYSTEM_TABLE *system);

static void config_error(void *ctx, unsigned line, const char *vm, const char *key, const char *expected)
{
	(void)ctx;
	say("warning: " CONFIG_FILE " line %u:%s%s%s%s%s expected %s", line, *vm ? " vm " : "", vm, *key ? " key " : "", key,
	    *vm || *key ? "," : "", expected);
	warned = true;
}

static void add_module(struct handover *h, const struct file *file, const char *name)
{
	uint32_t start = (uint32_t)(uintptr_t)file->data;

	h->modules[h->nmodules++] = (struct loaded_module){ start, start + (uint32_t)file->size, name };
	say("loaded %s, %lu bytes", name, file->size);
}

/* trefoil.conf as a module, and what it names; `names` must live until the hand-over. */
static EFI_STATUS load_modules(struct handover *h, struct names *names)
{
	const struct config_report report = { .error = config_error };
	struct config *config = pool_alloc(sizeof(*config));
	EFI_STATUS status;
	struct file file;
	bool missing;

	if (!config) {
		say("error: out of memory");
		return EFI_OUT_OF_RESOURCES;
	}
	status = file_read(CONFIG_FILE, CONFIG_SIZE_MAX, &file, NULL);
	if (EFI_ERROR(status)) {
		pool_free(config);
		return status;
	}
	add_module(h, &file, CONFIG_FILE);
	/* One without any VM is for the hypervisor to refuse. */
	if (config_parse((const char *)file.data, file.size, config, &report) != TF_OK)
		warned = true;
	names_collect(config, names);
	pool_free(config);
	if (names->cut) {
		say("warning: " CONFIG_FILE " names more than %u files; the others are left out", NAMES_MAX);
		warned = true;
	}
	for (uint32_t i = 0; i < names->n; i++) {
		status = file_read(names->name[i], FILE_SIZE_MAX, &file, &missing);
		if (!EFI_ERROR(status)) {
			add_module(h, &file, names->name[i]);
		} else if (missing) {
			say("warning: " CONFIG_FILE " names '%s', which is not in \\trefoil; it is left out", names->name[i]);
			warned = true;
		} else {
			return status;
		}
	}
	return EFI_SUCCESS;
}

static EFI_STATUS load_image(struct handover *h)
{
	struct image image;
	EFI_STATUS status;
	struct file file;
	const char *why;
	uint8_t *at;

	status = file_read(IMAGE_FILE, IMAGE_SIZE_MAX, &file, NULL);
	if (EFI_ERROR(status))
		return status;
	if (image_check(file.data, file.size, &image, &why) != TF_OK) {
		say("error: \\trefoil\\" IMAGE_FILE ": %s", why);
		status = EFI_LOAD_ERROR;
	} else if (!image_place(file.data, &image, &at)) {
		say("error: \\trefoil\\" IMAGE_FILE ": no free memory of %lu KiB at a multiple of %lu KiB below 4 GiB", image.size >> 10,
		    image.align >> 10);
		status = EFI_OUT_OF_RESOURCES;
	} else {
		h->load_base = (uint32_t)(uintptr_t)at;
		h->load_size = (uint32_t)image.size;
		h->entry = h->load_base + (uint32_t)image.entry;
		say("loaded " IMAGE_FILE " at 0x%x", h->load_base);
	}
	file_free(&file);
	return status;
}

/* The firmware gets back what it gave: the next thing that it starts may need it. */
static void unload(const struct handover *h)
{
	for (uint32_t i = 0; i < h->nmodules; i++)
		pages_free((void *)(uintptr_t)h->modules[i].start, h->modules[i].end - h->modules[i].start);
	pages_free((void *)(uintptr_t)h->load_base, h->load_size);
}

static EFI_STATUS run(struct handover *h, struct names *names)
{
	EFI_STATUS status = files_open();

	/* The hypervisor first: its place is the one that has to be found among what is free. */
	if (!EFI_ERROR(status))
		status = load_image(h);
	if (!EFI_ERROR(status))
		status = load_modules(h, names);
	files_close();
	if (EFI_ERROR(status))
		return status;
	/* Before the screen, as another mode would wipe the warnings away. */
	if (warned)
		wait_key(WARNING_SECONDS);
	screen_find(&h->screen);
	return handover_go(h);
}

EFI_STATUS efi_main(EFI_HANDLE handle, EFI_SYSTEM_TABLE *system)
{
	EFI_STATUS status = EFI_OUT_OF_RESOURCES;
	struct handover *h;
	struct names *names;

	loader_handle = handle;
	loader_system = system;
	/* The boot manager's watchdog would reset the machine after five minutes; big files on slow sticks take long. */
	(void)loader_boot->SetWatchdogTimer(0, 0, 0, NULL);
	say("EFI loader");
	h = pool_alloc(sizeof(*h));
	names = pool_alloc(sizeof(*names));
	if (h && names) {
		memset(h, 0, sizeof(*h));
		status = run(h, names);
		unload(h);
	} else {
		say("error: out of memory");
	}
	say("not started (%s). Press a key to return to the firmware; it returns by itself in %u seconds.", status_text(status),
	    ERROR_SECONDS);
	wait_key(ERROR_SECONDS);
	pool_free(h);
	pool_free(names);
	return status;
}
