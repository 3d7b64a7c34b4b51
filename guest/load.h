/*
 * Guest kernels: recognising, checking and laying them out. Pure: the loaders see guest memory through `struct
 * load_mem` and leave the first vCPU's registers in `struct load_entry`.
 */
#pragma once
#include "guest/vmconfig.h"
#include <tf/bootinfo.h>
#include <tf/err.h>

struct load_blob { const uint8_t *data; uint64_t size; const char *name; };

struct load_mem {
	void *ctx;
	/*
	 * A window on guest memory: writable, zeroed at first. NULL unless [gpa, gpa + len) lies in one piece of it; what
	 * is inside one 4 KiB page of a RAM range always does.
	 */
	void *(*at)(void *ctx, gpa_t gpa, uint64_t len);
	const struct mem_range *map; /* the guest's e820: sorted, with RAM and reserved ranges */
	uint32_t nmap;
	gpa_t rsdp;                  /* 0: no ACPI */
};

enum load_mode { LOAD_LONG64, LOAD_PROTECTED32 };

struct load_entry {
	enum load_mode mode;
	uint64_t rip, rsp, rax, rbx, rcx, rdx, rsi, rdi;
	uint64_t cr3;                       /* LOAD_LONG64: identity page tables that the loader wrote */
	uint64_t gdt_base; uint16_t gdt_limit;
	uint16_t cs, ds;                    /* selectors of flat code and data segments */
};

struct load_request {
	struct load_blob kernel, initrd;    /* initrd.data NULL: none */
	struct load_blob modules[VM_MAX_MODULES]; /* multiboot; `name` is the module's command line */
	uint32_t nmodules;
	const char *cmdline;
	enum vm_kind kind;                  /* VM_AUTO: by the headers */
	const struct load_mem *mem;
};

/*
 * Loads. On an error *why is a static text that names the header field and the rule ("setup_sects beyond the file",
 * "initrd does not fit below initrd_addr_max"...). Every byte of the files is untrusted.
 */
__must_check enum tf_err load_kernel(const struct load_request *req, struct load_entry *out, const char **why);

/* The formats, one file each: load_linux.c (bzImage, 64-bit boot protocol), load_multiboot.c (1), load_multiboot2.c. */
bool load_is_linux(const struct load_blob *k);
bool load_is_multiboot(const struct load_blob *k);
bool load_is_multiboot2(const struct load_blob *k);
__must_check enum tf_err load_linux(const struct load_request *req, struct load_entry *out, const char **why);
__must_check enum tf_err load_multiboot(const struct load_request *req, struct load_entry *out, const char **why);
__must_check enum tf_err load_multiboot2(const struct load_request *req, struct load_entry *out, const char **why);
