/* The tag "Framebuffer info". */
#include "boot/multiboot2_internal.h"
#include <tf/string.h>

enum { FB_INDEXED = 0, FB_RGB = 1, FB_TEXT = 2 };

#define TEXT_BPP      16
#define INDEXED_BPP   8
#define FIELD_BITS    16 /* of a colour; none is known with more than 10 */
#define PALETTE_MAX   256

/* As in the specification's multiboot2.h, which loaders follow; the table in its text has one reserved byte less. */
struct mb2_screen {
	uint64_t base;
	uint32_t pitch, width, height;
	uint8_t bpp, type;
	uint16_t reserved;
};
struct mb2_rgb { struct boot_colour red, green, blue; };
struct mb2_colour { uint8_t red, green, blue; };

_Static_assert(sizeof(struct mb2_screen) == 24 && sizeof(struct mb2_rgb) == 6 && sizeof(struct mb2_colour) == 3,
	       "as in the specification");

static bool colour_ok(struct boot_colour c, uint8_t bpp)
{
	return c.bits && c.bits <= FIELD_BITS && c.shift + c.bits <= bpp;
}

static bool parse_rgb(struct payload t, struct boot_screen *s)
{
	struct mb2_rgb rgb;

	if (!mb2_take(&t, &rgb, sizeof(rgb)) || (s->bpp != 15 && s->bpp != 16 && s->bpp != 24 && s->bpp != 32))
		return false;
	s->kind = BOOT_SCREEN_RGB;
	s->red = rgb.red;
	s->green = rgb.green;
	s->blue = rgb.blue;
	return colour_ok(s->red, s->bpp) && colour_ok(s->green, s->bpp) && colour_ok(s->blue, s->bpp);
}

/* Of the palette the two colours that can be read best. */
static bool parse_indexed(struct payload t, struct boot_screen *s)
{
	unsigned darkest = UINT32_MAX, lightest = 0;
	struct mb2_colour c;
	uint16_t n;

	if (!mb2_take(&t, &n, sizeof(n)) || s->bpp != INDEXED_BPP || n < 2 || n > PALETTE_MAX)
		return false;
	s->kind = BOOT_SCREEN_INDEXED;
	for (unsigned i = 0; i < n; i++) {
		if (!mb2_take(&t, &c, sizeof(c)))
			return false;
		/* Rec. 601 luma, in thousandths */
		unsigned luma = 299u * c.red + 587u * c.green + 114u * c.blue;

		if (luma < darkest) {
			darkest = luma;
			s->black = (uint8_t)i;
		}
		if (luma > lightest) {
			lightest = luma;
			s->white = (uint8_t)i;
		}
	}
	return darkest < lightest;
}

void mb2_parse_screen(struct payload t, struct boot_screen *out)
{
	struct boot_screen s = { .kind = BOOT_SCREEN_NONE };
	struct mb2_screen raw;
	bool ok = false;

	memset(out, 0, sizeof(*out));
	if (!mb2_take(&t, &raw, sizeof(raw)))
		return;
	s.base = HPA(raw.base);
	s.pitch = raw.pitch;
	s.width = raw.width;
	s.height = raw.height;
	s.bpp = raw.bpp;
	switch (raw.type) {
	case FB_RGB:
		ok = parse_rgb(t, &s);
		break;
	case FB_INDEXED:
		ok = parse_indexed(t, &s);
		break;
	case FB_TEXT:
		s.kind = BOOT_SCREEN_TEXT;
		s.bpp = TEXT_BPP;
		ok = true;
		break;
	}
	ok = ok && raw.base && raw.width && raw.height;
	ok = ok && raw.pitch >= (uint64_t)raw.width * ((s.bpp + 7) / 8);
	ok = ok && (uint64_t)raw.pitch * raw.height <= UINT64_MAX - raw.base;
	if (ok)
		*out = s;
}
