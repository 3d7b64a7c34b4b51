/* Kernels that name their physical addresses: ELF program headers (32- and 64-bit), and Multiboot's address fields. */
#include "guest/load_layout.h"

#define EI_CLASS        4
#define EI_DATA         5
#define EI_NIDENT       16
#define ELFCLASS32      1
#define ELFCLASS64      2
#define ELFDATA2LSB     1
#define EM_386          3
#define EM_X86_64       62
#define PT_LOAD         1
#define ELF_MAX_PHDRS   64

struct elf32_ehdr {
	uint8_t ident[EI_NIDENT];
	uint16_t type, machine;
	uint32_t version, entry, phoff, shoff, flags;
	uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};
struct elf64_ehdr {
	uint8_t ident[EI_NIDENT];
	uint16_t type, machine;
	uint32_t version;
	uint64_t entry, phoff, shoff;
	uint32_t flags;
	uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};
struct elf32_phdr { uint32_t type, offset, vaddr, paddr, filesz, memsz, flags, align; };
struct elf64_phdr { uint32_t type, flags; uint64_t offset, vaddr, paddr, filesz, memsz, align; };
_Static_assert(sizeof(struct elf32_ehdr) == 52 && sizeof(struct elf64_ehdr) == 64, "ELF header");
_Static_assert(sizeof(struct elf32_phdr) == 32 && sizeof(struct elf64_phdr) == 56, "ELF program header");

/* Both classes, in the wider types. */
struct elf_header { bool is64; uint64_t entry, phoff; uint32_t phentsize, phnum; };

bool load_is_elf(const uint8_t *data, uint64_t size)
{
	static const uint8_t magic[] = { 0x7f, 'E', 'L', 'F' };

	return size >= EI_NIDENT && memcmp(data, magic, sizeof(magic)) == 0;
}

static enum tf_err elf_header(const uint8_t *data, uint64_t size, struct elf_header *h, const char **why)
{
	uint16_t machine;

	if (!load_is_elf(data, size))
		return load_fail(why, "neither an ELF file nor one with address fields", TF_EINVAL);
	if (data[EI_DATA] != ELFDATA2LSB)
		return load_fail(why, "ELF e_ident: not little-endian", TF_EINVAL);
	h->is64 = data[EI_CLASS] == ELFCLASS64;
	if (!h->is64 && data[EI_CLASS] != ELFCLASS32)
		return load_fail(why, "ELF e_ident: unknown class", TF_EINVAL);
	if (size < (h->is64 ? sizeof(struct elf64_ehdr) : sizeof(struct elf32_ehdr)))
		return load_fail(why, "ELF header beyond the file", TF_ETRUNC);
	if (h->is64) {
		struct elf64_ehdr e;

		memcpy(&e, data, sizeof(e));
		*h = (struct elf_header){ true, e.entry, e.phoff, e.phentsize, e.phnum };
		machine = e.machine;
	} else {
		struct elf32_ehdr e;

		memcpy(&e, data, sizeof(e));
		*h = (struct elf_header){ false, e.entry, e.phoff, e.phentsize, e.phnum };
		machine = e.machine;
	}
	if (machine != (h->is64 ? EM_X86_64 : EM_386))
		return load_fail(why, "ELF e_machine: not for this class of x86", TF_ENOTSUP);
	if (h->phentsize < (h->is64 ? sizeof(struct elf64_phdr) : sizeof(struct elf32_phdr)))
		return load_fail(why, "ELF e_phentsize too small", TF_EINVAL);
	if (!h->phnum || h->phnum > ELF_MAX_PHDRS)
		return load_fail(why, "ELF e_phnum is 0 or above 64", TF_ENOTSUP);
	if (h->phoff > size || size - h->phoff < (uint64_t)h->phentsize * h->phnum)
		return load_fail(why, "ELF program headers beyond the file", TF_ETRUNC);
	return TF_OK;
}

/* Program header i, which elf_header() has found to be inside the file. */
static struct elf64_phdr elf_phdr(const uint8_t *data, const struct elf_header *h, uint32_t i)
{
	const uint8_t *at = data + h->phoff + (uint64_t)h->phentsize * i;
	struct elf64_phdr wide;
	struct elf32_phdr p;

	if (h->is64) {
		memcpy(&wide, at, sizeof(wide));
		return wide;
	}
	memcpy(&p, at, sizeof(p));
	return (struct elf64_phdr){ .type = p.type, .offset = p.offset, .vaddr = p.vaddr, .paddr = p.paddr,
				    .filesz = p.filesz, .memsz = p.memsz };
}

enum tf_err load_elf_parse(const uint8_t *data, uint64_t size, struct load_image *img, const char **why)
{
	uint64_t lo = UINT64_MAX, hi = 0;
	struct elf_header h;
	enum tf_err e = elf_header(data, size, &h, why);

	if (e != TF_OK)
		return e;
	*img = (struct load_image){ .data = data, .size = size, .elf = true, .entry = h.entry };
	for (uint32_t i = 0; i < h.phnum; i++) {
		struct elf64_phdr p = elf_phdr(data, &h, i);

		if (p.type != PT_LOAD || !p.memsz)
			continue;
		if (p.offset > size || p.filesz > size - p.offset)
			return load_fail(why, "ELF p_offset and p_filesz beyond the file", TF_ETRUNC);
		if (p.filesz > p.memsz)
			return load_fail(why, "ELF p_filesz above p_memsz", TF_EINVAL);
		if (p.paddr >= LOAD_4G || p.memsz > LOAD_4G - p.paddr)
			return load_fail(why, "ELF p_paddr and p_memsz beyond 4 GiB", TF_ERANGE);
		/* e_entry is virtual where a segment's virtual range holds it. */
		if (h.entry >= p.vaddr && h.entry - p.vaddr < p.memsz)
			img->entry = h.entry - p.vaddr + p.paddr;
		lo = MIN(lo, p.paddr);
		hi = MAX(hi, p.paddr + p.memsz);
	}
	if (!hi)
		return load_fail(why, "ELF file without a PT_LOAD segment", TF_EINVAL);
	if (img->entry < lo || img->entry >= hi)
		return load_fail(why, "ELF e_entry outside the segments", TF_ERANGE);
	img->base = lo;
	img->len = hi - lo;
	return TF_OK;
}

enum tf_err load_flat_parse(const uint8_t *data, uint64_t size, uint64_t header, const uint32_t addr[4],
			    struct load_image *img, const char **why)
{
	uint64_t header_addr = addr[0], load = addr[1], load_end = addr[2], bss_end = addr[3], before;

	if (load == UINT32_MAX) {
		if (header_addr < header)
			return load_fail(why, "header_addr puts the file's start below address 0", TF_ERANGE);
		load = header_addr - header;
	}
	if (load > header_addr)
		return load_fail(why, "load_addr above header_addr", TF_EINVAL);
	before = header_addr - load; /* bytes of the image in front of the header */
	if (before > header)
		return load_fail(why, "load_addr lies before the file's start", TF_EINVAL);
	*img = (struct load_image){ .data = data, .size = size, .base = load, .offset = header - before };
	if (load_end && load_end < load)
		return load_fail(why, "load_end_addr below load_addr", TF_EINVAL);
	img->filesz = load_end ? load_end - load : size - img->offset;
	if (img->filesz > size - img->offset)
		return load_fail(why, "load_end_addr beyond the file", TF_ETRUNC);
	if (bss_end && bss_end < load + img->filesz)
		return load_fail(why, "bss_end_addr below load_end_addr", TF_EINVAL);
	img->len = bss_end ? bss_end - load : img->filesz;
	if (!img->len)
		return load_fail(why, "the address fields describe an empty image", TF_EINVAL);
	return TF_OK;
}

static enum tf_err image_piece(const struct load_layout *l, const struct load_image *img, uint64_t gpa, uint64_t memsz,
			       uint64_t offset, uint64_t filesz, const char **why)
{
	if (!load_is_ram(l, gpa, memsz) || load_copy(l, gpa, img->data + offset, filesz) != TF_OK ||
	    load_clear(l, gpa + filesz, memsz - filesz) != TF_OK)
		return load_fail(why, "the kernel's addresses are not RAM", TF_EFAULT);
	return TF_OK;
}

enum tf_err load_image_copy(const struct load_layout *l, const struct load_image *img, uint64_t delta, const char **why)
{
	struct elf_header h;
	enum tf_err e;

	if (!img->elf)
		return image_piece(l, img, img->base + delta, img->len, img->offset, img->filesz, why);
	e = elf_header(img->data, img->size, &h, why);
	for (uint32_t i = 0; e == TF_OK && i < h.phnum; i++) {
		struct elf64_phdr p = elf_phdr(img->data, &h, i);

		if (p.type == PT_LOAD && p.memsz)
			e = image_piece(l, img, p.paddr + delta, p.memsz, p.offset, p.filesz, why);
	}
	return e;
}
