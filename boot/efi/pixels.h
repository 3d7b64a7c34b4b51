/* A graphics mode (UEFI Specification, "Graphics Output Protocol"), without the EFI headers, as our screen. Pure. */
#pragma once
#include <tf/bootinfo.h>

enum pixel_format { PIXEL_RGBX, PIXEL_BGRX, PIXEL_BIT_MASK, PIXEL_BLT_ONLY }; /* EFI_GRAPHICS_PIXEL_FORMAT */

struct pixel_mode {
	uint32_t width, height, pixels_per_line;
	uint32_t format;                              /* enum pixel_format, or what the firmware made of it */
	uint32_t red, green, blue, reserved;          /* masks, where the format is PIXEL_BIT_MASK */
	uint64_t base, size;                          /* the framebuffer's, in bytes */
};

/* False if the mode has no framebuffer that can be painted to: then *out is of kind BOOT_SCREEN_NONE. */
__must_check bool pixels_screen(const struct pixel_mode *mode, struct boot_screen *out);
