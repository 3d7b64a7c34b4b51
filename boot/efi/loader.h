/* What the loader's files share. All of it runs while boot services are there, but for the end of handover.c. */
#pragma once
#include <efi.h>

#include "boot/efi/image.h"
#include "boot/efi/names.h"

#define LOADER_BELOW GiB(4) /* 32-bit tags and a 32-bit entry: everything that is handed over lies below */

extern EFI_HANDLE loader_handle;
extern EFI_SYSTEM_TABLE *loader_system;
#define loader_boot (loader_system->BootServices)

/* console.c: a line on the firmware's console. */
void say(const char *fmt, ...) __printf(1, 2);
/* In plain words, for a message; never NULL. */
const char *status_text(EFI_STATUS status);
/* Waits until a key is pressed or the seconds are over, without keyboard for the seconds. */
void wait_key(unsigned seconds);

/* memory.c: pages below 4 GiB, zeroed; NULL if there are none. */
void *pages_alloc(EFI_MEMORY_TYPE type, uint64_t bytes);
void pages_free(void *p, uint64_t bytes);
void *pool_alloc(size_t bytes);
void pool_free(void *p);
/* Whether a place for the hypervisor was found, taken and filled. */
__must_check bool image_place(const uint8_t *file, const struct image *image, uint8_t **at);

/* files.c: files of the volume that we were loaded from, below \trefoil. */
struct file { uint8_t *data; uint64_t size; };
/* All say what is wrong themselves; missing, if not NULL, tells a file that is not there from one that cannot be read. */
__must_check EFI_STATUS files_open(void);
__must_check EFI_STATUS file_read(const char *name, uint64_t max, struct file *out, bool *missing);
void file_free(struct file *file);
void files_close(void);

/* screen.c: the graphics mode that is on. */
void screen_find(struct boot_screen *out);

/* handover.c */
struct loaded_module { uint32_t start, end; const char *name; };
struct handover {
	uint32_t entry, load_base, load_size; /* physical; 0: not loaded */
	struct loaded_module modules[BOOT_MAX_MODULES];
	uint32_t nmodules;
	struct boot_screen screen;
};
/* Ends boot services and starts the hypervisor. Returns only if that fails, having said why. */
EFI_STATUS handover_go(const struct handover *h);
