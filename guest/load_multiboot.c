/* Multiboot (Multiboot Specification 0.6.96): header, image, information structure, machine state. */
#include "guest/load_layout.h"

#define MB_SEARCH        KiB(8)
#define MB_ALIGN         4
#define MB_HEADER_MAGIC  0x1badb002u
#define MB_LOADER_MAGIC  0x2badb002u
#define MB_FLAG_VIDEO    BIT(2)
#define MB_FLAG_REQUIRED 0xffffu /* bits 0 to 15: a loader that does not know one must refuse */
#define MB_FLAG_KNOWN    0x3u    /* page-aligned modules, memory information: always given */
#define MB_FLAG_ADDRESS  BIT(16)
#define MB_HEADER_LEN    12
#define MB_ADDRESS_LEN   32      /* the header with its address fields */

#define MBI_MEMORY       BIT(0)
#define MBI_CMDLINE      BIT(2)
#define MBI_MODS         BIT(3)
#define MBI_MMAP         BIT(6)
#define MBI_LOADER       BIT(9)

struct mb_info {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4];
	uint32_t mmap_length, mmap_addr, drives_length, drives_addr, config_table, boot_loader_name, apm_table;
	uint32_t vbe[4];
	uint8_t framebuffer[28];
};
_Static_assert(offsetof(struct mb_info, mmap_length) == 44 && offsetof(struct mb_info, boot_loader_name) == 64 &&
	       offsetof(struct mb_info, framebuffer) == 88, "Multiboot information");
struct mb_module { uint32_t start, end, string, reserved; };
struct mb_mmap { uint32_t size; uint64_t base, len; uint32_t type; } __packed;
_Static_assert(sizeof(struct mb_module) == 16 && sizeof(struct mb_mmap) == 24, "Multiboot information");

/* The header's offset; false if there is none. */
static bool mb_find(const struct load_blob *k, uint64_t *at)
{
	uint64_t end = MIN(k->size, MB_SEARCH);

	for (uint64_t i = 0; i + MB_HEADER_LEN <= end; i += MB_ALIGN) {
		const uint8_t *h = k->data + i;

		if (get_le32(h) == MB_HEADER_MAGIC && !(get_le32(h) + get_le32(h + 4) + get_le32(h + 8))) {
			*at = i;
			return true;
		}
	}
	return false;
}

bool load_is_multiboot(const struct load_blob *k)
{
	uint64_t at;

	return mb_find(k, &at);
}

static enum tf_err mb_image(const struct load_blob *k, struct load_image *img, const char **why)
{
	uint32_t flags, addr[4];
	const uint8_t *h;
	enum tf_err e;
	uint64_t at;

	if (!mb_find(k, &at))
		return load_fail(why, "no Multiboot header in the first 8 KiB", TF_EINVAL);
	h = k->data + at;
	flags = get_le32(h + 4);
	if (flags & MB_FLAG_VIDEO)
		return load_fail(why, "Multiboot flags: video mode (bit 2) is not supported", TF_ENOTSUP);
	if (flags & MB_FLAG_REQUIRED & ~MB_FLAG_KNOWN)
		return load_fail(why, "Multiboot flags: an unknown required bit (3 to 15)", TF_ENOTSUP);
	if (!(flags & MB_FLAG_ADDRESS))
		return load_elf_parse(k->data, k->size, img, why);
	if (k->size - at < MB_ADDRESS_LEN)
		return load_fail(why, "Multiboot address fields beyond the file", TF_ETRUNC);
	for (uint32_t i = 0; i < ARRAY_SIZE(addr); i++)
		addr[i] = get_le32(h + MB_HEADER_LEN + 4 * i);
	e = load_flat_parse(k->data, k->size, at, addr, img, why);
	if (e != TF_OK)
		return e;
	img->entry = get_le32(h + MB_HEADER_LEN + 4 * ARRAY_SIZE(addr));
	if (img->entry < img->base || img->entry - img->base >= img->len)
		return load_fail(why, "entry_addr outside the image", TF_ERANGE);
	return TF_OK;
}

static uint64_t mb_strlen(const char *s) { return s ? strnlen(s, VM_CMDLINE_MAX) : 0; }

/* Appends a string; returns its guest-physical address. */
static uint32_t mb_string(struct load_writer *w, const char *s)
{
	uint64_t gpa = w->gpa;

	load_put(w, s, mb_strlen(s));
	load_put(w, "", 1);
	return (uint32_t)gpa;
}

/* One block: information structure, memory map, module table, strings. */
static enum tf_err mb_info(struct load_layout *l, const struct load_request *req, const struct load_range *mods,
			   uint64_t *gpa, const char **why)
{
	uint64_t mmap_at = ALIGN_UP(sizeof(struct mb_info), 8);
	uint64_t mods_at = mmap_at + (uint64_t)l->mem->nmap * sizeof(struct mb_mmap);
	uint64_t text_at = mods_at + req->nmodules * sizeof(struct mb_module);
	uint64_t size = text_at + mb_strlen(req->cmdline) + 1 + sizeof(LOADER_NAME);
	struct mb_info info = { .flags = MBI_MEMORY | MBI_CMDLINE | MBI_MODS | MBI_MMAP | MBI_LOADER };

	for (uint32_t i = 0; i < req->nmodules; i++)
		size += mb_strlen(req->modules[i].name) + 1;
	if (load_find_low(l, size, 8, gpa) != TF_OK)
		return load_fail(why, "no RAM for the Multiboot information", TF_ENOMEM);
	struct load_writer head = { .l = l, .gpa = *gpa }, tables = { .l = l, .gpa = *gpa + mmap_at };
	struct load_writer text = { .l = l, .gpa = *gpa + text_at };

	load_mem_kib(l->mem, &info.mem_lower, &info.mem_upper);
	info.mmap_addr = (uint32_t)(*gpa + mmap_at);
	info.mmap_length = (uint32_t)(mods_at - mmap_at);
	for (uint32_t i = 0; i < l->mem->nmap; i++) {
		const struct mem_range *r = &l->mem->map[i];
		struct mb_mmap m = { sizeof(m) - sizeof(m.size), r->base, r->len, r->type };

		load_put(&tables, &m, sizeof(m));
	}
	info.mods_count = req->nmodules;
	info.mods_addr = (uint32_t)(*gpa + mods_at);
	for (uint32_t i = 0; i < req->nmodules; i++) {
		struct mb_module m = { .start = (uint32_t)mods[i].base, .end = (uint32_t)(mods[i].base + mods[i].len) };

		m.string = mb_string(&text, req->modules[i].name);
		load_put(&tables, &m, sizeof(m));
	}
	info.cmdline = mb_string(&text, req->cmdline);
	info.boot_loader_name = mb_string(&text, LOADER_NAME);
	load_put(&head, &info, sizeof(info));
	if (head.error || tables.error || text.error)
		return load_fail(why, "the Multiboot information's place is not RAM", TF_EFAULT);
	return TF_OK;
}

enum tf_err load_multiboot(const struct load_request *req, struct load_entry *out, const char **why)
{
	struct load_range mods[VM_MAX_MODULES];
	struct load_image img;
	struct load_layout l;
	enum tf_err e;

	*why = NULL;
	memset(out, 0, sizeof(*out));
	load_layout_init(&l, req->mem);
	if (req->initrd.data)
		return load_fail(why, "a Multiboot kernel takes modules, no initrd", TF_EINVAL);
	if (req->nmodules > VM_MAX_MODULES)
		return load_fail(why, "too many modules", TF_ERANGE);
	e = mb_image(&req->kernel, &img, why);
	if (e != TF_OK)
		return e;
	if (load_take(&l, img.base, img.len) != TF_OK)
		return load_fail(why, "the kernel's addresses wrap around", TF_ERANGE);
	e = load_image_copy(&l, &img, 0, why);
	if (e == TF_OK)
		e = load_place_modules(&l, req, img.base + img.len, mods, why);
	if (e == TF_OK)
		e = mb_info(&l, req, mods, &out->rbx, why);
	if (e != TF_OK)
		return e;
	if (load_flat_gdt(&l, false, out) != TF_OK)
		return load_fail(why, "no RAM for GDT and stack", TF_ENOMEM);
	out->mode = LOAD_PROTECTED32;
	out->rip = img.entry;
	out->rax = MB_LOADER_MAGIC;
	return TF_OK;
}
