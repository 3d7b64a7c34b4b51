/* Loads Trefoil by the Multiboot2 contract, from the boot information that GRUB gave us. */
#include "shim.h"

#define MULTIBOOT2_LOADER 0x36d76289
#define IMAGE_ALIGN       MIB(2)
#define COM1              0x3f8
#define COM1_LSR          (COM1 + 5)
#define LSR_EMPTY         0x20
#define MODULES_MAX       32
#define HYPERVISOR        "trefoil.elf"

enum tag_type { TAG_END = 0, TAG_CMDLINE = 1, TAG_MODULE = 3, TAG_MMAP = 6, TAG_ACPI_OLD = 14, TAG_ACPI_NEW = 15,
		TAG_LOAD_BASE = 21 };
struct tag { uint32_t type, size; };
struct tag_module { struct tag t; uint32_t start, end; char name[]; };
struct tag_mmap { struct tag t; uint32_t entry_size, version; struct range entry[]; };

struct elf64 {
	uint8_t ident[16];
	uint16_t type, machine;
	uint32_t version;
	uint64_t entry, phoff, shoff;
	uint32_t flags;
	uint16_t ehsize, phentsize, phnum;
} __attribute__((packed));
struct phdr64 { uint32_t type, flags; uint64_t offset, vaddr, paddr, filesz, memsz, align; };
#define PT_LOAD 1

static struct { uint32_t start, end; } modules[MODULES_MAX];
static unsigned nmodules;
static uint32_t image, image_size;
static const char *cmdline = "";
static uint8_t information[KIB(64)] __attribute__((aligned(4096)));
static uint32_t filled;

void *memcpy(void *to, const void *from, size_t n)
{
	void *d = to;

	__asm__ volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(n) : : "memory");
	return to;
}

void *memset(void *to, int byte, size_t n)
{
	void *d = to;

	__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(byte) : "memory");
	return to;
}

bool same(const void *a, const void *b, size_t n)
{
	const char *p = a, *q = b;

	while (n && *p == *q)
		n--, p++, q++;
	return !n;
}

static size_t length(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

/* 115200 8n1, FIFOs on, no interrupts. */
static void serial_init(void)
{
	static const struct { uint8_t reg, value; } setup[] = { { 1, 0 }, { 3, 0x80 }, { 0, 1 }, { 1, 0 }, { 3, 3 }, { 2, 7 } };

	for (unsigned i = 0; i < ARRAY_SIZE(setup); i++)
		outb(COM1 + setup[i].reg, setup[i].value);
}

static void say(const char *s)
{
	for (; *s; s++) {
		while (!(inb(COM1_LSR) & LSR_EMPTY))
			;
		outb(COM1, (uint8_t)*s);
	}
}

void fail(const char *why)
{
	say("shim: ");
	say(why);
	say("\r\n");
	for (;;)
		__asm__ volatile("cli; hlt");
}

const char *option(const char *name)
{
	static char value[64];
	size_t n = length(name), i = 0;

	for (const char *p = cmdline; *p; ) {
		if (same(p, name, n) && (!p[n] || p[n] == ' ' || p[n] == '=')) {
			for (p += n + (p[n] == '='); *p && *p != ' ' && i < sizeof(value) - 1; p++)
				value[i++] = *p;
			value[i] = '\0';
			return value;
		}
		while (*p && *p != ' ')
			p++;
		while (*p == ' ')
			p++;
	}
	return NULL;
}

bool option_is(const char *name, const char *value)
{
	const char *v = option(name);

	return v && length(v) == length(value) && same(v, value, length(value));
}

static bool overlap(uint32_t start, uint32_t end, uint32_t start2, uint32_t end2) { return start < end2 && start2 < end; }

static bool taken(uint32_t start, uint32_t end)
{
	for (unsigned i = 0; i < nmodules; i++)
		if (overlap(start, end, modules[i].start, modules[i].end))
			return true;
	return overlap(start, end, (uint32_t)shim_begin, (uint32_t)shim_end);
}

bool page_used(uint32_t page) { return taken(page, page + PAGE) || overlap(page, page + PAGE, image, image + image_size); }

/* The lowest place for the image, or with at=high the highest. */
static uint32_t find_place(void)
{
	uint32_t found = 0;

	for (unsigned i = 0; i < map_n; i++) {
		const struct range *r = &map[i];
		uint64_t end = r->base + r->len;

		if (r->type != RAM || r->base >= GIB(4) - IMAGE_ALIGN)
			continue;
		uint64_t at = (r->base + IMAGE_ALIGN - 1) & ~(uint64_t)(IMAGE_ALIGN - 1);
		for (; at + image_size <= end && at + image_size < GIB(4); at += IMAGE_ALIGN) {
			if (taken((uint32_t)at, (uint32_t)at + image_size))
				continue;
			if (!option_is("at", "high"))
				return (uint32_t)at;
			found = (uint32_t)at;
		}
	}
	if (!found)
		fail("there is no room for Trefoil");
	return found;
}

/* Returns the physical address of the entry point. */
static uint32_t load(const struct tag_module *m)
{
	const uint8_t *file = (const void *)m->start;
	const struct elf64 *e = (const void *)file;
	uint64_t lowest = ~0ull, highest = 0, entry = 0;

	if (!same(e->ident, "\177ELF\2", 5) || e->phentsize != sizeof(struct phdr64))
		fail("not an ELF64 file");
	const struct phdr64 *p = (const void *)(file + e->phoff);
	for (unsigned i = 0; i < e->phnum; i++) {
		if (p[i].type != PT_LOAD)
			continue;
		lowest = p[i].paddr < lowest ? p[i].paddr : lowest;
		highest = p[i].paddr + p[i].memsz > highest ? p[i].paddr + p[i].memsz : highest;
	}
	image_size = (uint32_t)(highest - lowest);
	image = find_place();
	for (unsigned i = 0; i < e->phnum; i++) {
		if (p[i].type != PT_LOAD)
			continue;
		uint32_t to = image + (uint32_t)(p[i].paddr - lowest);
		memset((void *)to, 0xa5, p[i].memsz); /* all of the bss is ours to zero */
		memcpy((void *)to, file + p[i].offset, p[i].filesz);
		memset((void *)(to + (uint32_t)p[i].filesz), 0, (uint32_t)(p[i].memsz - p[i].filesz));
		if (e->entry >= p[i].vaddr && e->entry - p[i].vaddr < p[i].memsz)
			entry = to + (e->entry - p[i].vaddr);
	}
	return (uint32_t)entry;
}

static void *put_tag(uint32_t type, uint32_t size)
{
	struct tag *t = (void *)(information + filled);

	if (size > sizeof(information) - filled - 8)
		fail("the boot information is too large");
	*t = (struct tag){ type, size };
	filled += (size + 7) & ~7u;
	return t;
}

static const struct tag *next(const struct tag *t) { return (const void *)((const uint8_t *)t + ((t->size + 7) & ~7u)); }

static bool is_hypervisor(const struct tag *t)
{
	return t->type == TAG_MODULE && same(((const struct tag_module *)t)->name, HYPERVISOR, sizeof(HYPERVISOR) - 1);
}

static void read_information(const struct tag *first)
{
	for (const struct tag *t = first; t->type != TAG_END; t = next(t)) {
		const struct tag_module *m = (const void *)t;
		const struct tag_mmap *mm = (const void *)t;

		if (t->type == TAG_CMDLINE)
			cmdline = (const char *)(t + 1);
		if (t->type == TAG_MODULE && nmodules < MODULES_MAX) {
			modules[nmodules].start = m->start;
			modules[nmodules++].end = m->end;
		}
		for (uint32_t at = 16; t->type == TAG_MMAP && at < t->size; at += mm->entry_size) {
			const struct range *r = (const void *)((const uint8_t *)t + at);

			map_add(r->base, r->len, r->type);
		}
	}
}

static void write_information(const struct tag *first)
{
	filled = 8;
	for (const struct tag *t = first; t->type != TAG_END; t = next(t)) {
		if (t->type == TAG_LOAD_BASE || t->type == TAG_CMDLINE || is_hypervisor(t))
			continue;
		if (t->type == TAG_MMAP) {
			struct tag_mmap *mm = put_tag(TAG_MMAP, 16 + map_n * sizeof(struct range));
			mm->entry_size = sizeof(struct range);
			mm->version = 0;
			memcpy(mm->entry, map, map_n * sizeof(struct range));
			continue;
		}
		bool rsdp = t->type == TAG_ACPI_OLD || t->type == TAG_ACPI_NEW;
		if (rsdp && acpi_hidden())
			continue;
		uint8_t *copy = put_tag(t->type, t->size);
		memcpy(copy, t, t->size);
		if (rsdp)
			acpi_edit(copy + sizeof(*t), t->size - sizeof(*t));
	}
	*(uint32_t *)((uint8_t *)put_tag(TAG_LOAD_BASE, 12) + 8) = image;
	put_tag(TAG_END, 8);
	*(uint32_t *)information = filled;
}

void shim_main(uint32_t magic, uint32_t from)
{
	const struct tag *first = (const void *)(from + 8), *t = first;

	serial_init();
	if (magic != MULTIBOOT2_LOADER)
		fail("not started by a multiboot2 loader");
	read_information(first);
	while (t->type != TAG_END && !is_hypervisor(t))
		t = next(t);
	if (t->type == TAG_END)
		fail("there is no module " HYPERVISOR);
	uint32_t entry = load((const void *)t);
	/* The tables first: what they take of the RAM has to be in the map. */
	acpi_edit(NULL, 0);
	map_edit();
	write_information(first);
	say("shim: spoiling the machine\r\n");
	machine_spoil(information);
	shim_enter(entry, information);
}
