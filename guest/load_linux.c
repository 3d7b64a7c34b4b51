/* Linux's 64-bit boot protocol (Linux Documentation/arch/x86/boot.rst, "64-bit Boot Protocol", and zero-page.rst). */
#include "guest/load_layout.h"

/* The setup header: offsets in the file and, the same, in boot_params. */
#define HDR_SETUP_SECTS      0x1f1
#define HDR_SYSSIZE          0x1f4
#define HDR_VID_MODE         0x1fa
#define HDR_BOOT_FLAG        0x1fe
#define HDR_JUMP_LEN         0x201 /* the header ends at 202h plus this byte */
#define HDR_MAGIC            0x202
#define HDR_VERSION          0x206
#define HDR_TYPE_OF_LOADER   0x210
#define HDR_LOADFLAGS        0x211
#define HDR_CODE32_START     0x214
#define HDR_RAMDISK_IMAGE    0x218
#define HDR_RAMDISK_SIZE     0x21c
#define HDR_CMD_LINE_PTR     0x228
#define HDR_INITRD_ADDR_MAX  0x22c
#define HDR_KERNEL_ALIGNMENT 0x230
#define HDR_RELOCATABLE      0x234
#define HDR_XLOADFLAGS       0x236
#define HDR_CMDLINE_SIZE     0x238
#define HDR_SETUP_DATA       0x250
#define HDR_PREF_ADDRESS     0x258
#define HDR_INIT_SIZE        0x260
#define HDR_MIN_END          0x264 /* the shortest header that holds init_size */

/* The rest of boot_params. */
#define BP_ACPI_RSDP_ADDR    0x070
#define BP_EXT_RAMDISK_IMAGE 0x0c0
#define BP_EXT_RAMDISK_SIZE  0x0c4
#define BP_EXT_CMD_LINE_PTR  0x0c8
#define BP_E820_ENTRIES      0x1e8
#define BP_HDR_END           0x290 /* edd_mbr_sig_buffer follows */
#define BP_E820_TABLE        0x2d0
#define BP_E820_MAX          128
#define BP_E820_SIZE         20
#define BP_SIZE              PAGE_SIZE

#define BOOT_FLAG            0xaa55
#define MAGIC_HDRS           0x53726448 /* "HdrS" */
#define VERSION_MIN          0x020c
#define SETUP_SECTS_DEFAULT  4
#define SECTOR               512
#define LOADED_HIGH          BIT(0)
#define XLF_KERNEL_64        BIT(0)
#define LOADER_UNDEFINED     0xff
#define VID_MODE_NORMAL      0xffff
#define ENTRY_64             0x200 /* "64-bit kernel entry point": the load address plus this */
#define PARAGRAPH            16

#define IDENTITY_GIB         4
#define PTE_TABLE            0x3   /* present, writable */
#define PTE_PAGE_2M          0x83  /* present, writable, page size */
#define PTES                 512

struct linux_image {
	const uint8_t *file, *code;
	uint64_t code_len, mem_len; /* in the file; in memory while the kernel unpacks itself */
	uint64_t load;
	uint32_t header_end;
};

bool load_is_linux(const struct load_blob *k)
{
	return k->size >= HDR_MIN_END && get_le16(k->data + HDR_BOOT_FLAG) == BOOT_FLAG &&
	       get_le32(k->data + HDR_MAGIC) == MAGIC_HDRS;
}

static enum tf_err linux_check(const struct load_blob *k, struct linux_image *img, const char **why)
{
	const uint8_t *f = k->data;
	uint64_t setup;

	if (k->size < HDR_MIN_END)
		return load_fail(why, "the file is shorter than a bzImage's setup header", TF_ETRUNC);
	if (get_le16(f + HDR_BOOT_FLAG) != BOOT_FLAG)
		return load_fail(why, "boot_flag is not aa55h", TF_EINVAL);
	if (get_le32(f + HDR_MAGIC) != MAGIC_HDRS)
		return load_fail(why, "header magic is not HdrS", TF_EINVAL);
	if (get_le16(f + HDR_VERSION) < VERSION_MIN)
		return load_fail(why, "boot protocol version is below 2.12", TF_ENOTSUP);
	img->header_end = HDR_MAGIC + f[HDR_JUMP_LEN];
	if (img->header_end < HDR_MIN_END)
		return load_fail(why, "setup header ends before init_size", TF_EINVAL);
	if (img->header_end > BP_HDR_END)
		return load_fail(why, "setup header is longer than boot_params has room for", TF_EINVAL);
	if (!(get_le16(f + HDR_XLOADFLAGS) & XLF_KERNEL_64))
		return load_fail(why, "xloadflags lacks XLF_KERNEL_64: not a 64-bit kernel", TF_ENOTSUP);
	if (!(f[HDR_LOADFLAGS] & LOADED_HIGH))
		return load_fail(why, "loadflags lacks LOADED_HIGH: a zImage", TF_ENOTSUP);

	setup = ((f[HDR_SETUP_SECTS] ? f[HDR_SETUP_SECTS] : SETUP_SECTS_DEFAULT) + 1ull) * SECTOR;
	if (setup > k->size || img->header_end > k->size)
		return load_fail(why, "setup_sects beyond the file", TF_ETRUNC);
	img->file = f;
	img->code = f + setup;
	img->code_len = k->size - setup;
	if ((uint64_t)get_le32(f + HDR_SYSSIZE) * PARAGRAPH > ALIGN_UP(img->code_len, PARAGRAPH))
		return load_fail(why, "syssize beyond the file: it is truncated", TF_ETRUNC);
	if (img->code_len <= ENTRY_64)
		return load_fail(why, "no 64-bit entry point in the file", TF_ETRUNC);
	img->mem_len = MAX((uint64_t)get_le32(f + HDR_INIT_SIZE), img->code_len);
	return TF_OK;
}

/* A relocatable kernel that is loaded below pref_address would move itself there, so only places above are of use. */
static enum tf_err linux_place(struct load_layout *l, struct linux_image *img, const char **why)
{
	uint64_t pref = get_le64(img->file + HDR_PREF_ADDRESS), align = get_le32(img->file + HDR_KERNEL_ALIGNMENT);

	if (pref >= LOAD_HIGH_START && pref < LOAD_4G &&
	    load_find(l, img->mem_len, 1, pref, MIN(pref + img->mem_len, LOAD_4G), false, &img->load) == TF_OK)
		return TF_OK;
	if (!img->file[HDR_RELOCATABLE])
		return load_fail(why, "init_size at pref_address does not fit in RAM, and relocatable_kernel is 0", TF_ENOMEM);
	if (!align || (align & (align - 1)))
		return load_fail(why, "kernel_alignment is not a power of two", TF_EINVAL);
	if (load_find(l, img->mem_len, align, MAX(pref, LOAD_HIGH_START), LOAD_4G, false, &img->load) != TF_OK)
		return load_fail(why, "init_size does not fit in RAM above pref_address", TF_ENOMEM);
	return TF_OK;
}

/* One page of page-table entries: the first `n` refer to `to` and what follows it in `step`s. */
static enum tf_err linux_table(const struct load_layout *l, uint64_t gpa, uint64_t n, uint64_t to, uint64_t step,
			       uint64_t flags)
{
	uint64_t *table = load_at(l, gpa, PAGE_SIZE);

	if (!table)
		return TF_EFAULT;
	memset(table, 0, PAGE_SIZE);
	for (uint64_t i = 0; i < n; i++)
		table[i] = (to + i * step) | flags;
	return TF_OK;
}

static enum tf_err linux_identity_map(struct load_layout *l, uint64_t *cr3)
{
	enum tf_err e = load_find_low(l, (2 + IDENTITY_GIB) * PAGE_SIZE, PAGE_SIZE, cr3);

	if (e == TF_OK)
		e = linux_table(l, *cr3, 1, *cr3 + PAGE_SIZE, PAGE_SIZE, PTE_TABLE);
	if (e == TF_OK)
		e = linux_table(l, *cr3 + PAGE_SIZE, IDENTITY_GIB, *cr3 + 2 * PAGE_SIZE, PAGE_SIZE, PTE_TABLE);
	for (uint64_t i = 0; e == TF_OK && i < IDENTITY_GIB; i++)
		e = linux_table(l, *cr3 + (2 + i) * PAGE_SIZE, PTES, GiB(i), MiB(2), PTE_PAGE_2M);
	return e;
}

static enum tf_err linux_initrd(struct load_layout *l, const struct load_request *req, const struct linux_image *img,
				uint8_t *bp, const char **why)
{
	uint64_t max = get_le32(img->file + HDR_INITRD_ADDR_MAX), gpa;

	if (!req->initrd.data || !req->initrd.size)
		return TF_OK;
	if (load_find(l, req->initrd.size, PAGE_SIZE, LOAD_HIGH_START, max + 1, true, &gpa) != TF_OK)
		return load_fail(why, "initrd does not fit in RAM below initrd_addr_max", TF_ENOMEM);
	if (load_copy(l, gpa, req->initrd.data, req->initrd.size) != TF_OK)
		return load_fail(why, "the initrd's place is not RAM", TF_EFAULT);
	put_le32(bp + HDR_RAMDISK_IMAGE, (uint32_t)gpa);
	put_le32(bp + HDR_RAMDISK_SIZE, (uint32_t)req->initrd.size);
	put_le32(bp + BP_EXT_RAMDISK_IMAGE, (uint32_t)(gpa >> 32));
	put_le32(bp + BP_EXT_RAMDISK_SIZE, (uint32_t)(req->initrd.size >> 32));
	return TF_OK;
}

static enum tf_err linux_cmdline(struct load_layout *l, const struct load_request *req, const struct linux_image *img,
				 uint8_t *bp, const char **why)
{
	uint64_t len = req->cmdline ? strnlen(req->cmdline, VM_CMDLINE_MAX) : 0, gpa;
	struct load_writer w = { .l = l };

	if (len > get_le32(img->file + HDR_CMDLINE_SIZE))
		return load_fail(why, "cmdline is longer than the kernel's cmdline_size", TF_ERANGE);
	if (load_find_low(l, len + 1, PARAGRAPH, &gpa) != TF_OK)
		return load_fail(why, "no RAM for the command line", TF_ENOMEM);
	w.gpa = gpa;
	load_put(&w, req->cmdline, len);
	load_put(&w, "", 1);
	if (w.error)
		return load_fail(why, "the command line's place is not RAM", TF_EFAULT);
	put_le32(bp + HDR_CMD_LINE_PTR, (uint32_t)gpa);
	put_le32(bp + BP_EXT_CMD_LINE_PTR, (uint32_t)(gpa >> 32));
	return TF_OK;
}

static void linux_boot_params(const struct load_mem *mem, const struct linux_image *img, uint8_t *bp)
{
	memset(bp, 0, BP_SIZE);
	memcpy(bp + HDR_SETUP_SECTS, img->file + HDR_SETUP_SECTS, img->header_end - HDR_SETUP_SECTS);
	bp[HDR_TYPE_OF_LOADER] = LOADER_UNDEFINED;
	put_le16(bp + HDR_VID_MODE, VID_MODE_NORMAL);
	put_le32(bp + HDR_CODE32_START, (uint32_t)img->load);
	put_le32(bp + HDR_RAMDISK_IMAGE, 0);
	put_le32(bp + HDR_RAMDISK_SIZE, 0);
	put_le64(bp + HDR_SETUP_DATA, 0);
	put_le64(bp + BP_ACPI_RSDP_ADDR, mem->rsdp.v);
	bp[BP_E820_ENTRIES] = (uint8_t)mem->nmap;
	for (uint32_t i = 0; i < mem->nmap; i++) {
		uint8_t *e = bp + BP_E820_TABLE + i * BP_E820_SIZE;

		put_le64(e, mem->map[i].base);
		put_le64(e + 8, mem->map[i].len);
		put_le32(e + 16, mem->map[i].type);
	}
}

enum tf_err load_linux(const struct load_request *req, struct load_entry *out, const char **why)
{
	struct linux_image img;
	struct load_layout l;
	uint64_t bp_gpa;
	uint8_t *bp;
	enum tf_err e;

	*why = NULL;
	memset(out, 0, sizeof(*out));
	load_layout_init(&l, req->mem);
	if (req->nmodules)
		return load_fail(why, "a Linux kernel takes an initrd, no modules", TF_EINVAL);
	if (req->mem->nmap > BP_E820_MAX)
		return load_fail(why, "the memory map has more ranges than boot_params", TF_ERANGE);
	e = linux_check(&req->kernel, &img, why);
	if (e == TF_OK)
		e = linux_place(&l, &img, why);
	if (e != TF_OK)
		return e;
	if (load_find_low(&l, BP_SIZE, PAGE_SIZE, &bp_gpa) != TF_OK)
		return load_fail(why, "no RAM for boot_params", TF_ENOMEM);
	bp = load_at(&l, bp_gpa, BP_SIZE);
	if (!bp || load_copy(&l, img.load, img.code, img.code_len) != TF_OK)
		return load_fail(why, "the kernel's place is not RAM", TF_EFAULT);
	linux_boot_params(req->mem, &img, bp);
	e = linux_cmdline(&l, req, &img, bp, why);
	if (e != TF_OK)
		return e;
	if (linux_identity_map(&l, &out->cr3) != TF_OK || load_flat_gdt(&l, true, out) != TF_OK)
		return load_fail(why, "no RAM for page tables, GDT and stack", TF_ENOMEM);
	e = linux_initrd(&l, req, &img, bp, why);
	if (e != TF_OK)
		return e;
	out->mode = LOAD_LONG64;
	out->rip = img.load + ENTRY_64;
	out->rsi = bp_gpa;
	return TF_OK;
}
