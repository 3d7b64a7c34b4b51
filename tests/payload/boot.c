/* From the loader to payload_main() and out again: Multiboot information, options, ACPI ports, the ways to end. */
#include "payload.h"

#define MULTIBOOT_MAGIC 0x2badb002
#define MBI_CMDLINE     BIT(2)
#define MBI_MMAP        BIT(6)
#define GUEST_PM1A_CNT  0x604
#define SLP_EN          BIT(13)
#define SLP_TYP(n)      ((n) << 10)
#define GUEST_S5        5
#define RESET_PORT      0xcf9
#define RESET_FULL      0x06

struct mbi { uint32_t flags, lower, upper, boot, cmdline, mods, mods_addr, syms[4], mmap_len, mmap_addr; };
struct mmap { uint32_t size; uint64_t base, len; uint32_t type; } __attribute__((packed));

char boot_cmdline[512];
struct range boot_map[MAX_RANGES];
unsigned boot_nmap;

void payload_start(uint32_t magic, const struct mbi *mbi);

const char *option(const char *name)
{
	static char value[64];
	const char *p = boot_cmdline;

	while (*p) {
		const char *n = name;
		unsigned len = 0;

		while (*p == ' ')
			p++;
		while (*n && *p == *n)
			p++, n++;
		if (!*n && (*p == '=' || *p == ' ' || !*p)) {
			if (*p == '=')
				p++;
			while (*p && *p != ' ' && len < sizeof(value) - 1)
				value[len++] = *p++;
			value[len] = '\0';
			return value;
		}
		while (*p && *p != ' ')
			p++;
	}
	return NULL;
}

uint64_t option_number(const char *name, uint64_t otherwise)
{
	const char *s = option(name);
	uint64_t v = 0;

	if (!s || !*s)
		return otherwise;
	for (; *s >= '0' && *s <= '9'; s++)
		v = v * 10 + (uint64_t)(*s - '0');
	return v;
}

bool option_is(const char *name, const char *value)
{
	const char *s = option(name);

	while (s && *s && *s == *value)
		s++, value++;
	return s && *s == *value;
}

static const uint8_t *acpi_rsdp(void)
{
	for (uint64_t a = 0xe0000; a < 0x100000; a += 16)
		if (!memcmp((const void *)a, "RSD PTR ", 8))
			return (const void *)a;
	return NULL;
}

const uint8_t *acpi_table(const char *signature)
{
	const uint8_t *rsdp = acpi_rsdp(), *root;
	uint32_t len;

	if (!rsdp)
		return NULL;
	root = (const void *)(uint64_t)*(const uint32_t *)(rsdp + 16);
	if (rsdp[15] >= 2 && !*(const uint32_t *)(rsdp + 16))
		root = (const void *)*(const uint64_t *)(rsdp + 24);
	len = *(const uint32_t *)(root + 4);
	for (uint32_t i = 36, step = root[0] == 'X' ? 8 : 4; i + step <= len; i += step) {
		uint64_t a = step == 8 ? *(const uint64_t *)(root + i) : *(const uint32_t *)(root + i);

		if (!memcmp((const void *)a, signature, 4))
			return (const void *)a;
	}
	return NULL;
}

struct acpi_ports acpi_find(void)
{
	const uint8_t *t = acpi_table("FACP");

	if (!t)
		return (struct acpi_ports){ 0, 0 };
	return (struct acpi_ports){ (uint16_t)*(const uint32_t *)(t + 76), (uint16_t)*(const uint32_t *)(t + 64) };
}

static void end_triple(void)
{
	struct { uint16_t limit; uint64_t base; } __attribute__((packed)) none = { 0, 0 };

	__asm__ volatile("lidt %0; int3" :: "m"(none));
}

/* `exit=` on the command line; without it the payload halts for good. */
static void payload_end(void)
{
	struct acpi_ports ports = acpi_find();

	print("payload: done\n");
	print_flush();
	if (option_is("exit", "poweroff"))
		outw(ports.pm1a_cnt ? ports.pm1a_cnt : GUEST_PM1A_CNT,
		     SLP_EN | SLP_TYP(ports.pm1a_cnt == GUEST_PM1A_CNT ? GUEST_S5 : 0)); /* Bochs' S5 is 0 */
	else if (option_is("exit", "triple"))
		end_triple();
	else if (option_is("exit", "reset"))
		outb(RESET_PORT, RESET_FULL);
	else
		while (option_is("exit", "spin"))
			__asm__ volatile("pause");
	for (;;)
		__asm__ volatile("cli; hlt");
}

void payload_start(uint32_t magic, const struct mbi *mbi)
{
	print_init();
	trap_init();
	if (magic != MULTIBOOT_MAGIC)
		print("payload: not loaded by Multiboot\n");
	if (mbi->flags & MBI_CMDLINE) {
		const char *s = (const char *)(uint64_t)mbi->cmdline;

		for (unsigned i = 0; s[i] && i < sizeof(boot_cmdline) - 1; i++)
			boot_cmdline[i] = s[i];
	}
	if (mbi->flags & MBI_MMAP) {
		uint64_t at = mbi->mmap_addr, end = at + mbi->mmap_len;

		while (at < end && boot_nmap < MAX_RANGES) {
			const struct mmap *m = (const void *)at;

			boot_map[boot_nmap++] = (struct range){ m->base, m->len, m->type };
			at += m->size + sizeof(m->size);
		}
	}
	print("payload: start\n");
	payload_main();
	payload_end();
}
