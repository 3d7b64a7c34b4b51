/* The ELF file: System V ABI, "Object Files" and "Program Loading"; entry state and header tags as Multiboot2 says. */
#include "boot/efi/image.h"
#include <tf/string.h>

#define ELF_CLASS_64    2
#define ELF_DATA_LSB    1
#define ELF_VERSION     1
#define ELF_TYPE_EXEC   2
#define ELF_MACHINE_X86_64 62
#define ELF_PT_LOAD     1
#define ELF_PT_DYNAMIC  2
#define ELF_PT_INTERP   3
#define ELF_PF_X        1u
#define ELF_PF_W        2u
#define ELF_SEGMENTS_MAX 32

#define MB2_HEADER_MAGIC  0xe85250d6u
#define MB2_HEADER_SEARCH 32768 /* "contained completely within the first 32768 bytes" */
#define MB2_ALIGN         8
#define MB2_ARCH_I386     0
#define MB2_TAG_OPTIONAL  1u
#define MB2_BELOW         GiB(4)  /* entered in 32-bit protected mode without paging */
#define MB2_RELOC_ALIGN_MAX GiB(1)
#define MB2_PREFER_HIGH   2

enum mb2_header_tag {
	HEADER_END = 0,
	HEADER_INFORMATION = 1,
	HEADER_FRAMEBUFFER = 5,
	HEADER_MODULE_ALIGN = 6,
	HEADER_RELOCATABLE = 10,
};

struct elf_header {
	uint8_t magic[4], class, data, ident_version, padding[9];
	uint16_t type, machine;
	uint32_t version;
	uint64_t entry, phoff, shoff;
	uint32_t flags;
	uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};

struct elf_segment {
	uint32_t type, flags;
	uint64_t offset, vaddr, paddr, filesz, memsz, align;
};

struct mb2_header { uint32_t magic, architecture, length, checksum; };
struct mb2_tag { uint16_t type, flags; uint32_t size; };
struct mb2_relocatable { uint32_t lowest, highest, align, preference; };

_Static_assert(sizeof(struct elf_header) == 64 && sizeof(struct elf_segment) == 56 && sizeof(struct mb2_header) == 16 &&
	       sizeof(struct mb2_tag) == 8 && sizeof(struct mb2_relocatable) == 16, "as in the specifications");

struct bytes { const uint8_t *p; size_t n; };

static bool take_at(struct bytes b, uint64_t at, void *out, size_t size)
{
	if (at > b.n || size > b.n - at)
		return false;
	memcpy(out, b.p + at, size);
	return true;
}

static struct elf_segment segment_at(struct bytes file, const struct elf_header *h, unsigned i)
{
	struct elf_segment s = { 0 };

	(void)take_at(file, h->phoff + i * sizeof(s), &s, sizeof(s));
	return s;
}

static bool loads(const struct elf_segment *s)
{
	return s->type == ELF_PT_LOAD && s->memsz;
}

static const char *check_header(struct bytes file, struct elf_header *h)
{
	if (!take_at(file, 0, h, sizeof(*h)))
		return "it is shorter than an ELF header";
	if (memcmp(h->magic, "\177ELF", sizeof(h->magic)))
		return "it is no ELF file";
	if (h->class != ELF_CLASS_64 || h->data != ELF_DATA_LSB || h->machine != ELF_MACHINE_X86_64)
		return "it is no ELF file for x86-64";
	if (h->ident_version != ELF_VERSION || h->version != ELF_VERSION || h->type != ELF_TYPE_EXEC)
		return "it is no executable ELF file";
	if (h->phentsize != sizeof(struct elf_segment) || !h->phnum || h->phnum > ELF_SEGMENTS_MAX)
		return "the number or the size of its program headers is wrong";
	if (h->phoff > file.n || h->phnum * sizeof(struct elf_segment) > file.n - h->phoff)
		return "its program headers lie beyond its end; the file may be cut off";
	return NULL;
}

static const char *check_segment(struct bytes file, const struct elf_segment *s)
{
	if (s->filesz > s->memsz)
		return "a segment is larger in the file than in memory";
	if (s->offset > file.n || s->filesz > file.n - s->offset)
		return "a segment lies beyond its end; the file may be cut off";
	if (s->paddr >= MB2_BELOW || s->memsz > MB2_BELOW - s->paddr)
		return "a segment does not lie below 4 GiB";
	if (s->vaddr + s->memsz < s->vaddr)
		return "a segment wraps around the end of the address space";
	if (s->align > 1 && ((s->align & (s->align - 1)) || !IS_ALIGNED(s->vaddr - s->offset, s->align)))
		return "a segment's alignment is wrong";
	if ((s->flags & ELF_PF_W) && (s->flags & ELF_PF_X))
		return "a segment is writable and executable";
	return NULL;
}

static bool overlap(const struct elf_segment *a, const struct elf_segment *b)
{
	return a->paddr < b->paddr + b->memsz && b->paddr < a->paddr + a->memsz;
}

static const char *check_segments(struct bytes file, const struct elf_header *h, struct image *out)
{
	uint64_t end = 0;
	bool entry = false;
	const char *bad;

	out->link = UINT64_MAX;
	for (unsigned i = 0; i < h->phnum; i++) {
		struct elf_segment s = segment_at(file, h, i);

		if (s.type == ELF_PT_INTERP || s.type == ELF_PT_DYNAMIC)
			return "it is dynamically linked";
		if (!loads(&s))
			continue;
		bad = check_segment(file, &s);
		if (bad)
			return bad;
		for (unsigned j = 0; j < i; j++) {
			struct elf_segment other = segment_at(file, h, j);

			if (loads(&other) && overlap(&s, &other))
				return "one segment lies over another";
		}
		out->link = MIN(out->link, s.paddr);
		end = MAX(end, s.paddr + s.memsz);
		if ((s.flags & ELF_PF_X) && h->entry >= s.vaddr && h->entry - s.vaddr < s.filesz) {
			out->entry = s.paddr + (h->entry - s.vaddr);
			entry = true;
		}
	}
	if (!end)
		return "it has no segment to load";
	if (!entry)
		return "its entry point is in no executable segment";
	out->entry -= out->link;
	out->size = end - out->link;
	return out->size > IMAGE_SIZE_MAX ? "it needs more than 64 MiB" : NULL;
}

static const char *take_relocatable(struct bytes tag, struct image *out)
{
	struct mb2_relocatable r;

	if (!take_at(tag, sizeof(struct mb2_tag), &r, sizeof(r)))
		return "its multiboot2 header's relocatable tag is too short";
	if (!r.align || (r.align & (r.align - 1)) || r.align > MB2_RELOC_ALIGN_MAX || r.highest <= r.lowest)
		return "its multiboot2 header's relocatable tag is wrong";
	out->lowest = r.lowest;
	out->highest = r.highest;
	out->align = MAX((uint64_t)r.align, PAGE_SIZE);
	out->prefer_high = r.preference == MB2_PREFER_HIGH;
	return NULL;
}

static const char *check_tags(struct bytes tags, struct image *out)
{
	struct mb2_tag tag;
	const char *bad;

	while (take_at(tags, 0, &tag, sizeof(tag))) {
		if (tag.size < sizeof(tag) || tag.size > tags.n)
			break;
		switch (tag.type) {
		case HEADER_END:
			return out->align ? NULL : "its multiboot2 header has no relocatable tag";
		case HEADER_RELOCATABLE:
			bad = take_relocatable((struct bytes){ tags.p, tag.size }, out);
			if (bad)
				return bad;
			break;
		case HEADER_INFORMATION:  /* what there is, is given */
		case HEADER_FRAMEBUFFER:  /* the firmware's mode is kept */
		case HEADER_MODULE_ALIGN: /* pages */
			break;
		default:
			if (!(tag.flags & MB2_TAG_OPTIONAL))
				return "its multiboot2 header asks for something that this loader does not know";
		}
		tag.size = (uint32_t)MIN(ALIGN_UP((uint64_t)tag.size, MB2_ALIGN), (uint64_t)tags.n);
		tags.p += tag.size;
		tags.n -= tag.size;
	}
	return "its multiboot2 header's tags are wrong";
}

static const char *check_multiboot2(struct bytes file, struct image *out)
{
	size_t search = MIN(file.n, (size_t)MB2_HEADER_SEARCH);
	struct mb2_header h;

	for (size_t at = 0; take_at((struct bytes){ file.p, search }, at, &h, sizeof(h)); at += MB2_ALIGN) {
		if (h.magic != MB2_HEADER_MAGIC)
			continue;
		if (h.magic + h.architecture + h.length + h.checksum != 0)
			return "its multiboot2 header's checksum is wrong";
		if (h.architecture != MB2_ARCH_I386)
			return "its multiboot2 header is for another architecture";
		if (h.length < sizeof(h) || h.length > search - at)
			return "its multiboot2 header does not end in the file's first 32 KiB";
		return check_tags((struct bytes){ file.p + at + sizeof(h), h.length - sizeof(h) }, out);
	}
	return "there is no multiboot2 header in its first 32 KiB";
}

enum tf_err image_check(const uint8_t *file, size_t len, struct image *out, const char **why)
{
	struct bytes all = { file, len };
	struct elf_header h;

	memset(out, 0, sizeof(*out));
	*why = check_header(all, &h);
	if (!*why)
		*why = check_segments(all, &h, out);
	if (!*why)
		*why = check_multiboot2(all, out);
	if (!*why && !IS_ALIGNED(out->link, out->align))
		*why = "it is not linked at a multiple of the alignment that its multiboot2 header asks for";
	return *why ? TF_EINVAL : TF_OK;
}

void image_load(const uint8_t *file, const struct image *image, uint8_t *to)
{
	/* The last program header lies inside the file, so its end is as good as the file's. */
	struct elf_header h;
	struct elf_segment s;

	memcpy(&h, file, sizeof(h));
	memset(to, 0, image->size);
	for (unsigned i = 0; i < h.phnum; i++) {
		memcpy(&s, file + h.phoff + i * sizeof(s), sizeof(s));
		if (loads(&s))
			memcpy(to + (s.paddr - image->link), file + s.offset, s.filesz);
	}
}
