/* What the loaders share: where things go in guest RAM, little-endian fields, the flat GDT, and ELF images. Pure. */
#pragma once
#include "guest/load.h"
#include <tf/string.h>

#define LOAD_MAX_TAKEN  32
#define LOAD_LOW_START  0x1000ull   /* page 0 belongs to the BIOS data area and to NULL pointers */
#define LOAD_LOW_END    0x9f000ull  /* above it an EBDA may lie */
#define LOAD_HIGH_START MiB(1)
#define LOAD_4G         GiB(4)
#define LOAD_STACK_SIZE PAGE_SIZE
#define LOAD_CS         0x10        /* GRUB's selectors, and Linux's __BOOT_CS and __BOOT_DS */
#define LOAD_DS         0x18
#define LOADER_NAME     "Trefoil"

struct load_range { uint64_t base, len; };

/* Guest RAM and the ranges of it that are spoken for. */
struct load_layout {
	const struct load_mem *mem;
	struct load_range taken[LOAD_MAX_TAKEN];
	uint32_t ntaken;
};

void load_layout_init(struct load_layout *l, const struct load_mem *mem);
/* Speaks for [base, base + len), RAM or not. TF_EEXIST if part of it is taken, TF_ERANGE if it wraps. */
__must_check enum tf_err load_take(struct load_layout *l, uint64_t base, uint64_t len);
/* Finds and takes `size` bytes of RAM inside [lo, hi), `align` a power of two: the lowest, or with `top` the highest. */
__must_check enum tf_err load_find(struct load_layout *l, uint64_t size, uint64_t align, uint64_t lo, uint64_t hi,
				   bool top, uint64_t *gpa);
/* Boot data: below 640 KiB if it fits there, else anywhere below 4 GiB. */
__must_check enum tf_err load_find_low(struct load_layout *l, uint64_t size, uint64_t align, uint64_t *gpa);
/* Is all of it RAM by the map? */
bool load_is_ram(const struct load_layout *l, uint64_t gpa, uint64_t len);
/* The window, or NULL: for what lies inside one page. */
void *load_at(const struct load_layout *l, uint64_t gpa, uint64_t len);
/* Copies to RAM, or clears it, of any length. TF_EFAULT, with nothing written, if part of it is not RAM. */
__must_check enum tf_err load_copy(const struct load_layout *l, uint64_t gpa, const void *data, uint64_t len);
__must_check enum tf_err load_clear(const struct load_layout *l, uint64_t gpa, uint64_t len);
/* Boot data written one after the other; without a layout it is only measured. The first error stays. */
struct load_writer { const struct load_layout *l; uint64_t gpa; enum tf_err error; };
void load_put(struct load_writer *w, const void *data, uint64_t len);
/* Writes the flat GDT, 64-bit or 32-bit code, takes a stack, and fills the entry's GDT, selectors and RSP. */
__must_check enum tf_err load_flat_gdt(struct load_layout *l, bool long64, struct load_entry *out);
/* Conventional memory below 640 KiB and contiguous memory from 1 MiB, in KiB, as Multiboot reports them. */
void load_mem_kib(const struct load_mem *mem, uint32_t *lower, uint32_t *upper);

/* A kernel that names its physical addresses: an ELF file, or one flat piece (the Multiboot address fields). */
struct load_image {
	const uint8_t *data;
	uint64_t size;
	bool elf;
	uint64_t base, len;     /* the physical span that it wants */
	uint64_t entry;         /* physical */
	uint64_t offset, filesz; /* flat: what is copied to `base` */
};

/* Checks all headers and finds span and entry; nothing is written. */
__must_check enum tf_err load_elf_parse(const uint8_t *data, uint64_t size, struct load_image *img, const char **why);
bool load_is_elf(const uint8_t *data, uint64_t size);
/* Multiboot's address fields; `header` is the header's offset in the file. load_addr of all ones: from the file's start. */
__must_check enum tf_err load_flat_parse(const uint8_t *data, uint64_t size, uint64_t header, const uint32_t addr[4],
					 struct load_image *img, const char **why);
/* Copies a parsed image, `delta` bytes away from where it wants to be. */
__must_check enum tf_err load_image_copy(const struct load_layout *l, const struct load_image *img, uint64_t delta,
					 const char **why);
/* Places the modules above the kernel, page aligned; range[i] says where. */
__must_check enum tf_err load_place_modules(struct load_layout *l, const struct load_request *req, uint64_t above,
					    struct load_range *range, const char **why);

static inline enum tf_err load_fail(const char **why, const char *text, enum tf_err e) { *why = text; return e; }

static inline uint16_t get_le16(const uint8_t *p) { uint16_t v; memcpy(&v, p, sizeof(v)); return v; }
static inline uint32_t get_le32(const uint8_t *p) { uint32_t v; memcpy(&v, p, sizeof(v)); return v; }
static inline uint64_t get_le64(const uint8_t *p) { uint64_t v; memcpy(&v, p, sizeof(v)); return v; }
static inline void put_le16(uint8_t *p, uint16_t v) { memcpy(p, &v, sizeof(v)); }
static inline void put_le32(uint8_t *p, uint32_t v) { memcpy(p, &v, sizeof(v)); }
static inline void put_le64(uint8_t *p, uint64_t v) { memcpy(p, &v, sizeof(v)); }
