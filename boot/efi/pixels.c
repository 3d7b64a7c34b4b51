/* Pixel formats: bytes in memory, which on this machine is the order of bits in a little-endian pixel. */
#include "boot/efi/pixels.h"
#include <tf/string.h>

#define BITS_PER_BYTE 8

/* A mask is one run of ones. */
static bool colour_of(uint32_t mask, struct boot_colour *out)
{
	uint32_t shift;

	if (!mask)
		return false;
	shift = (uint32_t)__builtin_ctz(mask);
	if (((uint64_t)(mask >> shift) & ((uint64_t)(mask >> shift) + 1)) != 0)
		return false;
	*out = (struct boot_colour){ (uint8_t)shift, (uint8_t)(32 - __builtin_clz(mask >> shift)) };
	return true;
}

static bool set_format(const struct pixel_mode *mode, struct boot_screen *out)
{
	uint32_t all = mode->red | mode->green | mode->blue | mode->reserved;

	out->bpp = 4 * BITS_PER_BYTE;
	out->green = (struct boot_colour){ 8, 8 };
	switch (mode->format) {
	case PIXEL_RGBX:
		out->red = (struct boot_colour){ 0, 8 };
		out->blue = (struct boot_colour){ 16, 8 };
		return true;
	case PIXEL_BGRX:
		out->red = (struct boot_colour){ 16, 8 };
		out->blue = (struct boot_colour){ 0, 8 };
		return true;
	case PIXEL_BIT_MASK:
		if (!colour_of(mode->red, &out->red) || !colour_of(mode->green, &out->green) ||
		    !colour_of(mode->blue, &out->blue) ||
		    (mode->red & mode->green) || (mode->red & mode->blue) || (mode->green & mode->blue))
			return false;
		/* "the pixel size is that of the highest bit of all masks", in whole bytes */
		out->bpp = (uint8_t)ALIGN_UP(32u - (uint32_t)__builtin_clz(all), BITS_PER_BYTE);
		return true;
	default:
		return false;
	}
}

bool pixels_screen(const struct pixel_mode *mode, struct boot_screen *out)
{
	uint64_t pitch, height = mode->height;

	memset(out, 0, sizeof(*out));
	if (!mode->base || !mode->width || !mode->height || mode->pixels_per_line < mode->width || !set_format(mode, out))
		goto none;
	pitch = (uint64_t)mode->pixels_per_line * (out->bpp / BITS_PER_BYTE);
	/* Some firmware counts the width where it should count the whole line. What is left is good enough. */
	if (mode->size)
		height = MIN(height, mode->size / pitch);
	if (pitch > UINT32_MAX || !height || mode->base + pitch * height < mode->base)
		goto none;
	out->kind = BOOT_SCREEN_RGB;
	out->base = HPA(mode->base);
	out->pitch = (uint32_t)pitch;
	out->width = mode->width;
	out->height = (uint32_t)height;
	return true;
none:
	memset(out, 0, sizeof(*out));
	return false;
}
