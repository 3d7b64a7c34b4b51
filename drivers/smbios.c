#include "drivers/smbios.h"
#include <tf/string.h>

struct entry32 {
	char anchor[4];
	uint8_t checksum, length, major, minor;
	uint16_t max_size;
	uint8_t revision, formatted[5];
	char middle_anchor[5];
	uint8_t middle_checksum;
	uint16_t table_len;
	uint32_t table;
	uint16_t count;
	uint8_t bcd_revision;
} __packed;

struct entry64 {
	char anchor[5];
	uint8_t checksum, length, major, minor, docrev, revision, reserved;
	uint32_t max_len;
	uint64_t table;
} __packed;

_Static_assert(sizeof(struct entry32) == 31 && offsetof(struct entry32, table) == 24 && sizeof(struct entry64) == 24 &&
	       offsetof(struct entry64, table) == 16 && sizeof(struct entry32) <= SMBIOS_ENTRY_MAX, "DSP0134");

#define ENTRY32_OLD_LENGTH 0x1e /* a mistake of the specification's version 2.1, and what came of it */
#define ENTRY_STEP         16

enum smbios_type { TYPE_BIOS = 0, TYPE_SYSTEM = 1, TYPE_BOARD = 2, TYPE_END = 127 };
struct header { uint8_t type, length; uint16_t handle; } __packed;

/* Offsets of string numbers in the formatted areas of types 0, 1 and 2 */
#define BIOS_VERSION   5
#define BIOS_DATE      8
#define SYSTEM_VENDOR  4
#define SYSTEM_PRODUCT 5
#define BOARD_PRODUCT  5

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;

	while (n--)
		s += *p++;
	return s;
}

static enum tf_err check_table(const struct smbios_entry *e)
{
	return e->table.v && e->len ? TF_OK : TF_EINVAL;
}

enum tf_err smbios_read_entry(const uint8_t *buf, size_t len, struct smbios_entry *out)
{
	struct entry32 a;
	struct entry64 b;

	if (len >= sizeof(b) && !memcmp(buf, "_SM3_", sizeof(b.anchor))) {
		memcpy(&b, buf, sizeof(b));
		if (b.length < sizeof(b) || b.length > len)
			return TF_EINVAL;
		if (sum(buf, b.length))
			return TF_ECSUM;
		*out = (struct smbios_entry){ HPA(b.table), MIN(b.max_len, SMBIOS_TABLE_MAX), b.major, b.minor };
		return check_table(out);
	}
	if (len < sizeof(a) || memcmp(buf, "_SM_", sizeof(a.anchor)))
		return TF_ENOENT;
	memcpy(&a, buf, sizeof(a));
	if ((a.length < sizeof(a) && a.length != ENTRY32_OLD_LENGTH) || a.length > len ||
	    memcmp(a.middle_anchor, "_DMI_", sizeof(a.middle_anchor)))
		return TF_EINVAL;
	if (sum(buf, MAX(a.length, sizeof(a))) && sum(buf, a.length))
		return TF_ECSUM;
	*out = (struct smbios_entry){ HPA(a.table), a.table_len, a.major, a.minor };
	return check_table(out);
}

enum tf_err smbios_find(const uint8_t *buf, size_t len, struct smbios_entry *out)
{
	enum tf_err found = TF_ENOENT;
	struct smbios_entry e;

	for (size_t at = 0; at < len; at += ENTRY_STEP) {
		if (smbios_read_entry(buf + at, len - at, &e) != TF_OK)
			continue;
		bool is64 = buf[at + 3] == '3';

		if (is64 || found)
			*out = e;
		found = TF_OK;
		if (is64)
			break;
	}
	return found;
}

/* String number `n` of a structure, from 1; 0, or one that is not there, is the empty string. */
static void take_string(const uint8_t *strings, size_t len, unsigned n, char out[SMBIOS_STRING])
{
	size_t at = 0, used = 0;

	out[0] = '\0';
	if (!n)
		return;
	for (; --n; at++) {
		if (at >= len || !strings[at])
			return;
		while (at < len && strings[at])
			at++;
	}
	while (at < len && strings[at] == ' ')
		at++;
	for (; at < len && strings[at] && used < SMBIOS_STRING - 1; at++) {
		uint8_t c = strings[at];

		out[used++] = c < ' ' || c > '~' || c == '"' || c == '\\' ? '?' : (char)c;
	}
	while (used && out[used - 1] == ' ')
		used--;
	out[used] = '\0';
}

/* The length of the strings behind a formatted area, with the two zeros that end them; 0: they do not end. */
static size_t strings_length(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i + 1 < len; i++)
		if (!p[i] && !p[i + 1])
			return i + 2;
	return 0;
}

static void take_structure(const uint8_t *p, const struct header *h, const uint8_t *strings, size_t len,
			   struct smbios_info *out)
{
	const struct { uint8_t type, offset; char *to; } wanted[] = {
		{ TYPE_BIOS, BIOS_VERSION, out->bios },         { TYPE_BIOS, BIOS_DATE, out->date },
		{ TYPE_SYSTEM, SYSTEM_VENDOR, out->vendor },    { TYPE_SYSTEM, SYSTEM_PRODUCT, out->product },
		{ TYPE_BOARD, BOARD_PRODUCT, out->board },
	};

	/* A machine with several boards names the main one first. */
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		if (h->type == wanted[i].type && wanted[i].offset < h->length && !wanted[i].to[0])
			take_string(strings, len, p[wanted[i].offset], wanted[i].to);
}

void smbios_parse(const uint8_t *table, size_t len, struct smbios_info *out)
{
	struct header h;

	memset(out, 0, sizeof(*out));
	for (size_t at = 0; len - at >= sizeof(h);) {
		memcpy(&h, table + at, sizeof(h));
		if (h.type == TYPE_END || h.length < sizeof(h) || h.length > len - at)
			return;
		const uint8_t *strings = table + at + h.length;
		size_t n = strings_length(strings, len - at - h.length);

		if (!n)
			return;
		take_structure(table + at, &h, strings, n, out);
		at += h.length + n;
	}
}
