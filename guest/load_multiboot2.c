/* Multiboot2 (Multiboot2 Specification 2.0): header tags, image, boot information, machine state (i386). */
#include "guest/load_layout.h"

#define MB2_SEARCH        KiB(32)
#define MB2_ALIGN         8
#define MB2_HEADER_MAGIC  0xe85250d6u
#define MB2_LOADER_MAGIC  0x36d76289u
#define MB2_ARCH_I386     0
#define MB2_HEADER_LEN    16
#define MB2_TAG_LEN       8
#define MB2_TAG_OPTIONAL  BIT(0)
#define MB2_CONSOLE_REQUIRED BIT(0)
#define MB2_MAX_TAGS      64

enum mb2_header_tag {
	HTAG_END, HTAG_INFO_REQUEST, HTAG_ADDRESS, HTAG_ENTRY, HTAG_CONSOLE, HTAG_FRAMEBUFFER, HTAG_MODULE_ALIGN,
	HTAG_EFI_BS, HTAG_ENTRY_EFI32, HTAG_ENTRY_EFI64, HTAG_RELOCATABLE,
};
enum mb2_info_tag {
	ITAG_END, ITAG_CMDLINE, ITAG_LOADER, ITAG_MODULE, ITAG_MEMINFO, ITAG_BOOTDEV, ITAG_MMAP, ITAG_VBE, ITAG_FRAMEBUFFER,
	ITAG_ELF, ITAG_APM, ITAG_EFI32, ITAG_EFI64, ITAG_SMBIOS, ITAG_ACPI_OLD, ITAG_ACPI_NEW, ITAG_NETWORK, ITAG_EFI_MMAP,
	ITAG_EFI_BS, ITAG_EFI32_IH, ITAG_EFI64_IH, ITAG_LOAD_BASE,
};
#define RSDP_V1_LEN 20
#define RSDP_V2_LEN 36
#define MMAP_ENTRY  24

/* What a kernel may require of the boot information and does not get here; NULL: it is given. */
static const char *const info_refused[] = {
	[ITAG_BOOTDEV] = "information request: no BIOS boot device",
	[ITAG_VBE] = "information request: no VBE information",
	[ITAG_FRAMEBUFFER] = "information request: no framebuffer",
	[ITAG_ELF] = "information request: ELF symbols are not supported",
	[ITAG_APM] = "information request: no APM table",
	[ITAG_EFI32] = "information request: no EFI 32-bit system table",
	[ITAG_EFI64] = "information request: no EFI 64-bit system table",
	[ITAG_SMBIOS] = "information request: no SMBIOS tables",
	[ITAG_NETWORK] = "information request: no network information",
	[ITAG_EFI_MMAP] = "information request: no EFI memory map",
	[ITAG_EFI_BS] = "information request: no EFI boot services",
	[ITAG_EFI32_IH] = "information request: no EFI 32-bit image handle",
	[ITAG_EFI64_IH] = "information request: no EFI 64-bit image handle",
	[ITAG_LOAD_BASE] = NULL,
};

struct mb2_header {
	uint64_t at;
	bool has_address, has_entry, relocatable;
	uint32_t address[4], entry, min_addr, max_addr, align, preference;
};
enum mb2_preference { PREFER_NONE, PREFER_LOWEST, PREFER_HIGHEST };

static bool mb2_find(const struct load_blob *k, uint64_t *at)
{
	uint64_t end = MIN(k->size, MB2_SEARCH);

	for (uint64_t i = 0; i + MB2_HEADER_LEN <= end; i += MB2_ALIGN) {
		const uint8_t *h = k->data + i;

		if (get_le32(h) == MB2_HEADER_MAGIC &&
		    !(get_le32(h) + get_le32(h + 4) + get_le32(h + 8) + get_le32(h + 12))) {
			*at = i;
			return true;
		}
	}
	return false;
}

bool load_is_multiboot2(const struct load_blob *k)
{
	uint64_t at;

	return mb2_find(k, &at);
}

static enum tf_err mb2_requests(const uint8_t *tag, uint32_t size, const char **why)
{
	for (uint32_t i = MB2_TAG_LEN; i + 4 <= size; i += 4) {
		uint32_t type = get_le32(tag + i);

		if (type >= ARRAY_SIZE(info_refused))
			return load_fail(why, "information request: unknown tag", TF_ENOTSUP);
		if (info_refused[type])
			return load_fail(why, info_refused[type], TF_ENOTSUP);
	}
	return TF_OK;
}

static enum tf_err mb2_short(const char **why)
{
	return load_fail(why, "a Multiboot2 header tag is too short for its type", TF_ETRUNC);
}

/* One header tag; size is at least MB2_TAG_LEN and inside the file. */
static enum tf_err mb2_tag(struct mb2_header *h, const uint8_t *tag, uint32_t size, const char **why)
{
	bool optional = get_le16(tag + 2) & MB2_TAG_OPTIONAL;

	switch (get_le16(tag)) {
	case HTAG_INFO_REQUEST:
		return optional ? TF_OK : mb2_requests(tag, size, why);
	case HTAG_ADDRESS:
		if (size < 24)
			return mb2_short(why);
		h->has_address = true;
		for (uint32_t i = 0; i < ARRAY_SIZE(h->address); i++)
			h->address[i] = get_le32(tag + MB2_TAG_LEN + 4 * i);
		return TF_OK;
	case HTAG_ENTRY:
		if (size < 12)
			return mb2_short(why);
		h->has_entry = true;
		h->entry = get_le32(tag + 8);
		return TF_OK;
	case HTAG_CONSOLE:
		if (size < 12)
			return mb2_short(why);
		if (!optional && (get_le32(tag + 8) & MB2_CONSOLE_REQUIRED))
			return load_fail(why, "console flags tag: a console is required, there is none", TF_ENOTSUP);
		return TF_OK;
	case HTAG_FRAMEBUFFER:
		return optional ? TF_OK : load_fail(why, "framebuffer tag: there is no framebuffer", TF_ENOTSUP);
	case HTAG_MODULE_ALIGN: /* they always are */
	case HTAG_EFI_BS:       /* these three matter to a loader on EFI only */
	case HTAG_ENTRY_EFI32:
	case HTAG_ENTRY_EFI64:
		return TF_OK;
	case HTAG_RELOCATABLE:
		if (size < 24)
			return mb2_short(why);
		h->relocatable = true;
		h->min_addr = get_le32(tag + 8);
		h->max_addr = get_le32(tag + 12);
		h->align = get_le32(tag + 16);
		h->preference = get_le32(tag + 20);
		if (h->align & (h->align - 1))
			return load_fail(why, "relocatable tag: align is not a power of two", TF_EINVAL);
		return TF_OK;
	}
	return optional ? TF_OK : load_fail(why, "an unknown required Multiboot2 header tag", TF_ENOTSUP);
}

static enum tf_err mb2_header(const struct load_blob *k, struct mb2_header *h, const char **why)
{
	uint64_t at, end;
	enum tf_err e;

	memset(h, 0, sizeof(*h));
	if (!mb2_find(k, &h->at))
		return load_fail(why, "no Multiboot2 header in the first 32 KiB", TF_EINVAL);
	if (get_le32(k->data + h->at + 4) != MB2_ARCH_I386)
		return load_fail(why, "Multiboot2 architecture is not i386", TF_ENOTSUP);
	end = h->at + get_le32(k->data + h->at + 8);
	if (end > MIN(k->size, MB2_SEARCH))
		return load_fail(why, "Multiboot2 header_length beyond the file or its first 32 KiB", TF_ETRUNC);
	at = h->at + MB2_HEADER_LEN;
	for (uint32_t n = 0; n < MB2_MAX_TAGS; n++) {
		const uint8_t *tag = k->data + at;
		uint32_t size;

		if (at + MB2_TAG_LEN > end)
			return load_fail(why, "Multiboot2 header tags without an end tag", TF_ETRUNC);
		size = get_le32(tag + 4);
		if (size < MB2_TAG_LEN || size > end - at)
			return load_fail(why, "a Multiboot2 header tag's size is beyond the header", TF_ETRUNC);
		if (get_le16(tag) == HTAG_END)
			return TF_OK;
		e = mb2_tag(h, tag, size, why);
		if (e != TF_OK)
			return e;
		at += ALIGN_UP((uint64_t)size, MB2_ALIGN);
	}
	return load_fail(why, "too many Multiboot2 header tags", TF_ENOTSUP);
}

static enum tf_err mb2_image(const struct load_blob *k, const struct mb2_header *h, struct load_image *img, const char **why)
{
	enum tf_err e = h->has_address ? load_flat_parse(k->data, k->size, h->at, h->address, img, why)
				       : load_elf_parse(k->data, k->size, img, why);

	if (e != TF_OK)
		return e;
	if (h->has_address && !h->has_entry)
		return load_fail(why, "address tag without an entry address tag", TF_EINVAL);
	if (h->has_entry)
		img->entry = h->entry;
	if (img->entry < img->base || img->entry - img->base >= img->len)
		return load_fail(why, "entry_addr outside the image", TF_ERANGE);
	return TF_OK;
}

/* Where the image goes: *delta from where it was linked. */
static enum tf_err mb2_place(struct load_layout *l, const struct mb2_header *h, const struct load_image *img,
			     uint64_t *delta, const char **why)
{
	uint64_t align = MAX(h->align, 1u), hi = (uint64_t)h->max_addr + 1, base;

	*delta = 0;
	if (!h->relocatable) {
		if (load_take(l, img->base, img->len) != TF_OK)
			return load_fail(why, "the kernel's addresses wrap around", TF_ERANGE);
		return TF_OK;
	}
	if (h->preference == PREFER_NONE && img->base >= h->min_addr && IS_ALIGNED(img->base, align) &&
	    load_find(l, img->len, 1, img->base, MIN(hi, img->base + img->len), false, &base) == TF_OK)
		return TF_OK;
	if (load_find(l, img->len, align, MAX(h->min_addr, LOAD_LOW_START), hi, h->preference == PREFER_HIGHEST, &base) != TF_OK)
		return load_fail(why, "relocatable tag: no RAM between min_addr and max_addr", TF_ENOMEM);
	*delta = base - img->base;
	return TF_OK;
}

/* The boot information is written by the same code twice: once only measured, to learn its size. */
static void mb2_put32(struct load_writer *w, uint32_t v) { load_put(w, &v, sizeof(v)); }

static void mb2_begin(struct load_writer *w, enum mb2_info_tag type, uint64_t payload)
{
	mb2_put32(w, type);
	mb2_put32(w, (uint32_t)(MB2_TAG_LEN + payload));
}

static void mb2_pad(struct load_writer *w)
{
	static const uint8_t zero[MB2_ALIGN];

	load_put(w, zero, ALIGN_UP(w->gpa, MB2_ALIGN) - w->gpa);
}

static void mb2_string(struct load_writer *w, const char *s, uint64_t len)
{
	load_put(w, s, len);
	load_put(w, "", 1);
	mb2_pad(w);
}

static uint64_t mb2_strlen(const char *s) { return s ? strnlen(s, VM_CMDLINE_MAX) : 0; }

static void mb2_memory(struct load_writer *w, const struct load_mem *mem)
{
	uint32_t lower, upper;

	load_mem_kib(mem, &lower, &upper);
	mb2_begin(w, ITAG_MEMINFO, 8);
	mb2_put32(w, lower);
	mb2_put32(w, upper);
	mb2_begin(w, ITAG_MMAP, 8 + (uint64_t)mem->nmap * MMAP_ENTRY);
	mb2_put32(w, MMAP_ENTRY);
	mb2_put32(w, 0); /* entry_version */
	for (uint32_t i = 0; i < mem->nmap; i++) {
		load_put(w, &mem->map[i].base, 8);
		load_put(w, &mem->map[i].len, 8);
		mb2_put32(w, mem->map[i].type);
		mb2_put32(w, 0); /* reserved */
	}
}

static void mb2_acpi(struct load_writer *w, const struct load_layout *l)
{
	const void *rsdp = l->mem->rsdp.v ? load_at(l, l->mem->rsdp.v, RSDP_V2_LEN) : NULL;

	if (!rsdp)
		return;
	mb2_begin(w, ITAG_ACPI_OLD, RSDP_V1_LEN);
	load_put(w, rsdp, RSDP_V1_LEN);
	mb2_pad(w);
	mb2_begin(w, ITAG_ACPI_NEW, RSDP_V2_LEN);
	load_put(w, rsdp, RSDP_V2_LEN);
	mb2_pad(w);
}

static void mb2_write(struct load_writer *w, const struct load_layout *l, const struct load_request *req,
		      const struct load_range *mods, bool relocatable, uint64_t load_base, uint32_t total)
{
	uint64_t len = mb2_strlen(req->cmdline);

	mb2_put32(w, total);
	mb2_put32(w, 0); /* reserved */
	mb2_begin(w, ITAG_CMDLINE, len + 1);
	mb2_string(w, req->cmdline, len);
	mb2_begin(w, ITAG_LOADER, sizeof(LOADER_NAME));
	mb2_string(w, LOADER_NAME, sizeof(LOADER_NAME) - 1);
	for (uint32_t i = 0; i < req->nmodules; i++) {
		len = mb2_strlen(req->modules[i].name);
		mb2_begin(w, ITAG_MODULE, 8 + len + 1);
		mb2_put32(w, (uint32_t)mods[i].base);
		mb2_put32(w, (uint32_t)(mods[i].base + mods[i].len));
		mb2_string(w, req->modules[i].name, len);
	}
	mb2_memory(w, l->mem);
	mb2_acpi(w, l);
	if (relocatable) {
		mb2_begin(w, ITAG_LOAD_BASE, 4);
		mb2_put32(w, (uint32_t)load_base);
		mb2_pad(w);
	}
	mb2_begin(w, ITAG_END, 0);
}

enum tf_err load_multiboot2(const struct load_request *req, struct load_entry *out, const char **why)
{
	struct load_writer w = { .l = NULL };
	struct load_range mods[VM_MAX_MODULES];
	struct load_image img;
	struct mb2_header h;
	struct load_layout l;
	uint64_t delta, size;
	enum tf_err e;

	*why = NULL;
	memset(out, 0, sizeof(*out));
	load_layout_init(&l, req->mem);
	if (req->initrd.data)
		return load_fail(why, "a Multiboot2 kernel takes modules, no initrd", TF_EINVAL);
	if (req->nmodules > VM_MAX_MODULES)
		return load_fail(why, "too many modules", TF_ERANGE);
	e = mb2_header(&req->kernel, &h, why);
	if (e == TF_OK)
		e = mb2_image(&req->kernel, &h, &img, why);
	if (e == TF_OK)
		e = mb2_place(&l, &h, &img, &delta, why);
	if (e == TF_OK)
		e = load_image_copy(&l, &img, delta, why);
	if (e == TF_OK)
		e = load_place_modules(&l, req, img.base + delta + img.len, mods, why);
	if (e != TF_OK)
		return e;

	mb2_write(&w, &l, req, mods, h.relocatable, img.base + delta, 0);
	size = w.gpa;
	if (load_find_low(&l, size, MB2_ALIGN, &out->rbx) != TF_OK)
		return load_fail(why, "no RAM for the Multiboot2 information", TF_ENOMEM);
	w = (struct load_writer){ .l = &l, .gpa = out->rbx };
	mb2_write(&w, &l, req, mods, h.relocatable, img.base + delta, (uint32_t)size);
	if (w.error)
		return load_fail(why, "the Multiboot2 information's place is not RAM", TF_EFAULT);
	if (load_flat_gdt(&l, false, out) != TF_OK)
		return load_fail(why, "no RAM for GDT and stack", TF_ENOMEM);
	out->mode = LOAD_PROTECTED32;
	out->rip = img.entry + delta;
	out->rax = MB2_LOADER_MAGIC;
	return TF_OK;
}
